"""One attack on one door: the same statement on a database of the analyst's own says what the answer must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tauro_nb.errors import ExecutionError, SourceError, TauroError
from tauro_nb.magics.completion import Completer
from tests.security.redteam.doors import DOORS, Answer, Visit, offered
from tests.security.redteam.staff import CANARY
from tests.tpc.compare import answer, difference

__all__ = ["Gate", "Reach", "Trial", "canaries", "said_by", "shared"]

Reach = Callable[[str, str], None]
"""Notes that a test tried a door, and what came of it: `holds` or `refused`."""

_EVERYTHING = "TAURO_REDTEAM"
_SHARES = 3
_BEFORE_RUNNING = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.SyntaxException)


def shared(statements: tuple[str, ...], place: int) -> tuple[str, ...]:
    """Every third statement, another third at the next place; all with TAURO_REDTEAM=all.

    There are more places than thirds, so that each statement comes through several doors in every run.
    """
    if os.environ.get(_EVERYTHING) == "all" or len(statements) < 2 * _SHARES:
        return statements
    return statements[place % _SHARES :: _SHARES]


def said_by(error: BaseException) -> str:
    """Everything an error says, to people and to libraries."""
    parts = [str(error), repr(error), repr(error.__cause__), *getattr(error, "__notes__", ())]
    if isinstance(error, TauroError):
        parts += [*error.excerpt(), str(error.hint), *error._render_traceback_()]
    return "\n".join(parts)


def canaries(text: str, sql: str = "") -> list[str]:
    """What a text must not hold, unless the attacker wrote it themselves."""
    return [found for found in CANARY.findall(text) if found.lower() not in sql.lower()]


def _outcome(work: Callable[[], Answer]) -> tuple[str, Any, str]:
    """(`answers`, table, shown), or (`refused` | `fails`, error, what it says)."""
    try:
        found = work()
    except TauroError as error:
        kind = "fails" if isinstance(error, (ExecutionError, SourceError)) else "refused"
        return kind, error, said_by(error)
    except duckdb.Error as error:
        return ("refused" if isinstance(error, _BEFORE_RUNNING) else "fails"), error, ""
    return "answers", found.table, found.shown


@dataclass(frozen=True)
class Trial:
    """A door, and the truth.

    Parameters
    ----------
    door
        Its name; `completion` offers words and runs nothing.
    visit
        What the door works with.
    truth
        A plain DuckDB with the visible, masked rows.
    completers
        Tab for the analyst, and for somebody who owns a database that holds only the truth.
    reach
        Notes what was tried.
    place
        Which share of the statements this door takes, unless all are asked for.
    """

    door: str
    visit: Visit
    truth: duckdb.DuckDBPyConnection
    completers: tuple[Completer, Completer]
    reach: Reach
    place: int = 0

    def holds(self, *statements: str) -> None:
        """Each statement answers, is refused or fails as it does on the truth, and nothing else shows."""
        judge = self._completes if self.door == "completion" else self._answers
        statements = shared(statements, self.place)
        wrong = [f"{sql}\n    {complaint[:600]}" for sql in statements if (complaint := judge(sql))]
        if wrong:
            pytest.fail(f"{len(wrong)} of {len(statements)}:\n" + "\n".join(wrong), pytrace=False)
        self.reach(self.door, "holds")

    def gate(self) -> Gate:
        """The same door, for what it must turn away."""
        return Gate(self.door, self.visit, self.reach, self.place)

    def _completes(self, sql: str) -> str | None:
        mine, theirs = (offered(completer, sql) for completer in self.completers)
        shown = canaries(str(mine), sql)
        return f"offers {shown}" if shown else None if mine == theirs else f"offers {mine}, expected {theirs}"

    def _answers(self, sql: str) -> str | None:
        expected, right, _ = _outcome(lambda: Answer(self.truth.execute(sql).to_arrow_table()))
        kind, found, shown = _outcome(lambda: DOORS[self.door](self.visit, sql))
        if leaked := canaries(shown, sql):
            return f"{kind}, and shows {sorted(set(leaked))}"
        if kind != expected:
            return f"{kind} ({_brief(found)}), expected: {expected} ({_brief(right)})"
        if kind != "answers":
            return None
        return difference(found, answer(self.truth, sql)) or _leaks(found, right, sql)


def _leaks(found: pa.Table, right: pa.Table, sql: str) -> str | None:
    leaked = set(canaries(str(found.to_pylist()), sql)) - set(canaries(str(right.to_pylist()), sql))
    return f"holds {sorted(leaked)}" if leaked else None


def _brief(found: Any) -> str:
    return str(found.to_pylist()[:3]) if isinstance(found, pa.Table) else str(found)


@dataclass(frozen=True)
class Gate:
    """A door at which a statement must be turned away before anything runs."""

    door: str
    visit: Visit
    reach: Reach
    place: int = 0

    def refuses(self, *statements: str) -> None:
        """Each statement is refused in our own words, and nothing shows."""
        statements = shared(statements, self.place)
        wrong = [f"{sql}\n    {complaint}" for sql in statements if (complaint := self._complaint(sql))]
        if wrong:
            pytest.fail(f"{len(wrong)} of {len(statements)}:\n" + "\n".join(wrong), pytrace=False)
        self.reach(self.door, "refused")

    def _complaint(self, sql: str) -> str | None:
        try:
            kind, found, shown = _outcome(lambda: DOORS[self.door](self.visit, sql))
        except Exception as error:  # noqa: BLE001 - whatever else is raised is the finding
            return f"{type(error).__name__}: {error}"
        if kind != "refused" or not isinstance(found, TauroError):
            return f"{kind}: {found.to_pylist()[:3] if kind == 'answers' else shown}"
        leaked = canaries(shown, sql)
        return f"refused, but shows {sorted(set(leaked))}" if leaked else None
