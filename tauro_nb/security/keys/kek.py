"""The key that locks a keyset file (KEK): where it comes from, and how it locks and unlocks."""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tauro_nb.errors import KeysetError

__all__ = [
    "CommandSecret",
    "EnvironmentSecret",
    "KeyWrapper",
    "KeyringSecret",
    "PassphraseSecret",
    "Secret",
    "new_wrapper",
    "open_wrapper",
    "seal",
    "unseal",
]

NONCE = 12
KEY = 32
_SHORTEST = 8
# RFC 7914 parameters as OWASP recommends them: 128 MiB and a third of a second for every guess.
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}
_MOST_MEMORY = 2**30


@runtime_checkable
class KeyWrapper(Protocol):
    """What a keyset needs of a KMS, Vault or HSM: lock 32 bytes, and unlock them again.

    `context` must be authenticated with the key (encryption context, AAD): a key locked in one place must not open in
    another.
    """

    @property
    def name(self) -> str:
        """Written into the keyset, so that the next process knows whom to ask."""
        ...

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Lock a key."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Unlock it; any failure is an exception."""
        ...


@runtime_checkable
class Secret(Protocol):
    """Where a passphrase, or 32 bytes in base64, comes from."""

    def read(self) -> str:
        """The secret itself."""
        ...


@dataclass(frozen=True, slots=True)
class PassphraseSecret:
    """A passphrase at hand; prefer the other ways, which leave it out of the configuration."""

    text: str = field(repr=False)

    def read(self) -> str:
        """The passphrase."""
        return self.text


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """The value of an environment variable."""

    variable: str
    environment: Mapping[str, str] | None = field(default=None, repr=False)

    def read(self) -> str:
        """The variable's value."""
        value = (os.environ if self.environment is None else self.environment).get(self.variable)
        if not value:
            raise KeysetError(f"the environment variable `{self.variable}`, which unlocks the keyset, is not set.")
        return value


@dataclass(frozen=True, slots=True)
class KeyringSecret:
    """An entry in the operating system's keyring, through the package `keyring`."""

    service: str
    user: str = "tauro_nb"

    def read(self) -> str:
        """The entry."""
        try:
            import keyring
            from keyring.errors import KeyringError
        except ImportError:
            raise KeysetError(
                "the keyset is unlocked by the system's keyring, and the package `keyring` is not installed.",
                hint="Run `pip install 'tauro_nb[keyring]'`.",
            ) from None
        try:
            value = keyring.get_password(self.service, self.user)
        except KeyringError:
            raise KeysetError("the system's keyring cannot be read.", hint="Is it unlocked?") from None
        if not isinstance(value, str) or not value:
            raise KeysetError(f"the system's keyring has no entry `{self.service}` for `{self.user}`.")
        return value


@dataclass(frozen=True, slots=True)
class CommandSecret:
    """What a program prints: a password manager, a cloud's command line. No shell is involved."""

    arguments: Sequence[str]
    timeout: float = 30.0

    def read(self) -> str:
        """The program's output, without the last line's end."""
        if not self.arguments:
            raise KeysetError("the command that unlocks the keyset is empty.")
        try:
            done = subprocess.run(  # noqa: S603 - the administrator names the program, and no shell reads it
                list(self.arguments), capture_output=True, text=True, timeout=self.timeout, check=True
            )
        except (OSError, subprocess.SubprocessError, UnicodeError):
            # What it said may hold the secret.
            raise KeysetError("the command that unlocks the keyset failed.") from None
        value = done.stdout.rstrip("\r\n")
        if not value:
            raise KeysetError("the command that unlocks the keyset printed nothing.")
        return value


@dataclass(frozen=True, slots=True)
class _LocalWrapper:
    """A KEK in this process."""

    name: str
    key: bytes = field(repr=False)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return seal(self.key, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return unseal(self.key, wrapped, context)


def seal(key: bytes, plain: bytes, context: bytes) -> bytes:
    """AES-256-GCM: nonce, ciphertext, tag.

    >>> key = bytes(32)
    >>> unseal(key, seal(key, b"inner", b"here"), b"here")
    b'inner'
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The other direction.

    Raises
    ------
    ValueError
        The key, the context or the bytes are not those it was sealed with.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], context)
    except (InvalidTag, ValueError):
        raise ValueError("does not open") from None


def new_wrapper(
    kek: Secret | KeyWrapper, *, cost: Mapping[str, int] | None = None
) -> tuple[KeyWrapper, dict[str, Any]]:
    """A KEK for a new keyset, and what the keyset must remember of it.

    A secret of 32 bytes in base64 is the key itself; any other goes through scrypt.

    Raises
    ------
    KeysetError
        The secret cannot be had, or is too short to protect anything.
    """
    if isinstance(kek, KeyWrapper):
        return kek, {"kind": "wrapper", "name": kek.name}
    text = kek.read()
    raw = _raw_key(text)
    if raw is not None:
        return _LocalWrapper("key", raw), {"kind": "key"}
    if len(text) < _SHORTEST:
        raise KeysetError(f"the passphrase is shorter than {_SHORTEST} characters.")
    header = {"kind": "scrypt", "salt": base64.b64encode(os.urandom(16)).decode(), **(cost or _SCRYPT)}
    return open_wrapper(kek, header), header


def open_wrapper(kek: Secret | KeyWrapper, header: Mapping[str, Any]) -> KeyWrapper:
    """The KEK of an existing keyset.

    Raises
    ------
    KeysetError
        The keyset was locked in another way.
    """
    kind = header.get("kind")
    if isinstance(kek, KeyWrapper):
        if kind != "wrapper" or header.get("name") != kek.name:
            raise KeysetError(f"the keyset was not locked by `{kek.name}`.")
        return kek
    if kind == "key":
        raw = _raw_key(kek.read())
        if raw is None:
            raise KeysetError("the keyset is locked by a key of 32 bytes, and what was given is a passphrase.")
        return _LocalWrapper("key", raw)
    if kind != "scrypt":
        raise KeysetError("the keyset was locked by a key service, and none was given.")
    return _LocalWrapper("scrypt", _scrypt(kek.read(), header))


def _scrypt(text: str, header: Mapping[str, Any]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        n, r, p = (int(header[name]) for name in "nrp")
        salt = base64.b64decode(str(header["salt"]), validate=True)
        # A file must not be able to ask for all of the memory before its passphrase is even checked.
        if 128 * n * r <= _MOST_MEMORY and 1 <= p <= 16:
            return Scrypt(salt=salt, length=KEY, n=n, r=r, p=p).derive(text.encode("utf-8", "surrogateescape"))
    except (KeyError, TypeError, ValueError, MemoryError):
        pass
    raise KeysetError("the keyset's header is damaged.")


def _raw_key(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text.strip(), altchars=b"-_" if set(text) & set("-_") else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == KEY else None
