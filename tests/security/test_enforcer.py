"""Decisions: who, which rows, which columns; and the same for row lists."""

from __future__ import annotations

import subprocess
import sys
import threading
import timeit
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tauro_nb.errors import AccessDenied, AuditUnavailable, PolicyError, UsageError
from tauro_nb.security import (
    AccessLevel,
    AuditTrail,
    FieldSecurityPolicy,
    Operation,
    Principal,
    SecurityEnforcer,
    TableDecision,
    TableSecurityPolicy,
    TagPolicy,
)

Columns = dict[str, str]


def access(decision: TableDecision) -> dict[str, str]:
    return {name: column.access for name, column in decision.columns.items()}


def field(name: str, **rules: Any) -> dict[str, FieldSecurityPolicy]:
    return {name: FieldSecurityPolicy(name, **rules)}


# -- tables


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("admin", True),
        ("ana", False),
        (Principal("ana", {"admin"}), True),
        (Principal("ana", {"ADMIN"}), False),
        (Principal("ana", {"admin2", "adm"}), False),
    ],
)
def test_allowed_roles(enforcer: SecurityEnforcer, columns: Columns, who: str | Principal, allowed: bool) -> None:
    enforcer.register_policy(TableSecurityPolicy("customers", allowed_roles=["admin"]))
    decision = enforcer.decide("CUSTOMERS", columns, who)
    assert decision.allowed is allowed
    if not allowed:
        assert set(access(decision).values()) == {"denied"}
        assert decision.visible_columns == ()
        assert decision.row_filter is not None
        assert decision.row_filter.sql("duckdb") == "FALSE"
        with pytest.raises(AccessDenied, match="no role of `ana`"):
            decision.require()


def test_a_declared_principal_has_only_its_roles(columns: Columns) -> None:
    enforcer = SecurityEnforcer(principals={"admin": Principal("admin", {"intern"}), "ana": Principal("ana", {"boss"})})
    enforcer.register_policy(TableSecurityPolicy("customers", allowed_roles=["boss"]))
    assert enforcer.decide("customers", columns, "ana").allowed
    assert not enforcer.decide("customers", columns, "admin").allowed


@pytest.mark.parametrize("who", ["", "  ", None, "a\nb", "a\x00", "zero\u200bwidth", "bidi\u202e", "x" * 600])
def test_a_name_that_is_none_is_refused(enforcer: SecurityEnforcer, columns: Columns, who: Any) -> None:
    with pytest.raises(AccessDenied):
        enforcer.decide("customers", columns, who)
    with pytest.raises(AccessDenied):
        enforcer.apply_row_level_security("customers", who, [{"id": 1}])
    assert enforcer.validate_access(who, "customers") is False
    assert [log.status for log in enforcer.get_audit_logs()] == ["DENIED", "DENIED"]


def test_default_access(columns: Columns) -> None:
    opened, closed = SecurityEnforcer("allow"), SecurityEnforcer("deny")
    assert access(opened.decide("t", columns, "ana")) == dict.fromkeys(columns, "clear")
    assert not opened.decide("t", columns, "ana").needs_barrier
    assert opened.decide("t", columns, "ana").policy_hash != closed.decide("t", columns, "ana").policy_hash
    assert not closed.decide("t", columns, "ana").allowed
    with pytest.raises(AccessDenied, match="no policy"):
        closed.apply_field_masking("t", "ana", [{"a": 1}])
    with pytest.raises(UsageError):
        SecurityEnforcer("sometimes")  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("with_policy", [True, False])
def test_virtual_tables_are_read_only(columns: Columns, operation: Operation, with_policy: bool) -> None:
    enforcer = SecurityEnforcer()
    if with_policy:
        enforcer.register_policy(TableSecurityPolicy("t"))
    reading = operation in (Operation.SELECT, Operation.EXPORT)
    assert enforcer.decide("t", columns, "ana", operation).allowed is reading
    assert enforcer.validate_access("ana", "t", operation=operation) is reading


def test_removing_a_policy_leaves_the_default(policy: TableSecurityPolicy, columns: Columns) -> None:
    enforcer = SecurityEnforcer("deny")
    enforcer.register_policy(policy)
    assert enforcer.decide("customers", columns, "admin").allowed
    assert enforcer.remove_policy("Customers") is True
    assert enforcer.remove_policy("customers") is False
    assert enforcer.get_policy("customers") is None
    assert not enforcer.decide("customers", columns, "admin").allowed


# -- columns

FIELD_CASES = [
    ({}, "clear"),
    ({"access_level": AccessLevel.RESTRICTED}, "denied"),
    ({"access_level": AccessLevel.ENCRYPTED}, "encrypted"),
    ({"encryption_enabled": True}, "encrypted"),
    ({"access_level": AccessLevel.MASKED}, "masked"),
    ({"masking_enabled": True}, "masked"),
    ({"mask": "null"}, "masked"),
    ({"mask_value": "x"}, "masked"),
    ({"masking_enabled": True, "access_level": AccessLevel.RESTRICTED}, "denied"),
    ({"masking_enabled": True, "encryption_enabled": True}, "encrypted"),
    ({"encryption_enabled": True, "access_level": AccessLevel.RESTRICTED}, "denied"),
]


@pytest.mark.parametrize(("rules", "others"), FIELD_CASES)
@pytest.mark.parametrize("roles", [["hr"], []])
def test_field_rules(enforcer: SecurityEnforcer, rules: dict[str, Any], others: str, roles: list[str]) -> None:
    policy = TableSecurityPolicy("t", field_policies=field("SSN", allowed_roles=roles, **rules))
    enforcer.register_policy(policy)
    columns = {"id": "BIGINT", "ssn": "VARCHAR"}
    # Roles listed alone mean that nobody else sees the column.
    others = "denied" if others == "clear" and roles else others
    mine = enforcer.decide("t", columns, "ana").columns["ssn"]
    assert mine.access == others
    assert (mine.expression is not None) is (others in ("masked", "encrypted"))
    assert enforcer.decide("t", columns, "hr").columns["ssn"].access == ("clear" if roles else others)
    assert enforcer.decide("t", columns, "ana").columns["id"].access == "clear"
    assert enforcer.validate_access("ana", "t", ["id", "ssn"]) is (others in ("clear", "masked"))


def test_everything_is_encrypted_for_whom_no_field_policy_allows_it(enforcer: SecurityEnforcer) -> None:
    policy = TableSecurityPolicy(
        "t",
        requires_encryption=True,
        field_policies=field("account", access_level=AccessLevel.ENCRYPTED, allowed_roles=["boss"]) | field("open"),
    )
    enforcer.register_policy(policy)
    columns = {"account": "VARCHAR", "open": "VARCHAR", "new": "VARCHAR"}
    found = access(enforcer.decide("t", columns, "boss"))
    assert found == {"account": "clear", "open": "encrypted", "new": "encrypted"}
    mine = enforcer.decide("t", columns, "ana")
    assert mine.columns["account"].rule == "encrypted except for boss"
    assert mine.columns["new"].rule == "encrypted for nobody: it has no field policy"
    assert mine.visible_columns == ("account", "open", "new")
    assert {column.shown_type for column in mine.columns.values()} == {"VARCHAR"}
    assert mine.allowed


def test_masks_keep_order_and_need_a_barrier(
    enforcer: SecurityEnforcer, policy: TableSecurityPolicy, columns: Columns
) -> None:
    enforcer.register_policy(policy)
    policy.field_policies |= field("salary", access_level=AccessLevel.RESTRICTED)
    mine = enforcer.decide("customers", columns, "analyst")
    assert mine.visible_columns == tuple(name for name in columns if name != "salary")
    assert [name for name, column in mine.columns.items() if column.access == "masked"] == ["email", "phone", "ssn"]
    assert [mine.columns[name].mask for name in ("email", "phone", "ssn")] == ["email", "phone", "ssn"]
    assert mine.needs_barrier
    assert not enforcer.decide("customers", columns, "admin").needs_barrier


def test_a_text_mask_on_a_number_is_null(enforcer: SecurityEnforcer) -> None:
    enforcer.register_policy(TableSecurityPolicy("t", field_policies=field("phone", masking_enabled=True)))
    column = enforcer.decide("t", {"phone": "BIGINT"}, "ana").columns["phone"]
    assert (column.mask, column.type) == ("null", "BIGINT")


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("BIGINT", 0, True),
        ("BIGINT", "x", False),
        ("DATE", "1970-01-01", True),
        ("TINYINT", 1000, False),
        ("VARCHAR", 5, True),
    ],
)
def test_a_constant_must_have_the_columns_type(enforcer: SecurityEnforcer, kind: str, value: Any, fits: bool) -> None:
    enforcer.register_policy(TableSecurityPolicy("t", field_policies=field("c", mask="constant", mask_value=value)))
    if fits:
        assert enforcer.decide("t", {"c": kind}, "ana").columns["c"].mask == "constant"
    else:
        with pytest.raises(PolicyError, match="mask value of `c`"):
            enforcer.decide("t", {"c": kind}, "ana")


def test_a_rule_about_no_column_closes_the_table(enforcer: SecurityEnforcer, columns: Columns) -> None:
    enforcer.register_policy(TableSecurityPolicy("customers", field_policies=field("snn", masking_enabled=True)))
    with pytest.raises(PolicyError, match=r"no column `snn`. Did you mean `ssn`"):
        enforcer.decide("customers", columns, "ana")


# -- rows


@pytest.mark.parametrize(
    ("who", "where"),
    [
        ("analyst", "(\"department\" = 'Sales')"),
        ("admin", None),
        (Principal("42", {"manager"}), '("manager_id" = 42)'),
        (Principal("42", {"manager", "analyst"}), '(("department" = \'Sales\') OR ("manager_id" = 42))'),
        (Principal("42", {"manager", "admin"}), None),
    ],
)
def test_filters_of_all_roles_are_ored(
    enforcer: SecurityEnforcer, policy: TableSecurityPolicy, columns: Columns, who: str | Principal, where: str | None
) -> None:
    enforcer.register_policy(policy)
    found = enforcer.decide("customers", columns, who)
    assert found.allowed
    assert (found.row_filter.sql("duckdb") if found.row_filter else None) == where
    assert found.filter_rule is None or "Sales" not in found.filter_rule


def test_without_a_filter_that_applies_nothing_is_read(
    enforcer: SecurityEnforcer, policy: TableSecurityPolicy, columns: Columns
) -> None:
    enforcer.register_policy(policy)
    found = enforcer.decide("customers", columns, "intern")
    assert not found.allowed
    assert found.reason == "no row filter of `customers` applies to `intern`"
    with pytest.raises(AccessDenied, match="no row filter"):
        enforcer.apply_row_level_security("customers", "intern", [{"department": "Sales"}])
    with pytest.raises(AccessDenied, match="no row filter"):
        enforcer.apply_field_masking("customers", "intern", [])


def test_a_missing_attribute_is_a_refusal(enforcer: SecurityEnforcer, columns: Columns) -> None:
    enforcer.register_policy(TableSecurityPolicy("t", row_level_filters={"ana": "department = {principal.dept}"}))
    found = enforcer.decide("t", columns, "ana")
    assert not found.allowed
    assert "no attribute `dept`" in found.reason
    with pytest.raises(AccessDenied, match="no attribute `dept`"):
        enforcer.apply_row_level_security("t", "ana", [{"department": "x"}])
    assert [log.denial_reason for log in enforcer.get_audit_logs(status="denied")] == [found.reason]


def test_a_filter_that_does_not_bind_closes_the_table(enforcer: SecurityEnforcer, columns: Columns) -> None:
    enforcer.register_policy(TableSecurityPolicy("t", row_level_filters={"ana": "departmnt = 'x'", "bob": ""}))
    with pytest.raises(PolicyError, match="Did you mean `department`"):
        enforcer.decide("t", columns, "ana")
    with pytest.raises(PolicyError):
        enforcer.apply_row_level_security("t", "ana", [{"department": "x"}])
    assert [log.denial_reason for log in enforcer.get_audit_logs(principal="ana")] == ["PolicyError"]
    assert enforcer.decide("t", columns, "bob").allowed


def test_unknown_columns_keep_every_row_back(enforcer: SecurityEnforcer, policy: TableSecurityPolicy) -> None:
    enforcer.register_policy(policy)
    found = enforcer.decide("customers", {}, "analyst")
    assert found.allowed
    assert found.row_filter is not None
    assert found.row_filter.sql("duckdb") == "FALSE"
    assert found.filter_rule == "row filter of `analyst`"
    assert enforcer.decide("customers", {}, "admin").row_filter is None
    assert not enforcer.decide("customers", {}, "intern").allowed


# -- registration and change


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (TableSecurityPolicy("customers", row_level_filters={"a": "department ="}), "does not parse"),
        (TableSecurityPolicy("customers", row_level_filters={"a": None}), "must be a text"),  # type: ignore[dict-item]
        (TableSecurityPolicy("customers", row_level_filters={"a": "nope = 1"}), "no column `nope`"),
        (TableSecurityPolicy("customers", field_policies=field("ssn", mask="sssn")), "no mask `sssn`"),
        (TableSecurityPolicy("customers", field_policies=field("nope")), "no column `nope`"),
        (TableSecurityPolicy("customers", field_policies={"a": FieldSecurityPolicy("b")}), "for a rule about `b`"),
        (TableSecurityPolicy("customers", field_policies=field("ssn") | field("SSN")), "two rules"),
        (
            TableSecurityPolicy("customers", field_policies=field("salary", mask="constant", mask_value="x")),
            "not a DECIMAL",
        ),
    ],
)
def test_a_wrong_policy_leaves_the_earlier_one(columns: Columns, policy: TableSecurityPolicy, says: str) -> None:
    enforcer = SecurityEnforcer(tables={"Customers": columns})
    earlier = TableSecurityPolicy("customers", allowed_roles=["admin"])
    enforcer.register_policy(earlier)
    with pytest.raises(PolicyError, match=says):
        enforcer.register_policy(policy)
    assert enforcer.get_policy("customers") is earlier
    assert not enforcer.decide("customers", columns, "ana").allowed


WRONG_SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"allowed_roles": [None, "a"]}, "`allowed_roles`: expected a list"),
    ({"row_level_filters": None}, "`row_level_filters`: expected a mapping"),
    ({"restrictive_filters": ["id = 1"]}, "`restrictive_filters`: expected a mapping"),
    ({"field_policies": [FieldSecurityPolicy("ssn")]}, "`field_policies`: expected a mapping"),
    ({"field_policies": {"ssn": {"mask": "null"}}}, "`ssn` needs a FieldSecurityPolicy"),
    ({"field_policies": {"ssn": FieldSecurityPolicy("ssn", "restrictd")}}, "`access_level`: 'restrictd' is not one"),
    ({"field_policies": {"ssn": FieldSecurityPolicy("ssn", encrypted_at="sauce")}}, "`encrypted_at`: 'sauce' is not"),
    ({"field_policies": {"ssn": FieldSecurityPolicy("ssn", searchable="eq")}}, "`searchable`: 'eq' is not one"),
    ({"barrier": "stirct"}, "Did you mean `strict`"),
    ({"audit_all_access": "no"}, "`audit_all_access`: expected true or false"),
]


@pytest.mark.parametrize(("rules", "says"), WRONG_SHAPES)
def test_what_no_file_could_say_python_cannot_either(columns: Columns, rules: dict[str, Any], says: str) -> None:
    """Made in one step, or in place: a word that nothing looks at would protect nothing."""
    enforcer = SecurityEnforcer(tables={"customers": columns})
    with pytest.raises(PolicyError, match=says):
        enforcer.register_policy(TableSecurityPolicy("customers", **rules))
    ((name, value),), live = rules.items(), TableSecurityPolicy("customers")
    enforcer.register_policy(live)
    setattr(live, name, value)
    with pytest.raises((PolicyError, AttributeError)):
        enforcer.decide("customers", columns, "ana")


def test_one_role_is_no_list_of_its_letters(columns: Columns) -> None:
    enforcer = SecurityEnforcer(tables={"customers": columns})
    rule = FieldSecurityPolicy("ssn", masking_enabled=True, allowed_roles="admin")  # type: ignore[arg-type]
    policy = TableSecurityPolicy("customers", allowed_roles={"admin", "hr"}, field_policies={"ssn": rule})  # type: ignore[arg-type]
    enforcer.register_policy(policy)
    assert not enforcer.decide("customers", columns, "a").allowed
    assert enforcer.decide("customers", columns, "hr").columns["ssn"].access == "masked"
    assert enforcer.decide("customers", columns, Principal("x", {"hr", "a"})).columns["ssn"].access == "masked"
    assert enforcer.decide("customers", columns, "admin").columns["ssn"].access == "clear"
    with pytest.raises(PolicyError, match="policy of the tag `pii`: `denied_roles`"):
        enforcer.register_tag_policy(TagPolicy("pii", denied_roles=[7]))  # type: ignore[list-item]


def test_a_change_after_registration_counts_at_once(enforcer: SecurityEnforcer, columns: Columns) -> None:
    policy = TableSecurityPolicy("customers")
    enforcer.register_policy(policy)
    seen = []

    def look() -> TableDecision:
        decision = enforcer.decide("customers", columns, "ana")
        seen.append(decision.policy_hash)
        return decision

    assert access(look())["ssn"] == "clear"
    policy.field_policies["ssn"] = FieldSecurityPolicy("ssn", masking_enabled=True)
    assert look().columns["ssn"].mask == "ssn"
    policy.field_policies["ssn"].mask = "null"
    assert look().columns["ssn"].mask == "null"
    policy.field_policies["ssn"].allowed_roles.append("ana")
    assert access(look())["ssn"] == "clear"
    policy.row_level_filters["ana"] = "salary < 5"
    assert look().row_filter is not None
    policy.allowed_roles = ["bob"]
    assert not look().allowed
    assert len(set(seen)) == len(seen)
    policy.row_level_filters["ana"] = "salary <"
    with pytest.raises(PolicyError):
        look()


def test_1_and_true_are_two_mask_values(enforcer: SecurityEnforcer) -> None:
    policy = TableSecurityPolicy("t", field_policies=field("c", mask="constant", mask_value=1))
    enforcer.register_policy(policy)
    first = enforcer.decide("t", {"c": "VARCHAR"}, "ana").columns["c"].expression
    policy.field_policies["c"].mask_value = True
    second = enforcer.decide("t", {"c": "VARCHAR"}, "ana").columns["c"].expression
    assert [tree.sql("duckdb") for tree in (first, second) if tree] == ["'1'", "'true'"]


def test_nobody_can_spoil_a_decision_for_the_next(
    enforcer: SecurityEnforcer, policy: TableSecurityPolicy, columns: Columns
) -> None:
    from sqlglot import exp

    enforcer.register_policy(policy)
    first = enforcer.decide("customers", columns, "analyst")
    where, mask = first.row_filter, first.columns["email"].expression
    assert where is not None
    assert mask is not None
    where.find(exp.EQ).replace(exp.true())  # type: ignore[union-attr]
    mask.set("default", exp.column("email"))
    second = enforcer.decide("customers", columns, "analyst")
    assert second.row_filter is not None
    assert second.row_filter.sql("duckdb") == "(\"department\" = 'Sales')"
    assert second.columns["email"].expression != mask
    with pytest.raises(TypeError):
        second.columns["ssn"] = second.columns["id"]  # type: ignore[index]


def test_two_people_never_share_a_decision(enforcer: SecurityEnforcer, columns: Columns) -> None:
    enforcer.register_policy(TableSecurityPolicy("t", row_level_filters={"r": "manager_id = {principal.n}"}))
    trees = {
        n: enforcer.decide("t", columns, Principal("p", {"r"}, {"n": n})).row_filter for n in ("1", 1.0, True, 2, "x")
    }
    written = {name: tree.sql("duckdb") for name, tree in trees.items() if tree}
    assert written["1"] == written[1.0].replace("CAST('1.0' AS INT)", "1") or written[1.0] != written[2]
    assert written[2] == '("manager_id" = 2)'
    assert written["x"] == "(CAST(NULL AS BOOLEAN))"


def test_a_warm_decision_is_fast(enforcer: SecurityEnforcer, policy: TableSecurityPolicy, columns: Columns) -> None:
    enforcer.register_policy(policy)
    who = Principal("42", {"manager"})
    enforcer.decide("customers", columns, who)
    best = min(timeit.repeat(lambda: enforcer.decide("customers", columns, who), number=200, repeat=10)) / 200
    assert best < 100e-6  # about 10 us on the machine it was written on; the margin is for loaded ones


def test_importing_loads_no_engine() -> None:
    code = (
        "import sys, tauro_nb.security;"
        "print(sorted({'ibis', 'duckdb', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# -- row lists


def test_rows_keep_their_objects_and_order(enforcer: SecurityEnforcer, policy: TableSecurityPolicy) -> None:
    enforcer.register_policy(policy)
    odd = object()
    rows: list[dict[str, Any]] = [
        {"department": "Sales", "n": 1, "x": odd, "money": Decimal("1.10")},
        {"n": 2},
        {"DEPARTMENT": "Sales", "n": 3},
        {"department": None, "n": 4},
        {"department": "Legal", "n": 5},
        {"department": "Sales", "email": "alan@example.com"},
    ]
    found = enforcer.apply_row_level_security("Customers", "analyst", rows)
    assert [id(row) for row in found] == [id(rows[n]) for n in (0, 2, 5)]
    masked = enforcer.apply_field_masking("customers", "analyst", found)
    assert masked[0] == rows[0]
    assert masked[0]["x"] is odd
    assert masked[0] is not rows[0]
    assert masked[2] == {"department": "Sales", "email": "a***n@example.com"}
    assert rows[5]["email"] == "alan@example.com"


def test_a_large_list_keeps_its_order(enforcer: SecurityEnforcer) -> None:
    enforcer.register_policy(
        TableSecurityPolicy(
            "t", row_level_filters={"ana": "n % 3 <> 0"}, field_policies=field("phone", masking_enabled=True)
        )
    )
    rows = [{"n": n, "phone": f"555-000-{n % 10000:04}"} for n in range(300_000)]
    found = enforcer.apply_field_masking("t", "ana", enforcer.apply_row_level_security("t", "ana", rows))
    assert found == [{"n": n, "phone": f"****{n % 10000:04}"} for n in range(300_000) if n % 3]


def test_denied_columns_are_left_out_and_spellings_do_not_help(enforcer: SecurityEnforcer) -> None:
    enforcer.register_policy(
        TableSecurityPolicy(
            "t",
            field_policies=field("ssn", masking_enabled=True) | field("salary", access_level=AccessLevel.RESTRICTED),
        )
    )
    rows = [{"ssn": "123-45-5678", "SSN": "123-45-9999", "Salary": 5, "SALARY": 6, "id": 1}]
    assert enforcer.apply_field_masking("t", "ana", rows) == [{"ssn": "***-**-5678", "SSN": "***-**-9999", "id": 1}]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["alan@example.com", None], ["a***n@example.com", None]),
        ([None, None], [None, None]),
        ([5, 6], [None, None]),
        (["alan@example.com", 5, {"a": 1}], ["a***n@example.com", "***", "***"]),
        ([b"alan@example.com"], [None]),
        (["lone \ud800 surrogate", "alan@example.com"], [None, None]),
        ([["alan@example.com"]], [None]),
        ([10**50], [None]),
    ],
)
def test_whatever_is_in_a_masked_column_is_hidden(
    enforcer: SecurityEnforcer, values: list[Any], shown: list[Any]
) -> None:
    enforcer.register_policy(TableSecurityPolicy("t", field_policies=field("email", masking_enabled=True)))
    found = enforcer.apply_field_masking("t", "ana", [{"email": value} for value in values])
    assert [row["email"] for row in found] in (shown, ["***" if value is None else value for value in shown])
    assert str(values[0]) not in str(found) or values[0] is None


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": 1}, {"id": 2}],
        [{"department": 5}, {"department": "Sales"}],
        [{"department": "Sales", "DEPARTMENT": "Legal"}],
        [{"department": ["Sales"]}],
        [{"department": 5}],
    ],
)
def test_rows_that_cannot_be_judged_are_not_returned(
    enforcer: SecurityEnforcer, policy: TableSecurityPolicy, rows: list[dict[str, Any]]
) -> None:
    enforcer.register_policy(policy)
    with pytest.raises((PolicyError, AccessDenied)):
        enforcer.apply_row_level_security("customers", "analyst", rows)
    assert [log.status for log in enforcer.get_audit_logs()] == ["DENIED"]
    # Another role's filter does not stand in the way of one without restriction.
    assert enforcer.apply_row_level_security("customers", "admin", rows) == rows


def test_empty_lists_and_all_null_columns(enforcer: SecurityEnforcer, policy: TableSecurityPolicy) -> None:
    enforcer.register_policy(policy)
    assert enforcer.apply_row_level_security("customers", "analyst", []) == []
    assert enforcer.apply_field_masking("customers", "analyst", []) == []
    assert enforcer.apply_row_level_security("customers", "analyst", [{"department": None}, {}]) == []
    assert enforcer.apply_row_level_security("customers", Principal("x", {"manager"}), [{"manager_id": None}]) == []


def test_rows_need_not_be_dicts_but_mappings(enforcer: SecurityEnforcer, policy: TableSecurityPolicy) -> None:
    enforcer.register_policy(policy)
    rows: list[Any] = [MappingProxyType({"department": "Sales"})]
    assert enforcer.apply_row_level_security("customers", "analyst", rows) == rows
    for wrong in (["x"], [{1: 2}]):
        with pytest.raises(UsageError):
            enforcer.apply_row_level_security("customers", "analyst", wrong)  # type: ignore[arg-type]


def test_known_types_are_used_for_rows(columns: Columns) -> None:
    enforcer = SecurityEnforcer(tables=lambda name: columns if name.casefold() == "customers" else None)
    recent = (datetime.now(UTC) - timedelta(days=10)).date().isoformat()
    enforcer.register_policy(
        TableSecurityPolicy("customers", row_level_filters={"ana": "signup_date >= DATE_SUB(NOW(), INTERVAL 1 YEAR)"})
    )
    rows = [{"signup_date": recent}, {"signup_date": "2001-01-01"}, {"signup_date": "not a date"}]
    assert enforcer.apply_row_level_security("customers", "ana", rows) == rows[:1]


def test_row_lists_are_recorded(enforcer: SecurityEnforcer, policy: TableSecurityPolicy) -> None:
    enforcer.register_policy(policy)
    enforcer.apply_row_level_security("customers", "analyst", [{"department": "Sales"}, {"department": "x"}])
    (log,) = enforcer.get_audit_logs(table_name="CUSTOMERS")
    assert (log.principal, log.status, log.row_count, log.field_names) == ("analyst", "SUCCESS", 1, ("department",))
    policy.audit_all_access = False
    enforcer.apply_row_level_security("customers", "analyst", [{"department": "Sales"}])
    with pytest.raises(AccessDenied):
        enforcer.apply_row_level_security("customers", "intern", [])
    assert [log.status for log in enforcer.get_audit_logs()] == ["SUCCESS", "DENIED"]


def test_rows_that_cannot_be_recorded_are_not_returned(tmp_path: Path, policy: TableSecurityPolicy) -> None:
    enforcer = SecurityEnforcer(trail=AuditTrail(tmp_path / "missing" / "audit.jsonl"))
    enforcer.register_policy(policy)
    with pytest.raises(AuditUnavailable):
        enforcer.apply_row_level_security("customers", "admin", [{"a": 1}])
    assert not (tmp_path / "missing").exists()


def test_threads_decide_alike(enforcer: SecurityEnforcer, policy: TableSecurityPolicy, columns: Columns) -> None:
    enforcer.register_policy(policy)
    wrong: list[str] = []

    def work(n: int) -> None:
        for _ in range(20):
            tree = enforcer.decide("customers", columns, Principal(str(n), {"manager"})).row_filter
            rows = [{"manager_id": m} for m in range(8)]
            found = enforcer.apply_row_level_security("customers", Principal(str(n), {"manager"}), rows)
            if tree is None or tree.sql("duckdb") != f'("manager_id" = {n})' or found != [{"manager_id": n}]:
                wrong.append(f"{n}: {tree} {found}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(enforcer.get_audit_logs()) == 80
