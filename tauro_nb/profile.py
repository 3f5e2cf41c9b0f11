"""What the values of a table are like, for one principal: one query down the road, so masked values stay masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.errors import UsageError
from tauro_nb.html import THEME, Html, badge, el, style
from tauro_nb.html import table as html_table
from tauro_nb.text import clip, count, one_line, plural, text_table

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.security.decision import ColumnDecision

__all__ = ["QUANTILES", "ColumnProfile", "TableProfile", "profile_table"]

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
TOP: Final = 5
_SEED: Final = 42
_NUMBERS: Final = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
    "FLOAT", "DOUBLE", "DECIMAL",
)  # fmt: skip
_MOMENTS: Final = ("DATE", "TIME", "TIMESTAMP")
_WORDS: Final = ("VARCHAR", "BOOLEAN", "UUID", "ENUM")
_HEADERS: Final = ("column", "type", "for me", "nulls", "distinct", "min", "quantiles", "max", "most frequent")
_LONGEST: Final = 24
_CSS: Final = ".tauro .t-name{white-space:nowrap}"


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column as the principal sees it.

    Parameters
    ----------
    name, type
        Of the values that are seen.
    access, mask
        `clear`, `masked` or `encrypted`, and by which mask.
    nulls, distinct
        How many values are NULL, and how many different ones there are besides.
    minimum, maximum
        Of values that have an order; None for nested and binary ones, and for ciphertext.
    quantiles
        At `QUANTILES`, of numbers, dates and times.
    top
        The most frequent values with how often they occur; those that occur once are not shown.
    """

    name: str
    type: str
    access: str
    mask: str | None
    nulls: int
    distinct: int
    minimum: Any = None
    maximum: Any = None
    quantiles: tuple[Any, ...] = ()
    top: tuple[tuple[Any, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TableProfile:
    """A table as one principal sees it.

    Parameters
    ----------
    table, principal
        What, and for whom.
    rows
        How many were looked at: all that are seen, or the sample.
    sample
        How many were asked for; None is all.
    columns
        Their profiles, in the table's order.
    """

    table: str
    principal: str
    rows: int
    sample: int | None
    columns: tuple[ColumnProfile, ...]

    def __getitem__(self, name: str) -> ColumnProfile:
        for column in self.columns:
            if column.name.casefold() == name.casefold():
                return column
        raise KeyError(name)

    def _note(self) -> str:
        of = "" if self.sample is None else f", a sample of at most {self.sample:,}"
        return f"as {one_line(self.principal)}: {plural(self.rows, 'row')}{of}"

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for column in self.columns:
            yield (
                column.name,
                column.type,
                f"{column.access} ({column.mask})" if column.mask else column.access,
                _share(column.nulls, self.rows),
                count(column.distinct),
                _short(column.minimum),
                " · ".join(map(_short, column.quantiles)),
                _short(column.maximum),
                ", ".join(f"{_short(value)} ×{number:,}" for value, number in column.top if number > 1),
            )

    def __repr__(self) -> str:
        grid = text_table(self._rows(), _HEADERS, right=(3, 4))
        return f"{one_line(self.table)} {self._note()}\n\n{grid}"

    def _repr_html_(self) -> str:
        head = el("p", self.table, class_="t-title"), el("span", self._note(), class_="t-dim")
        rows = [(_name(name), _name(kind), _badge(str(mine)), *rest) for name, kind, mine, *rest in self._rows()]
        return str(el("div", style(THEME + _CSS), el("div", *head, class_="t-head"),
                      html_table(rows, _HEADERS), class_="tauro"))  # fmt: skip


def profile_table(
    ctx: VirtualContext, name: str, columns: Sequence[str] | None = None, sample: int | None = None
) -> TableProfile:
    """Profile a table; see `VirtualContext.profile`."""
    if sample is not None and sample < 1:
        raise UsageError(f"a sample has at least one row, not {sample}.")
    if columns is not None and (isinstance(columns, str) or not columns):
        raise UsageError("`columns` is a list of at least one name.")
    table = ctx.require_open(name)
    # The road says which of the names are columns, and which of them this principal may read.
    plan = ctx.plan(_select(table, columns))
    wanted = list(plan.schema.items())
    decided = ctx.decision(table).columns
    by_name = {found.name.casefold(): found for found in decided.values()}
    asked = [(column, kind, by_name[column.casefold()]) for column, kind in wanted]
    row = ctx.query(_statement(table, asked, sample, seeded=not plan.fenced)).rows()[0]
    return TableProfile(
        table,
        ctx.principal.name,
        row["rows"],
        sample,
        tuple(_column(place, column, kind, decision, row) for place, (column, kind, decision) in enumerate(asked)),
    )


def _select(table: str, columns: Sequence[str] | None) -> str:
    listed = "*" if columns is None else ", ".join(map(_quoted, columns))
    return f"SELECT {listed} FROM {'.'.join(map(_quoted, table.split('.')))}"


def _quoted(name: str) -> str:
    return str(exp.to_identifier(name, quoted=True).sql("duckdb"))


def _statement(
    table: str, asked: Sequence[tuple[str, str, ColumnDecision]], sample: int | None, *, seeded: bool
) -> str:
    """One statement: the rows are read once, into `seen`, and every figure is worked out from there."""
    source = _select(table, [name for name, _, _ in asked])
    if sample is not None:
        source += f" USING SAMPLE reservoir({sample} ROWS)" + (f" REPEATABLE ({_SEED})" if seeded else "")
    figures = ["count(*) AS rows"]
    for place, (name, kind, decision) in enumerate(asked):
        column = _quoted(name)
        figures += [f"count({column}) AS filled{place}", f"count(DISTINCT {column}) AS distinct{place}"]
        if decision.access == "encrypted":
            continue
        if _is(kind, *_NUMBERS, *_MOMENTS, *_WORDS):
            figures += [f"min({column}) AS least{place}", f"max({column}) AS most{place}", _top(place, column)]
        if _is(kind, *_NUMBERS, *_MOMENTS):
            figures.append(f"quantile_disc({column}, {list(QUANTILES)}) AS quantiles{place}")
    return f"WITH seen AS MATERIALIZED ({source}) SELECT {', '.join(figures)} FROM seen"


def _top(place: int, column: str) -> str:
    frequent = (
        f"SELECT {column} AS v, count(*) AS n FROM seen WHERE {column} IS NOT NULL GROUP BY {column} "
        f"ORDER BY n DESC, v LIMIT {TOP}"
    )
    return f"(SELECT list(struct_pack(v := v, n := n) ORDER BY n DESC, v) FROM ({frequent}) AS t{place}) AS top{place}"


def _is(kind: str, *families: str) -> bool:
    return kind.startswith(families) and not kind.endswith("]")


def _column(place: int, name: str, kind: str, decision: ColumnDecision, row: Mapping[str, Any]) -> ColumnProfile:
    return ColumnProfile(
        name,
        kind,
        decision.access,
        decision.mask,
        nulls=row["rows"] - row[f"filled{place}"],
        distinct=row[f"distinct{place}"],
        minimum=row.get(f"least{place}"),
        maximum=row.get(f"most{place}"),
        quantiles=tuple(row.get(f"quantiles{place}") or ()),
        top=tuple((found["v"], found["n"]) for found in row.get(f"top{place}") or ()),
    )


def _short(value: object) -> str:
    if value is None:
        return ""
    return clip(one_line(f"{value:g}" if isinstance(value, float) else value), _LONGEST)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if part and whole else "0"


def _name(text: object) -> Html:
    return el("code", text, class_="t-name")


def _badge(access: str) -> Html:
    return el("span", access, class_="t-dim") if access == "clear" else badge("◐", access, "warn")
