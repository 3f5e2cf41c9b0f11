"""A cell that takes long says so to who looks at it, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import Kernel, start_kernel

SETUP = """
config = {{"connections": {{"pg": {{"type": "postgresql", "uri": {uri!r}}}}},
          "virtual_tables": {{"slow": {{"connection": "pg", "query": "SELECT 1 AS a, pg_sleep(1.8)::text AS s"}}}}}}
%load_ext tauro_nb
%vconnect config
"""


@pytest.fixture(scope="module")
def kernel(postgres_uri: str) -> Iterator[Kernel]:
    with start_kernel() as kernel:
        assert kernel.run(SETUP.format(uri=postgres_uri)).error is None
        yield kernel


def test_somebody_looks(kernel: Kernel) -> None:
    reply = kernel.run("%vquery -q SELECT a FROM slow", attended=True)
    assert reply.error is None
    assert reply.text == "1 s"
    reply = kernel.run("%vquery -q --progress SELECT a, s FROM slow", attended=True)
    assert reply.error is None
    assert reply.text.startswith("1 s")


def test_nobody_looks(kernel: Kernel) -> None:
    reply = kernel.run("%vquery -q SELECT a FROM slow")
    assert (reply.error, reply.data, reply.streams) == (None, [], "")


def test_a_short_cell_says_nothing(kernel: Kernel) -> None:
    assert kernel.run("%vquery -q SELECT 1 AS a", attended=True).data == []
