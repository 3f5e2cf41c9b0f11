"""A result that nobody reads to its end: nothing reads on, neither at the server nor in a thread of this process."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tauro_nb.context import VirtualContext

# Far more than the buffers on the way hold, so that the server still sends when the rows are dropped.
LONG = {"connection": "pg", "query": "SELECT i AS id, repeat('x', 200) AS text FROM generate_series(1, 1000000) t(i)"}
LIMITS = pytest.mark.parametrize("max_bytes", [None, "10GB"], ids=["streamed", "counted"])


def config(places: dict[str, Any]) -> dict[str, Any]:
    return {"connections": {"pg": places["connections"]["pg"]}, "virtual_tables": {"long": LONG}}


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is only let go because Python collects garbage is not let go."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@LIMITS
@pytest.mark.usefixtures("without_collector")
def test_the_server_is_left_alone(places: dict[str, Any], max_bytes: str | None) -> None:
    with psycopg.connect(places["connections"]["pg"]["uri"], autocommit=True) as watcher:

        def sending() -> bool:
            found = watcher.execute(
                "SELECT 1 FROM pg_stat_activity WHERE query ILIKE '%generate_series%' "
                "AND state <> 'idle' AND pid <> pg_backend_pid()"
            )
            return found.fetchone() is not None

        with VirtualContext(config(places)) as ctx:
            batches = iter(ctx.query("SELECT * FROM long", max_bytes=max_bytes).to_batches())
            assert next(batches).num_rows > 0
            assert sending()
            del batches
            deadline = time.monotonic() + 10
            while sending() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not sending()


@LIMITS
def test_python_ends_in_peace(places: dict[str, Any], max_bytes: str | None) -> None:
    program = (
        "from tauro_nb.context import VirtualContext\n"
        f"with VirtualContext({config(places)!r}) as ctx:\n"
        f"    batches = iter(ctx.query('SELECT * FROM long', max_bytes={max_bytes!r}).to_batches())\n"
        "    print(next(batches).num_rows > 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")
