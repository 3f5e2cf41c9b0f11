"""Read untrusted nested values with a table of parsers, remembering every mistake and where it is.

A parser takes a raw value and the `Site` it came from, and returns what it means; when it means nothing, the parser
reports a mistake and returns `WRONG`. No parser raises, and no report shows a value that may be a secret: a value is
shown only where the choice is among a few public words, and then as it is written in the file (`${NAME}`, not what
the environment holds).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import Enum
from typing import Any, Final

from tauro_nb.catalog.redact import redact_text
from tauro_nb.errors import nearest

__all__ = [
    "WRONG", "Parser", "Site", "anything", "as_it_is", "choice", "entries", "escaped", "flag", "integer", "kind_of",
    "listed", "mapping_of", "read_entries", "read_fields", "report_same_names", "show_key", "text",
]  # fmt: skip


class _Wrong(Enum):
    WRONG = "wrong"


WRONG: Final = _Wrong.WRONG
_VARIABLE: Final = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\$\{[^}]*\}?)"
)
_SHOWN: Final = re.compile(r"[\w\- .${}:]{1,40}")
_MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a configuration: its path, the environment it may use, and the list that mistakes go to.

    Without an environment, `${NAME}` is text like any other: values given in Python are not expanded.
    """

    root: str = ""
    env: Mapping[str, str] | None = None
    mistakes: list[str] = field(default_factory=list)
    steps: tuple[object, ...] = ()

    @property
    def path(self) -> str:
        """The place as messages show it: `virtual_tables.customers.tags[0]`."""
        path = self.root
        for key in self.steps:
            step = f"[{key}]" if isinstance(key, int) else show_key(key)
            path += f".{step}" if path and not isinstance(key, int) else step
        return path

    def at(self, key: object) -> Site:
        """The place one key further down."""
        return Site(self.root, self.env, self.mistakes, (*self.steps, key))

    def report(self, sentence: str) -> Any:
        """Remember a mistake made here; returns `WRONG`."""
        path = self.path
        line = f"{path}: {sentence}" if path else sentence
        self.mistakes.append("".join(char if char.isprintable() else "?" for char in line))
        return WRONG

    def expand(self, raw: str) -> Any:
        """Replace `${NAME}` and `${NAME:-default}`; `$${` is a literal `${`."""
        env, missing = self.env, list[str]()
        if env is None or "${" not in raw:
            return raw

        def value(found: re.Match[str]) -> str:
            if found["bad"]:
                missing.append("`${` begins the name of an environment variable; write `$${` for the characters")
                return ""
            if not found["name"]:
                return "${"
            given = env.get(found["name"])
            if not given and found["default"] is not None:
                return found["default"]
            if given is None:
                missing.append(f"the environment variable `{found['name']}` is not set")
            return given or ""

        expanded = _VARIABLE.sub(value, raw)
        for sentence in missing:
            self.report(sentence)
        return WRONG if missing else expanded


Parser = Callable[[Any, Site], Any]


def kind_of(raw: object) -> str:
    """Say what a raw value is, never what it holds.

    >>> kind_of([1]), kind_of(True), kind_of(None)
    ('a list', 'true/false', 'nothing')
    """
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "nothing"), (bool, "true/false"), (int, "a whole number"), (float, "a number"), (str, "text"),
        ((date, time), "a date or time"), (Mapping, "a mapping"), ((list, tuple), "a list"),
    )  # fmt: skip
    return next((name for kind, name in kinds if isinstance(raw, kind)), "something else")


def show_key(key: object) -> str:
    """A key as a message may show it: one short line, without what looks like a password."""
    shown = redact_text(key) if isinstance(key, str) else kind_of(key)
    shown = "".join(char if char.isprintable() else "?" for char in shown)
    return (shown if len(shown) <= 60 else shown[:57] + "...") or "(empty)"


def show_value(raw: str) -> str:
    """A value as a message may show it, if it looks like the name of a choice."""
    return f"`{redact_text(raw)}`" if _SHOWN.fullmatch(raw) else "this text"


def text(raw: Any, site: Site) -> Any:
    """Text, with the environment's variables in it; a number is not text, because YAML has changed it (`007`)."""
    if not isinstance(raw, str):
        return site.report(f"expected text, got {kind_of(raw)}")
    expanded = site.expand(raw)
    if expanded is not WRONG and "\x00" in expanded:
        return site.report("the text holds a NUL character")
    return expanded


def integer(minimum: int) -> Parser:
    """Whole number, not below `minimum`; as text only where it comes from the environment."""

    def parse(raw: Any, site: Site) -> Any:
        if isinstance(raw, str) and "${" in raw:
            expanded = site.expand(raw)
            if expanded is WRONG:
                return WRONG
            raw = int(expanded) if re.fullmatch(r"-?[0-9]{1,18}", expanded.strip()) else expanded
        if not isinstance(raw, int) or isinstance(raw, bool):
            return site.report(f"expected a whole number, got {kind_of(raw)}")
        return raw if raw >= minimum else site.report(f"expected {minimum} or more")

    return parse


def flag(raw: Any, site: Site) -> Any:
    """`true` or `false`; as text only where it comes from the environment."""
    if isinstance(raw, str) and "${" in raw:
        expanded = site.expand(raw)
        if expanded is WRONG:
            return WRONG
        raw = {"true": True, "1": True, "false": False, "0": False}.get(expanded.strip().casefold(), expanded)
    return raw if isinstance(raw, bool) else site.report(f"expected true or false, got {kind_of(raw)}")


def choice(meaning: Callable[[str], Any], names: Iterable[str]) -> Parser:
    """One of a few public words; `meaning` raises ValueError for any other."""
    names = tuple(names)

    def parse(raw: Any, site: Site) -> Any:
        expanded = text(raw, site)
        if expanded is WRONG:
            return WRONG
        try:
            return meaning(expanded)
        except ValueError:
            hint = nearest(expanded, names) if "${" not in raw else ""
            listing = f" Known: {', '.join(names)}." if len(names) <= 8 else ""
            return site.report(f"{show_value(raw)} is not known here.{hint or listing}")

    return parse


def listed(parser: Parser) -> Parser:
    """List of what `parser` reads."""

    def parse(raw: Any, site: Site) -> Any:
        if not isinstance(raw, (list, tuple)):
            hint = "; put it in brackets" if isinstance(raw, str) else ""
            return site.report(f"expected a list, got {kind_of(raw)}{hint}")
        found = [parser(item, site.at(index)) for index, item in enumerate(raw)]
        return WRONG if any(item is WRONG for item in found) else found

    return parse


def mapping_of(parser: Parser) -> Parser:
    """Mapping from text to what `parser` reads; nothing is an empty one."""

    def parse(raw: Any, site: Site) -> Any:
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            return site.report(f"expected a mapping, got {kind_of(raw)}")
        found: dict[str, Any] = {}
        for key, item in raw.items():
            if isinstance(key, str):
                found[key] = parser(item, site.at(key))
            else:
                site.report(f"the key is {kind_of(key)}, not text; put it in quotes")
        wrong = len(found) < len(raw) or any(item is WRONG for item in found.values())
        return WRONG if wrong else found

    return parse


def anything(raw: Any, site: Site) -> Any:
    """Whatever YAML can say, with variables replaced in every text."""
    if len(site.steps) > _MAX_DEPTH:
        return site.report(f"nested more than {_MAX_DEPTH} levels deep")
    match raw:
        case str():
            return text(raw, site)
        case None | bool() | int() | float() | date() | datetime() | time():
            return raw
        case Mapping():
            return mapping_of(anything)(raw, site)
        case list() | tuple():
            return listed(anything)(raw, site)
    return site.report(f"expected text, a number, a list or a mapping, got {kind_of(raw)}")


def escaped(value: Any) -> Any:
    """Copy a nested value with every `${` written so that reading it again gives the characters themselves.

    >>> escaped({"query": "SELECT '${x}'"})
    {'query': "SELECT '$${x}'"}
    """
    match value:
        case str():
            return value.replace("${", "$${")
        case Mapping():
            return {key: escaped(item) for key, item in value.items()}
        case list():
            return [escaped(item) for item in value]
    return value


def as_it_is(raw: Any, site: Site) -> Any:  # noqa: ARG001 - a parser has two arguments
    """Whatever there is; somebody else will read it."""
    return raw


def read_fields(
    raw: Any, site: Site, fields: Mapping[str, Parser], aliases: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Read a mapping key by key; an empty value counts as not given.

    Returns
    -------
    dict or None
        The values that are right, under their canonical keys; None if it is no mapping at all. Mistakes go to the site.

    Examples
    --------
    >>> site = Site("virtual_tables.customers")
    >>> read_fields({"tabel": "c", "tags": "pii"}, site, {"table": text, "tags": listed(text)})
    {}
    >>> site.mistakes
    ['virtual_tables.customers.tabel: unknown key. Did you mean `table`?', \
'virtual_tables.customers.tags: expected a list, got text; put it in brackets']
    """
    if not isinstance(raw, Mapping):
        site.report(f"expected a mapping, got {kind_of(raw)}")
        return None
    aliases = aliases or {}
    found: dict[str, Any] = {}
    given: dict[str, str] = {}
    for key, item in raw.items():
        if not isinstance(key, str):
            site.report(f"the key is {kind_of(key)}, not text; put it in quotes")
            continue
        name = aliases.get(key, key)
        if name not in fields:
            site.at(key).report(f"unknown key.{nearest(key, [*fields, *aliases])}")
        elif name in given:
            site.at(key).report(f"says the same as `{given[name]}`; keep one")
        elif item is not None:
            given[name] = key
            value = fields[name](item, site.at(key))
            if value is not WRONG:
                found[name] = value
    return found


def read_entries(raw: Any, site: Site, read: Callable[[str, Any, Site], Any]) -> dict[str, Any]:
    """Read every entry of a section; entries with mistakes are left out, the site has the mistakes."""
    found: dict[str, Any] = {}
    if raw is None:
        return found
    if not isinstance(raw, Mapping):
        site.report(f"expected a mapping from names, got {kind_of(raw)}")
        return found
    for name, item in raw.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            site.report(f"a name is {kind_of(name)}; it must be text that can be seen, put it in quotes")
            continue
        value = read(name, item, site.at(name))
        if value is not None:
            found[name] = value
    return found


def entries(raw: Any) -> list[tuple[str, Any]]:
    """The entries of a section that have a name."""
    return [(key, item) for key, item in raw.items() if isinstance(key, str)] if isinstance(raw, Mapping) else []


def report_same_names(raw: Any, site: Site) -> None:
    """Report names that differ in case only; they are unique whatever their case."""
    seen: dict[str, str] = {}
    for name, _ in entries(raw):
        if seen.setdefault(name.casefold(), name) != name:
            site.at(name).report(f"the same name as `{seen[name.casefold()]}`; names do not depend on case")
