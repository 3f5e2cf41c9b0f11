"""A query has one moment, however many parts it runs in: what runs first shows neither in `now()` nor in pseudonyms."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.query.plan import whole

pytestmark = pytest.mark.postgres

CALLS = (
    "now() current_timestamp get_current_timestamp() transaction_timestamp() current_date today() current_time "
    "get_current_time() current_localtime() current_localtimestamp()"
).split()
MOMENTS = "{" + ", ".join(f"'{call}': {call}" for call in CALLS) + "}"
SHOWN = "SELECT o.pk, o.sku AS one, i.sku AS other FROM orders o JOIN items i ON i.order_id = o.order_id"


def test_all_parts_have_one_moment(context: VirtualContext, plain: duckdb.DuckDBPyConnection) -> None:
    inner = f"SELECT order_id, {MOMENTS} AS t FROM orders"
    sql = f"SELECT count(*) AS n, count(*) FILTER (WHERE o.t = {MOMENTS}) AS m FROM ({inner}) o JOIN items i USING "
    sql += "(order_id)"
    assert context.plan(sql).steps
    assert list(context.query(sql).rows()[0].values()) == list(plain.execute(sql).fetchone() or ()) == [16, 16]


def test_each_run_has_a_moment_of_its_own(context: VirtualContext) -> None:
    sql = "SELECT min(o.t) AS t FROM (SELECT order_id, now() AS t FROM orders) o JOIN items i USING (order_id)"
    kept, times = [], []
    for _ in range(4):
        times.append(context.query(sql).rows()[0]["t"])
        kept.append(context.plan(sql).cached)
    # The server may work out new statistics of its own accord meanwhile: then one plan is made anew.
    assert kept.count(True) >= 2
    assert times == sorted(set(times))


def test_pseudonyms_of_one_query_meet(places: dict[str, Any], plain: duckdb.DuckDBPyConnection) -> None:
    mask = {"mask": "hmac_ephemeral", "mask_options": {"domain": "sku"}, "allowed_roles": ["admin"]}
    policies = {table: {"field_policies": {"sku": mask}} for table in ("orders", "items")}
    with VirtualContext({**places, "security_policies": policies}) as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        assert whole(ana.plan(SHOWN)).steps
        pairs = [(row["pk"], row["one"] == row["other"]) for row in ana.query(SHOWN).rows()]
        known = [(pk, one == other) for pk, one, other in plain.execute(SHOWN).fetchall()]
        assert sorted(pairs, key=str) == sorted(known, key=str)
        first, second = ({row["one"] for row in ana.query(SHOWN).rows()} - {None} for _ in range(2))
        assert first
        assert not first & second
