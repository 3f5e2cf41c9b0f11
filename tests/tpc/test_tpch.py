"""The 22 TPC-H queries over split tables answer exactly what plain DuckDB answers, as SQL and as Ibis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pytest

from tests.tpc.compare import Answer, answer, difference
from tests.tpc.data import queries
from tests.tpc.sources import Sources
from tests.tpc.tpch_ibis import QUERIES, Tables

NUMBERS = range(1, 23)
PLACEMENTS = ("tpch_split", "tpch_rotated", "tpch_all_postgres")

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module", params=PLACEMENTS)
def placed(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A context over one placement of the tables."""
    yield from _context(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def split(tpch_split: Sources) -> Iterator[Any]:
    yield from _context(tpch_split)


def _context(sources: Sources) -> Iterator[Any]:
    from tauro_nb.context import VirtualContext

    ctx = VirtualContext(config=sources.config())
    yield ctx
    ctx.close()


@pytest.fixture(scope="module")
def texts(plain_tpch: duckdb.DuckDBPyConnection) -> dict[int, str]:
    return queries(plain_tpch, "tpch")


@pytest.fixture(scope="module")
def answers(plain_tpch: duckdb.DuckDBPyConnection, texts: dict[int, str]) -> dict[int, Answer]:
    return {number: answer(plain_tpch, text) for number, text in texts.items()}


@pytest.mark.parametrize("number", NUMBERS)
def test_sql_answers_like_plain_duckdb(
    placed: Any, texts: dict[int, str], answers: dict[int, Answer], number: int
) -> None:
    result = placed.query(texts[number])
    assert difference(result.to_arrow(), answers[number]) is None, result.plan.residual_sql


@pytest.mark.parametrize("number", NUMBERS)
def test_ibis_answers_like_plain_duckdb(split: Any, answers: dict[int, Answer], number: int) -> None:
    result = split.query(QUERIES[number](Tables.of(split.table)))
    assert difference(result.to_arrow(), answers[number]) is None, result.plan.residual_sql


@pytest.mark.parametrize("number", NUMBERS)
def test_the_ibis_expressions_ask_the_same_questions(
    plain_tpch: duckdb.DuckDBPyConnection, answers: dict[int, Answer], number: int
) -> None:
    tables = Tables.of(ibis.duckdb.from_connection(plain_tpch).table)
    table: pa.Table = plain_tpch.execute(ibis.to_sql(QUERIES[number](tables), dialect="duckdb")).to_arrow_table()
    assert difference(table, answers[number]) is None


def test_every_answer_has_rows(answers: dict[int, Answer]) -> None:
    assert [number for number, found in answers.items() if found.table.num_rows == 0] == []
