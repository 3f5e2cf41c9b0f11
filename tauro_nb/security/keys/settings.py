"""The section `encryption:` of a configuration: which keyset, and what unlocks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tauro_nb.catalog.reading import WRONG, Parser, Site, flag, kind_of, listed, read_fields, text
from tauro_nb.security.keys.kek import (
    CommandSecret,
    EnvironmentSecret,
    KeyringSecret,
    KeyWrapper,
    PassphraseSecret,
    Secret,
)
from tauro_nb.security.keys.ring import KeyRing

__all__ = ["EncryptionSettings", "read_encryption_settings"]


@dataclass(frozen=True, slots=True)
class EncryptionSettings:
    """Where the keys of a layer are.

    Parameters
    ----------
    keyset
        The keyset file; None keeps keys in memory, where they die with the process.
    kek
        What unlocks it: a secret or, for a key service, a `KeyWrapper`.
    create
        Make the file when it is not there.
    """

    keyset: Path | None = None
    kek: Secret | KeyWrapper | None = None
    create: bool = False

    def ring(self) -> KeyRing:
        """The keys.

        Raises
        ------
        KeysetError
            The file is not there, or does not unlock.
        """
        if self.keyset is None or self.kek is None:
            return KeyRing()
        return KeyRing.open(self.keyset, self.kek, create=self.create)


def read_encryption_settings(raw: Any, site: Site) -> Any:
    """Read the section.

    >>> site = Site("encryption")
    >>> read_encryption_settings({"keyset": "keys.json", "kek": {"env": "TAURO_KEK"}}, site).kek
    EnvironmentSecret(variable='TAURO_KEK')
    >>> read_encryption_settings({"keyset": "keys.json"}, site) is WRONG, site.mistakes
    (True, ['encryption: `keyset` and `kek` need each other'])
    """
    before = len(site.mistakes)
    found = read_fields(raw, site, _FIELDS)
    if found is None or len(site.mistakes) > before:
        return WRONG
    if bool(found.get("keyset")) != ("kek" in found):
        return site.report("`keyset` and `kek` need each other")
    path = found.get("keyset")
    return EncryptionSettings(
        Path(path) if path else None,
        found.get("kek"),
        found.get("create", False),
    )


def _read_kek(raw: Any, site: Site) -> Any:
    if isinstance(raw, (KeyWrapper, Secret)):  # in a configuration that Python wrote
        return raw
    before = len(site.mistakes)
    found = read_fields(raw, site, _KEKS)
    if found is None or len(site.mistakes) > before:
        return WRONG
    if len(found) != 1:
        return site.report(f"say one way to unlock the keyset: {', '.join(_KEKS)}")
    ((way, value),) = found.items()
    return _SECRETS[way](value)


def _read_keyring(raw: Any, site: Site) -> Any:
    if isinstance(raw, Mapping):
        before = len(site.mistakes)
        found = read_fields(raw, site, {"service": text, "user": text})
        if found is None or len(site.mistakes) > before:
            return WRONG
        return found if found.get("service") else site.report("says no `service`")
    service = text(raw, site)
    return WRONG if service is WRONG else {"service": service}


def _read_command(raw: Any, site: Site) -> Any:
    if isinstance(raw, str) or not raw:
        return site.report(f"expected a list of the program and its arguments, got {kind_of(raw)}")
    return listed(text)(raw, site)


_KEKS: Final[Mapping[str, Parser]] = {
    "env": text,
    "passphrase": text,
    "keyring": _read_keyring,
    "command": _read_command,
}
_SECRETS: Final[Mapping[str, Callable[[Any], Secret]]] = {
    "env": EnvironmentSecret,
    "passphrase": PassphraseSecret,
    "keyring": lambda found: KeyringSecret(**found),
    "command": lambda found: CommandSecret(tuple(found)),
}
_FIELDS: Final[Mapping[str, Parser]] = {
    "keyset": text,
    "kek": _read_kek,
    "create": flag,
}
