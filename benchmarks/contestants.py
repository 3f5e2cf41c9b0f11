"""Who runs: ours, DuckDB with the databases attached, Ibis with frames, and DuckDB with everything in local files.

Each lives in a process of its own; see `asked`.
"""

from __future__ import annotations

import functools
import operator
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.optimizer import optimize
from sqlglot.optimizer.pushdown_predicates import pushdown_predicates
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify

from benchmarks.asked import Contestant, serve
from benchmarks.by_hand import Pandas
from benchmarks.setting import Setting
from tauro_nb.query.trees import conjuncts
from tests.tpc.data import extension_file

__all__ = ["CONTESTANTS"]


class Ours(Contestant):
    """The product, with its default settings."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        from tauro_nb.context import VirtualContext  # the others must not pay for it in memory

        self.ctx = VirtualContext(config=setting.catalog())

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        result = self.ctx.query(text)
        return result.to_arrow(), result.stats.plan_ms

    def plan(self, text: str) -> Any:
        return self.ctx.plan(text)


class Local(Contestant):
    """Plain DuckDB over Parquet files: what it would cost if everything were here already."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.con = duckdb.connect(config={"extension_directory": tempfile.mkdtemp(prefix="tauro-bench-")})
        self.con.execute("SET enable_progress_bar = false")
        self._create_views()

    def _create_views(self) -> None:
        for name, path in self.setting.paths.items():
            self.con.execute(f"CREATE VIEW {name} AS FROM '{path}'")

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        return self.con.execute(text).to_arrow_table(), None


class Attach(Local):
    """Plain DuckDB, databases attached, views over their tables: what a person does without us."""

    def _create_views(self) -> None:
        for name, database in self.setting.databases.items():
            scanner, kind, schema = _SCANNERS[database.kind]
            self.con.execute(f"INSTALL '{extension_file(scanner)}'")
            self.con.execute(f"LOAD {scanner}")
            self.con.execute(f"ATTACH '{database.uri}' AS {name} (TYPE {kind}, READ_ONLY)")
            for table in (table for table, place in self.setting.places.items() if place == name):
                self.con.execute(f"CREATE VIEW {table} AS FROM {name}.{schema}{table}")
        for table in self.setting.paths.keys() - self.setting.places.keys():
            self.con.execute(f"CREATE VIEW {table} AS FROM '{self.setting.paths[table]}'")


_SCANNERS = {"postgresql": ("postgres_scanner", "postgres", "public."), "mysql": ("mysql_scanner", "mysql", "")}


class Frames(Contestant):
    """Ibis reads from each source the columns and rows that a query needs of each table; they are joined here.

    Which those are a person would write by hand; here sqlglot finds them, outside of the clock. The frames are
    Arrow's, and DuckDB joins them: with those of pandas and its `merge` it would take longer.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import ibis

        self.files = ibis.duckdb.connect()
        self.backends = {name: ibis.connect(one.uri) for name, one in setting.databases.items()}
        self.con = duckdb.connect()
        self.con.execute("SET enable_progress_bar = false")
        for name, path in setting.paths.items():
            self.con.execute(f"CREATE VIEW {name} AS FROM '{path}'")
        rows = self.con.execute("SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")
        self.schema: dict[str, dict[str, str]] = {}
        for table, column, kind in rows.fetchall():
            self.schema.setdefault(table, {})[column] = kind
        self._ready: dict[str, tuple[str, dict[str, exp.Select]]] = {}

    def plan(self, text: str) -> Any:
        """Which parts of which tables; remembered."""
        if text not in self._ready:
            rules = (qualify, pushdown_predicates, pushdown_projections)
            tree = optimize(sqlglot.parse_one(text, dialect="duckdb"), self.schema, dialect="duckdb", rules=rules)
            self._ready[text] = _parts(tree)
        return self._ready[text]

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        rest, parts = self.plan(text)
        with self.con.cursor() as cursor:
            for name, part in parts.items():
                cursor.register(name, self._read(part))
            return cursor.execute(rest).to_arrow_table(), None

    def _read(self, part: exp.Select) -> Any:
        name = next(part.find_all(exp.Table)).name
        place = self.setting.places.get(name)
        path = self.setting.paths[name]
        table = self.files.read_parquet(path) if place is None else self.backends[place].table(name)
        where = part.args.get("where")
        conditions = [_in_ibis(table, node) for node in conjuncts(where.this if where else None)]
        named = [item.name for item in part.selects if isinstance(item, exp.Column)]
        # A frame needs a column, even if only its rows are counted.
        kept = table.filter(*conditions) if conditions else table
        return kept[named or list(table.columns[:1])].to_pyarrow()


_COMPARED = {exp.EQ: "eq", exp.NEQ: "ne", exp.LT: "lt", exp.LTE: "le", exp.GT: "gt", exp.GTE: "ge"}


def _in_ibis(table: Any, node: exp.Expr) -> Any:
    """A condition as a person would write it in Ibis; one that is not listed keeps all rows."""
    node = node.unnest()
    value = partial(_value, table)
    if type(node) in _COMPARED:
        return getattr(operator, _COMPARED[type(node)])(value(node.this), value(node.expression))
    if isinstance(node, exp.Between):
        return value(node.this).between(value(node.args["low"]), value(node.args["high"]))
    if isinstance(node, exp.In) and node.expressions:
        return value(node.this).isin([item.name for item in node.expressions])
    if isinstance(node, exp.Like):
        return value(node.this).like(node.expression.name)
    if isinstance(node, exp.Connector):
        combine = operator.or_ if isinstance(node, exp.Or) else operator.and_
        return functools.reduce(combine, (_in_ibis(table, part) for part in node.flatten()))
    return True


def _value(table: Any, node: exp.Expr) -> Any:
    import ibis

    if isinstance(node, exp.Column):
        return table[node.name]
    if isinstance(node, exp.Cast):
        return ibis.date(node.this.name)
    return node.to_py()


def _parts(tree: exp.Expr) -> tuple[str, dict[str, exp.Select]]:
    """The query over frames, and what each frame holds: columns of one table, and the conditions on it alone."""
    parts: dict[str, exp.Select] = {}
    for select in list(tree.find_all(exp.Select)):
        joins = select.args.get("joins") or []
        outer = any(join.side for join in joins)
        for relation in [
            relation for relation in (select.args["from_"], *joins) if isinstance(relation.this, exp.Table)
        ]:
            table = relation.this
            if table.name in {cte.alias for cte in tree.find_all(exp.CTE)}:
                continue
            alias, frame = table.alias_or_name, f"frame_{len(parts)}"
            columns = sorted({column.name for column in tree.find_all(exp.Column) if column.table == alias})
            part = exp.select(*(exp.column(name, alias) for name in columns) if columns else [exp.Literal.number(1)])
            part = part.from_(table.copy())
            where = select.args.get("where")
            for condition in conjuncts(where.this if where and not outer else None):
                own = {column.table for column in condition.find_all(exp.Column)} == {alias}
                if own and not condition.find(exp.Query):
                    part = part.where(condition.copy())
            parts[frame] = part
            table.replace(exp.alias_(exp.to_table(frame), alias, table=True))
    return tree.sql("duckdb"), parts


CONTESTANTS: Mapping[str, type[Contestant]] = {
    "ours": Ours,
    "attach": Attach,
    "frames": Frames,
    "local": Local,
    "pandas": Pandas,
}


if __name__ == "__main__":
    serve(CONTESTANTS)
