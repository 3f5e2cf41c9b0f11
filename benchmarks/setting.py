"""Where the tables of a race live, and the catalog that says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.proxy import FULL_SPEED, CountingProxy, Wire
from tests.tpc.data import TPCH_TABLES

__all__ = ["DISTRIBUTIONS", "INDEXES", "IN_POSTGRES", "Database", "Setting", "peak_mb"]

IN_POSTGRES = ("customer", "orders", "nation", "region", "supplier")

INDEXES: Final[Mapping[str, list[list[str]]]] = {
    "customer": [["c_custkey"], ["c_nationkey"]],
    "orders": [["o_orderkey"], ["o_custkey"]],
    "nation": [["n_nationkey"], ["n_regionkey"]],
    "region": [["r_regionkey"]],
    "supplier": [["s_suppkey"], ["s_nationkey"]],
    "lineitem": [["l_orderkey"], ["l_partkey", "l_suppkey"]],
    "part": [["p_partkey"]],
    "partsupp": [["ps_partkey", "ps_suppkey"], ["ps_suppkey"]],
}


def _elsewhere(*tables: str) -> dict[str, str]:
    """Some tables in the second database, all others in the first."""
    return {name: "db2" if name in tables else "db1" for name in TPCH_TABLES}


DISTRIBUTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    # Those of Accio's workload (PVLDB 18, 7): one group of tables alone in the second database.
    "v0": _elsewhere("part", "partsupp"),
    "v1": _elsewhere("lineitem", "orders"),
    "v2": _elsewhere("customer", "nation", "region", "supplier"),
    # Not Accio's: the largest table in a file, the others as in v2.
    "files": {name: place for name, place in _elsewhere("part", "partsupp", "supplier").items() if name != "lineitem"},
    "mariadb": dict.fromkeys(("part", "partsupp", "supplier"), "maria"),
    "one": dict.fromkeys(TPCH_TABLES, "db1"),
}
"""The database of each table; what is missing is a Parquet file."""


@dataclass(frozen=True)
class Database:
    """A database: `postgresql` or `mysql`, and its URI."""

    kind: str
    uri: str


@dataclass(frozen=True)
class Setting:
    """The tables of a race.

    Parameters
    ----------
    paths
        A Parquet file of each table, wherever it is said to live.
    databases
        By name.
    places
        The name of the database of each table that is in one.
    """

    paths: Mapping[str, str]
    databases: Mapping[str, Database]
    places: Mapping[str, str]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Setting:
        """Out of what `plain` gave."""
        return cls(plain["paths"], {name: Database(**one) for name, one in plain["databases"].items()}, plain["places"])

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def catalog(self) -> dict[str, Any]:
        """Our configuration, without declared schemas: they are read from the sources, as for most people."""
        return {
            "connections": {name: {"type": one.kind, "uri": one.uri} for name, one in self.databases.items()},
            "virtual_tables": {name: self._table(name) for name in self.paths},
        }

    def _table(self, name: str) -> dict[str, str]:
        place = self.places.get(name)
        if place is None:
            return {"source_type": "filesystem", "connector_type": "parquet", "path": self.paths[name]}
        kind = self.databases[place].kind
        return {"source_type": "database", "connector_type": kind, "connection": place, "table": name}

    @contextlib.contextmanager
    def through(self, wire: Wire = FULL_SPEED) -> Iterator[tuple[Setting, list[CountingProxy]]]:
        """The same with a proxy before every database."""
        with contextlib.ExitStack() as stack:
            proxies = {name: stack.enter_context(CountingProxy(one.uri, wire)) for name, one in self.databases.items()}
            seen = {name: replace(one, uri=proxies[name].uri) for name, one in self.databases.items()}
            yield replace(self, databases=seen), list(proxies.values())


def peak_mb() -> float:
    """The highest resident set of this process; `getrusage` would also know that of the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
