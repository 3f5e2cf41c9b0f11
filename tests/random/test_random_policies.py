"""Random policies x random queries: the answer is that of plain DuckDB over what the policy leaves, or both refuse.

`make policyfuzz N=500` tries 500 policies with `QUERIES` queries each; every run of the tests a small, seeded share.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tauro_nb import VirtualContext
from tauro_nb.errors import ExecutionError, PolicyError, SourceError, TauroError
from tests.mariadb import MariaDBServer
from tests.random.generator import random_query
from tests.random.places import MARIADB_COLLATIONS, PLACEMENTS
from tests.random.policies import Case, cases
from tests.random.tables import TABLES, make_tables
from tests.tpc.compare import answer, difference
from tests.tpc.sources import Sources

POLICIES = int(os.environ.get("TAURO_POLICIES", "25"))
QUERIES = 6
MIXES = PLACEMENTS[:5]

pytestmark = [pytest.mark.postgres, pytest.mark.mariadb]


class Worlds:
    """The tables under test at some mixes of sources, the oracle, and a tally of what came of all questions."""

    def __init__(self, contexts: list[VirtualContext], oracle: duckdb.DuckDBPyConnection) -> None:
        self.contexts = contexts
        self.oracle = oracle
        self.tally: Counter[str] = Counter()

    def settle(self, case: Case, ctx: VirtualContext) -> bool:
        """Put the policies in force, and make the oracle's tables; False when the product calls them wrong."""
        for name in TABLES:
            ctx.security.remove_policy(name)
        try:
            for table in case.tables:
                ctx.security.register_policy(table.policy())
        except PolicyError as wrong:
            if "equally strict" not in str(wrong):
                raise
            return False
        self.oracle.execute("DROP SCHEMA IF EXISTS seen CASCADE; CREATE SCHEMA seen")
        ruled = {table.name: table for table in case.tables}
        for name in TABLES:
            sql = ruled[name].seen(case.principal) if name in ruled else f'FROM raw."{name}"'
            if sql is not None:
                self.oracle.execute(f'CREATE TABLE seen."{name}" AS {sql}')
        return True

    def complaint(self, ctx: VirtualContext, case: Case, sql: str) -> str | None:
        """What is wrong with an answer; None when it is right."""
        self.oracle.execute("SET search_path = 'seen'")
        try:
            expected: Any = answer(self.oracle, sql)
            right = "answers"
        except (duckdb.BinderException, duckdb.CatalogException):
            right = "refused"
        except duckdb.Error:
            right = "fails"
        try:
            table = ctx.as_principal(case.principal).query(sql).to_arrow()
            found = "answers"
        except TauroError as error:
            if "(Internal)" in str(error):
                # DuckDB's SQLite scanner (1.5.5) fails on some filters that no row can pass: not a wrong answer.
                self.tally["scanner failed"] += 1
                return None
            table = error
            found = "fails" if isinstance(error, (ExecutionError, SourceError)) else "refused"
        self.tally[right] += 1
        if found != right:
            return f"{found}, expected: {right} ({table if found != 'answers' else table.num_rows})"
        if right == "answers":
            self.tally["with rows"] += expected.table.num_rows > 0
            return difference(table, expected)
        return None


def _defines_in_vain(sql: str) -> bool:
    """Whether a CTE is not used: DuckDB does not even look at such, where we refuse what it says of closed tables."""
    return any(sql.count(f" {name} ") == 1 for name in ("w0", "w1"))


@pytest.fixture(scope="module")
def worlds(
    tmp_path_factory: pytest.TempPathFactory, postgres_uri: str, mariadb_server: MariaDBServer
) -> Iterator[Worlds]:
    paths: dict[str, Path] = make_tables(tmp_path_factory.mktemp("policies"), 41)
    contexts = []
    for number, placement in enumerate(MIXES):
        schema = f"policies_{number}"
        folder = tmp_path_factory.mktemp(schema)
        placed = Sources(
            folder, paths, placement, postgres_uri, schema,
            mariadb=mariadb_server, mariadb_collations=MARIADB_COLLATIONS,
        ).load()  # fmt: skip
        contexts.append(VirtualContext(placed.config()))
    with duckdb.connect() as oracle:
        oracle.execute("SET TimeZone = 'UTC'; SET disabled_optimizers = 'join_filter_pushdown'; CREATE SCHEMA raw")
        for name, path in paths.items():
            oracle.execute(f"CREATE TABLE raw.{name} AS FROM '{path}'")
        yield Worlds(contexts, oracle)
    for ctx in contexts:
        ctx.close()


def test_a_random_query_under_a_random_policy_answers_as_the_oracle_does(worlds: Worlds) -> None:
    wrong: list[str] = []

    # Every case is tried, and those that are wrong are listed together: they are more telling than one made small.
    @settings(
        max_examples=POLICIES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=cases(), first=st.integers(0, 10**6), place=st.sampled_from(range(len(MIXES))))
    def check(case: Case, first: int, place: int) -> None:
        ctx = worlds.contexts[place]
        if not worlds.settle(case, ctx):
            worlds.tally["ties"] += 1
            return
        for number in range(QUERIES):
            sql = random_query(first * QUERIES + number)
            if _defines_in_vain(sql):
                continue
            complaint = worlds.complaint(ctx, case, sql)
            if complaint is not None:
                wrong.append(f"placement {place}: {complaint}\n{sql}\n{case}")

    check()
    print(f"policies: {POLICIES}, questions: {dict(worlds.tally)}")  # noqa: T201 - `make policyfuzz` shows it
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n\n".join(wrong[:10])
    assert worlds.tally["scanner failed"] <= 1 + POLICIES // 20
    asked = worlds.tally["answers"] + worlds.tally["refused"] + worlds.tally["fails"]
    assert worlds.tally["answers"] > asked / 3
    assert worlds.tally["with rows"] > worlds.tally["answers"] / 3
