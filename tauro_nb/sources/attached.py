"""What the sources that DuckDB attaches as a database have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import ConfigError, UsageError
from tauro_nb.query.literals import literal
from tauro_nb.query.template import mark_templates, missing_value
from tauro_nb.query.trees import every
from tauro_nb.sources.base import ColumnFacts, Keyed, Link, Scan
from tauro_nb.sources.keys import put_keys
from tauro_nb.walks import enclose_negations

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment
    from tauro_nb.sources.capability import Capability
    from tauro_nb.sources.extension import Preparation
    from tauro_nb.sources.slots import Slots

__all__ = ["AttachedSource", "is_plain_scan", "measured", "table_query"]


def table_query(table: VirtualTable, dialect: str) -> exp.Query:
    """The tree of a `query=` table in its source's dialect, every `{{ name }}` replaced by a typed literal.

    A template is a value, quoted or not; it can never become a name or a piece of SQL.

    Raises
    ------
    UnboundParameter
        A template has no value in the table's `parameters`, where the planner puts those of the request.
    ConfigError
        The text is not one SELECT, or a template is no whole value.
    """
    values = table.parameters
    marked = mark_templates(table, lambda name: f"'\x01{name}\x01'")
    try:
        trees = sqlglot.parse(marked, dialect=dialect)
    except SqlglotError:
        trees = []
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise ConfigError(["query: must be exactly one SELECT in the source's dialect"], origin=f"table `{table.name}`")

    def swap(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Literal) and node.is_string and node.this.startswith("\x01"):
            name = node.this.strip("\x01")
            if name not in values:
                raise missing_value(table, name, values)
            return literal(values[name])
        return node

    tree = enclose_negations(trees[0]).transform(swap)
    assert isinstance(tree, exp.Query)
    return tree


_PROBE: Final = 1 << 19
"""Bytes that are asked for to measure a bandwidth."""
_PROBES: Final = 4


class AttachedSource:
    """A database that the engine attaches read-only under the name `alias`."""

    capability: Capability | None = None
    dialect = "duckdb"
    default_schema: str | None = "main"
    preparation: ClassVar[Preparation | None] = None
    slots: Slots | None = None
    pool_timeout: float = 0.0

    def __init__(self, connection: ConnectionSpec) -> None:
        self.connection = connection
        self.alias = f"source {connection.id}"

    def physical(self, table: VirtualTable) -> exp.Expr:
        """The table as the source itself names it: a dotted name, or its `query=` in parentheses."""
        if table.query:
            return table_query(table, self.dialect).subquery()
        parts = (table.table_name or table.name).split(".")
        if len(parts) > 2:
            raise UsageError(f"table `{table.name}`: `{table.table_name}` has too many parts.")
        schema = parts[0] if len(parts) == 2 else self.default_schema
        node = exp.Table(this=exp.Identifier(this=parts[-1], quoted=True))
        if schema:
            node.set("db", exp.Identifier(this=schema, quoted=True))
        return node

    def relation(self, table: VirtualTable) -> exp.Expr:
        """`"source crm"."main"."customers"`, or the source's answer to its own query."""
        physical = self.physical(table)
        if table.query:
            return self.remote_relation(physical.this.sql(self.dialect))
        physical.set("catalog", exp.to_identifier(self.alias, quoted=True))
        return physical

    def typed_relation(
        self, table: VirtualTable, relation: exp.Expr, columns: Mapping[str, str], facts: Mapping[str, ColumnFacts]
    ) -> exp.Expr:
        """The relation as it is: a database has types of its own."""
        return relation

    def remote_relation(self, sql: str) -> exp.Expr:
        """A relation that sends `sql` to the source as it is."""
        raise NotImplementedError

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """The engine's types, taken as exact."""
        return {name: ColumnFacts(kind) for name, kind in described.items()}

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """Only sources with a capability get fragments."""
        raise UsageError(f"`{self.connection.id}` is scanned by the engine.")

    def keyed(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Keyed:
        """Its SQL once, with marks; the keys take their places when they are known."""
        form = None if self.capability is None else self.capability.keys
        if form is None:
            raise UsageError(f"`{self.connection.id}` takes no keys.")
        sql = self.asked_sql(fragment, tables, params)

        def scan(keys: Mapping[str, pa.Array | None]) -> Scan | None:
            full = put_keys(sql, keys, form)
            return None if full is None else self.answer(full, fragment)

        return scan

    def asked_sql(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> str:
        """A fragment in the source's own SQL."""
        raise NotImplementedError

    def answer(self, sql: str, fragment: Fragment) -> Scan:
        """How the engine reads the answer to SQL of the source's own."""
        del fragment
        return Scan(sql=sql, relation=self.remote_relation(sql))

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """Nothing known."""
        return TableStatistics(source=self.connection.type)

    def link(self) -> Link | None:
        """Measure the way to the source: ask for nothing, then for half a megabyte. None where there is no way to go.

        Raises
        ------
        SourceUnavailable
            It does not answer.
        """
        return None

    def refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Nothing is cached beyond one transaction."""

    def cancel(self) -> None:
        """The engine scans; interrupting it is enough."""

    def close(self) -> None:
        """The engine holds the connection."""


def is_plain_scan(tree: exp.Query) -> bool:
    """One raw table with at most a WHERE: what the scanner does as well."""
    if not isinstance(tree, exp.Select) or tree.args.get("joins") or every(tree, exp.Subquery, exp.AggFunc):
        return False
    return not any(tree.args.get(name) for name in ("group", "having", "limit", "offset", "order", "distinct", "with_"))


def measured(ask: Callable[[str], object]) -> Link:
    """The way to a server, by two small questions that both PostgreSQL and MySQL understand."""

    def seconds(sql: str) -> float:
        started = time.perf_counter()
        ask(sql)
        return time.perf_counter() - started

    # The best of a few: the first may have to connect, and any may have to wait for the processor.
    latency = min(seconds("SELECT 1") for _ in range(_PROBES))
    answer = min(seconds(f"SELECT repeat('x', {_PROBE})") for _ in range(_PROBES))
    return Link(latency, _PROBE / max(answer - latency, 1e-4))
