"""Queries across systems as a person writes them without a federating engine, with Ibis and pandas or with xorq.

Each says what the sources are asked: every condition, join and column that one source can see to by itself. What is
done with their answers is written twice, for frames of pandas and for expressions. xorq's expressions are those of the
Ibis it grew from, so that the same functions build both. Amounts are read as doubles: xorq fails on products of
decimals, and pandas has them as Python objects.

`python -m benchmarks.by_hand` serves xorq's contestants, on a Python that has xorq.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from benchmarks.asked import Contestant, serve
from benchmarks.setting import Setting

__all__ = ["BY_HAND", "ByHand", "Pandas", "Xorq", "XorqThere"]

Tables = Mapping[str, Any]
_AMOUNTS: Final = ("l_extendedprice", "l_discount", "l_quantity", "o_totalprice", "c_acctbal")


@dataclass(frozen=True)
class ByHand:
    """One query.

    Parameters
    ----------
    parts
        By name: what is asked of one source, given the tables.
    frames
        The answer, given the parts as frames of pandas.
    expression
        The same, given the parts as expressions of one backend.
    """

    parts: Mapping[str, Callable[[Tables], Any]]
    frames: Callable[[Tables], Any]
    expression: Callable[[Tables], Any]


def _only(table: Any, *names: str) -> Any:
    return table.select(**{name: table[name].cast("float64") if name in _AMOUNTS else table[name] for name in names})


def _between(column: Any, start: dt.date, end: dt.date) -> Any:
    """From the first day to the one before the last."""
    return (column >= start) & (column < end)


def _revenue(rows: Any) -> Any:
    return rows["l_extendedprice"] * (1 - rows["l_discount"])


_DAYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "one day": lambda orders: orders.o_orderdate == dt.date(1995, 3, 15),
    "dear": lambda orders: orders.o_totalprice > 420000,
    "one month": lambda orders: _between(orders.o_orderdate, dt.date(1995, 3, 1), dt.date(1995, 4, 1)),
}


def _selective(condition: Callable[[Any], Any], shape: str) -> ByHand:
    wanted = {"aggregated": ("o_orderkey", "o_orderpriority"), "rows": ("o_orderkey", "o_totalprice")}[shape]
    measures = {"aggregated": ("l_extendedprice", "l_discount"), "rows": ("l_quantity", "l_extendedprice")}[shape]
    parts = {
        "orders": lambda t: _only(t["orders"].filter(condition(t["orders"])), *wanted),
        "lineitem": lambda t: _only(t["lineitem"], "l_orderkey", *measures),
    }
    return ByHand(parts, *{"aggregated": (_revenue_frames, _revenue_of), "rows": (_rows_frames, _rows_of)}[shape])


def _met_frames(t: Tables) -> Any:
    return t["orders"].merge(t["lineitem"], left_on="o_orderkey", right_on="l_orderkey")


def _met(t: Tables) -> Any:
    return t["orders"].join(t["lineitem"], t["orders"].o_orderkey == t["lineitem"].l_orderkey)


def _revenue_frames(t: Tables) -> Any:
    rows = _met_frames(t)
    groups = rows.assign(revenue=_revenue(rows)).groupby("o_orderpriority", as_index=False)
    return groups.agg(n=("o_orderkey", "size"), revenue=("revenue", "sum"))


def _revenue_of(t: Tables) -> Any:
    rows = _met(t)
    return rows.group_by("o_orderpriority").agg(n=rows.count(), revenue=_revenue(rows).sum())


_ROWS: Final = ["o_orderkey", "o_totalprice", "l_quantity", "l_extendedprice"]


def _rows_frames(t: Tables) -> Any:
    return _met_frames(t)[_ROWS]


def _rows_of(t: Tables) -> Any:
    return _met(t).select(*_ROWS)


# TPC-H 3, 5, 10 and 14 with lineitem and orders in one database and the other tables in another (`v1`).


def _sold(t: Tables, orders: Any, lineitem: Any, *names: str) -> Any:
    """Orders and their lines, joined where both are."""
    lines, heads = t["lineitem"].filter(lineitem), t["orders"].filter(orders)
    return _only(lines.join(heads, heads.o_orderkey == lines.l_orderkey), *names)


def _sold_3(t: Tables) -> Any:
    day = dt.date(1995, 3, 15)
    wanted = ("o_orderkey", "o_custkey", "o_orderdate", "o_shippriority", "l_extendedprice", "l_discount")
    return _sold(t, t["orders"].o_orderdate < day, t["lineitem"].l_shipdate > day, *wanted)


def _buyers_3(t: Tables) -> Any:
    return _only(t["customer"].filter(t["customer"].c_mktsegment == "BUILDING"), "c_custkey")


def _frames_3(t: Tables) -> Any:
    rows = t["sold"].merge(t["buyers"], left_on="o_custkey", right_on="c_custkey")
    rows = rows.assign(revenue=_revenue(rows))
    groups = rows.groupby(["o_orderkey", "o_orderdate", "o_shippriority"], as_index=False).revenue.sum()
    best = groups.sort_values(["revenue", "o_orderdate"], ascending=[False, True]).head(10)
    return best[["o_orderkey", "revenue", "o_orderdate", "o_shippriority"]]


def _expression_3(t: Tables) -> Any:
    rows = t["sold"].join(t["buyers"], t["sold"].o_custkey == t["buyers"].c_custkey)
    groups = rows.group_by("o_orderkey", "o_orderdate", "o_shippriority").agg(revenue=_revenue(rows).sum())
    best = groups.order_by(groups.revenue.desc(), groups.o_orderdate).limit(10)
    return best.select("o_orderkey", "revenue", "o_orderdate", "o_shippriority")


def _sold_5(t: Tables) -> Any:
    days = _between(t["orders"].o_orderdate, dt.date(1994, 1, 1), dt.date(1995, 1, 1))
    return _sold(t, days, True, "o_custkey", "l_suppkey", "l_extendedprice", "l_discount")


def _asia(t: Tables) -> Any:
    region = t["region"].filter(t["region"].r_name == "ASIA")
    return t["nation"].join(region, region.r_regionkey == t["nation"].n_regionkey)


def _buyers_5(t: Tables) -> Any:
    asia = _asia(t)
    return t["customer"].join(asia, asia.n_nationkey == t["customer"].c_nationkey).select("c_custkey", "c_nationkey")


def _sellers_5(t: Tables) -> Any:
    asia = _asia(t)
    sellers = t["supplier"].join(asia, asia.n_nationkey == t["supplier"].s_nationkey)
    return sellers.select("s_suppkey", "s_nationkey", "n_name")


def _frames_5(t: Tables) -> Any:
    rows = t["sold"].merge(t["buyers"], left_on="o_custkey", right_on="c_custkey")
    at = {"left_on": ["l_suppkey", "c_nationkey"], "right_on": ["s_suppkey", "s_nationkey"]}
    rows = rows.merge(t["sellers"], **at)
    return rows.assign(revenue=_revenue(rows)).groupby("n_name", as_index=False).revenue.sum()


def _expression_5(t: Tables) -> Any:
    sold, buyers, sellers = t["sold"], t["buyers"], t["sellers"]
    rows = sold.join(buyers, sold.o_custkey == buyers.c_custkey)
    rows = rows.join(sellers, [rows.l_suppkey == sellers.s_suppkey, rows.c_nationkey == sellers.s_nationkey])
    return rows.group_by("n_name").agg(revenue=_revenue(rows).sum())


def _sold_10(t: Tables) -> Any:
    days = _between(t["orders"].o_orderdate, dt.date(1993, 10, 1), dt.date(1994, 1, 1))
    return _sold(t, days, t["lineitem"].l_returnflag == "R", "o_custkey", "l_extendedprice", "l_discount")


_BUYER: Final = ("c_custkey", "c_name", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment")
_TOLD_10: Final = ["c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment"]


def _buyers_10(t: Tables) -> Any:
    return _only(t["customer"].join(t["nation"], t["nation"].n_nationkey == t["customer"].c_nationkey), *_BUYER)


def _frames_10(t: Tables) -> Any:
    sold = t["sold"].assign(revenue=_revenue(t["sold"])).groupby("o_custkey", as_index=False).revenue.sum()
    best = sold.sort_values("revenue", ascending=False).head(20)
    return best.merge(t["buyers"], left_on="o_custkey", right_on="c_custkey")[_TOLD_10]


def _expression_10(t: Tables) -> Any:
    sold = t["sold"].group_by("o_custkey").agg(revenue=_revenue(t["sold"]).sum())
    rows = sold.join(t["buyers"], sold.o_custkey == t["buyers"].c_custkey)
    return rows.order_by(rows.revenue.desc()).limit(20).select(*_TOLD_10)


def _sold_14(t: Tables) -> Any:
    lines = t["lineitem"]
    month = _between(lines.l_shipdate, dt.date(1995, 9, 1), dt.date(1995, 10, 1))
    return _only(lines.filter(month), "l_partkey", "l_extendedprice", "l_discount")


def _frames_14(t: Tables) -> Any:
    rows = t["sold"].merge(t["part"], left_on="l_partkey", right_on="p_partkey")
    revenue = _revenue(rows)
    share = 100 * revenue[rows.p_type.str.startswith("PROMO")].sum() / revenue.sum()
    return rows.head(1).assign(promo_revenue=share)[["promo_revenue"]]


def _expression_14(t: Tables) -> Any:
    rows = t["sold"].join(t["part"], t["sold"].l_partkey == t["part"].p_partkey)
    promoted = _revenue(rows).sum(where=rows.p_type.startswith("PROMO"))
    return rows.agg(promo_revenue=promoted * 100 / _revenue(rows).sum())


BY_HAND: Final[Mapping[str, ByHand]] = {
    **{
        f"{name}, {shape}": _selective(condition, shape)
        for name, condition in _DAYS.items()
        for shape in ("aggregated", "rows")
    },
    "3": ByHand({"sold": _sold_3, "buyers": _buyers_3}, _frames_3, _expression_3),
    "5": ByHand({"sold": _sold_5, "buyers": _buyers_5, "sellers": _sellers_5}, _frames_5, _expression_5),
    "10": ByHand({"sold": _sold_10, "buyers": _buyers_10}, _frames_10, _expression_10),
    "14": ByHand(
        {"sold": _sold_14, "part": lambda t: _only(t["part"], "p_partkey", "p_type")}, _frames_14, _expression_14
    ),
}


class Pandas(Contestant):
    """Ibis asks every source; pandas merges what comes."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import ibis

        files = ibis.duckdb.connect()
        databases = {name: ibis.connect(one.uri) for name, one in setting.databases.items()}
        self.tables = _tables(setting, files, databases)

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        query = BY_HAND[text]
        frames = {name: part(self.tables).to_pandas() for name, part in query.parts.items()}
        return pa.Table.from_pandas(query.frames(frames), preserve_index=False), None


class Xorq(Contestant):
    """xorq carries every answer into an engine of its own, and joins there."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import xorq.api

        self.engine = xorq.api.connect()
        self.databases = {name: xorq.api.postgres.connect(**_address(one.uri)) for name, one in _postgres(setting)}
        self.tables = _tables(setting, self.engine, self.databases)

    def meeting_place(self, query: ByHand) -> Any:
        """The backend in which the parts meet."""
        del query
        return self.engine

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        query = BY_HAND[text]
        place = self.meeting_place(query)
        parts = {name: part(self.tables) for name, part in query.parts.items()}
        there = {
            name: part if part.ls.backends[0] is place else part.into_backend(place) for name, part in parts.items()
        }
        return query.expression(there).to_pyarrow(), None


class XorqThere(Xorq):
    """xorq carries the other answers into the database that has lineitem, as tables that it makes there."""

    def meeting_place(self, query: ByHand) -> Any:
        del query
        return self.databases[self.setting.places["lineitem"]]


def _postgres(setting: Setting) -> Any:
    return [(name, one) for name, one in setting.databases.items() if one.kind == "postgresql"]


def _address(uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": unquote(parts.password or ""),
        "database": parts.path.lstrip("/"),
    }


def _tables(setting: Setting, files: Any, databases: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: databases[setting.places[name]].table(name) if name in setting.places else files.read_parquet(path)
        for name, path in setting.paths.items()
    }


if __name__ == "__main__":
    serve({"xorq": Xorq, "xorq there": XorqThere})
