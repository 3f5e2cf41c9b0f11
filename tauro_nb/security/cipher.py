"""Field tokens: one value encrypted so that it opens in its own column only.

A token is `version(1) | algorithm(1) | key id(4) | nonce(12, GCM only) | ciphertext | tag(16)`, carried as text:
`tnb1.` and base64url without padding. Head, table, column, type and tenant are authenticated with it.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from tauro_nb.errors import CipherError
from tauro_nb.security.keys.entry import Key, Slot, prefixed
from tauro_nb.security.keys.ring import KeyRing
from tauro_nb.security.written import is_miswritten

__all__ = ["PREFIX", "Cipher", "FieldSpec"]

PREFIX: Final = "tnb1."
_VERSION: Final = 1
_GCM, _SIV = 1, 2
_HEAD, _NONCE, _TAG = 6, 12, 16
_LABEL: Final = b"tauro/field/1"
_PREFIX: Final = PREFIX.encode()
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# The last letter may have bits to spare, which Python's decoder forgives: by the length of the text modulo 4, the
# letters with none of them set.
_LAST: Final = (b"AEIMQUYcgkosw048", _LETTERS, b"", b"AQgw")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")

NO_TOKEN = "holds a value that is not a ciphertext"  # noqa: S105 - words of a message
CUT = "holds a ciphertext that is cut off"
UNKNOWN_KEY = "was encrypted with a key that the keyset does not have"
DESTROYED = "was encrypted with a key that was destroyed"
FOREIGN = "holds a ciphertext of another column or tenant"
CHANGED = "holds a ciphertext that was changed, or belongs to another table, column, type or tenant"

_Opener = Callable[[Sequence[bytes]], list[bytes]]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Where a value lives: what a token is bound to.

    Parameters
    ----------
    table, column
        The virtual table and its column; case does not count.
    type
        DuckDB type of the plain value.
    tenant
        Whose value it is; empty for no tenant.
    domain
        Columns that share keys; the column's own when empty.
    searchable
        Equal values get equal tokens (AES-SIV).
    joined
        They do so in all columns of the domain, which can then be joined without opening them: their tokens are bound
        to the domain in place of table and column.
    """

    table: str
    column: str
    type: str = "VARCHAR"
    tenant: str = ""
    domain: str = ""
    searchable: bool = False
    joined: bool = False

    @property
    def slot(self) -> Slot:
        """Whose key it is."""
        own = f"{self.table}.{self.column}".casefold()
        return Slot("siv" if self.searchable else "gcm", self.tenant, self.domain or own)

    @property
    def place(self) -> tuple[bytes, ...]:
        """What is authenticated besides the head."""
        shared = self.searchable and self.joined and self.domain
        where = ("domain", self.domain) if shared else ("column", self.table.casefold(), self.column.casefold())
        parts = (*where, self.type.upper(), self.tenant)
        return (_LABEL, *(part.encode("utf-8", "surrogatepass") for part in parts))

    def refuse(self, reason: str) -> CipherError:
        """The error for a value of this column."""
        return CipherError(
            f"column `{self.column}` of `{self.table}` {reason}; nothing was returned.", table=self.table
        )


class Cipher:
    """Encrypts and decrypts the values of one column.

    Parameters
    ----------
    spec
        The column.
    ring
        Its keys.

    Examples
    --------
    >>> ring = KeyRing()
    >>> cipher = Cipher(FieldSpec("people", "ssn", searchable=True), ring)
    >>> (token,) = cipher.encrypt(["123-45-6789"])
    >>> token[:5], cipher.decrypt([token]), cipher.tokens("123-45-6789") == [token]
    ('tnb1.', ['123-45-6789'], True)
    >>> Cipher(FieldSpec("people", "phone"), ring).decrypt([token])
    Traceback (most recent call last):
    ...
    tauro_nb.errors.CipherError: column `phone` of `people` holds a ciphertext of another column or tenant; nothing was
    returned.
    """

    def __init__(self, spec: FieldSpec, ring: KeyRing) -> None:
        self.spec = spec
        self._ring = ring
        self._slot = spec.slot
        self._place = spec.place
        self._openers: dict[bytes, _Opener] = {}
        self._generation = -1

    def encrypt(self, values: Sequence[str]) -> list[str]:
        """One token for each text.

        Raises
        ------
        CipherError
            The column is searchable, and a whole number, date or UUID is not written as DuckDB writes it: another
            token than that of an equal value would never be found.
        """
        if self.spec.searchable and any(is_miswritten(value, self.spec.type) for value in values):
            raise self.spec.refuse("is searchable, and a value is not written in the one way of its type")
        return _as_text(self.seal([value.encode("utf-8", "surrogatepass") for value in values]))

    def decrypt(self, tokens: Sequence[str]) -> list[str]:
        """The texts in tokens.

        Raises
        ------
        CipherError
            One of them does not open here; names the column, never the value.
        """
        opened = self.unseal([token.encode("utf-8", "surrogatepass") for token in tokens])
        return [plain.decode("utf-8", "surrogatepass") for plain in opened]

    def tokens(self, value: str) -> list[str]:
        """The tokens a value can have in a searchable column: one for each key that still decrypts."""
        plain = [value.encode("utf-8", "surrogatepass")]
        return [text for key in self._ring.live(self._slot) for text in _as_text(self._sealed_siv(plain, key))]

    def seal(self, plains: Sequence[bytes]) -> list[bytes]:
        """Tokens without their carrier."""
        key = self._ring.primary(self._slot)
        if self.spec.searchable:
            return self._sealed_siv(plains, key)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ring.count(key, len(plains))
        head, context = self._head(_GCM, key), self._context(_GCM, key)
        encrypt = AESGCM(key.material).encrypt
        random = os.urandom(_NONCE * len(plains))
        nonces = (random[at : at + _NONCE] for at in range(0, len(random), _NONCE))
        return [head + nonce + encrypt(nonce, plain, context) for nonce, plain in zip(nonces, plains, strict=True)]

    def unseal(self, texts: Sequence[bytes]) -> list[bytes]:
        """The other direction, from tokens in their carrier."""
        raws = self.raw(texts)
        heads = self._heads(raws)
        try:
            if len(heads) == 1:
                return self._openers[heads.pop()](raws)
            return [self._openers[raw[:_HEAD]]([raw])[0] for raw in raws]
        except ValueError:
            raise self.spec.refuse(CHANGED) from None

    def check(self, texts: Sequence[bytes]) -> None:
        """Refuse what does not look like a token of this column: it could be a plain value.

        Raises
        ------
        CipherError
            One of them does not.
        """
        self._heads(self.raw(texts))

    def raw(self, texts: Sequence[bytes]) -> list[bytes]:
        """Tokens out of their carrier; one token has one spelling."""
        joined, count = b"\n".join(texts), len(texts)
        if not count:
            return []
        foreign = joined.translate(None, _LETTERS)
        if foreign.replace(b".", b"") != b"\n" * (count - 1) or foreign.count(b".") != count:
            raise self.spec.refuse(NO_TOKEN)
        if not all(text.startswith(_PREFIX) for text in texts):
            raise self.spec.refuse(NO_TOKEN)
        decode = binascii.a2b_base64
        try:
            bodies = joined.translate(_FROM_URL).replace(_PREFIX, b"").split(b"\n")
            raws = [decode(body + b"==") for body in bodies]
        except binascii.Error:
            raise self.spec.refuse(CUT) from None
        if min(map(len, raws)) < _HEAD + _TAG:
            raise self.spec.refuse(CUT)
        if any(text[-1] not in _LAST[len(text) % 4] for text in texts):
            raise self.spec.refuse(NO_TOKEN)
        return raws

    def _sealed_siv(self, plains: Sequence[bytes], key: Key) -> list[bytes]:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        head, context = self._head(_SIV, key), [self._context(_SIV, key)]
        sealed = map(AESSIV(key.material).encrypt, plains, repeat(context))
        return [head + box[_TAG:] + box[:_TAG] for box in sealed]

    def _heads(self, raws: Sequence[bytes]) -> set[bytes]:
        """The heads of tokens, each with an opener."""
        self._ring.refresh()
        if self._generation != self._ring.generation:
            self._openers.clear()
            self._generation = self._ring.generation
        heads = {raw[:_HEAD] for raw in raws}
        for head in heads - self._openers.keys():
            self._openers[head] = self._opener(head)
        return heads

    def _opener(self, head: bytes) -> _Opener:
        """What opens tokens with this head.

        Raises
        ------
        CipherError
            The head is of no key of this column.
        """
        algorithm = _SIV if self.spec.searchable else _GCM
        if head[0] != _VERSION or head[1] not in (_GCM, _SIV):
            raise self.spec.refuse(NO_TOKEN)
        key = self._ring.find(int.from_bytes(head[2:]))
        if key is None:
            raise self.spec.refuse(UNKNOWN_KEY)
        if key.slot != self._slot or head[1] != algorithm:
            raise self.spec.refuse(FOREIGN)
        if not key.live:
            raise self.spec.refuse(DESTROYED)
        return self._siv_opener(key) if algorithm == _SIV else self._gcm_opener(key)

    def _gcm_opener(self, key: Key) -> _Opener:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        decrypt, context, start = AESGCM(key.material).decrypt, self._context(_GCM, key), _HEAD + _NONCE

        def open_(raws: Sequence[bytes]) -> list[bytes]:
            try:
                return [decrypt(raw[_HEAD:start], raw[start:], context) for raw in raws]
            except InvalidTag:
                raise ValueError from None

        return open_

    def _siv_opener(self, key: Key) -> _Opener:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        decrypt, context = AESSIV(key.material).decrypt, [self._context(_SIV, key)]

        def open_(raws: Sequence[bytes]) -> list[bytes]:
            try:
                return [decrypt(raw[-_TAG:] + raw[_HEAD:-_TAG], context) for raw in raws]
            except InvalidTag:
                raise ValueError from None

        return open_

    def _head(self, algorithm: int, key: Key) -> bytes:
        return bytes((_VERSION, algorithm)) + key.id.to_bytes(4)

    def _context(self, algorithm: int, key: Key) -> bytes:
        return prefixed([self._head(algorithm, key), *self._place])


def as_carried(tokens: Sequence[bytes]) -> list[bytes]:
    """Tokens in their carrier, as bytes of ASCII text."""
    if not tokens:
        return []
    # The encoder ends each with a line feed; all of them are then rewritten in one go.
    lines = b"".join(map(binascii.b2a_base64, tokens)).translate(_TO_URL, b"=")
    return (_PREFIX + lines[:-1].replace(b"\n", b"\n" + _PREFIX)).split(b"\n")


def _as_text(tokens: Sequence[bytes]) -> list[str]:
    return [token.decode("ascii") for token in as_carried(tokens)]
