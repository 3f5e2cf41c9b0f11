"""The audit key: one secret of 32 bytes, from which the key of the chain, of literals and of signatures are derived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tauro_nb.errors import TauroError
from tauro_nb.security.audit.chain import Keyed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["AuditKeys", "KeyFileError", "Ring", "check_signature", "key_from_file"]

_BYTES: Final = 32
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Ring(Protocol):
    """The part of a key ring that an audit log needs."""

    @property
    def persistent(self) -> bool:
        """Whether its keys outlive the process."""

    def audit_key(self, number: int | None = None) -> bytes:
        """The audit key of that number, or the primary one."""

    def audit_key_id(self) -> int:
        """Number of the primary audit key."""


class KeyFileError(OSError):
    """The key file is missing while the log exists, or is none."""


@dataclass(frozen=True)
class AuditKeys:
    """Keys of one audit log, derived from one secret so that there is one thing to keep.

    Examples
    --------
    >>> keys = AuditKeys(bytes(32))
    >>> keys.chain != keys.values, keys.id
    (True, 'aa5a94d9c37d80cb')
    """

    secret: bytes = field(repr=False)

    def _derive(self, purpose: bytes) -> bytes:
        # HKDF-Expand of RFC 5869 with one block: the secret is uniform already.
        return hmac.digest(self.secret, b"tauro/audit/" + purpose + b"/1\x01", "sha256")

    @cached_property
    def chain(self) -> bytes:
        """Key of the records' MACs."""
        return self._derive(b"chain")

    @cached_property
    def links(self) -> Keyed:
        """What each record's MAC begins with."""
        return Keyed(self.chain)

    @cached_property
    def values(self) -> bytes:
        """Key under which literals and parameters are recorded."""
        return self._derive(b"values")

    @cached_property
    def _of_values(self) -> Keyed:
        return Keyed(self.values)

    @cached_property
    def _signer(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._derive(b"checkpoint"))

    @cached_property
    def public(self) -> str:
        """The public key that checkpoints can be checked with, as hexadecimal text; no secret."""
        return self._signer.public_key().public_bytes_raw().hex()

    @cached_property
    def id(self) -> str:
        """A short name of the public key."""
        return hashlib.sha256(bytes.fromhex(self.public)).hexdigest()[:16]

    def sign(self, message: bytes) -> str:
        """Ed25519 signature as base64."""
        return base64.b64encode(self._signer.sign(message)).decode("ascii")

    def value(self, kind: str, value: str) -> str:
        """What is recorded of a value: 64 bits under a key, so that nobody without it can try values out."""
        return self._of_values.mac(f"{kind}\0{value}".encode(errors="surrogatepass"))[:16]


def check_signature(public: str, signature: str, message: bytes) -> bool:
    """Whether the owner of a public key signed a message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_from_file(path: Path, ring: Ring | None = None, *, may_create: bool) -> AuditKeys:
    """Read the key file, or make one (mode 0600); the caller holds the log's lock.

    With a key ring that is kept somewhere, the file holds no secret, only the number of the ring's key: a log stays
    with the key it began with.

    Raises
    ------
    OSError
        It cannot be read or written, is no key file, or is gone although there are records under its key.
    """
    try:
        return AuditKeys(_read(path.read_bytes(), ring))
    except FileNotFoundError:
        if not may_create:
            raise KeyFileError(2, "the audit key is gone, but not the log") from None
    held: dict[str, Any] = {}
    if ring is not None and ring.persistent:
        held["ring"] = ring.audit_key_id()
        secret = ring.audit_key(held["ring"])
    else:
        secret = secrets.token_bytes(_BYTES)
        held["secret"] = base64.b64encode(secret).decode("ascii")
    text = json.dumps({"kind": "tauro audit key", "version": 1, **held})
    # Whole or not at all: half a key would close the log for good.
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, _NEW, 0o600)
    try:
        os.write(handle, text.encode("ascii") + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    return AuditKeys(secret)


def _read(content: bytes, ring: Ring | None) -> bytes:
    try:
        held = json.loads(content)
        number = held.get("ring")
        secret = base64.b64decode(held["secret"], validate=True) if number is None else b""
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeyFileError(22, "the audit key file holds no key") from None
    if number is not None:
        if ring is None or not ring.persistent:
            raise KeyFileError(22, "the audit key is in a key ring that is not configured")
        try:
            secret = ring.audit_key(number)
        except TauroError:
            raise KeyFileError(22, "the key ring does not have the audit key of this log") from None
    if len(secret) < _BYTES:
        raise KeyFileError(22, "the audit key file holds no key")
    return secret
