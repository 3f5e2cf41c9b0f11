"""AES-SIV composed for many values at a time, against the library's own for one."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st

from tauro_nb.errors import CipherError
from tauro_nb.security.carrier import PREFIX
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.functions import DECRYPT, ENCRYPT, EngineFunctions
from tauro_nb.security.keys import KeyRing
from tauro_nb.security.runs import as_pieces, of_equal_length
from tauro_nb.security.siv import Siv

SPEC = FieldSpec("people", "ssn", "VARCHAR", "acme", searchable=True)
# More of a length than are worked on one by one.
MANY = 20

keys = st.sampled_from([32, 48, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


def sealed_by_library(key: bytes, associated: bytes, values: list[bytes]) -> list[bytes]:
    boxes = [AESSIV(key).encrypt(value, [associated]) for value in values]
    return [box[16:] + box[:16] for box in boxes]


def sealed(siv: Siv, values: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """What each value becomes, and what that is opened to."""
    matrices, order = of_equal_length(pa.array(values, pa.binary()))
    boxes = siv.seal(matrices)
    places = range(len(values)) if order is None else order.tolist()
    by_place = []
    for found in (boxes, siv.open(boxes)):
        pieces = [piece for matrix in found for piece in as_pieces(matrix)]
        by_place.append([piece for _, piece in sorted(zip(places, pieces, strict=True))])
    return by_place[0], by_place[1]


def test_the_vector_of_the_standard() -> None:
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    siv = Siv(key, bytes(range(0x10, 0x28)))
    plain = bytes.fromhex("112233445566778899aabbccddee")
    want = bytes.fromhex("40c02b9690c4dc04daef7f6afe5c85632d07c6e8f37f950acd320a2ecc93")
    for count in (1, MANY):
        boxes, opened = sealed(siv, [plain] * count)
        assert boxes == [want] * count
        assert opened == [plain] * count


@settings(deadline=None)
@given(key=keys, associated=st.binary(max_size=70), lengths=st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_every_byte_is_that_of_the_library(key: bytes, associated: bytes, lengths: list[int]) -> None:
    values = [os.urandom(length) for _ in range(MANY) for length in lengths]
    boxes, opened = sealed(Siv(key, associated), values)
    assert boxes == sealed_by_library(key, associated, values)
    assert opened == values


@pytest.mark.parametrize("length", [*range(50), 511, 512, 513, 4096, 70_000])
def test_every_length_is_that_of_the_library(length: int) -> None:
    key = os.urandom(64)
    values = [os.urandom(length) for _ in range(MANY)]
    boxes, opened = sealed(Siv(key, b"column"), values)
    assert boxes == sealed_by_library(key, b"column", values)
    assert opened == values


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
def test_values_of_one_byte_over_and_over(byte: int) -> None:
    key = bytes([byte]) * 64
    values = [bytes([byte]) * length for length in range(40) for _ in range(MANY)]
    boxes, opened = sealed(Siv(key, bytes([byte]) * 16), values)
    assert boxes == sealed_by_library(key, bytes([byte]) * 16, values)
    assert opened == values


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 40])
def test_every_bit_of_every_value_counts(length: int) -> None:
    siv = Siv(os.urandom(64), b"column")
    (good,) = siv.seal([np.frombuffer(os.urandom(length * MANY), np.uint8).reshape(MANY, length)])
    siv.open([good])
    for row in (0, MANY // 2, MANY - 1):
        for at in range(length + 16):
            for bit in range(8):
                changed = good.copy()
                changed[row, at] ^= 1 << bit
                with pytest.raises(InvalidTag):
                    siv.open([changed])
    swapped = good.copy()
    swapped[[0, 1], -16:] = swapped[[1, 0], -16:]
    if length:
        with pytest.raises(InvalidTag):
            siv.open([swapped])


def test_another_key_or_associated_text_opens_nothing() -> None:
    key = os.urandom(64)
    values = [np.frombuffer(b"customer" * MANY, np.uint8).reshape(MANY, 8)]
    boxes = Siv(key, b"column").seal(values)
    for other in (
        Siv(key, b"colum"),
        Siv(key, b""),
        Siv(os.urandom(64), b"column"),
        Siv(key[32:] + key[:32], b"column"),
    ):
        with pytest.raises(InvalidTag):
            other.open(boxes)


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.none() | st.text(max_size=60), max_size=30), times=st.integers(1, MANY))
def test_columns_with_nulls_of_any_lengths(values: list[str | None], times: int) -> None:
    functions = EngineFunctions(KeyRing())
    handle = functions.ring.handle(SPEC)
    column = pa.array(values * times, pa.string())
    tokens = functions.apply(ENCRYPT, handle, column)
    assert functions.apply(DECRYPT, handle, tokens).equals(column)
    assert functions.apply(DECRYPT, handle, tokens.slice(1)).equals(column.slice(1))
    assert functions.apply(DECRYPT, handle, pa.chunked_array([tokens, tokens]).cast(pa.large_string())).equals(
        pa.concat_arrays([column, column])
    )
    cipher = Cipher(SPEC, functions.ring)
    for value, token in zip(values, tokens.to_pylist(), strict=False):
        assert ([token] == cipher.tokens(value)) if value is not None else token is None


@pytest.mark.parametrize("searchable", [True, False], ids=["siv", "gcm"])
def test_a_column_of_many_keys_and_lengths(searchable: bool) -> None:
    ring = KeyRing()
    cipher = Cipher(FieldSpec("people", "ssn", searchable=searchable), ring)
    values = ["x" * (number % 37) + str(number) for number in range(3_000)]
    tokens = []
    for part in range(3):
        tokens += cipher.encrypt(values[part::3])
        ring.rotate(cipher.spec.slot)
    mixed = [tokens[at % 3 * 1000 + at // 3] for at in range(3_000)]
    assert cipher.decrypt(mixed) == values
    changed = [*mixed[:-1], PREFIX + mixed[-1][5:-2] + ("AA" if mixed[-1][-2:] != "AA" else "BA")]
    with pytest.raises(CipherError, match=r"was changed|not a ciphertext"):
        cipher.decrypt(changed)


def test_columns_longer_than_a_batch() -> None:
    functions = EngineFunctions(KeyRing())
    handle = functions.ring.handle(SPEC)
    column = pa.array([f"{number:x}" for number in range(30_000)])
    tokens = functions.apply(ENCRYPT, handle, column)
    assert functions.apply(DECRYPT, handle, tokens).equals(column)
    bad = pa.concat_arrays([tokens.slice(0, 29_999), tokens.slice(0, 1).cast(pa.string())])
    assert functions.apply(DECRYPT, handle, bad)[29_999].as_py() == "0"
