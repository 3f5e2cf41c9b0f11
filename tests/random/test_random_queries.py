"""Random queries over tables in PostgreSQL, MariaDB, SQLite, DuckDB, Parquet and CSV answer like plain DuckDB.

`TAURO_RANDOM_QUERIES=10000` asks for more than the 300 of every run, `TAURO_RANDOM_SEED` for others. A failure prints
the seed, the query, the smallest query that fails in the same way, and its plan.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import duckdb
import pytest

from tests.mariadb import MariaDBServer
from tests.random.places import opened, plain_copy
from tests.random.tables import ODD_TABLES, TABLES, make_tables
from tests.random.trial import Trials

USUAL = 300
QUERIES = int(os.environ.get("TAURO_RANDOM_QUERIES", USUAL))
SEED = int(os.environ.get("TAURO_RANDOM_SEED", "20231122"))

OFTEN = {
    "several sources": 0.4, "bind join": 0.2, "keys from one server to another": 0.03, "a step": 0.4,
    "joined at a source beside others": 0.02, "semi-join at a source beside others": 0.003,
    "aggregated below a join": 0.015, "semi-join in the engine": 0.003, "whole at one source": 0.01,
    "parameters": 0.12, "other figures": 0.005,
}  # fmt: skip
"""The part of all queries that takes a road at least."""
LEAST = 3
"""Queries; whether fewer take a road is chance: plans go by how fast a server answers, too."""

pytestmark = [pytest.mark.postgres, pytest.mark.mariadb]


@pytest.fixture(scope="module")
def trials(
    tmp_path_factory: pytest.TempPathFactory, postgres_uri: str, mariadb_server: MariaDBServer
) -> Iterator[Trials]:
    folder = tmp_path_factory.mktemp("random")
    paths = make_tables(folder, SEED, {**TABLES, **ODD_TABLES})
    # To open and describe sources takes as long as many a query: every second placement is enough for the usual 300.
    step = 2 if QUERIES <= USUAL else 1
    with duckdb.connect() as plain, opened(folder, paths, postgres_uri, mariadb_server, step) as contexts:
        plain_copy(plain, paths)
        yield Trials(contexts, plain, SEED)


@pytest.mark.parametrize("number", range(QUERIES))
def test_a_random_query_answers_like_plain_duckdb(trials: Trials, number: int) -> None:
    if trials.outcome(number).complaint is not None:
        pytest.fail(trials.report(number), pytrace=False)


def test_every_road_is_taken_often(trials: Trials) -> None:
    taken: Counter[str] = sum((trials.outcome(number).roads for number in range(QUERIES)), Counter())
    rare = {name: taken[name] for name, share in OFTEN.items() if taken[name] < share * QUERIES >= LEAST}
    assert not rare, f"of {QUERIES} queries: {dict(taken)}"


def test_most_questions_have_rows(trials: Trials) -> None:
    answered = [trials.outcome(number).rows > 0 for number in range(QUERIES)]
    assert sum(answered) >= 0.8 * QUERIES
