"""What an error carries when it leaves: nothing that other packages said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import ExecutionError, TauroError
from tauro_nb.query.planner import Planner

SECRET = "SECRET-7"


@pytest.fixture
def ctx(tmp_path: Path) -> Any:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT if(i = 150000, '{SECRET}', '1') AS v FROM range(200000) r(i)")
    config = {
        "connections": {"wh": {"type": "duckdb", "path": str(tmp_path / "w.duckdb")}},
        "virtual_tables": {"t": {"connector_type": "duckdb", "connection": "wh", "table": "t"}},
    }
    with VirtualContext(config) as ctx:
        yield ctx


def words(error: BaseException | None) -> str:
    """Everything an error leads to: texts, causes and contexts, also those that are not shown."""
    seen: list[str] = []
    stack, known = [error], set()
    while stack:
        found = stack.pop()
        if found is not None and id(found) not in known:
            known.add(id(found))
            seen.append(f"{found!r} {found}")
            stack += [found.__cause__, found.__context__]
    return " ".join(seen)


@pytest.mark.parametrize(
    "sql", ["SELECT sum(v::INT) AS s FROM t", "SELECT v::INT AS i FROM t", "SELECT nowhere FROM t"]
)
def test_an_error_leads_to_no_other(ctx: VirtualContext, sql: str) -> None:
    """The first fails at once, the second while its batches stream, the third when it is bound."""
    with pytest.raises(TauroError) as caught:
        ctx.query(sql).to_arrow()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert SECRET not in words(caught.value)


def test_the_unforeseen_is_told_by_class_and_place(ctx: VirtualContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_: Any, **__: Any) -> Any:
        raise OverflowError(f"days={SECRET} is too large")

    monkeypatch.setattr(Planner, "row_count", overflow)
    before = len(ctx.audit_logs())
    with pytest.raises(ExecutionError, match=r"something unforeseen happened .OverflowError") as caught:
        ctx.query("SELECT v FROM t")
    assert SECRET not in words(caught.value)
    assert len(ctx.audit_logs()) == before + 1
