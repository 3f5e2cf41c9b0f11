"""The canonical text of a type: what DuckDB's DESCRIBE prints for it.

A declared type may be written as PostgreSQL, MySQL, Spark, BigQuery, Snowflake or Arrow write it. Everything behind
this module sees one spelling only, so that types can be compared as text.

The grammar is small enough to be read here, and sqlglot's is not used for it: its DuckDB dialect knows neither
`UINT8` nor `FLOAT64` nor `STRUCT<a: INT>`, and it prints `INT` and `TEXT` where DuckDB prints `INTEGER` and `VARCHAR`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from tauro_nb.catalog.type_names import SCALARS
from tauro_nb.errors import nearest

__all__ = ["Type", "normalize", "parse_type"]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<word>[^\W\d]\w*)|(?P<number>[0-9]+)|(?P<quoted>"(?:[^"]|"")+"|`[^`]+`)|(?P<text>'(?:[^']|'')*')|(?P<mark>\S))"""
)
_CLOSER: Final = {"(": ")", "<": ">"}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TIMESTAMP_BY_PRECISION: Final = (
    ("TIMESTAMP_S", 0), ("TIMESTAMP_MS", 3), ("TIMESTAMP", 6), ("TIMESTAMP_NS", 9),
)  # fmt: skip
# A length DuckDB does not keep; MySQL's display widths too.
_LENGTH_IGNORED: Final = frozenset({"VARCHAR", "BLOB", "BIT", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "TIME"})
_MAX_NESTING: Final = 24


@dataclass(frozen=True, slots=True)
class Type:
    """A parsed type: `str()` of it is the canonical text.

    Parameters
    ----------
    name
        DuckDB's word: `INTEGER`, `DECIMAL`, `STRUCT`, `MAP`, `LIST`, `ARRAY`, `ENUM`, `UNION`.
    numbers
        Width and scale of a DECIMAL, size of an ARRAY.
    fields
        Named parts of a STRUCT or UNION; `key` and `value` of a MAP; `item` of a LIST or ARRAY.
    labels
        The values of an ENUM.
    """

    name: str
    numbers: tuple[int, ...] = ()
    fields: tuple[tuple[str, Type], ...] = ()
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        return _WRITERS.get(self.name, _write_scalar)(self)


def normalize(type_text: str) -> str:
    """Return the canonical DuckDB text of a type.

    Parameters
    ----------
    type_text
        The type as any of the usual engines write it; case and spaces do not matter.

    Raises
    ------
    ValueError
        If it is not a type; the message offers the nearest name.

    Examples
    --------
    >>> normalize("string"), normalize("DECIMAL"), normalize("NUMERIC(15, 2)")
    ('VARCHAR', 'DECIMAL(18,3)', 'DECIMAL(15,2)')
    >>> normalize("ARRAY<STRUCT<id: INT64, tags: MAP<STRING, FLOAT64>>>")
    'STRUCT(id BIGINT, tags MAP(VARCHAR, DOUBLE))[]'
    >>> normalize("VARCHR")
    Traceback (most recent call last):
    ...
    ValueError: unknown type `VARCHR`. Did you mean `VARCHAR`?
    """
    return _canonical(type_text)


@lru_cache(maxsize=4096)
def _canonical(type_text: str) -> str:
    return str(parse_type(type_text))


@lru_cache(maxsize=4096)
def parse_type(type_text: str) -> Type:
    """Parse a type into its parts; `normalize` is its text.

    >>> parse_type("INT[]").fields
    (('item', Type(name='INTEGER', numbers=(), fields=(), labels=())),)
    """
    return _Parser(type_text).whole()


class _Parser:
    """Recursive descent over the tokens of one type."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self.tokens = [(str(m.lastgroup), m[str(m.lastgroup)]) for m in _TOKEN.finditer(self.text)]
        self.at = 0
        self.depth = 0

    def whole(self) -> Type:
        if not self.tokens:
            raise ValueError("the type is empty")
        found = self.type()
        if self.at < len(self.tokens):
            self.fail()
        return found

    def type(self) -> Type:
        self.depth += 1
        if self.depth > _MAX_NESTING:
            raise ValueError(f"the type is nested more than {_MAX_NESTING} levels deep")
        word = self.take("word").upper()
        found = self.suffixes(_READERS.get(word, _Parser.scalar)(self, word))
        self.depth -= 1
        return found

    def suffixes(self, found: Type) -> Type:
        """`[]` and `[3]` after a type, as often as they come; also PostgreSQL's `INT ARRAY[3]`."""
        while self.peek() == "[" or self.peek().upper() == "ARRAY":
            bare = self.accept_word("ARRAY") and self.peek() != "["
            size = None
            if not bare:
                self.take_mark("[")
                size = int(self.take("number")[:9]) if self.peek_kind() == "number" else None
                self.take_mark("]")
            if size is not None and not 1 <= size <= 100_000:
                raise ValueError(f"the size of an array is between 1 and 100000, not {size}")
            found = Type("LIST" if size is None else "ARRAY", () if size is None else (size,), (("item", found),))
        return found

    def scalar(self, word: str) -> Type:
        """One or more words, perhaps with numbers behind the first: `TIMESTAMP(3) WITH TIME ZONE`."""
        words = [word]
        numbers = self.numbers()
        while self.peek_kind() == "word" and _is_start_of_phrase([*words, self.peek().upper()]):
            words.append(self.take("word").upper())
        numbers = numbers or self.numbers()
        phrase = " ".join(words)
        if phrase not in SCALARS:
            raise ValueError(f"unknown type `{phrase}`.{nearest(phrase, [*SCALARS, *_READERS])}")
        name = SCALARS[phrase]
        return Type(name) if not numbers and name != "DECIMAL" else _with_numbers(name, phrase, numbers)

    def numbers(self) -> tuple[int, ...]:
        """`(10, 2)`, or nothing."""
        if self.peek() != "(":
            return ()
        self.take_mark("(")
        found = [int(self.take("number")[:9])]
        while self.accept_mark(","):
            found.append(int(self.take("number")[:9]))
        self.take_mark(")")
        return tuple(found)

    def struct(self, word: str) -> Type:
        """`STRUCT(a INT, "b c" TEXT)`, `ROW(...)`, `STRUCT<a: INT>` and `UNION(...)`."""
        closer = self.open()
        fields = [self.named_field()]
        while self.accept_mark(","):
            fields.append(self.named_field())
        self.take_mark(closer)
        seen: set[str] = set()
        for name, _ in fields:
            if name.casefold() in seen:
                raise ValueError(f"the field `{name}` is declared twice in {word}")
            seen.add(name.casefold())
        return Type("STRUCT" if word == "ROW" else word, fields=tuple(fields))

    def named_field(self) -> tuple[str, Type]:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if kind not in ("word", "quoted"):
            self.fail()
        self.at += 1
        name = text if kind == "word" else text[1:-1].replace('""', '"') if text[0] == '"' else text[1:-1]
        self.accept_mark(":")
        return name, self.type()

    def map(self, word: str) -> Type:
        closer = self.open()
        key = self.type()
        self.take_mark(",")
        value = self.type()
        self.take_mark(closer)
        return Type(word, fields=(("key", key), ("value", value)))

    def list(self, _: str) -> Type:
        closer = self.open()
        item = self.type()
        self.take_mark(closer)
        return Type("LIST", fields=(("item", item),))

    def enum(self, word: str) -> Type:
        closer = self.open()
        labels = [self.label()]
        while self.accept_mark(","):
            labels.append(self.label())
        self.take_mark(closer)
        if len(set(labels)) < len(labels):
            raise ValueError("an ENUM lists the same value twice")
        return Type(word, labels=tuple(labels))

    def label(self) -> str:
        return self.take("text")[1:-1].replace("''", "'")

    def open(self) -> str:
        closer = next((closer for opener, closer in _CLOSER.items() if self.accept_mark(opener)), None)
        return closer or self.fail()

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def peek_kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, kind: str) -> str:
        if self.peek_kind() != kind:
            self.fail()
        self.at += 1
        return self.tokens[self.at - 1][1]

    def take_mark(self, mark: str) -> None:
        if not self.accept_mark(mark):
            self.fail()

    def accept_mark(self, mark: str) -> bool:
        found = self.peek_kind() == "mark" and self.peek() == mark
        self.at += found
        return found

    def accept_word(self, word: str) -> bool:
        found = self.peek_kind() == "word" and self.peek().upper() == word
        self.at += found
        return found

    def fail(self) -> NoReturn:
        where = f"at `{self.peek()}`" if self.peek() else "at its end"
        raise ValueError(f"`{self.text[:80]}` is not a type: it breaks {where}")


_READERS: Final[Mapping[str, Callable[[_Parser, str], Type]]] = {
    "STRUCT": _Parser.struct,
    "ROW": _Parser.struct,
    "UNION": _Parser.struct,
    "MAP": _Parser.map,
    "ARRAY": _Parser.list,
    "LIST": _Parser.list,
    "ENUM": _Parser.enum,
}


def _is_start_of_phrase(words: list[str]) -> bool:
    text = " ".join(words)
    return any(phrase == text or phrase.startswith(text + " ") for phrase in SCALARS)


def _with_numbers(name: str, phrase: str, numbers: tuple[int, ...]) -> Type:
    """Give meaning to the numbers behind a name, or refuse them."""
    if name == "DECIMAL":
        return Type(name, _decimal_numbers(numbers))
    if len(numbers) == 1:
        number = numbers[0]
        if name in _LENGTH_IGNORED:
            return Type(name)
        if phrase == "FLOAT" and number <= 53:
            return Type("FLOAT" if number <= 24 else "DOUBLE")
        if name == "TIMESTAMP" and number <= 9:
            return Type(next(kind for kind, digits in _TIMESTAMP_BY_PRECISION if number <= digits))
        if name == "TIMESTAMP WITH TIME ZONE" and number <= 6:
            return Type(name)
    raise ValueError(f"the type {phrase} does not take ({', '.join(map(str, numbers))})")


def _decimal_numbers(numbers: tuple[int, ...]) -> tuple[int, int]:
    width, scale = (numbers or (18, 3)) if len(numbers) != 1 else (numbers[0], 0)
    if not (1 <= width <= 38 and scale <= width):
        raise ValueError(f"DECIMAL({width},{scale}): the width is between 1 and 38, the scale not above it")
    return width, scale


def _write_scalar(type_: Type) -> str:
    return f"{type_.name}({','.join(map(str, type_.numbers))})" if type_.numbers else type_.name


def _write_fields(type_: Type) -> str:
    return f"{type_.name}({', '.join(f'{_identifier(name)} {part}' for name, part in type_.fields)})"


def _identifier(name: str) -> str:
    """Quote as DESCRIBE does: everything but plain words that are no keyword of any kind."""
    import duckdb  # 489 keywords that DuckDB knows better than a copied list; only struct fields need them

    plain = _PLAIN_NAME.fullmatch(name) and duckdb.tokenize(name)[0][1] != duckdb.token_type.keyword
    return name if plain else '"' + name.replace('"', '""') + '"'


_WRITERS: Final[Mapping[str, Callable[[Type], str]]] = {
    "STRUCT": _write_fields,
    "UNION": _write_fields,
    "MAP": lambda t: f"MAP({t.fields[0][1]}, {t.fields[1][1]})",
    "LIST": lambda t: f"{t.fields[0][1]}[]",
    "ARRAY": lambda t: f"{t.fields[0][1]}[{t.numbers[0]}]",
    "ENUM": lambda t: "ENUM(" + ", ".join("'" + label.replace("'", "''") + "'" for label in t.labels) + ")",
}
