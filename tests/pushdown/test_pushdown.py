"""A seeded share of the trials; `make pushdown-proof` runs them all."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlglot

from tauro_nb.sources.capability import Capability
from tauro_nb.sources.mysql import CAPABILITY as MYSQL
from tauro_nb.sources.postgresql import CAPABILITY as POSTGRES
from tauro_nb.sources.sqlite import CAPABILITY as SQLITE
from tests.mariadb import MariaDBServer
from tests.pushdown.columns import COLUMNS
from tests.pushdown.expressions import Trial, trials
from tests.pushdown.proof import prove
from tests.pushdown.servers import Opened, on_mysql, on_postgres, on_sqlite
from tests.servers import PostgresServer

SEED = 1
PER_CLASS = 1
"""Trials of each node class, drawn anew when the seed changes."""
TABLES: dict[str, Capability] = {"postgres": POSTGRES, "mysql": MYSQL, "sqlite": SQLITE}


def chosen(dialect: str) -> list[Trial]:
    """Some trials of everything that has a name of its own, whatever its operands."""
    classes: dict[str, list[Trial]] = {}
    for trial in trials(COLUMNS[dialect]):
        classes.setdefault(trial.row.partition(" ")[0], []).append(trial)
    chance = random.Random(SEED)
    return [trial for group in classes.values() for trial in chance.sample(group, min(len(group), PER_CLASS))]


def share(dialect: str, opened: AbstractContextManager[Opened]) -> None:
    with opened as (ctx, plain):
        proof = prove(ctx, plain, chosen(dialect))
    assert not proof.wrong, f"seed {SEED}:\n" + "\n".join(proof.wrong)
    assert proof.proven.total() > 10
    assert proof.refused.total() > 10


@pytest.mark.postgres
def test_postgresql_answers_as_duckdb_does(postgres_server: PostgresServer) -> None:
    share("postgres", on_postgres(postgres_server))


@pytest.mark.mariadb
def test_mariadb_answers_as_duckdb_does(mariadb_server: MariaDBServer) -> None:
    share("mysql", on_mysql(mariadb_server))


def test_sqlite_answers_as_duckdb_does(tmp_path: Path) -> None:
    share("sqlite", on_sqlite(tmp_path))


def test_the_table_has_no_row_that_is_never_tried() -> None:
    """Each node class of each table stands in some trial, parsed as the road parses it."""
    for dialect, capability in TABLES.items():
        one_each = {trial.row.partition(",")[0]: trial.sql for trial in trials(COLUMNS[dialect])}
        trees = (sqlglot.parse_one(sql, dialect="duckdb") for sql in one_each.values())
        tried = {type(node) for tree in trees for node in tree.walk()}
        assert not capability.nodes.keys() - tried, dialect
