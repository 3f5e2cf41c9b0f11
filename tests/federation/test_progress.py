"""Who asked to be told hears how far a long query is, and nothing that a policy hides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ExecutionError, QueryCancelled
from tauro_nb.progress import Progress

SLOW = "SELECT i.id, s.n FROM lite i JOIN slow s ON s.n = i.id WHERE i.id < 9"


@pytest.fixture
def ctx(places: dict[str, Any]) -> Iterator[VirtualContext]:
    tables = {
        **places["virtual_tables"],
        # PostgreSQL answers after a while, and SQLite at once.
        "slow": {"connection": "pg", "query": "SELECT n, pg_sleep(0.3)::text AS s FROM generate_series(1, 8) g(n)"},
        "many": {"query": "SELECT i AS n FROM range(1000000000000) t(i)"},
        "endless": {"connection": "pg", "query": "SELECT n, pg_sleep(30)::text AS s FROM generate_series(1, 8) g(n)"},
    }
    policies = {"lite": {"row_level_filters": {"analyst": "id < 5", "admin": ""}}}
    with VirtualContext({**places, "virtual_tables": tables, "security_policies": policies}) as context:
        yield context


def test_what_came_from_where(ctx: VirtualContext) -> None:
    heard: list[Progress] = []
    assert len(ctx.query(SLOW, progress=heard.append).rows()) == 8
    assert heard
    assert [moment.seconds >= 1 for moment in heard] == [True] * len(heard)
    assert all(later.seconds - moment.seconds >= 0.2 for moment, later in pairwise(heard))
    assert set().union(*(moment.sources for moment in heard)) <= {"pg", "lite"}
    assert heard[-1].sources


def test_a_short_query_needs_no_words(ctx: VirtualContext) -> None:
    heard: list[Progress] = []
    started = time.monotonic()
    assert ctx.query("SELECT count(*) AS n FROM orders", progress=heard.append).rows() == [{"n": 6}]
    assert not heard or time.monotonic() - started > 1


def test_hidden_rows_are_not_counted(ctx: VirtualContext) -> None:
    heard: list[Progress] = []
    assert len(ctx.as_principal("ana", roles=["analyst"]).query(SLOW, progress=heard.append).rows()) == 4
    assert heard
    assert [dict(moment.sources) for moment in heard] == [{}] * len(heard)
    assert max(moment.rows for moment in heard) <= 4


def test_a_listener_that_fails_ends_the_query(ctx: VirtualContext) -> None:
    def fails(_: Progress) -> None:
        raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ExecutionError, match="listener of the progress raised ZeroDivisionError"):
        ctx.query("SELECT n, s FROM endless", progress=fails).rows()
    assert time.monotonic() - started < 20
    assert ctx.query("SELECT count(*) AS n FROM orders").rows() == [{"n": 6}]


def test_what_ends_a_query_is_said_when_a_source_has_answered_already(ctx: VirtualContext) -> None:
    def fails(_: Progress) -> None:
        raise ZeroDivisionError

    def is_interrupted(_: Progress) -> None:
        raise KeyboardInterrupt

    # The connection to SQLite is closed by then.
    long = "SELECT count(i.id + m.n) AS n FROM lite i CROSS JOIN many m"
    with pytest.raises(ExecutionError, match="listener of the progress raised ZeroDivisionError"):
        ctx.query(long, progress=fails)
    with pytest.raises(QueryCancelled, match="every source was told to stop"):
        ctx.query(long, progress=is_interrupted)
