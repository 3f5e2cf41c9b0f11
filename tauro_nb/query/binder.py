"""DuckDB as the judge of names and types: an empty, locked-in copy of what one principal may see."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any, Final

import duckdb
from sqlglot import exp

from tauro_nb.errors import SchemaMismatch
from tauro_nb.query.names import LOCAL, RAW, VISIBLE, folded, leaf_table

__all__ = ["LOCKDOWN", "Binder"]

_TABLES: Final = "~tables"
"""Catalog of the tables that the views read, in schemas of the same names."""
_HIDDEN: Final = "rowid"
"""The one column that a table of DuckDB's has and a view over it has not."""

LOCKDOWN = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
}
"""Settings of a connection that must never reach a file, the network or the caller's variables."""


class Binder:
    """Empty tables with the columns one principal sees; statements are described here, never run on data.

    Even if a function slipped through the allow-list it would meet an engine without files, network,
    extensions and rows. DuckDB's error texts from here can be shown: there is no data to quote.

    Examples
    --------
    >>> binder = Binder()
    >>> binder.ensure("t", VISIBLE, {"a": "INTEGER"})
    >>> binder.describe('SELECT a + 1 AS b FROM "~visible".t', {})
    {'b': 'INTEGER'}
    >>> binder.ensure("t", VISIBLE, {"a": "DATE", "A": "TIME"})
    >>> binder.describe('SELECT * FROM "~visible".t', {})
    {'a': 'DATE', 'A_1': 'TIME'}
    """

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:", config=dict(LOCKDOWN))
        self.connection.execute("SET GLOBAL TimeZone = 'UTC'")
        self.connection.execute(f"ATTACH ':memory:' AS \"{_TABLES}\"")
        for schema in (VISIBLE, LOCAL, RAW):
            self.connection.execute(f'CREATE SCHEMA "{schema}"')
            self.connection.execute(f'CREATE SCHEMA "{_TABLES}"."{schema}"')
        # Of what is computed here there is one row at most.
        self.connection.execute("PRAGMA disable_optimizer")
        self._over_tables = self.connection.cursor()
        self._over_tables.execute(f'USE "{_TABLES}"')
        self._tables: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
        self._columns: dict[tuple[str, str], dict[str, str]] = {}
        self._lock = threading.Lock()

    def ensure(self, name: str, kind: str, columns: Mapping[str, str]) -> None:
        """Make the empty relation `kind`.`name` have exactly these columns.

        A table, for binding a view takes twice as long; and a view over it for statements that say `rowid`, which a
        table of DuckDB's would bind as well.

        Raises
        ------
        SchemaMismatch
            A column has a type that cannot be written: a struct whose fields have no names.
        """
        shape = tuple(columns.items())
        if self._tables.get((kind, name)) == shape:
            return
        view = leaf_table(name, kind).sql("duckdb")
        table = f'"{_TABLES}".{view}'
        typed = {_quoted(column): type_ for column, type_ in _distinct_names(list(shape)).items()}
        fields = ", ".join(f"{column} {type_}" for column, type_ in typed.items())
        with self._lock:
            try:
                self.connection.execute(f"CREATE OR REPLACE TABLE {table} ({fields})")
            except duckdb.ParserException:
                raise self._unwritable(name, columns) from None
            self.connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT {', '.join(typed)} FROM {table}")
            self._tables[kind, name] = shape
            self._columns.pop((kind, name), None)

    def _unwritable(self, name: str, columns: Mapping[str, str]) -> SchemaMismatch:
        def is_read(type_: str) -> bool:
            try:
                self.connection.execute(f"SELECT CAST(NULL AS {type_})")
            except duckdb.ParserException:
                return False
            return True

        found = [f"`{column}` {type_}" for column, type_ in columns.items() if not is_read(type_)]
        return SchemaMismatch(
            f"`{name}` has a column whose type has no name: {', '.join(found)}.",
            hint="Name the fields of a struct: struct_pack(a := 1) in place of row(1).",
            table=name,
        )

    def columns(self, name: str, kind: str) -> Mapping[str, str]:
        """Types of a relation that is there, by lower-case column, as `describe` would give them."""
        key = (kind, name)
        if key not in self._columns:
            found = self.describe(f"SELECT * FROM {leaf_table(name, kind).sql('duckdb')}", {})
            self._columns[key] = {column.lower(): type_ for column, type_ in found.items()}
        return self._columns[key]

    def describe(self, sql: str, params: Mapping[str, Any]) -> dict[str, str]:
        """Output columns and types of a statement, by DuckDB's own binder.

        Raises
        ------
        duckdb.Error
            It does not bind.
        """
        with self._lock:
            # Binding is asked of the tables, where that is the same.
            connection = self.connection if _HIDDEN in sql.lower() else self._over_tables
            if params:
                rows = connection.execute(f"DESCRIBE {sql}", dict(params)).fetchall()
                return _distinct_names([(row[0], row[1]) for row in rows])
            # A relation of a query is bound when it is made, and is never run here.
            bound = connection.sql(sql)
            return _distinct_names(list(zip(bound.columns, map(str, bound.types), strict=True)))

    @functools.cached_property
    def own_relations(self) -> frozenset[str]:
        """Relations that DuckDB has by itself, wherever a query stands: they tell of the engine and what it reads."""
        seen = "SELECT view_name FROM duckdb_views() WHERE internal AND schema_name IN ('main', 'pg_catalog')"
        with self._lock:
            rows = self.connection.execute(seen).fetchall()
        return frozenset(folded(name) for (name,) in rows)

    def serialize(self, sql: str) -> str:
        """DuckDB's syntax tree of a statement as JSON (an `error` member when it cannot)."""
        if "\0" in sql:
            return '{"error": true}'
        # As a literal: with a parameter DuckDB would import pandas, which takes longer than all of a first plan.
        query = f"SELECT json_serialize_sql({exp.Literal.string(sql).sql('duckdb')})"
        with self._lock:
            row = self.connection.execute(query).fetchone()
        return str(row[0]) if row else '{"error": true}'

    def evaluate(self, expressions: list[str]) -> list[tuple[Any, str]]:
        """Values and types of constant expressions."""
        sql = ", ".join(f"{text} AS c{index}" for index, text in enumerate(expressions))
        with self._lock:
            cursor = self.connection.execute(f"SELECT {sql}")
            kinds = [str(column[1]) for column in cursor.description or ()]
            row = cursor.fetchone() or ()
        return list(zip(row, kinds, strict=True))

    def close(self) -> None:
        """Drop the tables."""
        self._over_tables.close()
        self.connection.close()


def _quoted(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def _distinct_names(columns: list[tuple[str, str]]) -> dict[str, str]:
    """Columns by name; repeated names get `_1`, `_2` as DuckDB's own result tables do."""
    taken = {name.lower() for name, _ in columns}
    if len(taken) == len(columns):
        return dict(columns)
    out: dict[str, str] = {}
    for name, kind in columns:
        unique, number = name, 0
        while unique.lower() in {known.lower() for known in out} or (number and unique.lower() in taken):
            number += 1
            unique = f"{name}_{number}"
        out[unique] = kind
    return out
