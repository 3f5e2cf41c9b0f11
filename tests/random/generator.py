"""Random SQL that has exactly one right answer: typed, seeded, over the tables of `tests.random.tables`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.random import joins, relations, shapes, statements, subqueries
from tests.random.model import COMPARE, KINDS, RANGE, Column, Question, Select, quoted
from tests.random.tables import TABLES, Columns, placed_words
from tests.random.values import other_values, random_value, written

__all__ = ["Generator", "random_query", "random_question"]

T = TypeVar("T")
_BOUND = 0.3
"""Of the values of a query with parameters so many are one."""


def random_query(seed: int) -> str:
    """The query of this seed: same seed, same text."""
    return Generator(random.Random(seed)).statement()


def random_question(seed: int, tables: Mapping[str, Columns]) -> Question:
    """The query of this seed over these tables and views, maybe with parameters."""
    rng = random.Random(seed)
    generator = Generator(rng, tables, bound=rng.random() < 0.35)
    text = generator.statement()
    # Of what was drawn some was not used.
    used = {name: kind for name, kind in generator.kinds.items() if re.search(rf"\${name}\b", text)}
    others = tuple(other_values(rng, used) for _ in range(2 if used else 0))
    return Question(text, {name: generator.params[name] for name in used}, others)


class Generator:
    """Draws one statement.

    Whatever could have two right answers is left out: LIMIT comes with an ORDER BY over all columns, row numbers and
    neighbours with an ORDER BY over the whole row, and DOUBLEs are quarters, whose sums are exact in any order.

    The families of constructs are in modules of their own, functions over a generator.
    """

    def __init__(self, rng: random.Random, tables: Mapping[str, Columns] = TABLES, *, bound: bool = False) -> None:
        self.rng = rng
        self.tables = tables
        self.bound = bound
        self.params: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self.aliases = 0

    def statement(self) -> str:
        """A whole statement."""
        return statements.statement(self)

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return self.rng.choice(options)

    def chance(self, share: float) -> bool:
        """True so often."""
        return self.rng.random() < share

    def alias(self) -> str:
        """A name for a relation: mostly a plain one, some quoted, some those of tables."""
        self.aliases += 1
        draw = self.rng.random()
        if draw < 0.04:
            return f'"Odd name {self.aliases}"'
        if draw < 0.07:
            return f"{self.pick(sorted(self.tables))}{self.aliases}"
        return f"t{self.aliases}"

    @contextmanager
    def names_again(self) -> Iterator[None]:
        """What is drawn inside sees nothing outside, and may have the same names."""
        before = self.aliases
        if self.chance(0.5):
            self.aliases = 0
        yield
        self.aliases = max(before, self.aliases)

    # ---- queries ---------------------------------------------------------------------------------------------------

    def select(
        self, depth: int, shared: Mapping[str, Select] | None = None, kinds: Sequence[str] | None = None
    ) -> Select:
        """One SELECT; `kinds` asks for a shape."""
        shape = shapes.draw(self)
        source, scope = joins.tables(self, depth, shared or {}, inner=shape is shapes.one_sided)
        if depth > 0 and self.chance(0.35):
            source.conditions.append(subqueries.semi(self, scope))
        if self.chance(0.5):
            source.conditions.append(self.predicate(scope, 0 if shape is shapes.one_sided else depth))
        return shape(self, str(source), scope, tuple(kinds or self.drawn_kinds(scope)), depth)

    def drawn_kinds(self, scope: Sequence[Column]) -> list[str]:
        """Kinds for a SELECT: mostly of columns that are there."""
        present = [column.kind for column in scope]
        return [self.pick(present if self.chance(0.9) else KINDS) for _ in range(self.pick((1, 2, 3, 3, 4)))]

    def relation(self, depth: int, shared: Mapping[str, Select]) -> tuple[str, list[Column]]:
        """Something to read from, under an alias."""
        return relations.relation(self, depth, shared)

    # ---- predicates ------------------------------------------------------------------------------------------------

    def predicate(self, scope: Sequence[Column], depth: int) -> str:
        """A boolean expression."""
        draw = self.rng.random()
        if depth > 0 and draw < 0.35:
            left, right = self.predicate(scope, depth - 1), self.predicate(scope, depth - 1)
            return f"({left} {self.pick(('AND', 'AND', 'OR'))} {right})"
        if depth > 0 and draw < 0.42:
            return f"NOT ({self.predicate(scope, depth - 1)})"
        if depth > 0 and draw < 0.6:
            return subqueries.predicate(self, scope, depth)
        return self.simple_predicate(scope, depth)

    def simple_predicate(self, scope: Sequence[Column], depth: int) -> str:
        """A comparison without a query inside, unless a value has one."""
        kind = self.pick(sorted({column.kind for column in scope}))
        subject = self.column(kind, scope) if self.chance(0.7) else self.scalar(kind, scope, depth)
        literal = self._literal_for(kind, subject, scope)
        forms: list[Callable[[], str]] = [
            lambda: f"{subject} {self.pick(COMPARE)} {literal()}",
            lambda: f"{subject} {self.pick(RANGE)} {literal()}",
            lambda: f"{subject} {self.pick(COMPARE)} {self.scalar(kind, scope, depth - 1)}",
            lambda: f"{subject} IS {self.pick(('', 'NOT '))}NULL",
            lambda: f"{subject} {self.pick(('', 'NOT '))}BETWEEN {literal()} AND {literal()}",
            lambda: f"{subject} {self.pick(('', 'NOT '))}IN ({', '.join(literal() for _ in range(3))})",
            lambda: f"{subject} {self.pick(('', 'NOT '))}IN ({literal()}, {self.column(kind, scope)}, NULL)",
        ]
        if kind == "string":
            forms += [
                lambda: f"{subject} {self.pick(('', 'NOT '))}{self.pick(('LIKE', 'LIKE', 'ILIKE'))} {self._pattern()}"
            ] * 3
        return self.pick(forms)()

    def _pattern(self) -> str:
        word = self.pick([*placed_words("name"), *placed_words("city"), *placed_words("note")])
        piece = word[: self.rng.randint(0, 3)]
        return quoted(self.pick(("%{}%", "{}%", "%{}", "_{}%", "{}")).format(piece))

    # ---- scalars ---------------------------------------------------------------------------------------------------

    def scalar(self, kind: str, scope: Sequence[Column], depth: int) -> str:
        """An expression of this kind over the columns in scope."""
        if depth <= 0 or self.chance(0.5):
            return self.column(kind, scope)
        form = self.pick((*_FORMS.get(kind, ()), *_ANY_FORMS))
        if "{sub}" in form:
            return subqueries.value(self, kind, scope, depth)
        return form.format_map(_Lazy(self, kind, scope, depth - 1))

    def column(self, kind: str, scope: Sequence[Column]) -> str:
        """A column of this kind; a literal where there is none, and seldom otherwise."""
        fitting = [column.sql for column in scope if column.kind == kind]
        return self.pick(fitting) if fitting and self.chance(0.95) else self.literal(kind)

    def _literal_for(self, kind: str, subject: str, scope: Sequence[Column]) -> Callable[[], str]:
        name = next((column.name for column in scope if column.sql == subject), "note")
        return lambda: self.literal(kind, name)

    def literal(self, kind: str, column: str = "") -> str:
        """A literal of this kind, or a parameter with such a value."""
        if self.bound and self.chance(_BOUND):
            again = [name for name, known in self.kinds.items() if known == kind]
            if again and self.chance(0.3):
                return f"${self.pick(again)}"
            name = f"p{len(self.params)}"
            self.params[name], self.kinds[name] = random_value(self.rng, kind, column), kind
            return f"${name}"
        return written(random_value(self.rng, kind, column))


class _Lazy(dict[str, str]):
    """Fills each placeholder of a form with a fresh expression; `{self}` is of the form's own kind."""

    def __init__(self, generator: Generator, kind: str, scope: Sequence[Column], depth: int) -> None:
        super().__init__()
        self._make: Callable[[str], str] = lambda name: (
            generator.predicate(scope, depth)
            if name == "predicate"
            else generator.scalar(kind if name == "self" else name, scope, depth)
        )

    def __missing__(self, name: str) -> str:
        return self._make(name)


_ANY_FORMS = (
    "coalesce({self}, {self})",
    "CASE WHEN {predicate} THEN {self} ELSE {self} END",
    "CASE WHEN {predicate} THEN {self} END",
    "nullif({self}, {self})",
    "{sub}",
)

_FORMS: dict[str, tuple[str, ...]] = {
    "integer": (
        "({self} + {self})",
        "({self} - {self})",
        "({self} * 3)",
        "abs({self})",
        "({self} % 7)",
        "({self} // 3)",
        "length({string})",
        "CAST(extract(year FROM {date}) AS INTEGER)",
        "CAST(extract(month FROM {timestamp}) AS INTEGER)",
        "CAST({boolean} AS INTEGER)",
        "datediff('day', {date}, {date})",
        "CAST({decimal} AS BIGINT)",
        "TRY_CAST({string} AS INTEGER)",
        "CASE {self} WHEN {self} THEN 1 WHEN {self} THEN 2 ELSE 0 END",
    ),
    "decimal": (
        "({self} + {self})",
        "({self} - {self})",
        "round({self}, 1)",
        "abs({self})",
        "(- {self})",
        "CAST({self} AS DECIMAL(14,1))",
        "CAST({integer} AS DECIMAL(18,2))",
        "TRY_CAST({string} AS DECIMAL(8,2))",
    ),
    "string": (
        "upper({self})",
        "lower({self})",
        "trim({self})",
        "substr({self}, 2, 3)",
        "({self} || {self})",
        "replace({self}, 'a', 'xy')",
        "left({self}, 2)",
        "CAST({integer} AS VARCHAR)",
        "CAST({date} AS VARCHAR)",
        "CAST({decimal} AS VARCHAR)",
        "CAST({boolean} AS VARCHAR)",
        "CAST({timestamp} AS VARCHAR)",
        "concat({self}, '-', {self})",
    ),
    "date": (
        "({self} + 3)",
        "CAST({timestamp} AS DATE)",
        "CAST(date_trunc('month', {self}) AS DATE)",
        "TRY_CAST({string} AS DATE)",
        "greatest({self}, {self})",
    ),
    "timestamp": ("({self} + INTERVAL 1 DAY)", "date_trunc('hour', {self})", "CAST({date} AS TIMESTAMP)"),
    "boolean": ("({predicate})", "(NOT {self})", "({self} AND {self})", "({predicate}) IS TRUE"),
    "double": ("({self} + {self})", "({self} * 2)", "abs({self})", "CAST({integer} AS DOUBLE)"),
}
