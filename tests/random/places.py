"""Where the random tables live: ways to spread them over sources, views over them, and contexts that read them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import psycopg

from tauro_nb import VirtualContext
from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics
from tests.mariadb import MariaDBServer
from tests.random.tables import ODD_TABLES, TABLES, Columns
from tests.tpc.sources import Sources

__all__ = ["ALL_TABLES", "PLACEMENTS", "VIEWS", "exaggerate", "opened", "plain_copy"]

_SPREAD = "people orders items visits cities rates links oddities"
_PLACED = (
    "postgresql sqlite parquet duckdb csv parquet postgresql sqlite",
    "sqlite postgresql postgresql sqlite duckdb csv parquet postgresql",
    "duckdb postgresql sqlite postgresql postgresql sqlite csv postgresql",
    "mysql postgresql parquet mysql csv postgresql mysql mysql",
    "postgresql mysql mysql parquet mysql csv postgresql duckdb",
    "mysql mysql.other mysql mysql.other mysql parquet mysql.other mysql",
    "mysql mysql mysql mysql mysql mysql mysql mysql",
    "postgresql postgresql postgresql postgresql postgresql postgresql postgresql postgresql",
    "sqlite mysql sqlite mysql sqlite mysql sqlite mysql",
    "postgresql mysql postgresql mysql postgresql mysql mysql postgresql",
)
PLACEMENTS: tuple[Mapping[str, str], ...] = tuple(
    dict(zip(_SPREAD.split(), placed.split(), strict=True)) for placed in _PLACED
)
"""PostgreSQL, MariaDB (also two of its databases), SQLite, DuckDB and files, mixed; everything in one server, too."""

# Columns for which a database compares, orders or matches strings unlike DuckDB does.
SQLITE_COLLATIONS = {("people", "name"): "NOCASE", ("items", "code"): "NOCASE", ("orders", "note"): "RTRIM"}
POSTGRES_CASELESS = (("people", "name"), ("orders", "code"), ("cities", "city"))
MARIADB_COLLATIONS = {
    ("people", "city"): "utf8mb4_bin", ("orders", "code"): "utf8mb4_bin", ("items", "label"): "utf8mb4_unicode_ci",
    ("visits", "city"): "utf8mb4_nopad_bin", ("rates", "country"): "utf8mb4_bin",
}  # fmt: skip

VIEWS: dict[str, tuple[str, Columns]] = {
    "residents": (
        """SELECT p.id, p.name, p.balance, c.country, c.population
           FROM people p LEFT JOIN cities c ON c.city = p.city""",
        {"id": "INTEGER", "name": "VARCHAR", "balance": "DECIMAL(12,2)", "country": "VARCHAR", "population": "BIGINT"},
    ),
    "bought": (
        """SELECT o.person_id, o.code, i.label, o.qty * 2 AS twice, o.placed
           FROM orders o JOIN items i USING (code) WHERE o.qty > 2""",
        {"person_id": "INTEGER", "code": "VARCHAR", "label": "VARCHAR", "twice": "INTEGER", "placed": "TIMESTAMP"},
    ),
    "totals": (
        "SELECT person_id, count(*) AS visits, max(day) AS last, bool_or(paid) AS paid FROM visits GROUP BY person_id",
        {"person_id": "INTEGER", "visits": "BIGINT", "last": "DATE", "paid": "BOOLEAN"},
    ),
    "spread": (
        """SELECT r.id, r.country, t.visits, t.last, b.code AS "Best Code"
           FROM residents r JOIN totals t ON t.person_id = r.id
           LEFT JOIN bought b ON b.person_id = r.id AND b.twice > 30""",
        {"id": "INTEGER", "country": "VARCHAR", "visits": "BIGINT", "last": "DATE", "Best Code": "VARCHAR"},
    ),
}
"""Views, also over views: each with its columns."""

ALL_TABLES: Mapping[str, Columns] = {**TABLES, **ODD_TABLES, **{name: columns for name, (_, columns) in VIEWS.items()}}


def plain_copy(con: duckdb.DuckDBPyConnection, paths: Mapping[str, Path]) -> None:
    """The tables and views in plain DuckDB, whose answers are the right ones."""
    # With it DuckDB 1.5.5 gives wrong answers: a join's filter passes below a LIMIT (duckdb/duckdb#22924).
    con.execute("SET disabled_optimizers = 'join_filter_pushdown'; SET memory_limit = '1GB'")
    for name, path in paths.items():
        con.execute(f"CREATE TABLE {name} AS FROM '{path}'")
    for name, (sql, _) in VIEWS.items():
        con.execute(f"CREATE VIEW {name} AS {sql}")


@contextmanager
def opened(
    folder: Path, paths: Mapping[str, Path], postgres_uri: str, mariadb: MariaDBServer
) -> Iterator[list[VirtualContext]]:
    """One context for each placement."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(VirtualContext(_loaded(folder, number, paths, postgres_uri, mariadb)))
            for number in range(len(PLACEMENTS))
        ]


def _loaded(
    folder: Path, number: int, paths: Mapping[str, Path], postgres_uri: str, mariadb: MariaDBServer
) -> dict[str, object]:
    placement, schema = PLACEMENTS[number], f"random_{number}"
    sources = Sources(
        folder / schema, paths, placement, postgres_uri, schema, sqlite_collations=SQLITE_COLLATIONS,
        mariadb=mariadb, mariadb_collations=MARIADB_COLLATIONS,
    ).load()  # fmt: skip
    _make_caseless(postgres_uri, schema, placement)
    config = sources.config()
    config["virtual_tables"] |= {name: {"query": sql} for name, (sql, _) in VIEWS.items()}
    return config


def _make_caseless(uri: str, schema: str, placement: Mapping[str, str]) -> None:
    with psycopg.connect(uri, autocommit=True) as server:
        server.execute("CREATE EXTENSION IF NOT EXISTS citext")
        for table, column in POSTGRES_CASELESS:
            if placement[table] == "postgresql":
                server.execute(f"ALTER TABLE {schema}.{table} ALTER COLUMN {column} TYPE citext".encode())


def exaggerate(ctx: VirtualContext, seed: int) -> None:
    """Tell the planner of large tables: what it decides of them costs must not show in an answer."""
    rng = random.Random(seed)
    for name, columns in {**TABLES, **ODD_TABLES}.items():
        rows = rng.choice((20, 300, 40_000, 2_000_000, 2_000_000))
        facts = {
            column: ColumnStatistics(
                distinct_count=max(1, rows // rng.choice((1, 2, 20, 1_000, 50_000))),
                null_fraction=0.1,
                average_bytes=rng.choice((4.0, 40.0)),
                indexed=rng.random() < 0.7,
            )
            for column in columns
        }
        ctx.schema_registry.record_statistics(name, TableStatistics(rows, rows * 60, facts, source="a test"))
