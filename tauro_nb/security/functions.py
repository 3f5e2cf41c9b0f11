"""Functions that the engine gets from us: encrypt, decrypt, check and pseudonymize whole Arrow vectors.

Their first argument is a handle, an opaque name of what is to be done with which key: a tree or plan holds no key. They
are on no list of functions that a query may call.
"""

from __future__ import annotations

import binascii
import hmac
import re
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sqlglot import exp

from tauro_nb.errors import CipherError, KeysetError, TauroError
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.keys.entry import Slot
from tauro_nb.security.keys.ring import KeyRing
from tauro_nb.security.runs import as_texts

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["CHECK", "DECRYPT", "ENCRYPT", "HMAC", "EngineFunctions", "call", "without_handles"]

ENCRYPT: Final = "tauro_encrypt"
"""`(handle, text) -> token`."""
DECRYPT: Final = "tauro_decrypt"
"""`(handle, token) -> text`."""
CHECK: Final = "tauro_check"
"""`(handle, token) -> token`: fails on what is no token of the column."""
HMAC: Final = "tauro_hmac"
"""`(handle, text) -> 64 hexadecimal digits`: HMAC-SHA256, equal for equal texts."""

_FAILED: Final = re.compile(r"tauro-function:([\w-]{12}):(\d+)")
_HANDLE: Final = re.compile(r"(?i)\b(tauro_(?:encrypt|decrypt|check|hmac))\('[\w-]{12}', ")
_MEMO: Final = 2**18
_PATIENCE: Final = 2**18
_LONG: Final = 1024
_SAMPLE: Final = 2**13
_MOST_FAILURES: Final = 256
_Work = Callable[["pa.Array"], "pa.Array"]


def call(function: str, handle: str, value: exp.Expr) -> exp.Expr:
    """A call of one of the functions, over a text.

    >>> call(HMAC, "0" * 12, exp.column("ssn")).find(exp.Column).sql("duckdb")
    'ssn'
    """
    return exp.Anonymous(this=function, expressions=[exp.Literal.string(handle), value])


def without_handles(text: str) -> str:
    """SQL as people may see it.

    >>> without_handles(call(HMAC, "0" * 12, exp.column("ssn")).sql("duckdb"))
    'TAURO_HMAC(ssn)'
    """
    return _HANDLE.sub(r"\1(", text)


@dataclass(frozen=True, slots=True)
class _Job:
    """Work under one handle, good while the keys stay the same."""

    work: _Work
    generation: int


class EngineFunctions:
    """Registers the functions on DuckDB instances and does their work.

    Examples
    --------
    >>> import duckdb
    >>> functions = EngineFunctions(KeyRing())
    >>> connection = duckdb.connect()
    >>> functions.register(connection)
    >>> value = call(HMAC, functions.ring.hmac_handle(domain="people.ssn"), exp.Literal.string("123-45-6789"))
    >>> len(connection.execute(f"SELECT {value.sql('duckdb')}").fetchone()[0])
    64
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._failures: list[TauroError] = []
        self._failed = 0
        self._lock = threading.Lock()

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the functions known to an instance, for all of its cursors."""
        from duckdb.func import FunctionNullHandling, PythonUDFType

        for name in _WORK:
            connection.create_function(
                name,
                self._vectorized(name),
                ["VARCHAR", "VARCHAR"],
                "VARCHAR",
                type=PythonUDFType.ARROW,
                null_handling=FunctionNullHandling.SPECIAL,
                # A random nonce: the engine must not compute a value twice and hope to get the same.
                side_effects=name == ENCRYPT,
            )

    def failure(self, text: str) -> TauroError | None:
        """The error behind an engine's message, if it came from one of the functions."""
        found = _FAILED.search(text)
        if found is None or self.ring.job(found[1]) is None:
            return None
        with self._lock:
            at = int(found[2]) - (self._failed - len(self._failures))
            return self._failures[at] if 0 <= at < len(self._failures) else CipherError("a value could not be opened.")

    def forget(self) -> None:
        """Let go of remembered answers."""
        self._jobs.clear()

    def _vectorized(self, name: str) -> Callable[[Any, Any], Any]:
        # DuckDB evaluates these annotations.
        def function(handles: Any, values: Any) -> Any:
            handle = handles[0].as_py() if len(handles) else ""
            try:
                return self.apply(name, handle, values)
            except TauroError as error:
                # What leaves here passes through the engine as text; the error itself waits for `failure`.
                raise RuntimeError(self._remembered(handle, error)) from None
            except Exception:  # noqa: BLE001 - the engine would quote it, and it may quote a value
                raise RuntimeError("tauro-function failed") from None

        return function

    def apply(self, name: str, handle: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
        """What a function gives for a vector of texts; NULL stays NULL.

        Raises
        ------
        CipherError
            A value does not open, or is no token.
        KeysetError
            The keys are gone.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        plain = whole.drop_null() if whole.null_count else whole
        job = self._job(name, handle)
        done = job.work(plain)
        if name == DECRYPT:
            _require_text(done, self.ring.job(handle))
        if not whole.null_count:
            return done
        positions = pc.cumulative_sum(pc.cast(whole.is_valid(), pa.int64()))
        positions = pc.if_else(whole.is_valid(), pc.subtract(positions, 1), None)
        return done.take(positions)

    def _job(self, name: str, handle: str) -> _Job:
        self.ring.refresh()
        job = self._jobs.get((name, handle))
        if job is None or job.generation != self.ring.generation:
            spec = self.ring.job(handle)
            if not isinstance(spec, _SPECS[name]):
                raise KeysetError("the plan's keys are not known here.", hint="Plan again.")
            work = _WORK[name](spec, self.ring)
            # After the work was made, which may have made a key.
            job = self._jobs[name, handle] = _Job(work, self.ring.generation)
        return job

    def _remembered(self, handle: str, error: TauroError) -> str:
        with self._lock:
            self._failures.append(error)
            del self._failures[:-_MOST_FAILURES]
            self._failed += 1
            return f"tauro-function:{handle}:{self._failed - 1}"


class _Memo:
    """Work that remembers its answers."""

    def __init__(self, work: Callable[[bytes], bytes]) -> None:
        self._work = work
        self._known: dict[bytes, bytes] | None = {}
        self._lock = threading.Lock()
        self._asked = 0
        self._missed = 0

    def __call__(self, values: pa.Array) -> pa.Array:
        pieces = _pieces(values)
        known = self._known
        if known is None or len(pieces) > _MEMO // 4:
            return as_texts(list(map(self._work, pieces)))
        found = list(map(known.get, pieces))
        missing = dict.fromkeys(piece for piece, answer in zip(pieces, found, strict=True) if answer is None)
        if not missing:
            return as_texts(cast("list[bytes]", found))
        fresh = {piece: self._work(piece) for piece in missing}
        self._learn(known, len(pieces), fresh)
        answers = zip(pieces, found, strict=True)
        return as_texts([fresh[piece] if answer is None else answer for piece, answer in answers])

    def _learn(self, known: dict[bytes, bytes], asked: int, fresh: dict[bytes, bytes]) -> None:
        with self._lock:
            self._asked += asked
            self._missed += len(fresh)
            if self._asked > _PATIENCE and self._missed > 0.9 * self._asked:
                # Values hardly ever come back: remembering them only costs.
                self._known = None
                return
            if len(known) + len(fresh) > _MEMO:
                known.clear()
            known.update((piece, answer) for piece, answer in fresh.items() if len(piece) <= _LONG)


def _each_once(work: _Work) -> _Work:
    """The same work, done once for values that come back."""

    def once(values: pa.Array) -> pa.Array:
        if not _repeats(values):
            return work(values)
        coded = values.dictionary_encode()
        return work(coded.dictionary).take(coded.indices)

    return once


def _repeats(values: pa.Array) -> bool:
    """Whether the values of a long column come twice or more often, by a sample: a dictionary is then worth making."""
    import numpy as np

    count = len(values)
    if count < 2 * _SAMPLE:
        return False
    # One of each stretch of the column: no row twice, and no rhythm of the column shows.
    step = count // _SAMPLE
    rows = np.arange(_SAMPLE) * step + np.random.default_rng().integers(0, step, _SAMPLE)
    return _SAMPLE - len(values.take(rows).unique()) > _SAMPLE**2 / count


def _encrypting(spec: FieldSpec, ring: KeyRing) -> _Work:
    cipher = Cipher(spec, ring)
    ring.primary(spec.slot)
    return _each_once(cipher.seal) if spec.searchable else cipher.seal


def _decrypting(spec: FieldSpec, ring: KeyRing) -> _Work:
    return _each_once(Cipher(spec, ring).unseal)


def _checking(spec: FieldSpec, ring: KeyRing) -> _Work:
    return Cipher(spec, ring).check


def _hashing(slot: Slot, ring: KeyRing) -> _Work:
    key, digest = ring.primary(slot).material, hmac.digest
    return _each_once(_Memo(lambda plain: binascii.hexlify(digest(key, plain, "sha256"))))


_WORK: Final[Mapping[str, Callable[[Any, KeyRing], _Work]]] = {
    ENCRYPT: _encrypting,
    DECRYPT: _decrypting,
    CHECK: _checking,
    HMAC: _hashing,
}
_SPECS: Final[Mapping[str, type[Hashable]]] = {ENCRYPT: FieldSpec, DECRYPT: FieldSpec, CHECK: FieldSpec, HMAC: Slot}


def _require_text(array: pa.Array, spec: Hashable) -> None:
    """Whoever holds the key may have encrypted bytes that are no text; the engine must not meet them."""
    import pyarrow as pa

    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        assert isinstance(spec, FieldSpec)
        raise spec.refuse("holds the ciphertext of something that is not text") from None


def _pieces(array: pa.Array) -> list[bytes]:
    import pyarrow as pa

    pieces: list[bytes] = array.cast(pa.binary()).to_pylist()
    return pieces
