"""A random query at its place: asked, asked again, asked with other parameters, and what is wrong with the answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError
from tauro_nb.query.plan import QueryPlan
from tests.random.generator import random_question
from tests.random.model import Question
from tests.random.places import ALL_TABLES, exaggerate
from tests.random.roads import roads
from tests.random.shrink import shrink
from tests.tpc.compare import Answer, answer, difference

__all__ = ["Outcome", "Trials"]

_CANDIDATES = 3
_PATIENCE = 3.0
_AGAIN = 4
"""Every so many queries are asked a second time."""
_SHRUNK = 5
"""So many failures are made small; the rest print as they are."""


@dataclass(frozen=True)
class Outcome:
    """What came of a query: what is wrong, if anything, the roads its plan took, and the rows of the right answer."""

    question: Question
    place: int
    complaint: str | None
    roads: Counter[str]
    rows: int


@dataclass
class Trials:
    """Random queries by number, each tried once."""

    contexts: list[VirtualContext]
    plain: duckdb.DuckDBPyConnection
    seed: int
    _outcomes: dict[int, Outcome] = field(default_factory=dict)
    _shrunk: int = 0

    def outcome(self, number: int) -> Outcome:
        """What comes of a query."""
        if number not in self._outcomes:
            self._outcomes[number] = self._try(number)
        return self._outcomes[number]

    def question(self, number: int) -> tuple[Question, Answer]:
        """The first of a few candidates that plain DuckDB accepts and answers with rows, else the last accepted."""
        accepted: tuple[Question, Answer] | None = None
        for candidate in range(_CANDIDATES * 4):
            question = random_question(self.seed + number * _CANDIDATES * 4 + candidate, ALL_TABLES)
            try:
                accepted = question, self._expected(question.text, question.params)
            except duckdb.Error:
                continue
            if accepted[1].table.num_rows or candidate >= _CANDIDATES:
                break
        assert accepted is not None
        return accepted

    def _expected(self, text: str, params: Mapping[str, Any]) -> Answer:
        """What plain DuckDB says within some seconds: a few of so many joins have billions of rows."""
        timer = threading.Timer(_PATIENCE, self.plain.interrupt)
        timer.start()
        try:
            return answer(self.plain, text, params)
        finally:
            timer.cancel()

    def _try(self, number: int) -> Outcome:
        question, expected = self.question(number)
        place = number % len(self.contexts)
        ctx, taken = self.contexts[place], Counter[str]()
        if number % 3:
            exaggerate(ctx, number)
        before = _planned(ctx, question)
        wrong = complaint(ctx, question.text, question.params, expected)
        if wrong is None:
            plan = ctx.planner.plan(question.text, question.params or None)
            taken.update([*roads(plan), *["other figures"] * (_asked(plan) != before)])
        if wrong is None and number % _AGAIN == 0:
            wrong = complaint(ctx, question.text, question.params, expected)
            wrong = wrong and f"asked again: {wrong}"
        for params in question.others[: 1 + (number % _AGAIN == 0)]:
            wrong = wrong or self._with_others(ctx, question.text, params)
        taken.update(["asked", *["parameters"] * bool(question.params)])
        return Outcome(question, place, wrong, taken, expected.table.num_rows)

    def _with_others(self, ctx: VirtualContext, text: str, params: Mapping[str, Any]) -> str | None:
        try:
            expected = self._expected(text, params)
        except duckdb.Error:
            return None
        wrong = complaint(ctx, text, params, expected)
        return wrong and f"with {params}: {wrong}"

    def report(self, number: int) -> str:
        """What is wrong, the query, the smallest one that fails in the same way, and its plan."""
        found = self.outcome(number)
        ctx, small = self.contexts[found.place], found.question.text
        if self._shrunk < _SHRUNK:
            self._shrunk += 1
            small = self._smallest(ctx, found)
        origin = f"TAURO_RANDOM_SEED={self.seed} query {number} placement {found.place}: {found.complaint}"
        return "\n\n".join(
            (origin, found.question.text, str(found.question.params), f"smallest: {small}", _plan(ctx, small, found))
        )

    def _smallest(self, ctx: VirtualContext, found: Outcome) -> str:
        kind = str(found.complaint).split(":", maxsplit=1)[0]

        def still_fails(candidate: str) -> bool:
            params = {name: value for name, value in found.question.params.items() if f"${name}" in candidate}
            try:
                expected = self._expected(candidate, params)
            except duckdb.Error:
                return False
            wrong = complaint(ctx, candidate, params, expected)
            # An exception must stay that exception, a wrong answer may become another wrong answer.
            return (
                wrong is not None
                and (("Error" in kind) == ("Error" in wrong))
                and ("Error" not in kind or kind in wrong)
            )

        return shrink(found.question.text, still_fails, attempts=150)


def complaint(ctx: VirtualContext, text: str, params: Mapping[str, Any], expected: Answer) -> str | None:
    """What is wrong with our answer; an exception counts."""
    try:
        table = ctx.query(text, params=dict(params) or None).to_arrow()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return difference(table, expected)


def _planned(ctx: VirtualContext, question: Question) -> list[tuple[str, int]] | None:
    """What sources will be asked, as far as is known before; None if it cannot be planned."""
    try:
        return _asked(ctx.planner.plan(question.text, question.params or None))
    except TauroError:
        return None


def _asked(plan: QueryPlan) -> list[tuple[str, int]]:
    return [(part.sql, len(part.keys)) for part in plan.fragments]


def _plan(ctx: VirtualContext, text: str, found: Outcome) -> str:
    params = {name: value for name, value in found.question.params.items() if f"${name}" in text}
    try:
        plan = ctx.planner.plan(text, params)
        return "\n".join([*(f"{part.id} on {part.source}: {part.sql}" for part in plan.fragments), plan.residual_sql])
    except Exception as error:  # noqa: BLE001
        return f"no plan: {type(error).__name__}: {error}"
