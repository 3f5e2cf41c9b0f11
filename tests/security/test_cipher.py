from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tauro_nb.errors import CipherError, KeysetError
from tauro_nb.security.carrier import PREFIX
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.keys import KeyRing, Slot

RING = KeyRing()
PLAIN = FieldSpec("people", "ssn")
EQUAL = replace(PLAIN, searchable=True)
SHARED = replace(EQUAL, domain="person", joined=True)
SPECS = [PLAIN, EQUAL, SHARED]
SECRET = "123-45-6789"
TEXT = re.compile(r"tnb1\.[A-Za-z0-9_-]+")

texts = st.lists(st.text(max_size=40), max_size=8)


@pytest.mark.parametrize("spec", SPECS, ids=["random", "equal", "shared"])
@settings(deadline=None)
@given(values=texts)
def test_what_goes_in_comes_out(spec: FieldSpec, values: list[str]) -> None:
    cipher = Cipher(spec, RING)
    tokens = cipher.encrypt(values)
    assert cipher.decrypt(tokens) == values
    assert Cipher(spec, RING).decrypt(tokens) == values
    assert all(TEXT.fullmatch(token) for token in tokens)
    for value, token in zip(values, tokens, strict=True):
        # 6 bytes of head, 16 of tag, 12 of nonce where there is one.
        assert len(base64.urlsafe_b64decode(token[5:] + "==")) == len(value.encode("utf-8", "surrogatepass")) + (
            22 if spec.searchable else 34
        )
        assert (cipher.tokens(value) == [token]) is spec.searchable or not spec.searchable


@settings(deadline=None)
@given(values=st.lists(st.text(max_size=8), min_size=2, max_size=6))
def test_only_searchable_tokens_are_equal_for_equal_values(values: list[str]) -> None:
    equal = Cipher(EQUAL, RING).encrypt(values)
    assert [equal[0] == token for token in equal] == [values[0] == value for value in values]
    random = Cipher(PLAIN, RING).encrypt([values[0]] * 3)
    assert len(set(random)) == 3


@pytest.mark.parametrize("spec", SPECS, ids=["random", "equal", "shared"])
def test_every_bit_of_a_token_counts(spec: FieldSpec) -> None:
    cipher = Cipher(spec, RING)
    (token,) = cipher.encrypt([SECRET])
    raw = base64.urlsafe_b64decode(token[5:] + "==")
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            refuses(cipher, PREFIX + base64.urlsafe_b64encode(changed).decode().rstrip("="))


@pytest.mark.parametrize("spec", SPECS, ids=["random", "equal", "shared"])
def test_every_letter_and_length_of_a_token_counts(spec: FieldSpec) -> None:
    cipher = Cipher(spec, RING)
    # Three lengths: base64 has 0, 2 or 4 spare bits at the end.
    for value in ("a", "ab", "abc"):
        (token,) = cipher.encrypt([value])
        for at, letter in enumerate(token):
            for other in {"A", "B", "_", "-", "+", "/", "=", " ", "\n", "\x00", "é", "."} - {letter}:
                refuses(cipher, token[:at] + other + token[at + 1 :])
        for length in range(len(token)):
            refuses(cipher, token[:length])
        last = ord(token[-1])
        for spare in range(-3, 4):
            if spare:
                refuses(cipher, token[:-1] + chr(last + spare))
        for more in ("=", "==", "A", "AA", "AAAA", "\n", " ", token):
            refuses(cipher, token + more)
        refuses(cipher, " " + token)
        refuses(cipher, token.upper())


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_what_is_no_token_is_refused(text: str) -> None:
    for candidate in (text, PREFIX + text):
        refuses(Cipher(PLAIN, RING), candidate)


def refuses(cipher: Cipher, token: str) -> None:
    with pytest.raises(CipherError) as caught:
        cipher.decrypt([token])
    message = str(caught.value)
    assert message.startswith("column `ssn` of `people` ")
    assert SECRET not in message
    assert token[5:] not in message or len(token) <= 12
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


OTHERS = {
    "table": {"table": "staff"},
    "column": {"column": "tin"},
    "type": {"type": "BIGINT"},
    "tenant": {"tenant": "acme"},
    "domain": {"domain": "elsewhere"},
    "form": {"searchable": True},
}


@pytest.mark.parametrize("difference", OTHERS)
@pytest.mark.parametrize("domain", ["", "own"])
@pytest.mark.parametrize("searchable", [False, True])
def test_a_token_opens_in_its_own_place_only(difference: str, domain: str, searchable: bool) -> None:
    here = FieldSpec("people", "ssn", domain=domain, searchable=searchable)
    changed = OTHERS[difference] if difference != "form" else {"searchable": not searchable}
    there = replace(here, **changed)
    (token,) = Cipher(here, RING).encrypt([SECRET])
    with pytest.raises(CipherError, match=f"column `{there.column}` of `{there.table}`"):
        Cipher(there, RING).decrypt([token])
    assert Cipher(here, RING).decrypt([token]) == [SECRET]
    assert Cipher(replace(here, table="PEOPLE", column="Ssn", type=here.type.lower()), RING).decrypt([token]) == [
        SECRET
    ]


def test_the_parts_of_a_place_do_not_run_together() -> None:
    (token,) = Cipher(FieldSpec("a", "bc", domain="d"), RING).encrypt([SECRET])
    with pytest.raises(CipherError, match="belongs to another"):
        Cipher(FieldSpec("ab", "c", domain="d"), RING).decrypt([token])


def test_columns_of_a_domain_can_be_joined() -> None:
    one, other = SHARED, replace(SHARED, table="staff", column="tax_id")
    (token,) = Cipher(one, RING).encrypt([SECRET])
    assert Cipher(other, RING).encrypt([SECRET]) == [token]
    assert Cipher(other, RING).decrypt([token]) == [SECRET]
    with pytest.raises(CipherError):
        Cipher(replace(other, tenant="acme"), RING).decrypt([token])
    with pytest.raises(CipherError):
        Cipher(replace(other, type="BIGINT"), RING).decrypt([token])


@pytest.mark.parametrize("spec", SPECS, ids=["random", "equal", "shared"])
def test_rotation_and_erasure(spec: FieldSpec) -> None:
    ring = KeyRing()
    cipher = Cipher(spec, ring)
    (old,) = cipher.encrypt([SECRET])
    first = ring.primary(spec.slot).id
    ring.rotate(spec.slot)
    (new,) = cipher.encrypt([SECRET])
    assert old != new
    assert cipher.decrypt([old, new]) == [SECRET, SECRET]
    if spec.searchable:
        assert set(cipher.tokens(SECRET)) == {old, new}
    ring.destroy(first)
    assert cipher.decrypt([new]) == [SECRET]
    with pytest.raises(CipherError, match="destroyed"):
        cipher.decrypt([new, old])
    ring.shred(domain=spec.slot.domain)
    with pytest.raises(CipherError, match="destroyed"):
        cipher.decrypt([new])
    with pytest.raises(KeysetError, match="destroyed"):
        cipher.encrypt([SECRET])


def test_a_pending_key_decrypts_and_does_not_encrypt() -> None:
    ring = KeyRing()
    cipher = Cipher(EQUAL, ring)
    before = cipher.encrypt([SECRET])
    ring.add(EQUAL.slot)
    assert cipher.encrypt([SECRET]) == before
    assert len(cipher.tokens(SECRET)) == 2
    assert cipher.decrypt(cipher.tokens(SECRET)) == [SECRET] * 2


def test_another_keyset_knows_none_of_it() -> None:
    (token,) = Cipher(PLAIN, RING).encrypt([SECRET])
    with pytest.raises(CipherError, match="a key that the keyset does not have"):
        Cipher(PLAIN, KeyRing()).decrypt([token])


def test_a_key_of_the_same_id_is_not_enough() -> None:
    other = KeyRing()
    key = other.primary(PLAIN.slot)
    twin = KeyRing()
    mine = twin.primary(PLAIN.slot)
    twin._keyset.keys = {key.id: replace(mine, id=key.id)}
    (token,) = Cipher(PLAIN, other).encrypt([SECRET])
    refuses(Cipher(PLAIN, twin), token)


def test_keys_for_pseudonyms_and_audit_do_not_open_fields() -> None:
    ring = KeyRing()
    (token,) = Cipher(PLAIN, ring).encrypt([SECRET])
    key = ring.primary(PLAIN.slot)
    for purpose in ("hmac", "audit"):
        ring._keyset.keys[key.id] = replace(key, slot=Slot(purpose, domain=PLAIN.slot.domain))
        with pytest.raises(CipherError, match="another column or tenant"):
            Cipher(PLAIN, ring).decrypt([token])


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.text(max_size=20), min_size=1, max_size=5), at=st.integers(0, 4))
def test_one_bad_token_stops_all(values: list[str], at: int) -> None:
    cipher = Cipher(PLAIN, RING)
    tokens = cipher.encrypt(values)
    tokens[at % len(tokens)] = Cipher(replace(PLAIN, column="tin"), RING).encrypt(["x"])[0]
    refuses_all = pytest.raises(CipherError, match="another column or tenant")
    with refuses_all:
        cipher.decrypt(tokens)
