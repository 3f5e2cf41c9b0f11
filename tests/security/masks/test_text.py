"""Masks: Python and SQL agree, nothing hidden shows, types are kept."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks import (
    MASKS,
    ConstantMasker,
    EmailMasker,
    Masker,
    NullMasker,
    PhoneMasker,
    SSNMasker,
    choose_mask,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# Plain text seldom looks like an address: draw from what the masks look at as well.
CRAFTED = st.text(st.sampled_from("aZ\u00e9\U0001f600@@. \t\n\r0123456789-+()/\x00%_\\"), max_size=24)
EMAILS = st.builds(lambda local, domain: f"{local}@{domain}", CRAFTED, ANY_TEXT)
DIGITS = st.from_regex(r"[+(]?[0-9]{2,3}[ -]?[0-9]{2,4}[-. ]?[0-9]{3,5}\n?", fullmatch=True)
VALUES = st.lists(st.none() | ANY_TEXT | CRAFTED | EMAILS | DIGITS, min_size=1, max_size=60)
# Options for the masks that need some; every mask of the table is tested.
NEEDED: dict[str, dict[str, Any]] = {
    "partial": {"prefix": 2, "suffix": 3},
    "date_trunc": {"unit": "month"},
    "bucket": {"size": 100},
    "round": {"digits": -2},
    "regex": {"pattern": "[0-9]+", "replacement": "#"},
}
TEXT_MASKS: list[Masker] = [EmailMasker(), PhoneMasker(), SSNMasker(), ConstantMasker("x'y"), NullMasker()]


def in_duckdb(con: duckdb.DuckDBPyConnection, masker: Masker, values: list[str | None]) -> list[str | None]:
    con.register("raw", pa.table({"n": list(range(len(values))), 'a "b': pa.array(values, pa.string())}))
    sql = masker.compile('a "b', "VARCHAR").sql("duckdb")
    return [row[1] for row in con.execute(f"SELECT n, {sql} FROM raw ORDER BY n").fetchall()]


@pytest.mark.parametrize("masker", TEXT_MASKS, ids=lambda masker: masker.name)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES)
def test_python_and_sql_agree(con: duckdb.DuckDBPyConnection, masker: Masker, values: list[str | None]) -> None:
    assert in_duckdb(con, masker, values) == [masker.mask(value) for value in values]


@pytest.mark.parametrize(
    ("masker", "value", "shown"),
    [
        (EmailMasker(), "alan@example.com", "a***n@example.com"),
        (EmailMasker(), "verylongname@example.com", "v***e@example.com"),
        (EmailMasker(), "al@example.com", "***@example.com"),
        (EmailMasker(), "a@example.com", "***@example.com"),
        (EmailMasker(), "@example.com", "***"),
        (EmailMasker(), "alan@", "***"),
        (EmailMasker(), "a@b@c", "***"),
        (EmailMasker(), "call alan @ 555-1234", "***"),
        (EmailMasker(), "not an address", "***"),
        (EmailMasker(), "", "***"),
        (EmailMasker(), "\u00e9\u00e8\u00ea@\u00fc.de", "\u00e9***\u00ea@\u00fc.de"),
        (PhoneMasker(), "555-123-1234", "****1234"),
        (PhoneMasker(), "1234", "****"),
        (PhoneMasker(), "123456", "****"),
        (PhoneMasker(), "1234567", "****4567"),
        (PhoneMasker(), "John Smith 5551234", "****"),
        (PhoneMasker(), "5551234567\n", "****"),
        (PhoneMasker(), "\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "****"),
        (SSNMasker(), "123-45-5678", "***-**-5678"),
        (SSNMasker(), "123 45 5678", "***-**-5678"),
        (SSNMasker(), "5678", "***-**-****"),
        (SSNMasker(), "123-45-5678\n", "***-**-****"),
    ],
)
def test_what_is_shown(con: duckdb.DuckDBPyConnection, masker: Masker, value: str, shown: str) -> None:
    assert masker.mask(value) == shown
    assert in_duckdb(con, masker, [value]) == [shown]


@given(value=st.text(max_size=40) | CRAFTED | EMAILS)
def test_an_email_shows_two_letters_and_the_domain_at_most(value: str) -> None:
    shown = EmailMasker().mask(value)
    local = value.partition("@")[0]
    assert shown is not None
    assert len(shown.partition("@")[0]) in (3, 5)
    assert len(local) <= 2 or shown == "***" or shown.startswith(f"{local[0]}***{local[-1]}@")


@given(value=CRAFTED | DIGITS | ANY_TEXT)
def test_phone_and_ssn_show_four_digits_at_most(value: str) -> None:
    for masker, stars in ((PhoneMasker(), "****"), (SSNMasker(), "***-**-")):
        shown = masker.mask(value)
        assert shown is not None
        assert shown.startswith(stars)
        tail = shown.removeprefix(stars)
        assert tail in ("", "****") or (len(tail) == 4 and tail.isascii() and tail.isdigit() and value.endswith(tail))


@pytest.mark.parametrize("kind", ["BIGINT", "DECIMAL(15,2)", "DATE", "TIMESTAMP WITH TIME ZONE", "VARCHAR[]", "BLOB"])
@pytest.mark.parametrize("name", sorted(MASKS.keys() - {"expression", "hmac", "hmac_ephemeral", "token"}))
def test_the_type_is_kept(con: duckdb.DuckDBPyConnection, name: str, kind: str) -> None:
    con.execute(f'CREATE TABLE t ("c" {kind})')
    masked = choose_mask("c", name, options=NEEDED.get(name)).compile("c", kind)
    found = con.execute(f"DESCRIBE SELECT {masked.sql('duckdb')} AS m FROM t").fetchall()
    assert found[0][1] == kind


def test_a_compiled_mask_reads_only_its_column() -> None:
    from sqlglot import exp

    for masker in TEXT_MASKS[:3]:
        tree = masker.compile("c", "VARCHAR")
        columns = list(tree.find_all(exp.Column))
        assert columns
        assert {(column.name, column.table, column.this.quoted) for column in columns} == {("c", "", True)}


@pytest.mark.parametrize(
    ("field", "mask", "value", "kind"),
    [
        ("email", None, None, EmailMasker),
        ("WorkEmail", None, None, EmailMasker),
        ("home_phone", None, None, PhoneMasker),
        ("ssn", None, None, SSNMasker),
        ("salary", None, None, ConstantMasker),
        ("email", None, "hidden", ConstantMasker),
        ("email", "NULL", None, NullMasker),
        ("assn", None, None, ConstantMasker),
    ],
)
def test_choose_mask(field: str, mask: str | None, value: object, kind: type[Masker]) -> None:
    assert type(choose_mask(field, mask, value)) is kind


def test_wrong_masks_are_refused() -> None:
    with pytest.raises(PolicyError, match="Did you mean `email`"):
        choose_mask("x", "emial", None)
    with pytest.raises(PolicyError, match="takes no value"):
        choose_mask("x", "email", "y")
    with pytest.raises(PolicyError, match="scalars can"):
        choose_mask("x", "constant", ["y"])


def test_a_constant_hides_whether_there_was_a_value() -> None:
    assert ConstantMasker("x").mask(None) == "x"
    assert ConstantMasker().mask(None) == ConstantMasker().mask("secret") == "***"
    assert "secret" not in repr(ConstantMasker("secret"))
