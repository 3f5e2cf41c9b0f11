"""Random SQL that has exactly one right answer: typed, seeded, over the tables of `tests.random.tables`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.random.tables import TABLES, kind_of, placed_words

__all__ = ["random_query"]

T = TypeVar("T")

KINDS = ("integer", "decimal", "string", "date", "timestamp", "boolean", "double")
_AGGREGATED = ("integer", "decimal", "double")
_MEANING = {
    "id": "person",
    "person_id": "person",
    "other_id": "person",
    "city": "city",
    "country": "country",
    "code": "code",
}
_JOINS = ("JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
_RANGE = ("<", "<=", ">", ">=", "<>")
_COMPARE = ("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")


@dataclass(frozen=True)
class Column:
    """A column in scope."""

    sql: str
    kind: str
    name: str


@dataclass(frozen=True)
class Select:
    """A query whose columns are `c0`, `c1`, ...; what they mean (`city`), where that is known, guides joins."""

    sql: str
    kinds: tuple[str, ...]
    meanings: tuple[str, ...] = ()

    def columns(self, alias: str) -> list[Column]:
        """Its columns under an alias."""
        meanings = self.meanings or ("",) * len(self.kinds)
        pairs = zip(self.kinds, meanings, strict=True)
        return [Column(f"{alias}.c{number}", kind, meaning) for number, (kind, meaning) in enumerate(pairs)]


def random_query(seed: int) -> str:
    """The query of this seed: same seed, same text."""
    return Generator(random.Random(seed)).statement()


class Generator:
    """Draws one statement.

    Whatever could have two right answers is left out: LIMIT comes with an ORDER BY over all columns, row numbers and
    neighbours with an ORDER BY over the whole row, and DOUBLEs are quarters, whose sums are exact in any order.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.aliases = 0

    def statement(self) -> str:
        """A whole statement: maybe a WITH, maybe a set operation, maybe ORDER BY and LIMIT."""
        ctes = [(f"w{number}", self.select(2)) for number in range(self._pick((0, 0, 0, 1, 2)))]
        shared = dict(ctes)
        body = self.body(2, shared)
        prefix = "WITH " + ", ".join(f"{name} AS ({cte.sql})" for name, cte in ctes) + " " if ctes else ""
        return prefix + body.sql + self._ordering(len(body.kinds))

    def body(self, depth: int, shared: dict[str, Select]) -> Select:
        """A SELECT, or two of the same shape under a set operation."""
        first = self.select(depth, shared)
        if self.rng.random() > 0.15:
            return first
        second = self.select(depth - 1, shared, kinds=first.kinds)
        operation = self._pick(("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL"))
        return Select(f"SELECT * FROM ({first.sql} {operation} {second.sql}) u", first.kinds)

    def _ordering(self, width: int) -> str:
        draw = self.rng.random()
        if draw < 0.5:
            return ""
        directions = ("", " DESC", " NULLS FIRST", " DESC NULLS LAST", " DESC NULLS FIRST")
        keys = list(range(1, width + 1))
        self.rng.shuffle(keys)
        order = " ORDER BY " + ", ".join(f"{key}{self._pick(directions)}" for key in keys)
        if draw < 0.7:
            return order
        limit = f" LIMIT {self._pick((1, 3, 10, 50))}"
        return order + limit + (f" OFFSET {self._pick((1, 4, 20))}" if draw > 0.9 else "")

    # ---- SELECT ----------------------------------------------------------------------------------------------------

    def select(
        self,
        depth: int,
        shared: dict[str, Select] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Select:
        """One SELECT; `kinds` asks for a shape."""
        source, scope = self._from(depth, shared or {})
        where = f" WHERE {self.predicate(scope, depth)}" if self.rng.random() < 0.55 else ""
        shape = self._pick((self._plain, self._plain, self._grouped, self._windowed))
        return shape(source + where, scope, tuple(kinds or self._kinds(scope)), depth)

    def _kinds(self, scope: Sequence[Column]) -> list[str]:
        present = [column.kind for column in scope]
        return [self._pick(present if self.rng.random() < 0.9 else KINDS) for _ in range(self._pick((1, 2, 3, 3, 4)))]

    def _plain(self, rest: str, scope: list[Column], kinds: tuple[str, ...], depth: int) -> Select:
        distinct = "DISTINCT " if self.rng.random() < 0.2 else ""
        items = [self.scalar(kind, scope, depth) for kind in kinds]
        names = {column.sql: column.name for column in scope}
        meanings = tuple(names.get(item, "") for item in items)
        return Select(f"SELECT {distinct}{_aliased(items)} FROM {rest}", kinds, meanings)

    def _grouped(self, rest: str, scope: list[Column], kinds: tuple[str, ...], _depth: int) -> Select:
        # A key without a column would be a constant, and GROUP BY 3 means the third column.
        possible = [place for place, kind in enumerate(kinds) if any(column.kind == kind for column in scope)]
        keys = self.rng.sample(possible, k=self.rng.randint(0, len(possible)))
        items = [
            self._key(kind, scope) if place in keys else self._aggregate(kind, scope)
            for place, kind in enumerate(kinds)
        ]
        grouping = self._grouping([items[place] for place in keys])
        having = ""
        if grouping and self.rng.random() < 0.25:
            having = f" HAVING {self._aggregate('integer', scope)} {self._pick(_COMPARE)} {self.rng.randint(0, 5)}"
        return Select(f"SELECT {_aliased(items)} FROM {rest}{grouping}{having}", kinds)

    def _key(self, kind: str, scope: Sequence[Column]) -> str:
        column = self._pick([column.sql for column in scope if column.kind == kind])
        forms = ("{}", "{}", *_KEY_FORMS.get(kind, ()))
        return self._pick(forms).format(column)

    def _grouping(self, keys: list[str]) -> str:
        if not keys:
            return ""
        listed = ", ".join(keys)
        style = self._pick(("{}", "{}", "{}", "{}", "ROLLUP ({})", "CUBE ({})"))
        return " GROUP BY " + style.format(listed)

    def _windowed(self, rest: str, scope: list[Column], kinds: tuple[str, ...], depth: int) -> Select:
        place = self.rng.randrange(len(kinds))
        items = [
            self._window(kind, scope) if number == place else self.scalar(kind, scope, depth)
            for number, kind in enumerate(kinds)
        ]
        return Select(f"SELECT {_aliased(items)} FROM {rest}", kinds)

    # ---- FROM ------------------------------------------------------------------------------------------------------

    def _from(self, depth: int, shared: dict[str, Select]) -> tuple[str, list[Column]]:
        text, scope = self._relation(depth, shared)
        for _ in range(self._pick((0, 0, 1, 1, 2) if depth > 1 else (0, 0, 1))):
            other, columns = self._relation(depth - 1, shared)
            condition = self._join_condition(scope, columns)
            if condition is None:
                continue
            text += f" {self._pick(_JOINS)} {other} ON {condition}"
            scope = scope + columns
        return text, scope

    def _relation(self, depth: int, shared: dict[str, Select]) -> tuple[str, list[Column]]:
        self.aliases += 1
        alias = f"t{self.aliases}"
        draw = self.rng.random()
        if shared and draw < 0.4:
            name = self._pick(sorted(shared))
            return f"{name} {alias}", shared[name].columns(alias)
        if depth > 1 and draw < 0.6:
            inner = self.select(depth - 1)
            return f"({inner.sql}) {alias}", inner.columns(alias)
        name = self._pick(sorted(TABLES))
        return f"{name} {alias}", [Column(f"{alias}.{col}", kind_of(kind), col) for col, kind in TABLES[name].items()]

    def _join_condition(self, left: list[Column], right: list[Column]) -> str | None:
        """Equality, on columns that mean the same where there are any; sometimes more."""
        pairs = [(a, b) for a in left for b in right if a.kind == b.kind and a.kind != "boolean"]
        alike = [(a, b) for a, b in pairs if _MEANING.get(a.name) and _MEANING.get(a.name) == _MEANING.get(b.name)]
        if not pairs:
            return None
        a, b = self._pick(alike or pairs)
        condition = f"{a.sql} = {b.sql}"
        if self.rng.random() < 0.2:
            condition += f" AND {self.predicate([*left, *right], 0)}"
        return condition

    # ---- predicates ------------------------------------------------------------------------------------------------

    def predicate(self, scope: Sequence[Column], depth: int) -> str:
        """A boolean expression."""
        draw = self.rng.random()
        if depth > 0 and draw < 0.35:
            left, right = self.predicate(scope, depth - 1), self.predicate(scope, depth - 1)
            return f"({left} {self._pick(('AND', 'OR'))} {right})"
        if depth > 0 and draw < 0.42:
            return f"NOT ({self.predicate(scope, depth - 1)})"
        if depth > 0 and draw < 0.55:
            return self._subquery_predicate(scope, depth)
        return self._simple_predicate(scope, depth)

    def _simple_predicate(self, scope: Sequence[Column], depth: int) -> str:
        kind = self._pick(sorted({column.kind for column in scope}))
        subject = self._column(kind, scope) if self.rng.random() < 0.7 else self.scalar(kind, scope, depth)
        literal = self._literal_for(kind, subject, scope)
        forms: list[Callable[[], str]] = [
            lambda: f"{subject} {self._pick(_COMPARE)} {literal()}",
            lambda: f"{subject} {self._pick(_RANGE)} {literal()}",
            lambda: f"{subject} {self._pick(_COMPARE)} {self.scalar(kind, scope, depth - 1)}",
            lambda: f"{subject} IS {self._pick(('', 'NOT '))}NULL",
            lambda: f"{subject} {self._pick(('', 'NOT '))}BETWEEN {literal()} AND {literal()}",
            lambda: f"{subject} {self._pick(('', 'NOT '))}IN ({', '.join(literal() for _ in range(3))})",
        ]
        if kind == "string":
            forms += [lambda: f"{subject} {self._pick(('', 'NOT '))}LIKE {self._pattern()}"] * 2
        return self._pick(forms)()

    def _subquery_predicate(self, scope: Sequence[Column], depth: int) -> str:
        subject = self._pick(list(scope))
        negated = self._pick(("", "NOT "))
        if self.rng.random() < 0.5:
            inner = self.select(depth - 1, kinds=[subject.kind])
            return f"{subject.sql} {negated}IN ({inner.sql})"
        source, columns = self._from(0, {})
        condition = self._join_condition(list(scope), columns) or self.predicate(columns, 0)
        return f"{negated}EXISTS (SELECT 1 FROM {source} WHERE {condition})"

    def _pattern(self) -> str:
        word = self._pick([*placed_words("name"), *placed_words("city"), *placed_words("note")])
        piece = word[: self.rng.randint(0, 3)]
        return _quoted(self._pick(("%{}%", "{}%", "%{}", "_{}%", "{}")).format(piece))

    # ---- scalars ---------------------------------------------------------------------------------------------------

    def scalar(self, kind: str, scope: Sequence[Column], depth: int) -> str:
        """An expression of this kind over the columns in scope."""
        if depth <= 0 or self.rng.random() < 0.5:
            return self._column(kind, scope)
        form = self._pick((*_FORMS.get(kind, ()), *_ANY_FORMS))
        if "{sub}" in form:
            return self._scalar_subquery(kind, scope)
        return form.format_map(_Lazy(self, kind, scope, depth - 1))

    def _scalar_subquery(self, kind: str, scope: Sequence[Column]) -> str:
        source, columns = self._from(0, {})
        condition = self._join_condition(list(scope), columns)
        where = f" WHERE {condition}" if condition and self.rng.random() < 0.7 else ""
        return f"(SELECT {self._pick(('min', 'max'))}({self._column(kind, columns)}) FROM {source}{where})"

    def _column(self, kind: str, scope: Sequence[Column]) -> str:
        fitting = [column.sql for column in scope if column.kind == kind]
        return self._pick(fitting) if fitting and self.rng.random() < 0.95 else self.literal(kind)

    def _literal_for(self, kind: str, subject: str, scope: Sequence[Column]) -> Callable[[], str]:
        name = next((column.name for column in scope if column.sql == subject), "note")
        if kind == "string":
            return lambda: _quoted(self._pick(placed_words(name)))
        return lambda: self.literal(kind)

    def literal(self, kind: str) -> str:
        """A literal of this kind."""
        rng = self.rng
        day = f"2023-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        return {
            "integer": lambda: str(rng.randint(-2, 40)),
            "decimal": lambda: f"{rng.randint(-999, 999)}.{rng.randint(0, 99):02d}",
            "string": lambda: _quoted(self._pick(placed_words(self._pick(("name", "city", "note"))))),
            "date": lambda: f"DATE '{day}'",
            "timestamp": lambda: f"TIMESTAMP '{day} {rng.randint(0, 23):02d}:30:00'",
            "boolean": lambda: self._pick(("true", "false")),
            "double": lambda: f"CAST({rng.randint(-400, 400) / 4} AS DOUBLE)",
        }[kind]()

    # ---- aggregates and windows ------------------------------------------------------------------------------------

    def _aggregate(self, kind: str, scope: Sequence[Column]) -> str:
        argument = self.scalar(kind, scope, 1)
        forms = [f"min({argument})", f"max({argument})"]
        if kind == "integer":
            counted = self._pick(list(scope)).sql
            forms += ["count(*)", f"count({counted})", f"count(DISTINCT {counted})"]
            forms += [f"CAST(sum({argument}) AS BIGINT)"]
        if kind in {"decimal", "double"}:
            forms += [f"sum({self._column(kind, scope)})"] * 2
        if kind == "double":
            forms += [f"avg({self._column(self._pick(_AGGREGATED), scope)})"] * 2
        if kind == "boolean":
            forms += [f"bool_and({argument})", f"bool_or({argument})"]
        if kind == "string":
            forms += [f"string_agg({argument}, ',' ORDER BY {argument})"]
        chosen = self._pick(forms)
        if self.rng.random() < 0.1 and not chosen.startswith("CAST"):
            chosen += f" FILTER (WHERE {self.predicate(scope, 0)})"
        return chosen

    def _window(self, kind: str, scope: list[Column]) -> str:
        whole_row = ", ".join(column.sql for column in scope)
        partition = f"PARTITION BY {self._pick(scope).sql} " if self.rng.random() < 0.7 else ""
        argument = self._column(kind, scope)
        key = self._pick(scope).sql
        ranked = [f"{name}() OVER ({partition}ORDER BY {key})" for name in ("rank", "dense_rank")]
        ranked += [f"row_number() OVER ({partition}ORDER BY {whole_row})"]
        ordered = [
            f"{name}({argument}) OVER ({partition}ORDER BY {whole_row})" for name in ("lag", "lead", "first_value")
        ]
        summed = [f"sum({argument}) OVER ({partition}ORDER BY {key})", f"sum({argument}) OVER ({partition})"]
        choices = {"integer": ranked + ordered, "decimal": ordered + summed, "double": ordered + summed}
        return self._pick(choices.get(kind, ordered))

    def _pick(self, options: Sequence[T]) -> T:
        return self.rng.choice(options)


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

_KEY_FORMS: dict[str, tuple[str, ...]] = {
    "integer": ("({} % 5)", "coalesce({}, -1)"),
    "string": ("upper({})", "coalesce({}, '?')"),
    "date": ("CAST(date_trunc('month', {}) AS DATE)",),
    "timestamp": ("date_trunc('day', {})",),
    "decimal": ("round({}, 0)",),
}

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
    ),
    "decimal": ("({self} + {self})", "({self} - {self})", "round({self}, 1)", "abs({self})", "(- {self})"),
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
    ),
    "date": ("({self} + 3)", "CAST({timestamp} AS DATE)", "CAST(date_trunc('month', {self}) AS DATE)"),
    "timestamp": ("({self} + INTERVAL 1 DAY)", "date_trunc('hour', {self})", "CAST({date} AS TIMESTAMP)"),
    "boolean": ("({predicate})", "(NOT {self})", "({self} AND {self})"),
    "double": ("({self} + {self})", "({self} * 2)", "abs({self})"),
}


def _aliased(items: Sequence[str]) -> str:
    return ", ".join(f"{item} AS c{number}" for number, item in enumerate(items))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
