"""Random queries over tables spread across PostgreSQL, SQLite, DuckDB, Parquet and CSV answer like plain DuckDB.

`TAURO_RANDOM_QUERIES=10000` asks for more than the 300 of every run, `TAURO_RANDOM_SEED` for others. A failure prints
the seed, the query, the smallest query that fails in the same way, and its plan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tests.random.generator import random_query
from tests.random.shrink import shrink
from tests.random.tables import PLACEMENTS, make_tables
from tests.tpc.compare import Answer, answer, difference
from tests.tpc.sources import Sources

QUERIES = int(os.environ.get("TAURO_RANDOM_QUERIES", "300"))
SEED = int(os.environ.get("TAURO_RANDOM_SEED", "20231122"))
CANDIDATES = 4
SHRUNK = 5  # failures that are made small; the rest print as they are

pytestmark = pytest.mark.postgres

# Columns for which a database compares, orders or matches strings unlike DuckDB does.
SQLITE_COLLATIONS = {("people", "name"): "NOCASE", ("items", "code"): "NOCASE", ("orders", "note"): "RTRIM"}
POSTGRES_CASELESS = (("people", "name"), ("orders", "code"), ("cities", "city"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_tables(tmp_path_factory.mktemp("random"), SEED)


@pytest.fixture(scope="module")
def plain(paths: dict[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        # With it DuckDB 1.5.5 gives wrong answers: a join's filter passes below a LIMIT (duckdb/duckdb#22924).
        con.execute("SET disabled_optimizers = 'join_filter_pushdown'")
        for name, path in paths.items():
            con.execute(f"CREATE TABLE {name} AS FROM '{path}'")
        yield con


@pytest.fixture(scope="module")
def contexts(
    paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, postgres_uri: str
) -> Iterator[list[Any]]:
    """One context for each placement."""
    from tauro_nb.context import VirtualContext

    opened = []
    for number, placement in enumerate(PLACEMENTS):
        schema = f"random_{number}"
        folder = tmp_path_factory.mktemp(schema)
        sources = Sources(folder, paths, placement, postgres_uri, schema, sqlite_collations=SQLITE_COLLATIONS).load()
        _make_caseless(postgres_uri, schema, placement)
        opened.append(VirtualContext(config=sources.config()))
    yield opened
    for ctx in opened:
        ctx.close()


def _make_caseless(uri: str, schema: str, placement: Mapping[str, str]) -> None:
    with psycopg.connect(uri, autocommit=True) as server:
        server.execute("CREATE EXTENSION IF NOT EXISTS citext")
        for table, column in POSTGRES_CASELESS:
            if placement[table] == "postgresql":
                server.execute(f"ALTER TABLE {schema}.{table} ALTER COLUMN {column} TYPE citext".encode())


@pytest.fixture(scope="module")
def shrunk() -> list[str]:
    """The failures made small so far."""
    return []


def _question(plain: duckdb.DuckDBPyConnection, number: int) -> tuple[str, Answer]:
    """The first of a few candidates that plain DuckDB accepts and answers with rows, else the last accepted."""
    accepted: tuple[str, Answer] | None = None
    for candidate in range(CANDIDATES):
        text = random_query(SEED + number * CANDIDATES + candidate)
        try:
            accepted = text, answer(plain, text)
        except duckdb.Error:
            continue
        if accepted[1].table.num_rows:
            break
    assert accepted is not None
    return accepted


def _complaint(ctx: Any, text: str, expected: Answer) -> str | None:
    """What is wrong with our answer; an exception counts."""
    try:
        table = ctx.query(text).to_arrow()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return difference(table, expected)


def _smallest(ctx: Any, plain: duckdb.DuckDBPyConnection, text: str, complaint: str) -> str:
    kind = complaint.split(":", maxsplit=1)[0]

    def still_fails(candidate: str) -> bool:
        try:
            expected = answer(plain, candidate)
        except duckdb.Error:
            return False
        found = _complaint(ctx, candidate, expected)
        # An exception must stay that exception, a wrong answer may become another wrong answer.
        return (
            found is not None and (("Error" in kind) == ("Error" in found)) and ("Error" not in kind or kind in found)
        )

    return shrink(text, still_fails)


def _report(ctx: Any, text: str) -> str:
    try:
        plan = ctx.plan(text)
        return "\n".join([*(f"{part.id} on {part.source}: {part.sql}" for part in plan.fragments), plan.residual_sql])
    except Exception as error:  # noqa: BLE001
        return f"no plan: {type(error).__name__}: {error}"


@pytest.mark.parametrize("number", range(QUERIES))
def test_a_random_query_answers_like_plain_duckdb(
    contexts: list[Any], plain: duckdb.DuckDBPyConnection, shrunk: list[str], number: int
) -> None:
    text, expected = _question(plain, number)
    place = number % len(contexts)
    complaint = _complaint(contexts[place], text, expected)
    if complaint is None:
        return
    small = text
    if len(shrunk) < SHRUNK:
        small = _smallest(contexts[place], plain, text, complaint)
        shrunk.append(small)
    origin = f"TAURO_RANDOM_SEED={SEED} query {number} placement {place}: {complaint}"
    plan = _report(contexts[place], small)
    pytest.fail("\n\n".join((origin, text, f"smallest: {small}", plan)), pytrace=False)


def test_most_questions_have_rows(plain: duckdb.DuckDBPyConnection) -> None:
    answered = [_question(plain, number)[1].table.num_rows > 0 for number in range(100)]
    assert sum(answered) >= 80
