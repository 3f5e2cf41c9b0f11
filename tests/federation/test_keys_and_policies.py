"""Keys that leave a source are data: what is sent is what the person sees, and it reaches nothing that is masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.query.plan import whole
from tests.servers import PostgresServer

JOIN = "SELECT o.pk, i.id FROM orders o JOIN items i ON i.order_id = o.order_id"
BY_SKU = "SELECT o.pk, i.id FROM orders o JOIN items i ON i.sku = o.sku"
MASKED = {"masking_enabled": True, "mask": "constant", "mask_value": "sku 77", "allowed_roles": ["admin"]}


def opened(places: dict[str, Any], policies: dict[str, Any]) -> VirtualContext:
    return VirtualContext({**places, "security_policies": policies})


@pytest.fixture(scope="module")
def filtered(places: dict[str, Any]) -> Iterator[VirtualContext]:
    """The analyst sees some orders, some items, and one text in the place of every order's sku."""
    policies = {
        "orders": {
            "row_level_filters": {"admin": "", "analyst": "kind IN ('a', 'b', 'f')"},
            "field_policies": {"sku": MASKED},
        },
        "items": {"row_level_filters": {"admin": "", "analyst": "quantity <> 41"}},
    }
    with opened(places, policies) as ctx:
        yield ctx.as_principal("ana", roles=["analyst"])


def keys_in(log: str) -> list[str]:
    return log.partition("ANY('{")[2].partition("}")[0].split(",")


def test_only_keys_of_visible_rows_leave(filtered: VirtualContext, postgres_server: PostgresServer) -> None:
    before = len(postgres_server.log())
    rows = filtered.query(JOIN).rows()
    assert sorted(keys_in(postgres_server.log()[before:])) == ["10", "77"]
    assert {row["id"] for row in rows} == {40, 42, 43, *range(308, 312)}


def test_a_masked_key_leaves_masked(filtered: VirtualContext, postgres_server: PostgresServer) -> None:
    before = len(postgres_server.log())
    rows = filtered.query(BY_SKU).rows()
    asked = postgres_server.log()[before:]
    assert keys_in(asked) == ['"sku 77"']
    assert "sku 40" not in asked
    assert len(rows) == 3 * 400


def test_no_keys_reach_a_masked_column(places: dict[str, Any], postgres_server: PostgresServer) -> None:
    policies = {"items": {"field_policies": {"sku": MASKED}}}
    with opened(places, policies) as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        before = len(postgres_server.log())
        assert {row["pk"] for row in ana.query(BY_SKU).rows()} == {6}
        assert "ANY" not in postgres_server.log()[before:]
        assert not any(fragment.keys for fragment in whole(ana.plan(BY_SKU)).fragments)
        assert any(fragment.keys for fragment in ctx.plan(BY_SKU).fragments)


def test_nothing_goes_behind_a_strict_barrier(places: dict[str, Any]) -> None:
    policies = {"items": {"barrier": "strict", "row_level_filters": {"admin": "", "analyst": "quantity <> 41"}}}
    with opened(places, policies) as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        assert not any(fragment.keys for fragment in whole(ana.plan(JOIN)).fragments)
        assert len(ana.query(JOIN).rows()) == 3 + 3 + 4 + 4


def test_the_trail_says_whose_keys_went_where(places: dict[str, Any]) -> None:
    with VirtualContext(places) as ctx:
        ctx.query(JOIN).rows()
        sent = [event for event in ctx.layer.audit_trail.events() if event["event"] == "join.keys"]
    (flow,) = sent[0]["facts"]["flows"]
    assert flow == {"tables": ["orders"], "column": "order_id", "to": "pg", "into": ["items"]}


def test_the_own_records_do_not_tell_of_keys(filtered: VirtualContext) -> None:
    filtered.query(JOIN).rows()
    own = filtered.audit_logs()
    assert {record.sequence for record in own} == {0}
    auditor = filtered.as_principal("eve", roles=["auditor"])
    assert len({record.sequence for record in auditor.audit_logs(principal="ana")}) > 1


def test_a_plan_without_policy_text_tells_of_no_keys(filtered: VirtualContext) -> None:
    plan = filtered.plan(JOIN)
    assert plan.steps == ()
    assert all(fragment.keys == () and fragment.keyed is None for fragment in plan.fragments)
    assert whole(plan).steps
    assert filtered.query(JOIN).stats.keys_shipped == 0
    assert filtered.run(plan).rows() == filtered.query(JOIN).rows()
