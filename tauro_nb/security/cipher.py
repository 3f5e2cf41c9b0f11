"""Field tokens: one value encrypted so that it opens in its own column only.

A token is `version(1) | algorithm(1) | key id(4) | nonce(12, GCM only) | ciphertext | tag(16)`, carried as text:
`tnb1.` and base64url without padding. Head, table, column, type and tenant are authenticated with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tauro_nb.errors import CipherError
from tauro_nb.security.carrier import CutError, carried, uncarried
from tauro_nb.security.gcm import Gcm
from tauro_nb.security.keys.entry import Key, Slot, prefixed
from tauro_nb.security.keys.ring import KeyRing
from tauro_nb.security.runs import as_texts, batches, in_batches
from tauro_nb.security.siv import Siv
from tauro_nb.security.written import is_miswritten

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.security.runs import Matrix

__all__ = ["Cipher", "FieldSpec"]

_VERSION: Final = 1
_GCM, _SIV = 1, 2
_HEAD, _TAG = 6, 16
_LABEL: Final = b"tauro/field/1"

NO_TOKEN = "holds a value that is not a ciphertext"  # noqa: S105 - words of a message
CUT = "holds a ciphertext that is cut off"
UNKNOWN_KEY = "was encrypted with a key that the keyset does not have"
DESTROYED = "was encrypted with a key that was destroyed"
FOREIGN = "holds a ciphertext of another column or tenant"
CHANGED = "holds a ciphertext that was changed, or belongs to another table, column, type or tenant"


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
        self._algorithm = _SIV if spec.searchable else _GCM
        self._mode: type[Siv | Gcm] = Siv if spec.searchable else Gcm
        self._made: tuple[int, dict[bytes, Siv | Gcm]] = (-1, {})

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
        return _texts(self.seal(_array(values)))

    def decrypt(self, tokens: Sequence[str]) -> list[str]:
        """The texts in tokens.

        Raises
        ------
        CipherError
            One of them does not open here; names the column, never the value.
        """
        return _texts(self.unseal(_array(tokens)))

    def tokens(self, value: str) -> list[str]:
        """The tokens a value can have in a searchable column: one for each key that still decrypts."""
        plain = _array([value])
        return [text for key in self._ring.live(self._slot) for text in _texts(self._sealed(plain, key))]

    def seal(self, plain: pa.Array) -> pa.Array:
        """Tokens for texts or binaries without NULL."""
        key = self._ring.primary(self._slot)
        if not self.spec.searchable:
            self._ring.count(key, len(plain))
        return self._sealed(plain, key)

    def unseal(self, tokens: pa.Array) -> pa.Array:
        """The other direction; whoever takes the answers for texts looks whether they are UTF-8.

        Raises
        ------
        CipherError
            One of them does not open here.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return in_batches(tokens, self._opened)
        except InvalidTag:
            raise self.spec.refuse(CHANGED) from None

    def check(self, tokens: pa.Array) -> pa.Array:
        """The same tokens; what does not look like one of this column is refused: it could be a plain value.

        Raises
        ------
        CipherError
            One of them does not.
        """
        for texts, _ in batches(tokens):
            self._boxes_of(self._uncarried(texts))
        return tokens

    def _sealed(self, plain: pa.Array, key: Key) -> pa.Array:
        head, box = self._head(key), self._box(key, self._known())
        return in_batches(plain, lambda values: [carried(head, sealed) for sealed in box.seal(values)])

    def _opened(self, texts: Sequence[Matrix]) -> list[Matrix]:
        tokens = self._uncarried(texts)
        boxes = self._boxes_of(tokens)
        if len(boxes) == 1:
            return next(iter(boxes.values())).open([token[:, _HEAD:] for token in tokens])
        # After a rotation: the tokens of each key by themselves.
        import numpy as np

        opened = [
            np.empty((len(token), max(0, token.shape[1] - _HEAD - self._mode.ADDED)), np.uint8) for token in tokens
        ]
        for head, box in boxes.items():
            own = [(token[:, :_HEAD] == np.frombuffer(head, np.uint8)).all(axis=1) for token in tokens]
            plain = box.open([token[rows, _HEAD:] for token, rows in zip(tokens, own, strict=True)])
            for whole, rows, part in zip(opened, own, plain, strict=True):
                whole[rows] = part
        return opened

    def _uncarried(self, texts: Sequence[Matrix]) -> list[Matrix]:
        """Tokens out of their carrier."""
        try:
            return [uncarried(matrix, _HEAD + _TAG) for matrix in texts]
        except CutError:
            raise self.spec.refuse(CUT) from None
        except ValueError:
            raise self.spec.refuse(NO_TOKEN) from None

    def _boxes_of(self, tokens: Sequence[Matrix]) -> dict[bytes, Siv | Gcm]:
        """What opens tokens, by their heads."""
        known = self._known()
        heads = {head for token in tokens for head in _heads(token)}
        return {head: known.get(head) or self._box(self._key(head), known) for head in heads}

    def _known(self) -> dict[bytes, Siv | Gcm]:
        """What was made of the keys as they are now, by head; keys that were destroyed are not in it."""
        self._ring.refresh()
        generation = self._ring.generation
        if self._made[0] != generation:
            # A new dictionary: a thread that still works with the keys of before keeps the old one to itself.
            self._made = generation, {}
        return self._made[1]

    def _key(self, head: bytes) -> Key:
        """The key that tokens with this head were made with.

        Raises
        ------
        CipherError
            The head is of no key of this column.
        """
        if head[0] != _VERSION or head[1] not in (_GCM, _SIV):
            raise self.spec.refuse(NO_TOKEN)
        key = self._ring.find(int.from_bytes(head[2:]))
        if key is None:
            raise self.spec.refuse(UNKNOWN_KEY)
        if key.slot != self._slot or head[1] != self._algorithm:
            raise self.spec.refuse(FOREIGN)
        if not key.live:
            raise self.spec.refuse(DESTROYED)
        return key

    def _box(self, key: Key, known: dict[bytes, Siv | Gcm]) -> Siv | Gcm:
        """What seals and opens with a live key of this column."""
        head = self._head(key)
        if head not in known:
            known[head] = self._mode(key.material, prefixed([head, *self._place]))
        return known[head]

    def _head(self, key: Key) -> bytes:
        return bytes((_VERSION, self._algorithm)) + key.id.to_bytes(4)


def _heads(tokens: Matrix) -> set[bytes]:
    """The different heads of tokens of one length."""
    import numpy as np

    heads = tokens[:, :_HEAD]
    if (heads == heads[0]).all():
        return {heads[0].tobytes()}
    return {head.tobytes() for head in np.unique(heads, axis=0)}


def _array(texts: Sequence[str]) -> pa.Array:
    return as_texts([text.encode("utf-8", "surrogatepass") for text in texts])


def _texts(values: pa.Array) -> list[str]:
    return [value.decode("utf-8", "surrogatepass") for value in values.cast("binary").to_pylist()]
