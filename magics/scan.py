"""Read SQL that is still being typed: words, where the cursor is, and which relations are in scope there.

A real parser gives up on half a query; completion cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Relation", "Scope", "Word", "fragment_at", "scope_at", "words"]

_WORDS = re.compile(
    r"""(?P<skip>--[^\n]*|/\*.*?(?:\*/|\Z)|\s+)|(?P<text>'(?:''|[^'])*(?:'|\Z)|\$\$.*?(?:\$\$|\Z))
    |(?P<name>"(?:""|[^"])*"?|[^\W\d]\w*)|(?P<other>[\d.]+|.)""",
    re.DOTALL | re.VERBOSE,
)
_FRAGMENT = re.compile(r"""(?:[:$]?[^\W\d]?\w*|"[^"]*)\Z""")
_ENDS_FROM = frozenset(
    "WHERE GROUP HAVING ORDER LIMIT QUALIFY UNION EXCEPT INTERSECT WINDOW SELECT OFFSET SAMPLE USING".split()
)
_NO_ALIAS = _ENDS_FROM | frozenset(
    "ON JOIN LEFT RIGHT FULL INNER OUTER CROSS NATURAL ASOF SEMI ANTI POSITIONAL PIVOT UNPIVOT AS FROM".split()
)


@dataclass(frozen=True, slots=True)
class Word:
    """One word: a name (unquoted in `value`), a text, or a sign; and where it stands."""

    kind: str
    value: str
    start: int
    end: int
    quoted: bool = False

    @property
    def upper(self) -> str:
        """The word as a keyword; a quoted name is none."""
        return "" if self.quoted else self.value.upper()


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a FROM clause: its name, what the query calls it, and its columns when they can be read off."""

    name: str
    alias: str
    columns: tuple[str, ...] | None = None


@dataclass(slots=True)
class Scope:
    """What the query may name at the cursor, the nearest first."""

    clause: str = ""
    relations: list[Relation] = field(default_factory=list)
    ctes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def words(sql: str) -> list[Word]:
    r"""Words of `sql`, without comments and blanks.

    >>> [word.value for word in words("SELECT a -- b\nFROM t")]
    ['SELECT', 'a', 'FROM', 't']
    """
    return list(_split(sql))


def _split(sql: str) -> Iterator[Word]:
    for match in _WORDS.finditer(sql):
        kind, text = match.lastgroup, match[0]
        if kind == "skip":
            continue
        quoted = text.startswith('"')
        value = text.strip('"').replace('""', '"') if quoted else text
        yield Word(kind or "other", value, match.start(), match.end(), quoted)


def in_text(sql: str, cursor: int) -> bool:
    """Whether the cursor is inside a quoted text or a comment.

    >>> in_text("SELECT 'a", 9), in_text("SELECT 'a' ", 11), in_text("-- x", 4)
    (True, False, True)
    """
    for match in _WORDS.finditer(sql):
        if match.start() < cursor <= match.end() and match.lastgroup in ("skip", "text"):
            text, open_end = match[0], match.end() > cursor
            if text.startswith("--"):
                return True
            closed = len(text) > 1 and text.endswith(("'", "$$", "*/"))
            if text.startswith(("'", "$$", "/*")):
                return open_end or not closed
    return False


def fragment_at(sql: str, cursor: int) -> tuple[str, tuple[str, ...]]:
    """The word before the cursor, and the names in front of it that a dot joins to it.

    >>> fragment_at("SELECT c.na", 11)
    ('na', ('c',))
    >>> fragment_at("WHERE x = :re", 13)
    (':re', ())
    """
    match = _FRAGMENT.search(sql[:cursor])
    fragment = match[0] if match else ""
    before = words(sql[: cursor - len(fragment)])
    path: list[str] = []
    while (
        len(before) > 1
        and before[-1].value == "."
        and before[-2].kind == "name"
        and not fragment.startswith((":", "$"))
    ):
        path.insert(0, before[-2].value)
        before = before[:-2]
    return fragment, tuple(path)


def scope_at(sql: str, cursor: int) -> Scope:
    """What is in scope at the cursor: the relations of its own SELECT, then those around it, and CTEs."""
    found = words(sql)
    scope = Scope()
    _read_ctes(found, scope)
    opened = _open_brackets(found, cursor)
    for start in reversed([-1, *opened]):
        level = _level(found, start + 1)
        if not scope.clause:
            scope.clause = _clause(level, cursor)
        known = {relation.alias.lower() for relation in scope.relations}
        scope.relations += [relation for relation in _relations(level) if relation.alias.lower() not in known]
    return scope


def _open_brackets(found: Sequence[Word], cursor: int) -> list[int]:
    """Positions of the brackets that are open at the cursor and hold a query."""
    stack: list[int] = []
    for index, word in enumerate(found):
        if word.end > cursor:
            break
        if word.value == "(" and word.kind == "other":
            stack.append(index)
        elif word.value == ")" and word.kind == "other" and stack:
            stack.pop()
    queries = ("SELECT", "WITH", "FROM")
    return [index for index in stack if index + 1 < len(found) and found[index + 1].upper in queries]


def _level(found: Sequence[Word], start: int) -> _Level:
    """Positions of the words at the depth of `start`, up to the bracket that closes it; inner brackets stay empty."""
    out, depth = [], 0
    for index in range(start, len(found)):
        word = found[index]
        closes = word.kind == "other" and word.value == ")"
        depth -= closes
        if depth < 0:
            break
        if depth == 0:
            out.append(index)
        depth += word.kind == "other" and word.value == "("
    return _Level(found, out)


class _Level(list[int]):
    """Positions, and the words they are positions in."""

    def __init__(self, found: Sequence[Word], positions: Sequence[int]) -> None:
        super().__init__(positions)
        self.found = found


def _clause(level: _Level, cursor: int) -> str:
    """The keyword that says what belongs at the cursor: FROM (a relation), or anything else (an expression)."""
    clause = ""
    for index in level:
        word = level.found[index]
        if word.end > cursor or (word.end == cursor and word.kind == "name"):
            break
        if word.upper in ("FROM", "JOIN"):
            clause = "FROM"
        elif word.upper in _ENDS_FROM | {"ON", "SET", "BY"}:
            clause = word.upper
        elif clause == "FROM" and word.value not in (",", ".", "(") and word.upper not in _NO_ALIAS:
            clause = "NAMED"
        elif clause == "NAMED" and word.value in (",", "."):
            clause = "FROM"
    return clause


def _relations(level: _Level) -> Iterator[Relation]:
    """Relations named in FROM and JOIN at this depth."""
    inside, reader = False, _Reader(level)
    while (word := reader.take()) is not None:
        if word.upper in _ENDS_FROM:
            inside = False
        starts = word.upper in ("FROM", "JOIN") or (inside and word.value == ",")
        inside = inside or word.upper == "FROM"
        relation = _relation(reader) if starts else None
        if relation is not None:
            yield relation


class _Reader:
    """Walks over the words of one level."""

    def __init__(self, level: _Level) -> None:
        self.level = level
        self.position = 0

    @property
    def index(self) -> int:
        """Where the next word is in the whole text."""
        return self.level[self.position]

    def peek(self) -> Word | None:
        """The next word."""
        return self.level.found[self.index] if self.position < len(self.level) else None

    def take(self) -> Word | None:
        """The next word, and on."""
        word = self.peek()
        self.position += word is not None
        return word

    def skip(self, *values: str) -> bool:
        """Whether the next word is one of these; then on."""
        word = self.peek()
        found = word is not None and (word.upper or word.value) in values
        self.position += found
        return found

    def name(self) -> str | None:
        """The next word if it can be a name; then on."""
        word = self.peek()
        if word is None or word.kind != "name" or word.upper in _NO_ALIAS:
            return None
        self.position += 1
        return word.value


def _relation(reader: _Reader) -> Relation | None:
    """What stands behind FROM, JOIN or a comma: a dotted name or a query in brackets, and its alias."""
    if reader.skip("("):
        columns = tuple(_output(reader.level.found, reader.level[reader.position - 1] + 1))
        reader.skip(")")
        reader.skip("AS")
        alias = reader.name()
        return Relation("", alias, columns) if alias else None
    parts = []
    while (part := reader.name()) is not None:
        parts.append(part)
        if not reader.skip("."):
            break
    if not parts:
        return None
    reader.skip("AS")
    return Relation(".".join(parts), reader.name() or parts[-1])


def _read_ctes(found: Sequence[Word], scope: Scope) -> None:
    for index in range(len(found) - 2):
        name, middle, bracket = found[index : index + 3]
        if name.kind == "name" and middle.upper == "AS" and bracket.value == "(":
            after = found[index + 3].upper if index + 3 < len(found) else ""
            if after in ("SELECT", "WITH", "FROM", "VALUES", ""):
                scope.ctes[name.value] = tuple(_output(found, index + 3))


def _output(found: Sequence[Word], start: int) -> Iterator[str]:
    """Names of the columns that the SELECT at `start` gives, as far as they are written down; `*` stands for all."""
    level = _level(found, start)
    position = next((at for at, index in enumerate(level) if found[index].upper == "SELECT"), None)
    if position is None:
        return
    last: Word | None = None
    for index in level[position + 1 :]:
        word = found[index]
        if word.upper == "FROM" or word.upper in _ENDS_FROM:
            break
        if word.value == "," and word.kind == "other":
            if last is not None:
                yield last.value
            last = None
        else:
            last = word if word.kind == "name" or word.value == "*" else None
    if last is not None:
        yield last.value
