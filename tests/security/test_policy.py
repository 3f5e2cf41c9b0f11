"""Policies from mappings, their hashes, and principals."""

from __future__ import annotations

from typing import Any

import pytest

from tauro_nb.errors import ConfigError, UsageError
from tauro_nb.security import AccessLevel, FieldSecurityPolicy, Principal, TableSecurityPolicy, TagPolicy

WHOLE: dict[str, Any] = {
    "allowed_roles": ["admin", "analyst"],
    "row_level_filters": {"analyst": "department = 'Sales'", "admin": ""},
    "field_policies": {
        "email": {"masking_enabled": True, "allowed_roles": "admin"},
        "ssn": {"access_level": "ENCRYPTED", "encryption_enabled": True},
        "salary": {"mask": "constant", "mask_value": 0},
        "note": None,
    },
    "audit_all_access": False,
    "requires_encryption": True,
}


def test_a_whole_policy_loads() -> None:
    policy = TableSecurityPolicy.from_mapping("customers", WHOLE)
    assert policy == TableSecurityPolicy(
        "customers",
        ["admin", "analyst"],
        {"analyst": "department = 'Sales'", "admin": ""},
        {
            "email": FieldSecurityPolicy("email", masking_enabled=True, allowed_roles=["admin"]),
            "ssn": FieldSecurityPolicy("ssn", AccessLevel.ENCRYPTED, encryption_enabled=True),
            "salary": FieldSecurityPolicy("salary", mask="constant", mask_value=0),
            "note": FieldSecurityPolicy("note"),
        },
        False,
        True,
    )


def test_all_mistakes_are_found_at_once() -> None:
    raw = {
        "allowed_rolls": [],
        "allowed_roles": 5,
        "row_level_filters": {"analyst": None},
        "audit_all_access": "yes",
        "field_policies": {"ssn": {"access_level": "encripted", "msk": 1}, "x": 5},
    }
    mistakes: list[str] = []
    TableSecurityPolicy.from_mapping("t", raw, mistakes=mistakes, path="security_policies.t")
    assert [mistake.partition(":")[0] for mistake in mistakes] == [
        "security_policies.t.allowed_rolls",
        "security_policies.t.allowed_roles",
        "security_policies.t.row_level_filters",
        "security_policies.t.audit_all_access",
        "security_policies.t.field_policies.ssn.access_level",
        "security_policies.t.field_policies.ssn.msk",
        "security_policies.t.field_policies.x",
    ]
    assert "Did you mean `encrypted`" in mistakes[4]
    with pytest.raises(ConfigError) as caught:
        TableSecurityPolicy.from_mapping("t", raw)
    assert caught.value.mistakes == tuple(mistakes)


@pytest.mark.parametrize(
    "raw",
    [
        {"allowed_roles": []},
        {"row_level_filters": {}},
        {"field_policies": {"ssn": {"allowed_roles": []}}},
        {"field_policies": {"ssn": {"allowed_roles": [], "domain": "people"}}},
    ],
)
def test_what_the_last_role_was_taken_out_of_opens_nothing(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(allowed_roles: an empty list|row_level_filters: an empty mapping)"):
        TableSecurityPolicy.from_mapping("t", raw)


def test_an_empty_list_where_something_is_hidden_names_nobody() -> None:
    masked = {"field_policies": {"ssn": {"mask": "ssn", "allowed_roles": []}}}
    assert TableSecurityPolicy.from_mapping("t", masked).field_policies["ssn"].allowed_roles == []
    with pytest.raises(ConfigError, match=r"tag_policies.pii.allowed_roles: an empty list"):
        TagPolicy.from_mapping("pii", {"allowed_roles": []})
    assert TableSecurityPolicy("t").settled() == TableSecurityPolicy("t")


def test_the_mask_null_needs_its_quotes() -> None:
    """Without them YAML says that there is no mask, which must not be taken for a rule that asks for none."""
    for rule in ({"mask": None}, {"role_masks": {"analyst": {"mask": None}}}):
        with pytest.raises(ConfigError, match='the mask is `"null"`, in quotes'):
            TableSecurityPolicy.from_mapping("t", {"field_policies": {"ssn": rule}})


def test_equal_rules_have_equal_hashes_in_any_order() -> None:
    policy = TableSecurityPolicy.from_mapping("t", WHOLE)
    turned = {name: WHOLE[name] for name in reversed(WHOLE)}
    turned["allowed_roles"] = ["analyst", "admin"]
    turned["field_policies"] = dict(reversed(WHOLE["field_policies"].items()))
    assert TableSecurityPolicy.from_mapping("T", turned).content_hash == policy.content_hash


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "field_policies"])
def test_every_rule_is_in_the_hash(name: str) -> None:
    less = TableSecurityPolicy.from_mapping("t", {key: value for key, value in WHOLE.items() if key != name})
    assert less.content_hash != TableSecurityPolicy.from_mapping("t", WHOLE).content_hash
    assert less.signature() != TableSecurityPolicy.from_mapping("t", WHOLE).signature()


@pytest.mark.parametrize(
    "change",
    [
        {"access_level": AccessLevel.MASKED},
        {"masking_enabled": True},
        {"mask": "null"},
        {"mask_value": 1},
        {"mask_value": True},
        {"encryption_enabled": True},
        {"allowed_roles": ["x"]},
    ],
)
def test_every_field_rule_is_in_the_hash(change: dict[str, Any]) -> None:
    plain = TableSecurityPolicy("t", field_policies={"c": FieldSecurityPolicy("c")})
    other = TableSecurityPolicy("t", field_policies={"c": FieldSecurityPolicy("c", **change)})
    assert plain.content_hash != other.content_hash
    assert plain.signature() != other.signature()


def test_a_principal_is_a_value() -> None:
    one = Principal("ana", ["b", "a"], {"x": [1, 2], "y": {"q"}})  # type: ignore[arg-type]
    two = Principal("ana", {"a", "b"}, {"y": {"q"}, "x": [1, 2]})
    assert one == two
    assert hash(one) == hash(two)
    assert one.key == two.key
    assert Principal("ana", attributes={"x": 1}).key != Principal("ana", attributes={"x": True}).key
    with pytest.raises(TypeError):
        one.attributes["x"] = 5  # type: ignore[index]
    assert Principal("ana", "admin").roles == {"admin"}  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="attributes are scalars"):
        Principal("ana", attributes={"x": {"a": 1}})


def test_a_principal_keeps_what_it_was_given_not_what_became_of_it() -> None:
    regions = ["EU"]
    who = Principal("ana", attributes={"regions": regions})
    regions.append("US")
    assert who.attributes["regions"] == ("EU",)
    assert Principal.of(who) is who
    assert Principal.of("ana").identities == {"ana"}
