"""A join and aggregate that leave out little are spared the source where its tables come over faster."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.sources.base import Link
from tauro_nb.sources.postgresql import PostgreSQLSource
from tests.federation.test_bind_joins import answer, expected

UNSELECTIVE = (
    "SELECT n.text IS NULL AS t, count(*) AS c FROM items i JOIN notes n ON n.order_id = i.order_id "
    "WHERE i.quantity >= 0 GROUP BY 1"
)
SELECTIVE = UNSELECTIVE.replace("i.quantity >= 0", "n.text = 'note 51'")
CUT = UNSELECTIVE + " ORDER BY c LIMIT 1"


@pytest.mark.parametrize(
    ("sql", "bandwidth", "fragments"),
    [(UNSELECTIVE, 220e6, 2), (UNSELECTIVE, 2e6, 1), (SELECTIVE, 220e6, 1), (CUT, 220e6, 1)],
    ids=["fast link", "slow link", "selective", "cut"],
)
def test_what_is_asked_goes_by_the_link(
    places: dict[str, Any], plain: duckdb.DuckDBPyConnection, sql: str, bandwidth: float, fragments: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLSource, "link", lambda _: Link(latency=0.0002, bandwidth=bandwidth))
        with VirtualContext(places) as ctx:
            assert len(ctx.plan(sql).fragments) == fragments
            assert answer(ctx, sql) == expected(plain, sql) != []


def test_a_large_table_is_scanned_whatever_the_link(places: dict[str, Any]) -> None:
    """By several connections at once; one answer to SQL comes through one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLSource, "link", lambda _: Link(latency=0.0002, bandwidth=2e6))
        with VirtualContext(places) as ctx:
            (fragment,) = ctx.plan("SELECT * FROM items").fragments
            assert fragment.scan.relation is None
            (fragment,) = ctx.plan("SELECT sku FROM items WHERE id = 7").fragments
            assert fragment.scan.relation is not None
