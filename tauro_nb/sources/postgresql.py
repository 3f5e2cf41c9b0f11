"""PostgreSQL: scanned by DuckDB's scanner (parallel, binary), or asked in its own SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
from sqlglot import exp

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.statistics import TableStatistics
from tauro_nb.errors import SchemaMismatch, UnknownTable
from tauro_nb.query.literals import bind_literals
from tauro_nb.query.names import RAW
from tauro_nb.query.resolve import relations
from tauro_nb.query.trees import every, quoted_column, type_node
from tauro_nb.sources import postgresql_statistics
from tauro_nb.sources.attached import AttachedSource, is_plain_scan, measured
from tauro_nb.sources.base import (
    POOL_SIZE,
    POOL_TIMEOUT,
    ColumnFacts,
    Link,
    Scan,
    Trouble,
    seconds,
    whole_number,
)
from tauro_nb.sources.capability import Capability, always, carries_mask, family, operands
from tauro_nb.sources.extension import load_extension
from tauro_nb.sources.guards import (
    QUERY_NODES,
    alike,
    bare_like,
    equal,
    given_divisor,
    given_lengths,
    of,
    plain_case,
    sortable,
    truth_test,
    typed_literal,
)
from tauro_nb.sources.keys import KeyForm, array_of
from tauro_nb.sources.postgresql_control import PostgreSQLControl
from tauro_nb.sources.slots import Slots

if TYPE_CHECKING:
    import psycopg

    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import Fragment

__all__ = ["CAPABILITY", "PostgreSQLSource"]

# A predicate that the server expects to leave at most this many rows of a larger table is asked for in SQL, where
# an index can serve it; above it the scanner's parallel binary COPY moves rows faster.
_SELECTIVE_ROWS = 50_000

# What a worker's row costs the process that gathers them, in units of PostgreSQL's planner: measured 0.1 µs where it
# takes 3.5 µs for a unit. With its usual 0.1 one process joins 150,000 rows while the others have nothing to do.
_HANDED_ROW = 0.03

# Types whose equality and order are DuckDB's. char(n) ignores trailing blanks, citext ignores case,
# numeric without a scale arrives as DOUBLE: their values come over, comparing them stays here.
_EXACT_TYPES = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "text",
        "character varying",
        "date",
        "boolean",
        "timestamp without time zone",
    }
)


# Types that no guard relies on, and that both compare in the same way.
_ALIKE_ANYWAY = frozenset({"TIMESTAMP WITH TIME ZONE", "TIME", "UUID"})


def _exact_sum(node: exp.Expr) -> bool:
    """Sums of integers and decimals do not depend on the order of rows."""
    return family(node.this) in ("integer", "decimal")


def _ordered_value(node: exp.Expr) -> bool:
    return family(node.this) in ("integer", "decimal", "date", "timestamp") and not node.expressions


def _truncated_moment(node: exp.Expr) -> bool:
    """Of timestamps: a date would become a moment of the session's time zone."""
    unit = node.args.get("unit")
    return family(node.this) == "timestamp" and unit is not None and unit.name.upper() in _UNITS


_UNITS = frozenset({"YEAR", "MONTH", "WEEK", "DAY"})
_NAME_BYTES = 63


def _name(node: exp.Expr) -> bool:
    """A name that the server takes as it is: of longer ones it forgets the end, so that two may become one."""
    return len(node.name.encode(errors="surrogatepass")) <= _NAME_BYTES and "\x00" not in node.name


CAPABILITY = Capability(
    "postgres",
    QUERY_NODES
    | dict.fromkeys((exp.Add, exp.Sub, exp.Mul), operands("integer", "decimal"))
    | dict.fromkeys((exp.Mod, exp.IntDiv), given_divisor)
    | dict.fromkeys((exp.Abs, exp.Sign), of("integer", "decimal"))
    | dict.fromkeys((exp.Floor, exp.Ceil), of("decimal"))
    | dict.fromkeys((exp.Greatest, exp.Least), operands("integer", "decimal", "date", "timestamp"))
    | dict.fromkeys((exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif), equal)
    | dict.fromkeys((exp.Substring, exp.Left), given_lengths)
    | dict.fromkeys((exp.DPipe, exp.StartsWith), operands("text"))
    | dict.fromkeys((exp.Min, exp.Max), _ordered_value)
    | {
        exp.Sum: _exact_sum,
        exp.Neg: operands("integer", "decimal"),
        exp.Like: bare_like,
        exp.Cast: typed_literal,
        exp.DataType: always,
        exp.Case: plain_case,
        exp.If: always,
        exp.Coalesce: lambda node: alike(*node.iter_expressions()),
        exp.Is: truth_test,
        exp.Filter: always,
        exp.Length: of("text"),
        exp.TimestampTrunc: _truncated_moment,
        exp.Var: lambda node: isinstance(node.parent, exp.TimestampTrunc),
        exp.Order: always,
        exp.Ordered: sortable,
        exp.Identifier: _name,
    },
    masks=frozenset({"email", "phone", "ssn", "first4", "last4", "partial", "partial long", "redact", "redact shape"}),
    keys=KeyForm(frozenset({"integer", "decimal", "date", "timestamp", "text"}), array_of, most=500_000),
)

# DuckDB type -> how PostgreSQL is asked for it, so that nothing arrives wider or narrower than the plan says.
_OUTPUT_TYPES = {
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "numeric(38,0)",
    "REAL": "real",
    "FLOAT": "real",
    "DOUBLE": "double precision",
}


class PostgreSQLSource(AttachedSource):
    """A PostgreSQL database; `options["uri"]` is a libpq URI (or `host`, `port`, `user`, `password`, `database`)."""

    capability = CAPABILITY
    untyped: ClassVar[bool] = False
    dialect = "postgres"
    default_schema = "public"

    def __init__(self, connection: ConnectionSpec) -> None:
        super().__init__(connection)
        self._control = PostgreSQLControl(connection)
        self._ask = self._control.ask
        self.read_timeout = self._control.read_timeout
        self._pool_size = whole_number(connection, "pool_size") or POOL_SIZE
        self.slots = Slots(self._pool_size)
        self.pool_timeout = seconds(connection, "pool_timeout", POOL_TIMEOUT)

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Attach the database under `alias`, read-only."""
        load_extension(cursor, "postgres_scanner")
        quoted = self._control.conninfo.replace("'", "''")
        try:
            cursor.execute(f"ATTACH '{quoted}' AS \"{self.alias}\" (TYPE postgres, READ_ONLY)")
            self._cap(cursor)
        except duckdb.Error as error:
            raise self._control.unavailable(error) from None

    def _cap(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Hold the scanner to as many connections as there are slots: by itself it opens one whenever it wants one."""
        # Without parameters: for the first one DuckDB imports pandas, which takes longer than to connect.
        name = self.alias.replace("'", "''")
        cursor.execute(
            f"FROM postgres_configure_pool(catalog_name = '{name}', max_connections = {self._pool_size}, "
            f"acquire_mode = 'wait', wait_timeout_millis = {int(self.pool_timeout * 1000)})"
        ).fetchall()

    def export_snapshot(self, cursor: duckdb.DuckDBPyConnection) -> str:
        """The snapshot of the server's transaction that belongs to a cursor's; it may be idle while others read."""
        patient = "set_config('idle_in_transaction_session_timeout', '0', true)"
        asked = exp.select("*").from_(self.remote_relation(f"SELECT pg_export_snapshot(), {patient}"))
        (found,) = cursor.execute(asked.sql("duckdb")).fetchall()
        return str(found[0])

    def adopt_snapshot(self, cursor: duckdb.DuckDBPyConnection, snapshot: str) -> None:
        """Begin the server's transaction of a cursor's with another one's snapshot."""
        name = exp.Literal.string(snapshot).sql(self.dialect)
        cursor.execute("CALL postgres_execute($1, $2)", [self.alias, f"SET TRANSACTION SNAPSHOT {name}"])

    def allow_helpers(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let the planner expect of parallel workers what they cost; how many there are stays the server's setting."""
        asked = f"SELECT set_config('parallel_tuple_cost', '{_HANDED_ROW}', true)"
        cursor.execute(exp.select("*").from_(self.remote_relation(asked)).sql("duckdb")).fetchall()

    def physical(self, table: VirtualTable) -> exp.Expr:
        """The table as the server names it; in its `query=`, too, a name without a schema is one of `public`."""
        physical = super().physical(table)
        for node in list(relations(physical)) if table.query else ():
            if not node.db and not node.name.lower().startswith("pg_"):
                node.set("db", exp.Identifier(this=self.default_schema, quoted=True))
        return physical

    def remote_relation(self, sql: str) -> exp.Expr:
        """`postgres_query`: the server gets `sql` as it is."""
        arguments = [exp.Literal.string(self.alias), exp.Literal.string(sql)]
        return exp.Table(this=exp.Anonymous(this="postgres_query", expressions=arguments))

    def _columns(self, table: VirtualTable) -> list[tuple[Any, ...]]:
        """Name, type, type with its parameters and kind of every column, as the server has them now.

        The last says whether equal texts have equal bytes there; of a column of a query that is so where it is of all.
        """
        return self._query_columns(table) if table.query else self._table_columns([table])[table.name]

    def _query_columns(self, table: VirtualTable) -> list[tuple[Any, ...]]:
        sql = exp.select("*").from_(self.physical(table).as_("answer")).limit(0).sql(self.dialect)

        def columns(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
            answer = connection.execute(sql.encode())
            described, result = answer.description or [], answer.pgresult
            assert result is not None
            marks = [(column.type_code, result.fmod(number)) for number, column in enumerate(described)]
            types = connection.execute(
                "SELECT format_type(t.oid, NULL), format_type(t.oid, m), 'q', "
                "NOT EXISTS (SELECT 1 FROM pg_collation WHERE NOT collisdeterministic) "
                "FROM unnest(%s::oid[], %s::int[]) "
                "WITH ORDINALITY AS marks(oid, m, place) JOIN pg_type t ON t.oid = marks.oid ORDER BY place",
                [[oid for oid, _ in marks], [mark for _, mark in marks]],
            ).fetchall()
            return [(column.name, *kind) for column, kind in zip(described, types, strict=True)]

        return self._control.do(columns)

    def _table_columns(self, tables: Sequence[VirtualTable]) -> dict[str, list[tuple[Any, ...]]]:
        """Columns by table, in one round trip; of a table that is not there, none."""
        places = [self._place(table) for table in tables]
        rows = self._ask(
            "SELECT w.place, a.attname, format_type(a.atttypid, NULL), format_type(a.atttypid, a.atttypmod), "
            "t.typtype, a.attcollation = 0 OR EXISTS (SELECT 1 FROM pg_collation l WHERE l.oid = a.attcollation "
            "AND l.collisdeterministic) "
            "FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS w(schema, name, place) "
            "JOIN pg_namespace n ON n.nspname = w.schema "
            "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "JOIN pg_type t ON t.oid = a.atttypid ORDER BY w.place, a.attnum",
            [[schema for schema, _ in places], [name for _, name in places]],
        )
        columns: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in tables}
        for place, *column in rows:
            columns[tables[place - 1].name].append(tuple(column))
        return columns

    def _place(self, table: VirtualTable) -> tuple[str, str]:
        """Schema and name of a table at the server."""
        schema, _, name = (table.table_name or table.name).rpartition(".")
        return schema or self.default_schema, name

    def revision(self, table: VirtualTable) -> str:
        """Columns and types as the server's catalog has them now."""
        columns = self._columns(table)
        if not columns:
            raise UnknownTable(
                f"table `{table.name}`: the source has no such table.", hint="Was it dropped or renamed?"
            )
        return repr(columns)

    def revisions(self, tables: Sequence[VirtualTable]) -> dict[str, str]:
        """Revisions by name, those of all plain tables in one round trip; a table that is not there is left out."""
        plain = self._table_columns([table for table in tables if not table.query])
        asked = {table.name: self._columns(table) for table in tables if table.query}
        return {name: repr(columns) for name, columns in (plain | asked).items() if columns}

    def facts(self, table: VirtualTable, described: Mapping[str, str]) -> dict[str, ColumnFacts]:
        """Exactness by the server's own type."""
        kinds = {name: (base, full, plain) for name, base, full, _, plain in self._columns(table)}
        out = {}
        for name, kind in described.items():
            base, full, plain = kinds.get(name, ("", "", False))
            scaled = base == "numeric" and "(" in full
            out[name] = ColumnFacts(kind, exact=plain and (base in _EXACT_TYPES or scaled))
        return out

    def estimate(self, sql: str) -> int | None:
        """Rows the server's planner expects of a query; None when it will not say."""
        try:
            rows = self._ask(f"EXPLAIN (FORMAT JSON) {sql}", [])
        except SchemaMismatch:
            return None
        plan = rows[0][0][0].get("Plan", {}) if rows else {}
        return int(plan["Plan Rows"]) if "Plan Rows" in plan else None

    def scan(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> Scan:
        """Translate a fragment to PostgreSQL's SQL, and decide between asking for it and scanning."""
        sql = self.asked_sql(fragment, tables, params)
        # Scanned, a masked column would come over as it is, for the engine to mask.
        scannable = not fragment.sealed and is_plain_scan(fragment.tree) and not carries_mask(fragment.tree)
        named = not any(tables[name].query for name in fragment.tables) and _compared_alike(fragment)
        rows = self._expected(fragment, sql)
        if scannable and named and (rows is None or rows > _SELECTIVE_ROWS):
            return Scan(sql=sql, rows=rows)
        return replace(self.answer(sql, fragment), rows=rows)

    def asked_sql(self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]) -> str:
        """A fragment in PostgreSQL's SQL."""
        return self._translate(fragment, tables, params).sql(self.dialect, copy=False)

    def _expected(self, fragment: Fragment, sql: str) -> int | None:
        """The rows that the server expects, or had before, if its conditions may leave much less than the table.

        Of a small table there is nothing to save, and a scan tells the engine how many rows to expect; of the
        answer to SQL it knows nothing when it orders its joins.
        """
        whole = fragment.estimated_rows
        if fragment.tree.args.get("where") is None or (whole is not None and whole <= _SELECTIVE_ROWS):
            return None
        seen = fragment.seen(sql)
        return self.estimate(sql) if seen is None else seen

    def _translate(
        self, fragment: Fragment, tables: Mapping[str, VirtualTable], params: Mapping[str, Any]
    ) -> exp.Query:
        tree = self.capability.translate_masks(bind_literals(fragment.tree, params))
        assert isinstance(tree, exp.Query)
        for node in every(tree, exp.Table):
            if node.db == RAW:
                physical = self.physical(tables[node.name])
                physical.set("alias", node.args.get("alias"))
                node.replace(physical)
        selects = [
            exp.alias_(_output(quoted_column(name), kind), name, quoted=True, copy=False)
            for name, kind in fragment.schema.items()
        ]
        if all(_output(exp.Null(), kind) == exp.Null() for kind in fragment.schema.values()):
            return tree
        return exp.Select(expressions=selects).from_(tree.subquery("answer", copy=False), copy=False)

    def statistics(self, table: VirtualTable) -> TableStatistics:
        """The planner's estimates in pg_class and pg_stats; never runs ANALYZE."""
        if table.query:
            return TableStatistics(source="pg_class")
        return postgresql_statistics.read(self._ask(postgresql_statistics.QUERY, list(self._place(table))))

    def link(self) -> Link | None:
        """Measured on the control connection."""
        return measured(lambda sql: self._ask(sql, []))

    def refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make the engine read the server's catalog again."""
        cursor.execute("CALL pg_clear_cache()")

    def cancel(self) -> None:
        """Cancel every statement of ours on the server; the engine alone would wait for the answer."""
        self._control.cancel()

    def stop(self, mark: str) -> None:
        """Cancel what one run asked."""
        self._control.cancel(mark)

    @property
    def round_trip(self) -> float:
        """Seconds that the quickest question took."""
        return self._control.round_trip

    def trouble(self) -> Trouble | None:
        """What a new connection meets now."""
        return self._control.trouble()

    def sever(self) -> None:
        """Break every connection of this source."""
        self._control.sever()

    def close(self) -> None:
        """Close the control connection."""
        self._control.close()


def _compared_alike(fragment: Fragment) -> bool:
    """Whether conditions that the scanner sends by itself mean at the server what they mean in the engine.

    It sends those of the residual and ranges of join keys, of every column that it scans: of a `citext`, where `'a'`
    lies between `'A'` and `'B'`, of a `char(n)`, of `numeric` without a scale, which comes as DOUBLE.
    """
    taken = ((select.alias_or_name, select.unalias().name.lower()) for select in fragment.tree.selects)
    return all(column not in fragment.inexact or fragment.schema.get(name) in _ALIKE_ANYWAY for name, column in taken)


def _output(node: exp.Expr, kind: str) -> exp.Expr:
    """`node` cast to what PostgreSQL must send so that it arrives as DuckDB type `kind`."""
    target = _OUTPUT_TYPES.get(kind) or (kind.replace("DECIMAL", "numeric") if kind.startswith("DECIMAL") else None)
    return node if target is None else exp.Cast(this=node, to=type_node(target, "postgres"))
