"""Keysets on the command line: `python -m tauro_nb.keys create|list|add|promote|rotate|destroy|shred|rewrap`.

Keys are never printed. What unlocks the keyset is asked for at the terminal, unless an option says where it is.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tauro_nb.errors import KeysetError, TauroError, UsageError, nearest
from tauro_nb.security.keys import (
    PURPOSES,
    CommandSecret,
    EnvironmentSecret,
    Key,
    KeyRing,
    KeyringSecret,
    PassphraseSecret,
    Secret,
    Slot,
)
from tauro_nb.security.keys.keyset import KeysetFile

__all__ = ["main"]

_COLUMNS: Final = ("id", "purpose", "tenant", "domain", "state", "created", "used")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A passphrase typed at the terminal."""

    prompt: str
    twice: bool = False

    def read(self) -> str:
        if not sys.stdin.isatty():
            raise KeysetError(
                "nothing says how to unlock the keyset.", hint="Use --env, --file, --keyring or --command."
            )
        found = getpass.getpass(self.prompt)
        if self.twice and getpass.getpass("Again: ") != found:
            raise KeysetError("the two passphrases differ.")
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    Examples
    --------
    >>> main(["list", "--keyset", "/nowhere/keys.json", "--env", "TAURO_KEK"])
    1
    """
    given = _parser().parse_args(arguments)
    try:
        _COMMANDS[given.command](given)
    except TauroError as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    return 0


def _create(given: argparse.Namespace) -> None:
    path = Path(given.keyset)
    KeysetFile.create(path, _secret(given, twice=True))
    _say(f"{path.name}: an empty keyset, readable by its owner only.")


def _list(given: argparse.Namespace) -> None:
    _show(_ring(given).all_keys(tenant=given.tenant, domain=given.domain))


def _add(given: argparse.Namespace) -> None:
    _show([_ring(given).add(_slot(given))])


def _rotate(given: argparse.Namespace) -> None:
    ring, slot = _ring(given), _slot(given)
    if not any(key.slot == slot for key in ring.all_keys()):
        others = [key.slot.domain for key in ring.all_keys(tenant=slot.tenant) if key.slot.purpose == slot.purpose]
        raise UsageError(f"there is no key for {slot} to rotate.{nearest(slot.domain, others)}", hint=_FIRST)
    _show([ring.rotate(slot)])


_FIRST: Final = "Keys are made when they are first needed; to make one before, use `add`, then `promote`."


def _promote(given: argparse.Namespace) -> None:
    _show([_ring(given).promote(_id(given))])


def _destroy(given: argparse.Namespace) -> None:
    _confirm(given, f"What the key {given.id} encrypted will be lost for ever.")
    _show([_ring(given).destroy(_id(given))])


def _shred(given: argparse.Namespace) -> None:
    named = [f"{what} `{name}`" for what, name in (("tenant", given.tenant), ("domain", given.domain)) if name]
    _confirm(given, f"Everything encrypted for {' and '.join(named) or 'nobody'} will be lost for ever.")
    _show(_ring(given).shred(tenant=given.tenant, domain=given.domain))


def _rewrap(given: argparse.Namespace) -> None:
    new = _secret(given, prefix="new_", twice=True)
    KeysetFile.open(Path(given.keyset), _secret(given)).rewrap(new)
    _say("The keyset is locked anew. Its backups are not.")


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "create": _create,
    "list": _list,
    "add": _add,
    "promote": _promote,
    "rotate": _rotate,
    "destroy": _destroy,
    "shred": _shred,
    "rewrap": _rewrap,
}
_PURPOSES: Final = "gcm: encrypted columns; siv: searchable ones and tokens; hmac: pseudonyms; audit: the audit trail"
_HELP: Final[Mapping[str, str]] = {
    "create": "make an empty keyset",
    "list": "show the keys: ids and states, never the keys themselves",
    "add": "add a pending key, which decrypts; promote it once every process knows it",
    "promote": "let a key encrypt; the one before still decrypts",
    "rotate": "add a key and promote it at once",
    "destroy": "erase one key that no longer encrypts",
    "shred": "erase every key of a tenant or domain, and with them what they encrypted",
    "rewrap": "lock the keyset by another passphrase or key",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tauro_nb.keys", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in _HELP.items():
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--keyset", required=True, help="the keyset file")
        _add_secret(command)
        if name == "rewrap":
            _add_secret(command, "new-")
        if name in ("add", "rotate"):
            command.add_argument("purpose", choices=tuple(PURPOSES), help=_PURPOSES)
        if name in ("promote", "destroy"):
            command.add_argument("id", help="eight hexadecimal digits, see `list`")
        if name in ("list", "add", "rotate", "shred"):
            wanted = None if name in ("list", "shred") else ""
            command.add_argument("--tenant", default=wanted, help="whose data; without it, data of no tenant")
            command.add_argument(
                "--domain", default=wanted, help="the columns' domain, or `table.column` of one without"
            )
        if name in ("destroy", "shred"):
            command.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _add_secret(command: argparse.ArgumentParser, prefix: str = "") -> None:
    ways = command.add_mutually_exclusive_group()
    ways.add_argument(f"--{prefix}env", metavar="NAME", help="environment variable that holds the passphrase or key")
    ways.add_argument(f"--{prefix}file", metavar="PATH", help="file that holds it")
    ways.add_argument(f"--{prefix}keyring", metavar="SERVICE", help="entry of the system's keyring")
    ways.add_argument(
        f"--{prefix}command",
        dest=f"{prefix.replace('-', '_')}program",
        nargs="+",
        metavar="WORD",
        help="program that prints it, with its arguments",
    )


def _secret(given: argparse.Namespace, prefix: str = "", *, twice: bool = False) -> Secret:
    name = getattr(given, f"{prefix}env")
    path = getattr(given, f"{prefix}file")
    service = getattr(given, f"{prefix}keyring")
    program = getattr(given, f"{prefix}program")
    if name:
        return EnvironmentSecret(name)
    if path:
        try:
            return PassphraseSecret(Path(path).read_text(encoding="utf-8").rstrip("\r\n"))
        except (OSError, UnicodeError):
            raise KeysetError("the file that holds the passphrase cannot be read.") from None
    if service:
        return KeyringSecret(service)
    if program:
        return CommandSecret(tuple(program))
    return _Asked("New passphrase: " if prefix else "Passphrase: ", twice=twice)


def _ring(given: argparse.Namespace) -> KeyRing:
    return KeyRing.open(Path(given.keyset), _secret(given))


def _slot(given: argparse.Namespace) -> Slot:
    return Slot(given.purpose, given.tenant, given.domain)


def _id(given: argparse.Namespace) -> int:
    try:
        return int(given.id, 16)
    except ValueError:
        raise UsageError("a key's id is eight hexadecimal digits.") from None


def _confirm(given: argparse.Namespace, consequence: str) -> None:
    if given.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(consequence, hint="Add --yes if that is meant.")
    if input(f"{consequence} Type `yes`: ").strip() != "yes":
        raise UsageError("nothing was done.")


def _show(keys: Sequence[Key]) -> None:
    rows = [
        (key.hex, key.slot.purpose, key.slot.tenant, key.slot.domain, key.state, key.created, str(key.used))
        for key in keys
    ]
    widths = [max(len(row[at]) for row in (_COLUMNS, *rows)) for at in range(len(_COLUMNS))]
    for row in (_COLUMNS, *rows):
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
