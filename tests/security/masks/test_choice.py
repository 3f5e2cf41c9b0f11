"""Which mask a field gets, what its options may be, and what a mask says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from tauro_nb.errors import PolicyError
from tauro_nb.security import FieldSecurityPolicy, SecurityEnforcer, TableSecurityPolicy
from tauro_nb.security.masks import MASKS, Rank, WeakMask, choose_mask

NEEDED: dict[str, dict[str, Any]] = {
    "partial": {"prefix": 2, "suffix": 3},
    "date_trunc": {"unit": "month"},
    "bucket": {"size": 100},
    "round": {"digits": -2},
    "regex": {"pattern": "[0-9]+", "replacement": "#"},
    "expression": {"sql": "left(v, 1)"},
}
LATTICE = [
    (Rank.NULL, {"null"}),
    (Rank.CONSTANT, {"constant", "default"}),
    (Rank.KEYED, {"hmac", "hmac_ephemeral", "token", "random"}),
    (
        Rank.PARTIAL,
        {"redact", "partial", "first4", "last4", "email", "phone", "ssn", "regex", "expression", "sha256_unkeyed"},
    ),
    (Rank.COARSE, {"date_trunc", "bucket", "round"}),
]


@pytest.mark.parametrize(("rank", "names"), LATTICE, ids=lambda value: str(value) if isinstance(value, Rank) else "")
def test_the_lattice(rank: Rank, names: set[str]) -> None:
    assert {name for name, masker in MASKS.items() if masker.rank is rank} == names


def test_only_masks_that_keep_values_apart_join() -> None:
    joining = {name for name in MASKS if choose_mask("v", name, options=NEEDED.get(name)).joinable}
    assert joining == {"hmac", "hmac_ephemeral", "token", "sha256_unkeyed"}


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        ("partial", {"prefx": 2}, "has no option `prefx`; it takes .* Did you mean `prefix`"),
        ("email", {"prefix": 2}, "has no option `prefix`; it takes none"),
        ("constant", {"value": 2}, "has no option `value`"),
        ("partial", {"prefix": -1}, "`prefix` must be a whole number of at least 0"),
        ("partial", {"prefix": True}, "`prefix` must be a whole number"),
        ("partial", {"prefix": 10**9}, "at most 1000"),
        ("partial", {"prefix": 1, "pad": 3}, "`pad` must be a text"),
        ("partial", {"prefix": 1, "pad": "a\0"}, "`pad` must be a text"),
        ("partial", {}, "needs `prefix` or `suffix`"),
        ("last4", {"hide": 0}, "at least 1"),
        ("date_trunc", {}, "needs the option `unit`"),
        ("date_trunc", {"unit": "yaer"}, "one of year, quarter.*Did you mean `year`"),
        ("bucket", {}, "needs `size` or `edges`"),
        ("bucket", {"size": 1, "edges": [1]}, "needs `size` or `edges`"),
        ("bucket", {"size": 0}, "must be more than 0"),
        ("bucket", {"size": float("nan")}, "`size` must be a number"),
        ("bucket", {"edges": [2, 1]}, "a list of ascending numbers"),
        ("bucket", {"edges": []}, "a list of ascending numbers"),
        ("round", {"digits": 99}, "at most 15"),
        ("random", {"low": 1}, "needs both `low` and `high`"),
        ("random", {"low": 2, "high": 1}, "`low` must be less than `high`"),
        ("random", {"low": 2, "high": "2020-01-01"}, "`low` must be less than `high`"),
        ("random", {"low": "soon", "high": "later"}, "a number or a date"),
        ("redact", {"shape": "yes"}, "`shape` must be true or false"),
        ("regex", {}, "needs the option `pattern`"),
        ("regex", {"pattern": "(a"}, "not a regular expression of RE2"),
        ("regex", {"pattern": "(?=a)b"}, "not a regular expression of RE2"),
        ("regex", {"pattern": "a*"}, "must not find the empty text"),
        ("regex", {"pattern": "(a)", "replacement": r"\2"}, "names a group"),
        ("regex", {"pattern": "(a)", "replacement": r"\x"}, "names a group"),
        ("regex", {"pattern": "(a)", "replacement": "x\\"}, "ends in a backslash"),
        ("regex", {"pattern": "a" * 2000}, "1 to 1000 characters"),
        ("expression", {}, "needs the option `sql`"),
        ("expression", {"sql": " "}, "`sql` is empty"),
        ("expression", {"sql": "getenv('HOME')"}, "uses GETENV"),
        ("expression", {"sql": "sum(v)"}, "uses SUM"),
        ("expression", {"sql": "row_number() over ()"}, "uses"),
        ("expression", {"sql": "v;"}, "one condition only"),
    ],
)
def test_wrong_options_are_refused_with_the_field(mask: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        choose_mask("card", mask, options=options)
    assert str(caught.value).startswith("field `card`: ")


def test_options_are_a_mapping_and_need_a_mask() -> None:
    with pytest.raises(PolicyError, match="mapping of name to value"):
        choose_mask("x", "partial", options=[1])
    with pytest.raises(PolicyError, match="mask options without a mask"):
        choose_mask("x", None, options={"size": 1})
    with pytest.raises(PolicyError, match="there is no mask"):
        choose_mask("x", 3)


@pytest.mark.parametrize("name", sorted(MASKS))
def test_masks_compare_by_what_they_do_and_show_no_parameter(name: str) -> None:
    first, second = (choose_mask("v", name, options=NEEDED.get(name)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != choose_mask("v", "constant", "something else")
    for value in NEEDED.get(name, {}).values():
        assert str(value) not in repr(first)


def test_an_unkeyed_hash_is_registered_with_a_warning() -> None:
    rule = FieldSecurityPolicy("ssn", mask="sha256_unkeyed")
    with pytest.warns(WeakMask, match="column `ssn`: the mask `sha256_unkeyed` has no key"):
        SecurityEnforcer().register_policy(TableSecurityPolicy("t", field_policies={"ssn": rule}))
