"""The keys of a layer: found by what they are for, made when first needed, rotated and destroyed."""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import secrets
import threading
from collections.abc import Hashable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tauro_nb.errors import KeysetError, UsageError
from tauro_nb.security.keys.entry import PURPOSES, Key, Slot
from tauro_nb.security.keys.kek import KEY, KeyWrapper, Secret
from tauro_nb.security.keys.keyset import Keyset, KeysetFile

__all__ = ["KeyRing"]

_HANDLES: Final = b"tauro/handles/1"
# Random nonces of 96 bits: SP 800-38D allows 2^32 values a key; half of it leaves room for processes that died.
MOST_USES: Final = 2**31
_RESERVED: Final = 2**20


class KeyRing:
    """Keys by purpose, tenant and domain, from a keyset file or in memory only; safe to use from several threads.

    A key is made when a slot is first used. Keys in memory die with the process: what they encrypted does so too.

    Examples
    --------
    >>> ring = KeyRing()
    >>> ring.persistent, len(ring.hmac_key(domain="people.email"))
    (False, 32)
    >>> old = ring.primary(Slot("gcm", domain="people.ssn"))
    >>> new = ring.rotate(old.slot)
    >>> [(key is new, key.state) for key in ring.all_keys(domain="people.ssn")]
    [(False, 'decrypt_only'), (True, 'primary')]
    """

    def __init__(self, file: KeysetFile | None = None) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._stamp: tuple[int, ...] = ()
        self._keyset = Keyset.new()
        self._unsaved: dict[int, int] = {}
        self._handles: dict[str, Hashable] = {}
        self.generation = 0
        if file is not None:
            self._load(file)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        kek: Secret | KeyWrapper,
        *,
        create: bool = False,
        cost: Mapping[str, int] | None = None,
    ) -> KeyRing:
        """The keys of a keyset file.

        Parameters
        ----------
        path
            The file.
        kek
            What unlocks it.
        create
            Make the file when there is none.
        cost
            scrypt's `n`, `r` and `p` for a new file.

        Raises
        ------
        KeysetError
            There is no file, it does not unlock, or it was changed.
        """
        place = Path(path)
        if create and not place.exists():
            return cls(KeysetFile.create(place, kek, cost=cost))
        return cls(KeysetFile.open(place, kek))

    @property
    def persistent(self) -> bool:
        """Whether the keys outlive the process."""
        return self._file is not None

    # --- finding keys

    def primary(self, slot: Slot, *, create: bool = True) -> Key:
        """The key that encrypts for a slot; made when the slot has none yet.

        Raises
        ------
        KeysetError
            Its keys were destroyed, or there is none and none can be made.
        """
        with self._lock:
            self.refresh()
            found = self._primary(slot)
            if found is not None:
                return found
            if not create:
                raise KeysetError(f"there is no key for {slot}.")
            self._refuse_erased(slot)
            if self._file is not None and not self._file.writable:
                raise KeysetError(f"there is no key for {slot}, and the keyset cannot be written.")
            with self._changing():
                found = self._primary(slot)  # another process may have been quicker
                return found if found is not None else self._add(slot, "primary")

    def live(self, slot: Slot) -> tuple[Key, ...]:
        """Every key of a slot that still opens what it closed, the primary first."""
        with self._lock:
            self.refresh()
            found = [key for key in self._keyset.keys.values() if key.slot == slot and key.live]
        return tuple(sorted(found, key=lambda key: key.state != "primary"))

    def find(self, number: int) -> Key | None:
        """The key of an id, also a destroyed one."""
        with self._lock:
            self.refresh()
            return self._keyset.keys.get(number)

    def all_keys(self, *, tenant: str | None = None, domain: str | None = None) -> tuple[Key, ...]:
        """All keys, or those of a tenant or domain, in the order they were made."""
        with self._lock:
            self.refresh()
            return tuple(
                key
                for key in self._keyset.keys.values()
                if (tenant is None or key.slot.tenant == tenant) and (domain is None or key.slot.domain == domain)
            )

    def hmac_key(self, tenant: str = "", domain: str = "") -> bytes:
        """The key for pseudonyms: equal values of one tenant and domain get equal ones."""
        return self.primary(Slot("hmac", tenant, domain)).material

    def audit_key(self, number: int | None = None) -> bytes:
        """The key of the audit chain: the present one, or an earlier one by its id.

        Raises
        ------
        KeysetError
            There is no such key, or it was destroyed.
        """
        if number is None:
            return self.primary(Slot("audit")).material
        found = self.find(number)
        if found is None or found.slot.purpose != "audit" or not found.live:
            raise KeysetError("the audit key that was asked for is not in the keyset.")
        return found.material

    def audit_key_id(self) -> int:
        """The id of the present audit key."""
        return self.primary(Slot("audit")).id

    def count(self, key: Key, values: int) -> None:
        """Count values before they are encrypted with random nonces.

        Uses are reserved in the file a million at a time: after a crash the count is too high, never too low.

        Raises
        ------
        KeysetError
            The key has encrypted as many values as is safe.
        """
        with self._lock:
            left = self._unsaved.get(key.id, 0)
            if left < values:
                reserve = max(values, _RESERVED)
                if key.used + values > MOST_USES:
                    raise KeysetError(f"the key {key.hex} has encrypted as much as is safe.", hint="Rotate it.")
                if self._file is not None and self._file.writable:
                    with self._changing():
                        self._keyset.keys[key.id].used += reserve
                else:
                    self._keyset.keys[key.id].used += reserve
                left += reserve
            self._unsaved[key.id] = left - values

    # --- changing keys

    def add(self, slot: Slot) -> Key:
        """A new key that waits (`pending`): processes learn of it before any encrypts with it."""
        with self._lock, self._changing():
            return self._add(slot, "pending")

    def promote(self, number: int) -> Key:
        """Make a waiting or retired key the one that encrypts; the one before still decrypts."""
        with self._lock, self._changing():
            key = self._live_key(number)
            self._retire(key.slot)
            key.state = "primary"
            return key

    def rotate(self, slot: Slot) -> Key:
        """A new primary at once; the one before still decrypts."""
        with self._lock, self._changing():
            self._retire(slot)
            return self._add(slot, "primary")

    def destroy(self, number: int) -> Key:
        """Erase a key: what it encrypted is lost, here and in every copy of the data.

        Raises
        ------
        UsageError
            It is the primary: promote another first, or `shred` them all.
        """
        with self._lock, self._changing():
            key = self._live_key(number)
            if key.state == "primary":
                raise UsageError(f"the key {key.hex} still encrypts.", hint="Rotate first.")
            return self._erase(key)

    def shred(self, *, tenant: str | None = None, domain: str | None = None) -> tuple[Key, ...]:
        """Erase every key of a tenant, a domain, or a domain of one tenant; returns them.

        The audit's keys stay: what was recorded must remain to be verified.

        Raises
        ------
        UsageError
            Neither is named, or nothing is found.
        """
        if tenant is None and domain is None:
            raise UsageError("say whose keys: a tenant, a domain, or both.")
        with self._lock, self._changing():
            doomed = [
                key
                for key in self._keyset.keys.values()
                if key.live
                and key.slot.purpose != "audit"
                and (tenant is None or key.slot.tenant == tenant)
                and (domain is None or key.slot.domain == domain)
            ]
            if not doomed:
                raise UsageError("no live key belongs to this tenant and domain.")
            erased = tuple(self._erase(key) for key in doomed)
            used = {key.slot.tenant for key in self._keyset.keys.values() if key.live}
            for name in [name for name in self._keyset.tenants if name not in used]:
                del self._keyset.tenants[name]
        return erased

    def rewrap(self, kek: Secret | KeyWrapper, *, cost: Mapping[str, int] | None = None) -> None:
        """Lock the keyset by another KEK; keys and data stay as they are."""
        if self._file is None:
            raise UsageError("these keys are in memory only.")
        with self._lock:
            self._file.rewrap(kek, cost=cost)
            self._load(self._file)

    # --- handles

    def handle(self, job: Hashable) -> str:
        """An opaque name for a piece of work with keys, for use inside a query; equal for equal work.

        It says nothing of the work or the keys. Twelve letters: DuckDB hands longer texts on, one for each value, at a
        third of the cost of a whole call.
        """
        name = hmac.digest(self._keyset.derived(_HANDLES), repr(job).encode("utf-8", "surrogatepass"), "sha256")
        handle = base64.urlsafe_b64encode(name[:9]).decode("ascii")
        if self._handles.setdefault(handle, job) != job:
            raise KeysetError("two pieces of work have the same handle.")
        return handle

    def job(self, handle: str) -> Hashable | None:
        """What a handle stands for."""
        return self._handles.get(handle)

    def hmac_handle(self, tenant: str = "", domain: str = "") -> str:
        """The handle of `tauro_hmac` for the columns of a domain.

        >>> len(KeyRing().hmac_handle(domain="people.email"))
        12
        """
        return self.handle(Slot("hmac", tenant, domain))

    def refresh(self) -> None:
        """Read the file again if it changed: keys that were destroyed elsewhere must not work here."""
        if self._file is None:
            return
        with self._lock:
            if self._file.stamp() != self._stamp:
                self._load(self._file)

    # --- inside

    def _load(self, file: KeysetFile) -> None:
        self._stamp = file.stamp()  # before the file: a change meanwhile is read the next time
        self._keyset = file.load()
        self._unsaved.clear()
        self.generation += 1

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the newest keyset, then write it; nothing changes when that fails."""
        if self._file is None:
            yield
            self.generation += 1
            return
        with self._file.locked():
            if self._file.stamp() != self._stamp:
                self._load(self._file)
            try:
                yield
                self._file.save(self._keyset)
            except BaseException:
                self._load(self._file)
                raise
            self._stamp = self._file.stamp()
            self.generation += 1

    def _primary(self, slot: Slot) -> Key | None:
        found = (key for key in self._keyset.keys.values() if key.slot == slot and key.state == "primary")
        return next(found, None)

    def _refuse_erased(self, slot: Slot) -> None:
        """Keys that somebody destroyed do not come back by themselves, under a new id."""
        same = [key for key in self._keyset.keys.values() if key.slot.tenant == slot.tenant]
        own = [key for key in same if key.slot == slot]
        erased_tenant = bool(slot.tenant) and bool(same) and not any(key.live for key in same)
        if erased_tenant or any(not key.live for key in own):
            raise KeysetError(f"the keys for {slot} were destroyed.", hint="Rotate, to begin anew.")
        if own:
            raise KeysetError(f"no key for {slot} is primary.", hint="Promote one.")

    def _add(self, slot: Slot, state: str) -> Key:
        number = secrets.randbelow(2**32 - 1) + 1
        while number in self._keyset.keys:
            number = secrets.randbelow(2**32 - 1) + 1
        self._keyset.tenants.setdefault(slot.tenant, secrets.token_bytes(KEY))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(number, slot, state, created, material=secrets.token_bytes(PURPOSES[slot.purpose]))
        self._keyset.keys[number] = key
        return key

    def _retire(self, slot: Slot) -> None:
        former = self._primary(slot)
        if former is not None:
            former.state = "decrypt_only"

    def _live_key(self, number: int) -> Key:
        found = self._keyset.keys.get(number)
        if found is None:
            raise UsageError(f"the keyset has no key {number:08x}.")
        if not found.live:
            raise UsageError(f"the key {found.hex} was destroyed.")
        return found

    def _erase(self, key: Key) -> Key:
        key.state, key.material = "destroyed", b""
        self._unsaved.pop(key.id, None)
        return key
