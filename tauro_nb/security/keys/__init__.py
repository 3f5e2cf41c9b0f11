"""Keys: a keyset file that a KEK locks, and the ring that finds, makes, rotates and destroys them."""

from __future__ import annotations

from tauro_nb.security.keys.entry import PURPOSES, STATES, Key, Slot
from tauro_nb.security.keys.kek import (
    CommandSecret,
    EnvironmentSecret,
    KeyringSecret,
    KeyWrapper,
    PassphraseSecret,
    Secret,
)
from tauro_nb.security.keys.keyset import Keyset, KeysetFile
from tauro_nb.security.keys.ring import KeyRing

__all__ = [
    "PURPOSES",
    "STATES",
    "CommandSecret",
    "EnvironmentSecret",
    "Key",
    "KeyRing",
    "KeyWrapper",
    "KeyringSecret",
    "Keyset",
    "KeysetFile",
    "PassphraseSecret",
    "Secret",
    "Slot",
]
