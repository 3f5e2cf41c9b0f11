"""The keyset file: every key locked by its tenant's key, that by the root, and the root by the KEK."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tauro_nb.errors import KeysetError
from tauro_nb.security.keys.entry import Key
from tauro_nb.security.keys.kek import KEY, KeyWrapper, Secret, new_wrapper, open_wrapper, seal, unseal

__all__ = ["Keyset", "KeysetFile"]

_FORMAT: Final = "tauro/keyset/1"
_ROOT: Final = b"tauro/root/1"
_TENANT: Final = b"tauro/tenant/1\x00"
_MAC: Final = b"tauro/keyset-mac/1"


@dataclass(slots=True)
class Keyset:
    """Keys in memory.

    Parameters
    ----------
    root
        Locks the tenants' keys.
    tenants
        Tenant -> the key that locks its keys. Destroying it destroys all of them.
    keys
        By id, in the order they were made.
    """

    root: bytes = field(repr=False)
    tenants: dict[str, bytes] = field(default_factory=dict, repr=False)
    keys: dict[int, Key] = field(default_factory=dict)

    @classmethod
    def new(cls) -> Keyset:
        """An empty one."""
        return cls(secrets.token_bytes(KEY))

    def derived(self, label: bytes) -> bytes:
        """A key for this keyset's own bookkeeping; never one that touches data."""
        return hmac.digest(self.root, label, "sha256")

    def to_mapping(self, kek: Mapping[str, Any], root: bytes) -> dict[str, Any]:
        """The keyset as the file has it, everything locked."""
        keys = []
        for key in self.keys.values():
            locked = _text(seal(self.tenants[key.slot.tenant], key.material, key.context())) if key.live else ""
            keys.append(key.to_mapping(locked))
        body = {
            "format": _FORMAT,
            "kek": dict(kek),
            "root": _text(root),
            "tenants": {name: _text(seal(self.root, key, _tenant(name))) for name, key in self.tenants.items()},
            "keys": keys,
        }
        return {**body, "mac": hmac.digest(self.derived(_MAC), _canonical(body), "sha256").hex()}

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], wrapper: KeyWrapper) -> Keyset:
        """Unlock what a file holds.

        Raises
        ------
        KeysetError
            The KEK is another, or the file was changed.
        """
        try:
            root = wrapper.unwrap(_bytes(raw["root"]), _ROOT)
        except KeysetError:
            raise
        except Exception:  # noqa: BLE001 - whatever a key service raises, the keyset stays locked
            raise KeysetError(
                "the keyset does not open: this is not the passphrase or key it was locked with."
            ) from None
        found = cls(root)
        body = {name: value for name, value in raw.items() if name != "mac"}
        mac = hmac.digest(found.derived(_MAC), _canonical(body), "sha256").hex()
        if not hmac.compare_digest(mac.encode(), str(raw.get("mac")).encode()):
            raise KeysetError("the keyset was changed by someone who does not hold its key; nothing of it is used.")
        try:
            for name, locked in raw["tenants"].items():
                found.tenants[name] = unseal(root, _bytes(locked), _tenant(name))
            for item in raw["keys"]:
                key = Key.from_mapping(item)
                if key.live:
                    key.material = unseal(found.tenants[key.slot.tenant], _bytes(item["wrapped"]), key.context())
                found.keys[key.id] = key
        except (AttributeError, KeyError, TypeError, ValueError):
            raise KeysetError("the keyset is damaged; nothing of it is used.") from None
        return found


class KeysetFile:
    """A keyset on disk: mode 0600, replaced as a whole, one writer at a time.

    Examples
    --------
    >>> from tauro_nb.security.keys.kek import PassphraseSecret
    >>> path = Path(tempfile.mkdtemp()) / "keys.json"
    >>> secret = PassphraseSecret("correct horse battery staple")
    >>> file = KeysetFile.create(path, secret, cost={"n": 16, "r": 8, "p": 1})
    >>> len(KeysetFile.open(path, secret).load().keys), oct(path.stat().st_mode & 0o777)
    (0, '0o600')
    """

    def __init__(self, path: Path, wrapper: KeyWrapper, header: Mapping[str, Any]) -> None:
        self.path = path
        self._wrapper = wrapper
        self._header = dict(header)

    @classmethod
    def create(cls, path: Path, kek: Secret | KeyWrapper, *, cost: Mapping[str, int] | None = None) -> KeysetFile:
        """Write a new, empty keyset.

        Raises
        ------
        KeysetError
            There is a file already, or it cannot be written.
        """
        wrapper, header = new_wrapper(kek, cost=cost)
        file = cls(path, wrapper, header)
        with file.locked():
            if path.exists():
                raise KeysetError("there is a keyset already.", hint="Its keys would be lost; delete it yourself.")
            file.save(Keyset.new())
        return file

    @classmethod
    def open(cls, path: Path, kek: Secret | KeyWrapper) -> KeysetFile:
        """An existing keyset.

        Raises
        ------
        KeysetError
            It is not there, not a keyset, or locked in another way.
        """
        header = _read(path).get("kek")
        if not isinstance(header, Mapping):
            raise KeysetError("the file is not a keyset.")
        return cls(path, open_wrapper(kek, header), header)

    def load(self) -> Keyset:
        """Read and unlock it."""
        return Keyset.from_mapping(_read(self.path), self._wrapper)

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever the file does."""
        try:
            found = self.path.stat()
        except OSError:
            raise KeysetError("the keyset file is gone.") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @property
    def writable(self) -> bool:
        """Whether this process may replace the file."""
        return os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK)

    def save(self, keyset: Keyset) -> None:
        """Replace the file in one step; the caller holds the lock."""
        root = self._wrapper.wrap(keyset.root, _ROOT)
        document = json.dumps(keyset.to_mapping(self._header, root), indent=1, sort_keys=True)
        try:
            _replace(self.path, document)
        except OSError as wrong:
            raise KeysetError(f"the keyset cannot be written ({wrong.strerror or type(wrong).__name__}).") from None

    def rewrap(self, kek: Secret | KeyWrapper, *, cost: Mapping[str, int] | None = None) -> None:
        """Lock the same keys by another KEK."""
        with self.locked():
            keyset = self.load()
            self._wrapper, self._header = new_wrapper(kek, cost=cost)
            self.save(keyset)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers, also of other processes, away."""
        beside = self.path.with_name(f"{self.path.name}.lock")
        try:
            handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as wrong:
            raise KeysetError(f"the keyset cannot be written ({wrong.strerror or type(wrong).__name__}).") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _replace(path: Path, document: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(document + "\n")
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KeysetError("there is no keyset file at the configured place.", hint=_HOW) from None
    except OSError as wrong:
        raise KeysetError(f"the keyset cannot be read ({wrong.strerror or type(wrong).__name__}).") from None
    except (UnicodeError, ValueError, RecursionError):
        raise KeysetError("the file is not a keyset.") from None
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT:
        raise KeysetError("the file is not a keyset.")
    return raw


_HOW: Final = "Make one with `python -m tauro_nb.keys create`."


def _canonical(body: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).digest()


def _tenant(name: str) -> bytes:
    return _TENANT + name.encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: Any) -> bytes:
    return base64.b64decode(str(text), validate=True)
