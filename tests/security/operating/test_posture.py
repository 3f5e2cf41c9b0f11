"""Posture says what is so: every fact and control turns with the setting that decides it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.oversight.deployment import posture
from tauro_nb.security.claims import CLAIMS, claims_page
from tests.security.operating.conftest import POLICIES, Write

Config = dict[str, Any]


def weights(ctx: VirtualContext) -> dict[str, str]:
    return {fact.about: fact.weight for fact in posture(ctx).facts}


def results(ctx: VirtualContext) -> dict[tuple[str, str], str]:
    return {(found.regulation, found.control): found.result for found in posture(ctx).checks}


def test_the_page_is_written_from_the_claims(root: Path) -> None:
    assert (root / "docs" / "security" / "claims.md").read_text() == claims_page()


def test_every_claim_begins_with_an_answer() -> None:
    for claim in CLAIMS:
        assert re.match(r"(yes|no|partly)\b", claim.embedded), claim
        assert claim.gateway == "not built"
    assert [claim.holds for claim in CLAIMS].count(False) >= 7


def test_posture_shows_what_is_not_protected(ctx: VirtualContext) -> None:
    found = tauro_nb.posture(ctx)
    assert str(found) == str(ctx.posture())
    for form in (str(found), found._repr_html_()):
        assert "who runs the notebook has the credentials" in form
        assert "not built" in form
    words = str(found).casefold().split("controls mapped")[0]
    assert "compliant" not in words
    assert found.to_pandas().columns.tolist() == ["what people expect", "embedded (here)", "delegated", "gateway"]


SWITCHES: list[tuple[Config, str, str]] = [
    ({}, "audit trail", "warn"),
    ({"audit": {"path": "{tmp}/a.jsonl"}}, "audit trail", "ok"),
    ({"audit": {"path": "{tmp}/a.jsonl"}}, "audit checkpoints", "warn"),
    ({"audit": {"path": "{tmp}/a.jsonl", "checkpoints": "{tmp}/c.jsonl"}}, "audit checkpoints", "warn"),
    ({"audit": {"path": "{tmp}/a.jsonl", "checkpoints": "{tmp}/other/c.jsonl"}}, "audit checkpoints", "ok"),
    ({}, "audit failures", "ok"),
    ({"audit": {"path": "{tmp}/a.jsonl", "on_failure": "continue"}}, "audit failures", "bad"),
    ({}, "keys", "warn"),
    ({"encryption": {"keyset": "{tmp}/k.json", "kek": {"passphrase": "for a test"}, "create": True}}, "keys", "ok"),
    ({}, "default access", "bad"),
    ({"default_access": "deny"}, "default access", "ok"),
    ({}, "implicit principal", "warn"),
    ({"security_policies": {"orders": {}}}, "implicit principal", "bad"),
    ({"security": {"default_principal": "guest"}}, "implicit principal", "ok"),
    ({"security": {"policies": "{tmp}/policies.yaml"}}, "implicit principal", "ok"),
    ({}, "barrier", "note"),
    ({"security": {"barrier": "strict"}}, "barrier", "ok"),
    ({}, "policies", "note"),
    ({"security": {"policies": "{tmp}/policies.yaml"}}, "policies", "ok"),
    ({"security": {"policies": "{tmp}/missing.yaml"}}, "policies", "bad"),
]


def placed(value: Any, tmp_path: Path) -> Any:
    if isinstance(value, dict):
        return {key: placed(item, tmp_path) for key, item in value.items()}
    return value.replace("{tmp}", str(tmp_path)) if isinstance(value, str) else value


@pytest.mark.usefixtures("policy_file")
@pytest.mark.parametrize(("extra", "about", "weight"), SWITCHES)
def test_facts_turn_with_their_setting(catalog: Config, tmp_path: Path, extra: Config, about: str, weight: str) -> None:
    with VirtualContext({**catalog, **placed(extra, tmp_path)}, principal="ana") as ctx:
        assert weights(ctx)[about] == weight


def test_mistakes_are_for_those_who_may_read_policies(ctx: VirtualContext, write: Write, policy_file: Path) -> None:
    write(POLICIES.replace("mask: email", "mask: emial"))
    assert weights(ctx)["policies"] == "bad"
    assert not ctx.posture().mistakes
    admin = VirtualContext(principal="admin", layer=ctx.layer)
    (mistake,) = admin.posture().mistakes
    assert "emial" in mistake
    assert "emial" not in str(ctx.posture())
    write(POLICIES)
    policy_file.chmod(0o666)
    assert weights(ctx)["policy file"] == "bad"
    policy_file.chmod(0o600)
    assert "policy file" not in weights(ctx)


def test_who_may_write_the_policies_or_replace_them(catalog: Config, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir(mode=0o755)
    (folder / "one.yaml").write_text(POLICIES)
    for policies in (folder, folder / "one.yaml"):
        with VirtualContext({**catalog, "security": {"policies": str(policies)}}) as ctx:
            for place, mode, others in (
                (folder / "one.yaml", 0o644, False), (folder / "one.yaml", 0o664, True),
                (folder / "one.yaml", 0o600, False), (folder, 0o777, True),
                (folder, 0o1777, False), (folder, 0o755, False),
            ):  # fmt: skip
                place.chmod(mode)
                assert ("policy file" in weights(ctx)) is others, (policies.name, place.name, oct(mode))


def tagged(catalog: Config, columns: Config, **more: Any) -> Config:
    tables = {**catalog["virtual_tables"]}
    tables["people"] = {**tables["people"], "column_tags": columns}
    return {**catalog, "virtual_tables": tables, **more}


def test_a_misspelt_tag_is_grave(catalog: Config) -> None:
    columns = {"email": ["pi"], "name": ["internal"]}
    with VirtualContext(tagged(catalog, columns, tag_policies={"pii": {"mask": "redact"}})) as ctx:
        said = {(fact.weight, fact.says) for fact in posture(ctx).facts if fact.about == "tags"}
        assert said == {
            ("bad", "`pi` has no policy and guards nothing. Did you mean `pii`?"),
            ("note", "tags without a policy are labels only: internal"),
        }
        assert not [fact for fact in posture(ctx.as_principal("ana")).facts if fact.about == "tags"]


MASKED = {"people": {"field_policies": {"email": {"mask": "email"}}}}
SOMETIMES = {"people": {"field_policies": {"email": {"mask": "email", "when": "id = 1"}}}}
ENCRYPTED = {"people": {"field_policies": {"email": {"access_level": "encrypted"}}}}
FILTERED = {"people": {"row_level_filters": {"x": "id = 1"}}}
ENCRYPT, MASK = ("GDPR", "personal columns are encrypted or closed"), ("CCPA", "personal columns are masked or more")
ROWS = ("GDPR", "rows about people are filtered by who asks")
CARDS = ("PCI-DSS", "payment columns are encrypted or closed")


@pytest.mark.parametrize(
    ("columns", "policies", "expected"),
    [
        ({}, {}, {ENCRYPT: "not applicable", MASK: "not applicable", ROWS: "not applicable", CARDS: "not applicable"}),
        ({"email": ["pii"]}, {}, {ENCRYPT: "fail", MASK: "fail", ROWS: "fail", CARDS: "not applicable"}),
        ({"email": ["PII"]}, MASKED, {ENCRYPT: "fail", MASK: "pass", ROWS: "fail"}),
        ({"email": ["pii"]}, ENCRYPTED, {ENCRYPT: "pass", MASK: "pass"}),
        ({"email": ["pii"]}, FILTERED, {ROWS: "pass", MASK: "fail"}),
        ({"email": ["pii"]}, {"people": {"row_level_filters": {"x": "", "y": " "}}}, {ROWS: "fail"}),
        ({"email": ["pii"]}, {"people": {"row_level_filters": {"x": "id = 1", "*": ""}}}, {ROWS: "fail"}),
        ({"email": ["pii"]}, {"people": {"row_level_filters": {"x": "id = 1", "y": ""}}}, {ROWS: "pass"}),
        ({"email": ["pii"]}, {"people": {"restrictive_filters": {"*": "id = 1"}}}, {ROWS: "pass"}),
        ({"email": ["pii"]}, {"people": {"tenant_column": "tenant"}}, {ROWS: "pass"}),
        ({"email": ["pii"]}, SOMETIMES, {MASK: "fail"}),
        ({"email": ["pii"]}, {"people": {**SOMETIMES["people"], "requires_encryption": True}}, {ENCRYPT: "pass"}),
        ({"email": ["pci"]}, ENCRYPTED, {CARDS: "pass", ENCRYPT: "not applicable"}),
    ],
)
def test_controls_look_at_the_rules(catalog: Config, columns: Config, policies: Config, expected: Config) -> None:
    with VirtualContext(tagged(catalog, columns, security_policies=policies)) as ctx:
        assert {found.reason for found in ctx.as_principal("ana").posture().checks} == {
            "told to those who may read policies"
        }
        found = results(ctx)
        assert {control: found[control] for control in expected} == expected


ROLES: tuple[str, str] = ("SOC2", "every table is for named roles")


@pytest.mark.parametrize(
    ("policy", "result"),
    [
        ({}, "fail"),
        ({"allowed_roles": ["hr"]}, "pass"),
        ({"allowed_roles": ["*"]}, "fail"),
        ({"row_level_filters": {"hr": ""}}, "pass"),
        ({"tenant_column": "tenant"}, "fail"),
        ({"purposes": ["billing"]}, "fail"),
        ({"purposes": ["billing"], "allowed_roles": ["hr"]}, "pass"),
        ({"denied_roles": ["guest"]}, "fail"),
    ],
)
def test_a_tenant_and_a_purpose_are_no_roles(catalog: Config, policy: Config, result: str) -> None:
    with VirtualContext(
        {**catalog, "security_policies": {"people": policy, "orders": {"allowed_roles": ["x"]}}}
    ) as ctx:
        assert results(ctx)[ROLES] == result


@pytest.mark.parametrize(
    ("schema", "tag_policies", "result"),
    [
        ({"id": "BIGINT", "email": "VARCHAR"}, {}, "pass"),
        ({"id": "BIGINT", "email": "VARCHAR", "ssn": "VARCHAR"}, {}, "fail"),
        ({}, {}, "fail"),
        ({}, {"pii": {"access_level": "encrypted"}}, "pass"),
    ],
)
def test_of_a_table_that_is_tagged_itself_every_column_counts(
    catalog: Config, schema: Config, tag_policies: Config, result: str
) -> None:
    """One column that is protected says nothing of those that nobody looked at; a policy of the tag closes them."""
    config = tagged(catalog, {"id": [], "email": ["pii"]}, security_policies=ENCRYPTED, tag_policies=tag_policies)
    config["virtual_tables"]["people"] |= {"tags": ["pii"], "schema": schema}
    with VirtualContext(config) as ctx:
        assert results(ctx)[ENCRYPT] == result


def test_a_tag_policy_is_a_control(catalog: Config) -> None:
    config = tagged(catalog, {"email": ["pii"]}, tag_policies={"pii": {"access_level": "restricted"}})
    with VirtualContext(config) as ctx:
        assert results(ctx)[ENCRYPT] == "pass"


def test_controls_of_the_audit_trail(catalog: Config, tmp_path: Path) -> None:
    kept, shown = (
        ("HIPAA", "the audit trail is kept for six years"),
        ("SOC2", "the audit trail shows when it was changed"),
    )
    log, away = str(tmp_path / "a.jsonl"), str(tmp_path / "elsewhere" / "c")
    for audit, expected in [
        ({}, ("fail", "fail", "fail")),
        ({"path": log}, ("pass", "pass", "fail")),
        ({"path": log, "retention_days": 400}, ("pass", "fail", "fail")),
        ({"path": log, "checkpoints": log + ".c"}, ("pass", "pass", "fail")),
        ({"path": log, "checkpoints": away}, ("pass", "pass", "pass")),
        ({"path": log, "checkpoints": away, "on_failure": "continue"}, ("fail", "fail", "fail")),
    ]:
        with VirtualContext({**catalog, "audit": audit}) as ctx:
            found = results(ctx)
            assert (found["GDPR", "accesses are recorded"], found[kept], found[shown]) == expected


def test_every_control_says_what_decided_it(ctx: VirtualContext) -> None:
    for found in ctx.posture().checks:
        assert found.result in ("pass", "fail", "not applicable")
        assert found.reason
        assert found.rule


def test_the_implicit_principal(catalog: Config, policy_file: Path) -> None:
    with VirtualContext(catalog) as plain:
        assert plain.principal.name == "admin"
    config = {**catalog, "security": {"policies": str(policy_file)}}
    with VirtualContext(config) as ctx:
        assert ctx.principal.name == "nobody"
        assert ctx.catalog().tables == ()
    named = {"policies": str(policy_file), "default_principal": "root"}
    with VirtualContext({**catalog, "security": named}) as ctx:
        assert len(ctx.query("SELECT * FROM people")) == 3
