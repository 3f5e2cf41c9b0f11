from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tauro_nb.errors import AccessDenied

Run = Callable[[str], Any]


def test_catalog(ana: Run) -> None:
    shown = ana("%vcatalog").shown
    assert shown.startswith("Catalog as ana: ")
    assert "▽ rows filtered, ◐ 3 masked, ⊘ 1 denied" in shown
    narrowed = ana("%vcatalog custom").shown
    assert "customers" in narrowed
    assert "events" not in narrowed


def test_describe(ana: Run) -> None:
    shown = ana("%vdescribe customers").shown
    assert "for me: rows filtered" in shown
    assert "ssn           VARCHAR  masked (ssn)" in shown
    assert "credit_limit  DOUBLE   denied" in shown
    assert "masked" not in ana("%vdescribe customers --principal root").shown
    assert "made from: countries, customers, fx, orders" in ana("%vdescribe revenue").shown


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("%vdescribe", "which table?"),
        ("%vdescribe custmers", "Did you mean `customers`?"),
        ("%vdescribe tickets", "tickets"),
        ("%vprofile", "which table?"),
        ("%vprofile custmers", "Did you mean `customers`?"),
        ("%vprofile customers nmae", "Did you mean `name`?"),
        ("%vprofile customers --sample 0", "at least one row"),
        ("%vlineage revenu", "Did you mean `revenue`?"),
        ("%vlineage --dept 3", "Did you mean `--depth`?"),
        ("%vaudit --status nope", "invalid choice"),
        ("%vaudit customers", "`customers` is one word too many: only options go here. %vaudit --table customers"),
        ("%vposture customers", "`customers` is one word too many"),
    ],
)
def test_errors(ana: Run, code: str, says: str) -> None:
    assert says in str(ana(code).error)


def test_lineage_leaves_queries_out_until_asked(ana: Run) -> None:
    ana("%vquery -q SELECT count(*) FROM revenue")
    shown = ana("%vlineage REVENUE").shown
    assert "├─ customers (table)" in shown
    assert "query" not in shown
    assert "query" in ana("%vlineage revenue --queries").shown
    assert "customers" not in ana("%vlineage orders --depth 0").shown


def test_profile(ana: Run) -> None:
    shown = ana("%vprofile customers email country --sample 50")
    assert shown.shown.startswith("customers as ana: 50 rows, a sample of at most 50")
    assert "masked (email)" in shown.shown
    profile = shown.result
    assert [column.name for column in profile.columns] == ["email", "country"]
    assert "***" in profile["email"].minimum
    assert "<script" not in profile._repr_html_()
    assert ana("%vprofile customers --principal root").result.rows > ana("%vprofile customers").result.rows


def test_a_plan_is_for_the_eyes_of_its_principal(ana: Run) -> None:
    ana("%vconnect catalog --principal root --alias plans")
    ana("%vquery -q SELECT email FROM customers")
    assert "no query yet" in str(ana("%vplan --principal ana").error)
    ana("%vconnect --principal ana")
    assert "no query yet" in str(ana("%vplan").error)
    ana("%vquery -q SELECT name FROM customers")
    assert ana("%vplan").result.value.principal == "ana"
    assert ana("%vplan --principal root").result.value.principal == "root"


def test_plan_of_the_last_query_and_of_a_given_one(ana: Run) -> None:
    ana("%vconnect catalog --principal ana --alias fresh")
    assert "no query yet" in str(ana("%vplan").error)
    ana("%vquery -q SELECT count(*) FROM orders")
    assert ana("%vplan").result.value.tables == ("orders",)
    assert ana("status = 'shipped'\n%vplan SELECT * FROM products WHERE category = :status").result.value.tables == (
        "products",
    )
    assert ana("%%vplan\nSELECT *\nFROM fx").result.value.tables == ("fx",)
    assert ana("%vplan").result.value.tables == ("fx",)


def test_audit(ana: Run) -> None:
    ana("%vquery -q SELECT name FROM customers LIMIT 1")
    ana("%vquery SELECT * FROM tickets")
    ana("%vquery --principal root -q SELECT name FROM customers LIMIT 1")
    mine = ana("%vaudit").result.value
    assert {log.principal for log in mine} == {"ana"}
    assert mine[-1].status == "DENIED"
    assert ana("%vaudit -l 1").result.value == mine[-1:]
    assert [log.table_name for log in ana("%vaudit --status denied -l 1").result.value] == ["tickets"]
    for others in ("%vaudit --all", "%vaudit --principal root"):
        assert isinstance(ana(others).error, AccessDenied)
    assert {log.table_name for log in ana("%vaudit --table customers").result.value} == {"customers"}
    brief, long = ana("%vaudit").shown, ana("%vaudit -v").shown
    assert "at (UTC)" in long
    assert "at (UTC)" not in brief
    ana("%vconnect --principal root")
    ana("%vquery -q SELECT name FROM customers LIMIT 1")
    assert ana("%vaudit --all -l 1").result.value[0].principal == "root"
    (log,) = ana("%vaudit --principal ana -l 1").result.value
    assert log.principal == "ana"
    assert log.origin["cell"].isdecimal()


def test_access(ana: Run) -> None:
    shown = ana("%vaccess customers").shown
    assert "Rows: row filter of `analyst`." in shown
    assert "department = 'Sales'" not in shown
    assert isinstance(ana("%vaccess customers --principal root").error, AccessDenied)
    assert "which table?" in str(ana("%vaccess").error)
    ana("%vconnect --principal root")
    assert "department = 'Sales'" in ana("%vaccess customers --principal ana").shown


def test_posture(ana: Run) -> None:
    shown = ana("%vposture").shown
    assert "no: who runs the notebook has the credentials and the process" in shown
    assert "PCI-DSS" in shown


def test_policies(ana: Run) -> None:
    assert isinstance(ana("%vpolicies").error, AccessDenied)
    ana("%vconnect --principal root")
    assert "one word too many" in str(ana("%vpolicies customers").error)
    check = ana("%vpolicies").result
    assert check.ok
    assert "right" in check._repr_html_()


def test_every_answer_has_html_without_a_script(ana: Run) -> None:
    ana("%vquery -q SELECT 1")
    for code in ("%vcatalog", "%vdescribe customers", "%vprofile fx", "%vlineage revenue", "%vplan", "%vaudit",
                 "%vaccess customers", "%vposture", "%vconnect --list",
                 "%vquery -n SELECT email FROM customers"):  # fmt: skip
        html = ana(code).result._repr_html_()
        assert html.startswith("<div")
        assert html.count("<div") == html.count("</div>")
        assert "<script" not in html
