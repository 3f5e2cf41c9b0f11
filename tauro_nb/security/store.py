"""Policies as code: a file or a folder of them, read again as a whole when it changes, closed while it is wrong.

Before each plan the files are looked at (`stat`), and read only when they changed. What is read replaces what was in
force in one step, or, where anything is wrong with it, closes everything: the last good state is not kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tauro_nb.catalog.reading import Site
from tauro_nb.security.policy_file import PolicyRules, read_policy_text

__all__ = ["PolicyStore", "StoredRules"]

_YAML: Final = (".yaml", ".yml")
_ENDINGS: Final = (*_YAML, ".json")
# The coarsest clock of a usual file system: until a file is that old, equal times do not mean equal content.
_SETTLED_NS: Final = 2_000_000_000
_ATTEMPTS: Final = 5
_LARGEST: Final = 16 * 1024 * 1024
Stamp = tuple[tuple[str, int, int, int, int, int], ...]


@dataclass(frozen=True)
class StoredRules:
    """What the files said when they were read last.

    Parameters
    ----------
    rules
        Empty when there are mistakes.
    mistakes
        What is wrong, each with its file and place. Policy text may be quoted: for those who may read policies.
    """

    rules: PolicyRules = field(default_factory=PolicyRules)
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The files as they were last: one value, so that no thread sees half of a change."""

    stamp: Stamp = ()
    digest: bytes = b""
    rules: StoredRules | None = None
    settled: bool = False


class PolicyStore:
    """Reads policies from one place; safe to use from several threads.

    Parameters
    ----------
    path
        A file (YAML whose last line is `...`, or JSON), or a folder of them, hidden files left out.
    env
        Values of `${NAME}`; the process environment by default.

    Examples
    --------
    >>> PolicyStore(Path("there/is/no/such.yaml")).current().mistakes
    ('such.yaml: cannot be read: No such file or directory',)
    """

    def __init__(self, path: Path, env: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._text = os.fspath(path)
        self._env = os.environ if env is None else env
        self._lock = threading.Lock()
        self._seen = _Seen()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path.name

    def current(self) -> StoredRules:
        """The rules as the files have them now: the same object as long as nothing changed.

        Nothing is raised: what cannot be read is a mistake.
        """
        seen = self._seen
        try:
            stamp = self._look()
            if seen.rules is not None and seen.settled and stamp == seen.stamp:
                return seen.rules
            with self._lock:
                self._seen = seen = self._read(stamp)
        except (OSError, ValueError) as wrong:
            said = wrong.strerror if isinstance(wrong, OSError) else None
            lost = StoredRules(mistakes=(f"{self.name}: cannot be read: {said or type(wrong).__name__}",))
            with self._lock:
                if self._seen.rules != lost:
                    self._seen = _Seen(rules=lost)
                seen = self._seen
        assert seen.rules is not None
        return seen.rules

    def _look(self) -> Stamp:
        """What tells two states of the files apart without reading them."""
        facts = os.stat(self._text)  # noqa: PTH116 - asked before every decision, and twice as fast as `Path.stat`
        if not stat.S_ISDIR(facts.st_mode):
            return (_stamp(self._text, facts),)
        return tuple(_stamp(file.name, file.stat()) for file in self._files())

    def places(self) -> list[Path]:
        """The files, and the folder they are in: whoever may write one of these decides what the policies are."""
        folder = self.path if self.path.is_dir() else self.path.absolute().parent
        try:
            return [folder, *self._files()]
        except OSError:
            return [folder]

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        named = (file for file in self.path.iterdir() if file.name.endswith(_ENDINGS))
        return sorted(file for file in named if not file.name.startswith("."))

    def _read(self, stamp: Stamp) -> _Seen:
        """Read everything as it was at one moment; of what is written meanwhile, half would be read."""
        for _ in range(_ATTEMPTS):
            began = time.time_ns()
            texts = {file: _content(file) for file in self._files()}
            after = self._look()
            if after == stamp:
                break
            stamp = after
        else:
            raise OSError(0, "it changes while it is read")
        parts = (b"%s %d %s" % (os.fsencode(file.name), len(text), text) for file, text in texts.items())
        digest = hashlib.sha256(b"\n".join(parts)).digest()
        seen = self._seen
        rules = seen.rules if seen.rules is not None and digest == seen.digest else self._parse(texts)
        newest = max((max(times[-2:]) for times in stamp), default=0)
        return _Seen(stamp, digest, rules, settled=newest < began - _SETTLED_NS)

    def _parse(self, texts: Mapping[Path, bytes]) -> StoredRules:
        mistakes: list[str] = []
        read: list[tuple[str, PolicyRules]] = []
        for file, content in texts.items():
            site = Site("", self._env)
            read.append((file.name, _parse_file(file, content, site)))
            mistakes += [f"{file.name}: {mistake}" for mistake in site.mistakes]
        if not texts:
            mistakes.append(f"{self.name}: the folder holds no file of policies ({', '.join(_ENDINGS)})")
        rules = _together(read, mistakes)
        return StoredRules(mistakes=tuple(mistakes)) if mistakes else StoredRules(rules)


def _stamp(name: str, facts: os.stat_result) -> tuple[str, int, int, int, int, int]:
    return (name, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _content(file: Path) -> bytes:
    # A pipe would be waited for until somebody writes into it.
    if file.exists() and not file.is_file():
        raise OSError(0, "it is no file")
    with file.open("rb") as opened:
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(0, f"larger than {_LARGEST} bytes")
    return content


def _parse_file(file: Path, content: bytes, site: Site) -> PolicyRules:
    try:
        document = content.decode("utf-8")
    except UnicodeDecodeError:
        site.report("the file is not UTF-8 text")
        return PolicyRules()
    return read_policy_text(document, site, ends=not file.name.endswith(".json"))


def _together(read: list[tuple[str, PolicyRules]], mistakes: list[str]) -> PolicyRules:
    """One set of rules from several files; what two of them say is a mistake, whoever is right."""
    owners: dict[tuple[str, str], str] = {}

    def once(file: str, kind: str, name: str) -> None:
        owner = owners.setdefault((kind, name), file)
        if owner != file:
            mistakes.append(f"{file}: {kind} `{name}` is in `{owner}`, too")

    principals: dict[str, Any] = {}
    for file, rules in read:
        for policy in rules.tables:
            once(file, "the policy of", policy.table_name.casefold())
        for tag in rules.tags:
            once(file, "the policy of the tag", tag.tag.casefold())
        for name in rules.principals:
            once(file, "the principal", name)
        if rules.default_access is not None:
            once(file, "the key", "default_access")
        principals |= rules.principals
    return PolicyRules(
        tuple(policy for _, rules in read for policy in rules.tables),
        tuple(tag for _, rules in read for tag in rules.tags),
        MappingProxyType(principals),
        next((rules.default_access for _, rules in read if rules.default_access is not None), None),
    )
