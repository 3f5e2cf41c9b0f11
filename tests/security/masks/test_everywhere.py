"""Every mask over columns of every kind, at every kind of source: the type is kept, nothing raw is shown, rows at hand
are masked alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tauro_nb import VirtualContext
from tauro_nb.security import FieldSecurityPolicy, TableSecurityPolicy
from tauro_nb.security.masks import MASKS
from tests.security.oracle import KINDS, settle

TYPES = {
    "id": "BIGINT", "txt": "VARCHAR", "big": "BIGINT", "num": "INTEGER", "amount": "DECIMAL(12,2)", "ratio": "DOUBLE",
    "day": "DATE", "moment": "TIMESTAMP", "flag": "BOOLEAN",
}  # fmt: skip
TEXTS = [
    "alan@example.com", "+1 (555) 123-4567", "123-45-6789", "4111 1111 1111 1111", "", "ab", None,
    "\u00dcn\u00efcode \u00df",
    "x'y\\z", "DE89 3704 0044 0532 0130 00", "two\nlines", "al@x.de", "@", "\U0001f600@example.com",
]  # fmt: skip
DAY, MOMENT = date(2024, 3, 17), datetime(2024, 3, 17, 11, 22, 33)  # noqa: DTZ001 - the column has no zone
ROWS: list[dict[str, Any]] = [
    {
        "id": number,
        # Each many times, so that files hold a dictionary, for whose entries DuckDB may call functions at once.
        "txt": TEXTS[number % len(TEXTS)],
        **dict.fromkeys(TYPES.keys() - {"id", "txt"}),
        **(
            {}
            if number % 7 == 6
            else {
                "big": 2**40 + 13, "num": -1234, "amount": Decimal("-99.37"), "ratio": 2.25, "day": DAY,
                "moment": MOMENT, "flag": True,
            }
        ),
    }
    for number in range(140)
]  # fmt: skip
NAMED: dict[str, Any] = {name: [row[name] for row in ROWS] for name in TYPES}
TABLE = pa.table(
    {
        **NAMED,
        "num": pa.array(NAMED["num"], pa.int32()),
        "amount": pa.array(NAMED["amount"], pa.decimal128(12, 2)),
        "moment": pa.array(NAMED["moment"], pa.timestamp("us")),
    }
)
OPTIONS: dict[str, dict[str, Any]] = {
    "partial": {"prefix": 1, "suffix": 1}, "regex": {"pattern": "[0-9]+"}, "date_trunc": {"unit": "year"},
    "bucket": {"size": 100}, "round": {"digits": -2},
}  # fmt: skip
NEW_EACH_TIME = {"random", "hmac_ephemeral"}
BARE = sorted(name for name in MASKS if name != "expression")


@pytest.fixture(scope="module", params=KINDS)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualContext]:
    kind, uri = request.param, None
    if kind in ("postgresql", "mysql"):
        server = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[kind])
        uri = server.uri(server.create_database())
    config = settle(kind, tmp_path_factory.mktemp(kind), {"t": TABLE}, uri=uri)
    config["virtual_tables"]["t"]["schema"] = TYPES
    with VirtualContext(config, "admin") as made:
        yield made


@pytest.mark.filterwarnings("ignore::tauro_nb.security.masks.WeakMask")
@pytest.mark.parametrize("mask", BARE)
def test_every_mask_over_every_column(root: VirtualContext, mask: str) -> None:
    options = OPTIONS.get(mask, {})
    rules = {
        name: FieldSecurityPolicy(name, mask=mask, mask_options=options, allowed_roles=["admin"])
        for name in TYPES
        if name != "id"
    }
    root.security.register_policy(TableSecurityPolicy("t", field_policies=rules))
    analyst = root.as_principal("ana")
    raw = root.query("SELECT * FROM t ORDER BY id").to_arrow()
    found = analyst.query("SELECT * FROM t ORDER BY id").to_arrow()
    assert found.schema == raw.schema
    seen = found.to_pylist()
    shown = {(row["id"], name, row[name]) for row in seen for name in _TELLING}
    kept = {(row["id"], name, row[name]) for row in raw.to_pylist() for name in _TELLING}
    assert {value for *_, value in shown & kept} <= {None, *_HARMLESS.get(mask, ())}
    listed = root.security.apply_field_masking("t", analyst.principal, raw.to_pylist())
    if mask not in NEW_EACH_TIME:
        assert listed == seen


_HARMLESS = {"default": [""], "constant": [], "regex": ["", "ab", "\u00dcn\u00efcode \u00df", "x'y\\z"]}
"""Texts in which there is nothing that the mask hides."""
_TELLING = ("txt", "amount", "ratio", "day", "moment")
"""Columns none of whose values a mask gives by chance."""
