"""What a SQLite file's own catalog knows of a table: its indexes, and rows and values once ANALYZE was run."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics

__all__ = ["SOURCE", "read"]

SOURCE: Final = "sqlite_stat1"

_STATS: Final = "SELECT coalesce(idx, ''), stat FROM sqlite_stat1 WHERE tbl = ? COLLATE NOCASE"
# What each index over all rows begins with. That of a column that ignores case does not find what DuckDB takes for
# equal; one over an expression begins with no column.
_INDEXES: Final = """
SELECT i.name, i.origin, i."unique" AND NOT EXISTS (SELECT 1 FROM pragma_index_info(i.name) more WHERE more.seqno = 1),
       first.name
FROM pragma_index_list(?) i JOIN pragma_index_xinfo(i.name) first ON first.seqno = 0
WHERE NOT i.partial AND first.name IS NOT NULL AND first.coll = 'BINARY'
"""
_ROWID: Final = "SELECT name FROM pragma_table_info(?) WHERE pk = 1 AND upper(type) = 'INTEGER'"
_COLUMNS: Final = "SELECT name, (SELECT max(pk) FROM pragma_table_info(?1)) FROM pragma_table_info(?1)"


def read(connection: sqlite3.Connection, table: str) -> TableStatistics:
    """Statistics of a table; of a view, none.

    Parameters
    ----------
    connection
        To the file; it is only read.
    table
        The table's name there.

    Raises
    ------
    sqlite3.Error
        The file cannot be read.

    Examples
    --------
    >>> connection = sqlite3.connect(":memory:")
    >>> _ = connection.executescript(
    ...     "CREATE TABLE t (id INTEGER PRIMARY KEY, kind TEXT);  CREATE INDEX k ON t (kind);"
    ...     "INSERT INTO t (kind) VALUES ('a'), ('b'), ('b'), ('b');  ANALYZE;"
    ... )
    >>> found = read(connection, "t")
    >>> found.row_count, found.columns["id"].distinct_count, found.columns["kind"].distinct_count
    (4, 4, 2)
    """
    kinds = connection.execute("SELECT name, type FROM sqlite_master WHERE name IN (?, 'sqlite_stat1')", [table])
    known = {name.casefold(): kind for name, kind in kinds.fetchall()}
    if known.get(table.casefold(), "table") != "table":
        return TableStatistics(source=SOURCE)
    stats = _stats(connection, table) if SOURCE in known else {}
    partial = {row[0] for row in connection.execute("SELECT name FROM pragma_index_list(?) WHERE partial", [table])}
    rows = max((numbers[0] for index, numbers in stats.items() if index not in partial), default=None)
    columns = connection.execute(_COLUMNS, [table]).fetchall()
    values: dict[str, int | None] = {}
    for index, origin, unique, column in connection.execute(_INDEXES, [table]).fetchall():
        # In a table without rowids, the key's own index goes by the table's name.
        numbers = stats.get(index) or (stats.get(table) if origin == "pk" else None) or ()
        found = rows if unique else max(numbers[0] // max(numbers[1], 1), 1) if len(numbers) > 1 else None
        values[column] = found if values.get(column) is None else values[column]
    if columns and columns[0][1] == 1:
        # A column of this type that is the whole key is the rowid itself: it has no index, and needs none.
        values |= {name: rows for (name,) in connection.execute(_ROWID, [table]) if values.get(name) is None}
    return TableStatistics(
        row_count=rows,
        columns={
            name: ColumnStatistics(distinct_count=values.get(name), indexed=name in values) for name, _ in columns
        },
        source=SOURCE,
    )


def _stats(connection: sqlite3.Connection, table: str) -> Mapping[str, tuple[int, ...]]:
    """By index: rows, and rows for each value of the first column, of the first two, and so on.

    Words behind the numbers are hints to SQLite's own planner.
    """
    return {
        index: numbers
        for index, stat in connection.execute(_STATS, [table]).fetchall()
        if (numbers := tuple(int(word) for word in str(stat).split() if word.isdigit()))
    }
