from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ibis.expr.types as ir
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tauro_nb import QueryPlan, Result
from tauro_nb.context import VirtualContext
from tauro_nb.errors import LimitExceeded, TauroError

Run = Callable[[str], Any]
COUNT = "SELECT count(*) AS n FROM customers"


def test_a_cell_returns_a_result_that_shows_itself(ana: Run) -> None:
    done = ana("%%vquery\nSELECT customer_id, email\nFROM customers\nORDER BY 1 LIMIT 2")
    assert isinstance(done.result, Result)
    assert done.result.rows() == [
        {"customer_id": 1, "email": "b***1@example.com"},
        {"customer_id": 4, "email": "s***4@example.org"},
    ]
    assert "b***1@example.com" in done.shown
    assert "2 rows" in done.shown


def test_a_line_returns_too(ana: Run) -> None:
    assert ana(f"n = %vquery --as pandas {COUNT}\nint(n['n'][0])").result == 981


@pytest.mark.parametrize("code", [f"%%vquery -o top\n{COUNT}", f"%%vquery top\n{COUNT}", f"%%vquery top <<\n{COUNT}",
                                  f"%vquery top << {COUNT}", f"%vquery --output=top {COUNT}"])  # fmt: skip
def test_a_destination_gets_the_result_and_nothing_is_shown(ana: Run, code: str) -> None:
    done = ana(code)
    assert (done.result, done.shown, done.error) == (None, "", None)
    assert ana("top.rows()").result == [{"n": 981}]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("table", Result),
        ("pandas", pd.DataFrame),
        ("arrow", pa.Table),
        ("polars", pl.DataFrame),
        ("batches", pa.RecordBatchReader),
        ("ibis", ir.Table),
        ("none", type(None)),
    ],
)
def test_forms(ana: Run, form: str, kind: type) -> None:
    done = ana(f"%%vquery --as {form}\n{COUNT}")
    assert done.error is None
    assert isinstance(done.result, kind)


def test_a_lazy_expression_keeps_parameters_and_limit(ana: Run) -> None:
    ana("region = 'South'")
    lazy = ana("%%vquery --as ibis -l 3\nSELECT DISTINCT region, name FROM customers WHERE region = :region").result
    assert lazy.to_pyarrow().column("region").to_pylist() == ["South"] * 3


def test_the_default_form_and_the_shown_rows_are_configured(ana: Run) -> None:
    ana("%config TauroMagics.format = 'pandas'")
    assert isinstance(ana(f"%%vquery\n{COUNT}").result, pd.DataFrame)
    ana("%config TauroMagics.format = 'table'\n%config TauroMagics.display_rows = 3")
    shown = ana("%%vquery\nSELECT customer_id FROM customers").shown
    assert "showing 3 of 981 rows" in shown


def test_a_limit_is_a_part_of_the_query(ana: Run) -> None:
    done = ana("%%vquery -l 7\nSELECT customer_id FROM customers ORDER BY 1")
    assert len(done.result) == 7
    assert any("LIMIT 7" in part.sql for part in done.result.plan.fragments)


def test_a_semicolon_or_quiet_shows_nothing(ana: Run) -> None:
    assert ana(f"%%vquery\n{COUNT};").shown == ""
    assert ana(f"%vquery {COUNT};").shown == ""
    assert ana(f"%%vquery -q\n{COUNT}").shown == ""


def test_parameters_come_from_variables_as_values(ana: Run) -> None:
    ana("region = \"South' OR 'a' = 'a\"")
    assert ana("%%vquery\nSELECT * FROM customers WHERE region = :region").result.rows() == []
    ana("regions = ['South', 'East']")
    found = ana("%%vquery\nSELECT DISTINCT region FROM customers WHERE region IN (SELECT unnest(:regions)) ORDER BY 1")
    assert found.result.rows() == [{"region": "East"}, {"region": "South"}]


def test_given_parameters_come_before_variables(ana: Run) -> None:
    ana("x = 1\ny = 2\np = {'x': 10}")
    for given in ("$p", '{"x": 10}', "'{\"x\": 10}'"):
        assert ana(f"%%vquery --params {given}\nSELECT :x AS x, $y AS y").result.rows() == [{"x": 10, "y": 2}]
    assert ana("%%vquery --params [3, 4]\nSELECT ? - ? AS d").result.rows() == [{"d": -1}]


def test_local_variables_are_parameters_too(ana: Run) -> None:
    ana("def ask(n):\n    r = %vquery SELECT :n + 1 AS m\n    return r.rows()")
    assert ana("ask(41)").result == [{"m": 42}]


def test_unused_variables_are_never_touched(ana: Run) -> None:
    ana("class Trap:\n    def __getattribute__(self, name): raise RuntimeError(name)\ntrap = Trap()")
    assert ana("%vquery SELECT 1 AS a").result.rows() == [{"a": 1}]


def test_somebody_elses_eyes(ana: Run) -> None:
    assert ana(f"%%vquery --principal root\n{COUNT}").result.rows() == [{"n": 2000}]
    assert ana(f"%%vquery\n{COUNT}").result.rows() == [{"n": 981}]


def test_explain_and_dry_run_read_nothing(ana: Run, layer: VirtualContext) -> None:
    before = len(layer.audit_logs())
    plan = ana("%%vquery --explain\nSELECT c.email FROM customers AS c JOIN orders AS o USING (customer_id)")
    assert isinstance(plan.result.value, QueryPlan)
    assert "Plan as ana" in plan.shown
    dry = ana("%%vquery -n\nSELECT c.email FROM customers AS c JOIN orders AS o USING (customer_id)")
    assert "nothing ran" in dry.shown
    assert "customers: rows filtered; masked: email" in dry.shown
    assert {"crm", "warehouse"} == {part.source for part in dry.result.value.fragments}
    assert len(layer.audit_logs()) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--lmit 3", "unknown option `--lmit`. Did you mean `--limit`? `%vquery?` shows the options."),
        ("--as panda", "Did you mean `pandas`?"),
        ("-l many", "invalid int value"),
        ("-l", "`-l` needs a value."),
        ("-o a b", "two destinations, `b` and `a`."),
        ("a b", "`b` is one word too many"),
        ("2x", "`2x` cannot be the name of a variable."),
        ("class", "`class` cannot be the name of a variable."),
        ("--params {bad}", "is not JSON"),
        ("--params 3", "--params got a int."),
        ("--params $nope", "there is no variable `nope`."),
        ("--explain --dry-run", "Choose one."),
        ("-o 'a", "a quotation mark is not closed."),
        ("-a nope", "no connection `nope`."),
        ("-l -1", "limit is -1; it must be 0 or more."),
    ],
)
def test_a_wrong_line_says_what_would_be_right(ana: Run, line: str, says: str) -> None:
    done = ana(f"%%vquery {line}\n{COUNT}")
    assert isinstance(done.error, TauroError)
    assert says in str(done.error)


def test_the_caret_stands_under_the_word_in_the_cell(ana: Run) -> None:
    error = ana("%%vquery\n\n-- who\nSELECT name,\n       nam\nFROM customers").error
    assert (error.line, error.col) == (4, 8)
    assert error.excerpt() == [
        "      3 | SELECT name,",
        "-->   4 |        nam",
        "                 ^",
        "      5 | FROM customers",
    ]


def test_analyze_runs_and_shows_what_was_measured(run: Run, ana: Run) -> None:
    for ask, words in ((ana, "figures of parts are withheld"), (run, "Measured: 1 row")):
        done = ask(f"%%vquery --analyze {'' if ask is ana else '--principal root'}\n{COUNT}")
        assert done.error is None
        assert words in done.shown


def test_a_query_has_a_limit_of_its_own(ana: Run) -> None:
    assert ana(f"%vquery --max-bytes 1MB {COUNT}").error is None
    error = ana("%vquery --max-bytes 1KB SELECT * FROM customers").error
    assert isinstance(error, LimitExceeded)
    assert "1.0 KB" in str(error)
    assert "no number of bytes" in str(ana(f"%vquery --max-bytes lots {COUNT}").error)
