"""C24 to C27 and C30: nothing writes, at whatever door, with or without a policy; each refusal is one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ibis
import pyarrow as pa
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError, UnsupportedStatement
from tauro_nb.magics import load, unload
from tests.security.conformance.worlds import World, open_world

FILTER = "dept IN (SELECT dept FROM rights WHERE who = {principal})"
ROW = "(7, 'Eve', 'eng', 1, '1007')"
STATEMENTS = {
    "c24_delete_inside": "DELETE FROM people WHERE dept = 'eng'",
    "c24_delete_in": "DELETE FROM people WHERE id IN (SELECT id FROM people)",
    "c24_delete_all": "DELETE FROM people",
    "c24_delete_outside": "DELETE FROM people WHERE dept = 'hr'",
    "c24_truncate": "TRUNCATE people",
    "c25_update_inside": "UPDATE people SET pay = 1 WHERE dept = 'eng'",
    "c25_update_outside": "UPDATE people SET pay = 1 WHERE dept = 'hr'",
    "c25_update_moves_out": "UPDATE people SET dept = 'hr' WHERE dept = 'eng'",
    "c25_update_to_null": "UPDATE people SET dept = NULL",
    "c26_insert_inside": f"INSERT INTO people VALUES {ROW}",
    "c26_insert_outside": "INSERT INTO people VALUES (7, 'Eve', 'hr', 1, '1007')",
    "c26_insert_batch": f"INSERT INTO people VALUES {ROW}, (8, 'Eve', 'hr', 1, '1008')",
    "c26_insert_select": "INSERT INTO people SELECT * FROM people",
    "c26_insert_returning": f"INSERT INTO people VALUES {ROW} RETURNING *",
    "c27_merge": "MERGE INTO people p USING orders o ON o.person = p.id WHEN MATCHED THEN DELETE",
    "c30_insert_without_the_filter's_column": "INSERT INTO people (id, name) VALUES (7, 'Eve')",
    "create_table_as": "CREATE TABLE mine AS SELECT * FROM people",
    "create_view": "CREATE VIEW mine AS SELECT * FROM people",
    "copy": "COPY people TO '/tmp/people.csv'",
    "select_into": "SELECT * INTO mine FROM people",
    "cte_delete": "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
    "second_statement": "SELECT 1; DELETE FROM people",
}


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world("sqlite", tmp_path_factory.mktemp("written"), request) as opened, opened.policy(FILTER):
        yield opened


@pytest.fixture(scope="module")
def shell(world: World) -> Iterator[InteractiveShell]:
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_ns={"catalog": world.root})
    load(shell)
    shell.run_cell("%vconnect catalog").raise_error()
    yield shell
    unload(shell)


Door = Callable[[VirtualContext, InteractiveShell, str], Any]


def by_query(ctx: VirtualContext, _: InteractiveShell, sql: str) -> Any:
    return ctx.query(sql)


def by_lazy_sql(ctx: VirtualContext, _: InteractiveShell, sql: str) -> Any:
    return ctx.sql(sql).to_pyarrow()


def by_raw_sql(ctx: VirtualContext, _: InteractiveShell, sql: str) -> Any:
    return ctx.ibis().raw_sql(sql)


def by_dbapi(ctx: VirtualContext, _: InteractiveShell, sql: str) -> Any:
    return tauro_nb.connect(ctx).execute(sql)


def by_executemany(ctx: VirtualContext, _: InteractiveShell, sql: str) -> Any:
    return tauro_nb.connect(ctx).cursor().executemany(sql, [(), ()])


def by_magic(ctx: VirtualContext, shell: InteractiveShell, sql: str) -> Any:
    return shell.run_cell(f"%%vquery --principal {ctx.principal.name}\n{sql}").raise_error()


DOORS: tuple[Door, ...] = (by_query, by_lazy_sql, by_raw_sql, by_dbapi, by_executemany, by_magic)


def everything(world: World) -> list[dict[str, Any]]:
    return world.root.query("SELECT * FROM people ORDER BY id").rows()


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_c24_to_c27_statements_that_write(world: World, shell: InteractiveShell, door: Door) -> None:
    before = everything(world)
    for who in (world.ana, world.root):
        for name, sql in STATEMENTS.items():
            with pytest.raises(Exception) as caught:  # noqa: PT011 - the DB-API has errors of its own
                door(who, shell, sql)
            assert "hidden-" not in str(caught.value), name
            assert "rights" not in str(caught.value), name
    assert everything(world) == before


def test_c24_to_c27_the_error_says_which_statement(world: World) -> None:
    for word in ("DELETE", "UPDATE", "INSERT", "MERGE", "CREATE", "COPY"):
        sql = next(text for text in STATEMENTS.values() if text.startswith(word))
        with pytest.raises(UnsupportedStatement, match=word):
            world.ana.query(sql)


IBIS_WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "insert": lambda con, rows: con.insert("people", rows),
    "insert_overwrite": lambda con, rows: con.insert("people", rows, overwrite=True),
    "create_table": lambda con, rows: con.create_table("people", rows, overwrite=True),
    "create_table_as": lambda con, _: con.create_table("mine", con.table("people")),
    "create_view": lambda con, _: con.create_view("people", con.table("orders"), overwrite=True),
    "drop_table": lambda con, _: con.drop_table("people"),
    "drop_view": lambda con, _: con.drop_view("staff"),
    "truncate_table": lambda con, _: con.truncate_table("people"),
    "rename_table": lambda con, _: con.rename_table("people", "others"),
    "upsert": lambda con, rows: con.upsert("people", rows, on="id"),
}


@pytest.mark.parametrize("name", IBIS_WRITES)
def test_c24_to_c27_c30_ibis(world: World, name: str) -> None:
    before = everything(world)
    rows = pa.table({"id": pa.array([7], pa.int64()), "name": ["Eve"]})
    for who in (world.ana, world.root):
        with pytest.raises((TauroError, NotImplementedError, ibis.common.exceptions.IbisError)) as caught:
            IBIS_WRITES[name](who.ibis(), rows)
        assert "hidden-" not in str(caught.value)
    assert everything(world) == before


def test_c26_files_that_ibis_writes_hold_what_may_be_seen(world: World, tmp_path: Any) -> None:
    path = tmp_path / "people.parquet"
    world.ana.table("people").to_parquet(path)
    import pyarrow.parquet as pq

    assert sorted(pq.read_table(path).column("id").to_pylist()) == [1, 3, 4]
