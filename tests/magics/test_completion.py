from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from tauro_nb.context import VirtualContext
from tauro_nb.magics.scan import scope_at

Run = Callable[[str], Any]
Tab = Callable[[str], list[str]]


@pytest.fixture
def tab(ana: Run, shell: InteractiveShell) -> Tab:
    """Press Tab at `|`; what is offered."""
    ana("region = 'South'\nregions = [region]\n_hidden = 1\nimport json")

    def tab(text: str) -> list[str]:
        cursor = text.index("|")
        with provisionalcompleter():
            return [found.text for found in shell.Completer.completions(text.replace("|", ""), cursor)]

    return tab


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("%%vquery\nSELECT * FROM cu|", ["customers"]),
        ("%%vquery\nSELECT * FROM customers, or|", ["orders", "order_items"]),
        ("%%vquery\nSELECT * FROM customers AS c JOIN pr| ON 1", ["products"]),
        ("%%vquery\nSELECT ema| FROM customers", ["email"]),
        ("%%vquery\nSELECT c.re| FROM customers c", ["region"]),
        ("%%vquery\nSELECT customers.re| FROM customers", ["region"]),
        ("%%vquery\nSELECT * FROM customers AS c\nWHERE c.dep|", ["department"]),
        ("%%vquery\nWITH x AS (SELECT name AS who FROM customers) SELECT x.w| FROM x", ["who"]),
        ("%%vquery\nWITH big AS (SELECT 1) SELECT * FROM bi|", ["big"]),
        ("%%vquery\nSELECT s.t| FROM (SELECT total, status FROM orders) AS s", ["total"]),
        ("%%vquery\nSELECT * FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.sig|)", ["signup_date"]),
        ("%%vquery\nSELECT * FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE o.tot|)", ["total"]),
        ("%%vquery\nSELECT * FROM customers WHERE region = :re|", [":region", ":regions"]),
        ("%%vquery\nSELECT * FROM customers WHERE region = $regi|", ["$region", "$regions"]),
        ("%%vquery\nSELECT approx_quant| FROM orders", ["approx_quantile"]),
        ("%%vquery\nselect * from orders whe|", ["where"]),
        ("%%vquery\nSELECT * FROM orders WHE|", ["WHERE"]),
        ("%%vquery --li|\nSELECT 1", ["--limit"]),
        ("%%vquery --as p|\nSELECT 1", ["pandas", "polars"]),
        ("%%vquery --principal r|\nSELECT 1", ["root", "rita"]),
        ("%%vquery --params $re|\nSELECT 1", ["$region", "$regions"]),
        ("%%vquery -a d|\nSELECT 1", ["default"]),
        ("x = %vquery SELECT na| FROM customers", ["name"]),
        ("x = %vquery --as pandas -l 3 SELECT * FROM cust|", ["customers"]),
        ("1 + 1\n%vquery SELECT * FROM cust|", ["customers"]),
        ("%vdescribe cou|", ["countries"]),
        ("%vlineage rev|", ["revenue"]),
        ("%vlineage --de|", ["--depth"]),
        ("%vaudit --status DEN|", ["DENIED"]),
        ("%vaudit --table cu|", ["customers"]),
        ("%vplan SELECT * FROM cust|", ["customers"]),
        ("%%vplan\nSELECT * FROM cust|", ["customers"]),
    ],
)
def test_tab(tab: Tab, text: str, first: list[str]) -> None:
    assert tab(text)[: len(first)] == first


def test_what_is_denied_is_not_offered(tab: Tab, ana: Run) -> None:
    assert "tickets" not in tab("%%vquery\nSELECT * FROM ti|")
    assert "credit_limit" not in tab("%%vquery\nSELECT c.| FROM customers c")
    assert "tickets" in tab("%%vquery --principal root\nSELECT * FROM ti|")
    ana("%vconnect --principal root")
    assert "credit_limit" in tab("%%vquery\nSELECT c.| FROM customers c")


def test_python_never_shows_up_inside_sql(tab: Tab) -> None:
    offered = tab("%%vquery\nSELECT i| FROM customers")
    assert "import" not in offered
    assert "isinstance" not in offered


def test_python_is_left_alone(tab: Tab) -> None:
    assert "isinstance" in tab("isinst|")
    assert "customers" not in tab("cust|")


def test_variables_without_a_sql_form_are_no_parameters(tab: Tab) -> None:
    offered = tab("%%vquery\nSELECT :|")
    assert ":region" in offered
    assert not {":json", ":_hidden", ":In", ":get_ipython"} & set(offered)


def test_without_a_catalog_there_is_no_error(shell: InteractiveShell) -> None:
    with provisionalcompleter():
        list(shell.Completer.completions("%%vquery\nSELECT * FROM cu", 25))


def test_no_source_is_asked(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked a source")

    monkeypatch.setattr(VirtualContext, "query", refuse)
    monkeypatch.setattr(VirtualContext, "plan", refuse)
    monkeypatch.setattr(duckdb, "connect", refuse)
    assert tab("%%vquery\nSELECT c.em| FROM customers c") == ["email"]


def test_tab_is_fast_over_a_large_catalog(run: Run, shell: InteractiveShell) -> None:
    schema = {f"column_{number}": "VARCHAR" for number in range(20)}
    tables = {
        f"table_{number}": {"connector_type": "csv", "path": "x.csv", "schema": schema} for number in range(1_000)
    }
    shell.user_ns["large"] = {"virtual_tables": tables}
    run("%vconnect large")
    cell = "%%vquery\nSELECT t.column_1 FROM table_77 AS t JOIN table_9"

    def press() -> float:
        started = time.perf_counter()
        with provisionalcompleter():
            found = list(shell.Completer.completions(cell, len(cell)))
        assert found[0].text == "table_9"
        return time.perf_counter() - started

    press()
    assert min(press() for _ in range(3)) < 0.1


@pytest.mark.parametrize(
    ("sql", "clause", "relations"),
    [
        ("SELECT | FROM a, b AS c", "SELECT", ["a", "c"]),
        ("SELECT * FROM a LEFT JOIN s.b ON |", "ON", ["a", "b"]),
        ("SELECT * FROM a WHERE x IN (SELECT | FROM b)", "SELECT", ["b", "a"]),
        ("SELECT * FROM (SELECT 1 AS x) AS q, |", "FROM", ["q"]),
        ("SELECT 'FROM x' FROM \"A b\" z WHERE |", "WHERE", ["z"]),
        ("SELECT a FROM t GROUP BY |", "BY", ["t"]),
        ("SELECT a -- FROM c\nFROM t |", "NAMED", ["t"]),
        ("|", "", []),
    ],
)
def test_scope(sql: str, clause: str, relations: list[str]) -> None:
    cursor = sql.index("|")
    scope = scope_at(sql.replace("|", ""), cursor)
    assert scope.clause == clause
    assert [relation.alias for relation in scope.relations] == relations
