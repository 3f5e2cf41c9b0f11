"""What the catalog panel knows without a widget: groups, search, and the payload its front end reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tauro_nb.catalog.snapshot import CatalogSnapshot, SourceSnapshot, TableSnapshot
from tauro_nb.text import visible

__all__ = ["Group", "find", "groups", "is_subsequence", "marks", "matches_column", "matches_table", "payload"]

#: Up to this many columns travel with the tables; a larger catalog sends them table by table, on request.
INLINE_COLUMNS: Final = 1_500


class Group(NamedTuple):
    """One source and its tables, both in catalog order."""

    source: SourceSnapshot
    tables: tuple[TableSnapshot, ...]


def groups(snapshot: CatalogSnapshot) -> tuple[Group, ...]:
    """Put tables under their sources; tables without a connection are grouped by connector.

    >>> table = TableSnapshot("events", "filesystem", "parquet", "")
    >>> [(group.source.id, len(group.tables)) for group in groups(CatalogSnapshot("ana", (table,)))]
    [('parquet', 1)]
    """
    sources = {source.id: source for source in snapshot.sources}
    found: dict[str, list[TableSnapshot]] = {name: [] for name in sources}
    for table in snapshot.tables:
        found.setdefault(table.connection_id or table.connector_type, []).append(table)
    return tuple(
        Group(sources.get(name) or SourceSnapshot(name, tables[0].connector_type), tuple(tables))
        for name, tables in found.items()
    )


def is_subsequence(needle: str, text: str) -> bool:
    """Whether the letters of `needle` occur in `text` in this order.

    >>> is_subsequence("cstm", "customers"), is_subsequence("mc", "customers")
    (True, False)
    """
    rest = iter(text)
    return all(char in rest for char in needle)


def matches_table(query: str, table: TableSnapshot) -> bool:
    """Whether every word of `query` is a subsequence of the name, or a part of the description or a tag.

    >>> matches_table("cst", TableSnapshot("customers", "sql", "postgresql", "crm"))
    True
    """
    name, prose = table.name.casefold(), " ".join((table.description, *table.tags)).casefold()
    return all(is_subsequence(word, name) or word in prose for word in query.casefold().split())


def matches_column(query: str, name: str) -> bool:
    """Whether every word of `query` is a part of the name: a subsequence would find every column.

    >>> matches_column("mail", "email"), matches_column("eml", "email")
    (True, False)
    """
    return all(word in name.casefold() for word in query.casefold().split())


def _rank(query: str, name: str) -> tuple[int, int, str]:
    folded, wanted = name.casefold(), query.casefold()
    kind = 0 if folded == wanted else 1 if folded.startswith(wanted) else 2 if wanted in folded else 3
    return kind, len(name), name


def find(query: str, snapshot: CatalogSnapshot) -> list[str]:
    """Return the names of tables, then of columns (`table.column`), that match; the best first.

    >>> tables = [TableSnapshot(name, "sql", "postgresql", "crm") for name in ("old_orders", "orders", "people")]
    >>> find("ord", CatalogSnapshot("ana", tuple(tables)))
    ['orders', 'old_orders']
    """
    if not query.strip():
        return []
    tables = sorted((t.name for t in snapshot.tables if matches_table(query, t)), key=lambda n: _rank(query, n))
    columns = sorted(
        (_rank(query, column.name), f"{table.name}.{column.name}")
        for table in snapshot.tables
        for column in table.columns
        if matches_column(query, column.name)
    )
    return tables + [name for _, name in columns]


def marks(table: TableSnapshot) -> Iterator[tuple[str, str, str]]:
    """Yield (glyph, words, tone) for what the policy does to this table.

    >>> list(marks(TableSnapshot("t", "sql", "sqlite", "crm", access="denied", reason="no role")))
    [('⊘', 'denied', 'bad')]
    """
    if table.access == "denied":
        yield "⊘", "denied", "bad"
        return
    masked = sum(column.access == "masked" for column in table.columns)
    denied = sum(column.access == "denied" for column in table.columns)
    if table.row_filtered:
        yield "▽", "rows filtered", "warn"
    if masked:
        yield "◐", f"{masked} masked", "warn"
    if denied:
        yield "⊘", f"{denied} denied", "bad"


def details(table: TableSnapshot) -> dict[str, Any]:
    """What the details pane shows of one table, as JSON."""
    return {
        "type": visible(f"{table.connector_type}, {table.source_type}"),
        "description": visible(table.description),
        "tags": [visible(tag) for tag in table.tags],
        "reason": visible(table.reason),
        "rows": table.row_count,
        "known": table.schema_known,
        "columns": [
            [visible(c.name), visible(c.type), c.access, visible(c.mask or ""), visible(c.description)]
            for c in table.columns
        ],
    }


def payload(snapshot: CatalogSnapshot) -> dict[str, Any]:
    """What the front end gets: every table in short, and details too while they are small.

    >>> payload(CatalogSnapshot("ana"))
    {'principal': 'ana', 'sources': [], 'tables': [], 'details': []}
    """
    grouped = groups(snapshot)
    ordered = [(index, table) for index, group in enumerate(grouped) for table in group.tables]
    small = sum(len(table.columns) for table in snapshot.tables) <= INLINE_COLUMNS and len(ordered) <= INLINE_COLUMNS
    return {
        "principal": visible(snapshot.principal),
        "sources": [[visible(g.source.id), visible(g.source.type), g.source.status] for g in grouped],
        "tables": [
            [
                visible(table.name),
                index,
                [list(mark) for mark in marks(table)],
                visible(" ".join((table.description, *table.tags)))[:120],
            ]
            for index, table in ordered
        ],
        "details": [details(table) for _, table in ordered] if small else None,
    }
