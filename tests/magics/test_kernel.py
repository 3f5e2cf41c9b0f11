"""What a front end gets from a real kernel: error messages, completions, and an interrupt that stops the query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.kernel import Kernel, start_kernel

SLEEPING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()
"""
NAPS = """
config = {{
    "connections": {{"pg": {{"type": "postgresql", "uri": {uri!r}}}}},
    "virtual_tables": {{
        "nap": {{"source_type": "database", "connector_type": "postgresql", "connection": "pg",
                "query": "SELECT pg_sleep(30)::text AS a, 1 AS n"}},
    }},
}}
"""


@pytest.fixture(scope="module")
def kernel(demo: Path) -> Iterator[Kernel]:
    with start_kernel() as kernel:
        loaded = kernel.run("%load_ext tauro_nb")
        assert (loaded.streams, loaded.data, loaded.error) == ("", [], None)
        assert kernel.run(f"%vconnect {demo} --principal ana").error is None
        yield kernel


def test_an_error_is_a_real_error_without_python(kernel: Kernel) -> None:
    reply = kernel.run("%%vquery\nSELECT name,\n       emial\nFROM customers")
    assert reply.error == (
        "BindError",
        "unknown column `emial`. Did you mean `email`?",
        [
            "BindError: unknown column `emial`. Did you mean `email`?",
            "",
            "      1 | SELECT name,",
            "-->   2 |        emial",
            "                 ^",
            "      3 | FROM customers",
        ],
    )
    assert reply.streams == ""


def test_a_wrong_option_is_a_real_error(kernel: Kernel) -> None:
    reply = kernel.run("%%vquery --lmit 3\nSELECT 1")
    assert reply.error is not None
    assert reply.error[0] == "UsageError"
    assert len(reply.error[2]) == 1


def test_panels_are_widgets_with_html_and_text_beside(kernel: Kernel) -> None:
    kernel.run("%vquery -q SELECT count(*) FROM revenue")
    for code in ("%vcatalog", "%vlineage revenue", "%vplan"):
        (data,) = kernel.run(code).data
        assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(data)
    kernel.run("%config TauroMagics.panels = 'static'")
    (data,) = kernel.run("%vcatalog").data
    kernel.run("%config TauroMagics.panels = 'auto'")
    assert set(data) == {"text/html", "text/plain"}


def test_tab_offers_sql_and_no_python(kernel: Kernel) -> None:
    cell = "%%vquery\nSELECT c.em FROM customers AS c"
    kernel.complete(cell, cell.index("em") + 2)
    started = time.monotonic()
    reply = kernel.complete(cell, cell.index("em") + 2)
    assert time.monotonic() - started < 0.3
    assert reply["matches"] == ["email"]
    assert (reply["cursor_start"], reply["cursor_end"]) == (cell.index("em"), cell.index("em") + 2)
    types = reply["metadata"]["_jupyter_types_experimental"]
    assert [item["type"] for item in types] == ["VARCHAR, masked"]
    python = kernel.complete("imp", 3)["matches"]
    assert "import" in python


def test_an_interrupt_stops_the_engine_and_the_next_cell_works(kernel: Kernel) -> None:
    endless = "SELECT count(*) FROM range(10000000) AS a(i), range(10000000) AS b(j) WHERE i * j % 7 = 3"
    reply = kernel.run(f"%%vquery\n{endless}", interrupt_after=1.5)
    assert reply.error is not None
    assert reply.error[0] == "QueryCancelled"
    assert len(reply.error[2]) == 1
    assert reply.after_interrupt < 1
    assert "981" in kernel.run("%vquery SELECT count(*) FROM customers").text


def test_an_interrupt_stops_a_result_that_is_being_fetched(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%vquery -o big\nSELECT i FROM range(100000000) AS a(i), range(1000) AS b(j)", interrupt_after=1.5
    )
    assert reply.error is not None
    assert reply.error[0] == "QueryCancelled"
    assert reply.after_interrupt < 1
    assert kernel.run("'big' in globals()").text == "False"


@pytest.mark.postgres
def test_an_interrupt_stops_the_source(kernel: Kernel, postgres_uri: str) -> None:
    kernel.run(NAPS.format(uri=postgres_uri))
    assert kernel.run("%vconnect config --alias pg").error is None
    with psycopg.connect(postgres_uri, autocommit=True) as watch:
        reply = kernel.run("%%vquery\nSELECT a, n FROM nap", interrupt_after=2)
        assert reply.error is not None
        assert reply.error[0] == "QueryCancelled"
        assert reply.after_interrupt < 1
        assert watch.execute(SLEEPING).fetchone() == (0,)
    assert "41" in kernel.run("%vquery SELECT 41 AS ok").text
    assert "CANCELLED" in kernel.run("%vaudit --table nap").text
    kernel.run("%vconnect --close pg")
