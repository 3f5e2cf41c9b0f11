"""Proposals for tags: right about what they see, by no more than the asker may see, and never applied."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, UsageError
from tauro_nb.security import detectors
from tauro_nb.security.detectors import is_card, is_iban, is_phone

COLUMNS = """
    id INTEGER, to_whom TEXT, contact TEXT, note TEXT, number INTEGER, acct TEXT, seen_from TEXT, born DATE,
    firstName TEXT, code TEXT, ident TEXT, city TEXT, day TEXT, amount DOUBLE
"""


def luhn(body: str) -> str:
    return next(body + str(check) for check in range(10) if is_card(body + str(check)))


def iban(country: str, account: str) -> str:
    rest = int("".join(str(int(sign, 36)) for sign in account + country + "00")) % 97
    return f"{country}{98 - rest:02d}{account}"


def rows(count: int = 200) -> list[tuple[Any, ...]]:
    rng = random.Random(7)
    return [
        (
            n,
            f"person{n}@example.com",
            f"+1-661-555-{n:04d}",
            f"call person{n}@example.com" if n % 9 else f"person{n}@example.org",
            int(luhn(f"411111{rng.randrange(10**9):09d}")),
            iban("DE", f"{rng.randrange(10**18):018d}"),
            f"192.0.2.{n % 250}" if n % 2 else f"2001:db8::{n:x}",
            "1990-05-17",
            "Ana",
            f"{rng.randrange(10**15, 10**16)}",
            f"{1 + n % 600:03d}-{1 + n % 90:02d}-{1 + n:04d}",
            "Berlin",
            f"2024-05-{1 + n % 28:02d}",
            n * 1.5,
        )
        for n in range(count)
    ]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    with sqlite3.connect(tmp_path / "crm.sqlite") as crm:
        crm.execute(f"CREATE TABLE people ({COLUMNS})")
        crm.executemany(f"INSERT INTO people VALUES ({', '.join('?' * 14)})", rows())
        crm.execute("CREATE TABLE goods (name TEXT, city TEXT)")
        crm.execute("INSERT INTO goods VALUES ('chair', 'Oslo')")
    crm.close()
    return {
        "connections": {"crm": {"type": "sqlite", "path": str(tmp_path / "crm.sqlite")}},
        "virtual_tables": {
            "people": {"connection": "crm", "table": "people"},
            "goods": {"connection": "crm", "table": "goods"},
        },
    }


@pytest.fixture
def ctx(config: dict[str, Any]) -> Iterator[VirtualContext]:
    with VirtualContext(config) as context:
        yield context


def test_what_is_found(ctx: VirtualContext) -> None:
    found = {one.column: one for one in ctx.classify("people").proposals}
    assert {name: one.proposed for name, one in found.items() if one.proposed} == {
        "to_whom": ("pii",),
        "contact": ("pii",),
        "note": ("pii",),
        "number": ("pci", "pii"),
        "acct": ("financial", "pii"),
        "seen_from": ("pii",),
        "born": ("pii",),
        "firstName": ("pii",),
        "ident": ("pii",),
        "city": ("pii",),
    }
    assert found["to_whom"].because == ("e-mail address: 200 of 200 values",)
    assert found["note"].because == ("e-mail address: 23 of 200 values",)
    assert found["born"].because == ("date of birth: its name",)


def test_weak_names_count_beside_people_only(ctx: VirtualContext) -> None:
    assert not any(one.proposed for one in ctx.classify("goods").proposals)


def test_no_value_is_shown(ctx: VirtualContext) -> None:
    found = ctx.classify("people")
    for form in (str(found), found._repr_html_(), found.to_yaml(), repr(found.proposals), found.to_pandas().to_csv()):
        for value in ("person", "661-555", "411111", "192.0.2", "Berlin", "1990-05"):
            assert value not in form.replace("name of a person", "").replace("place of a person", "")
        assert "e-mail address: 200 of 200 values" in form


def test_nothing_is_applied_and_the_yaml_is_what_would_be(config: dict[str, Any], ctx: VirtualContext) -> None:
    written = yaml.safe_load(ctx.classify("people").to_yaml())["virtual_tables"]["people"]["column_tags"]
    table = ctx.get_table("people")
    assert table is not None
    assert table.column_tags == {}
    assert "id" not in written
    tables = {**config["virtual_tables"], "people": {**config["virtual_tables"]["people"], "column_tags": written}}
    with VirtualContext({**config, "virtual_tables": tables, "tag_policies": {"pii": {"mask": "null"}}}) as tagged:
        (row,) = tagged.query("SELECT * FROM people LIMIT 1").rows()
        assert {name for name, value in row.items() if value is None} == {
            name for name in written if "pii" in written[name]
        }
        again = tagged.classify("people")
        assert not any(one.proposed for one in again.proposals)


def test_hidden_values_are_not_looked_at(config: dict[str, Any]) -> None:
    rules = {
        "to_whom": {"mask": "email"},
        "acct": {"access_level": "restricted"},
        "contact": {"access_level": "encrypted"},
    }
    policy = {"people": {"row_level_filters": {"ana": "id < 50"}, "field_policies": rules}}
    with VirtualContext({**config, "security_policies": policy}, principal="ana") as ana:
        found = ana.classify("people")
        by_column = {one.column: one for one in found.proposals}
        assert "acct" not in by_column  # not even its name
        assert (by_column["to_whom"].values, by_column["to_whom"].proposed) == (None, ())
        assert by_column["contact"].values is None
        assert by_column["note"].because == ("e-mail address: 6 of 50 values",)
        assert "hidden from ana: to_whom, contact" in str(found)
        fields = [log.field_names for log in ana.audit_logs(table_name="people")]
        assert [set(names) & {"to_whom", "acct", "contact"} for names in fields] == [set()]


def test_a_closed_table_is_not_classified(config: dict[str, Any]) -> None:
    policy = {"people": {"allowed_roles": ["steward"]}}
    with VirtualContext({**config, "security_policies": policy}, principal="ana") as ana:
        with pytest.raises(AccessDenied):
            ana.classify("people")
        assert [log.status for log in ana.audit_logs()] == ["DENIED"]


def test_by_names_alone(ctx: VirtualContext) -> None:
    found = ctx.classify("people", sample=0)
    assert [one.column for one in found.proposals if one.proposed] == ["born", "firstName", "city"]
    assert ctx.audit_logs() == []
    with pytest.raises(UsageError, match="sample"):
        ctx.classify("people", sample=-1)


@given(st.integers(min_value=10**14, max_value=10**15 - 1))
def test_one_wrong_digit_is_no_card(body: int) -> None:
    number = luhn(f"4{body}")
    assert is_card(number)
    wrong = number[:5] + str((int(number[5]) + 1) % 10) + number[6:]
    assert not is_card(wrong)


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_one_wrong_digit_is_no_iban(account: int) -> None:
    number = iban("DE", f"{account:018d}")
    assert is_iban(number)
    assert not is_iban(number[:8] + str((int(number[8]) + 1) % 10) + number[9:])


@given(st.text(max_size=60))
def test_detectors_take_any_text(text: str) -> None:
    for detector in detectors.DETECTORS:
        assert detector.matches is None or detector.matches(text) in (True, False)


@pytest.mark.parametrize(
    "text", ["2024-05-17", "17.05.2024", "12345678", "192.0.2.17", "123-45-6789", "4.5", "1-2", ""]
)
def test_these_are_no_telephone_numbers(text: str) -> None:
    assert not is_phone(text)


def test_an_identifier_is_no_name() -> None:
    found = [detectors.by_name(name) for name in ("customer", "customer_name", "customer_id", "owner_since", "manager")]
    assert [detector.kind if detector else None for detector in found] == [
        "name of a person", "name of a person", None, None, "name of a person",
    ]  # fmt: skip
