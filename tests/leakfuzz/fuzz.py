"""Ask throwing expressions through the road, and compare with a database that holds what may be seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError
from tauro_nb.query.plan import whole
from tauro_nb.query.trees import BARRIER
from tests.leakfuzz.backends import FILTERS, Prepared
from tests.leakfuzz.expressions import Expression

__all__ = ["FORMS", "LIFTED", "PLACEMENTS", "Finding", "Outcome", "Report", "fuzz"]

Statement = Callable[[Sequence[str]], str]
Outcome = tuple[str, Any]

FORMS = (*FILTERS, "mask")
_BATCH = 40
# Statements with one expression are the most: each is asked behind so many of the forms, and all forms get their share.
_FORMS_ALONE = 2


def _listed(form: str, expressions: Sequence[str], between: str = ", ") -> str:
    return between.join(form.format(e=expression, n=number) for number, expression in enumerate(expressions))


def _select(expressions: Sequence[str]) -> str:
    sums = _listed("bit_xor(hash(c{n})) AS x{n}", expressions)
    return f"SELECT count(*) AS n, {sums} FROM (SELECT id, {_listed('{e} AS c{n}', expressions)} FROM t) AS q"


# Each takes several expressions. `hash` is never NULL, and never 42 here: no row is lost to an earlier condition.
PLACEMENTS: Mapping[str, Statement] = {
    "where": lambda es: f"SELECT count(*) AS n FROM t WHERE {_listed('hash({e}) <> 42', es, ' AND ')}",
    "select": _select,
    "join": lambda es: (
        f"SELECT count(*) AS n FROM t JOIN o ON o.k = t.id AND {_listed('hash({e}) <> 42', es, ' AND ')}"
    ),
    "order": lambda es: f"SELECT id FROM t ORDER BY {_listed('{e}', es)}, id LIMIT 5",
    "case": lambda es: (
        f"SELECT {_listed('sum(CASE WHEN hash({e}) <> 42 THEN 1 WHEN hash({e}) = 41 THEN 2 END) AS c{n}', es)} FROM t"
    ),
    "filter": lambda es: f"SELECT {_listed('count(*) FILTER (WHERE hash({e}) <> 42) AS c{n}', es)} FROM t",
    "having": lambda es: (
        f"SELECT id FROM t GROUP BY id HAVING {_listed('max(hash({e})) <> 42', es, ' AND ')} ORDER BY id LIMIT 5"
    ),
}
LIFTED: Mapping[str, Statement] = {
    "shown": lambda es: f"SELECT {_listed('count({e}) AS c{n}', es)} FROM t",
    "ratio": lambda es: (
        f"SELECT {_listed('sum(CASE WHEN ({e}) IS NULL THEN 2 ELSE 1 END) * 1.5 / count(*) AS c{n}', es)} FROM t"
    ),
    "passed": lambda es: (
        f"SELECT {_listed('count(CASE WHEN id < 0 THEN NULL ELSE c{n} END) * 1.5 / count(*) AS r{n}', es)} "
        f"FROM (SELECT id, {_listed('{e} AS c{n}', es)} FROM t) AS q"
    ),
}
"""For expressions that by themselves keep no barrier, and so are evaluated without one; `hash` would keep it."""
_ALONE: Mapping[str, Statement] = {
    "condition": lambda es: f"SELECT count(*) AS n FROM t WHERE {es[0]}",
    "null": lambda es: f"SELECT count(*) AS n FROM t WHERE ({es[0]}) IS NOT NULL",
    "on": lambda es: f"SELECT count(*) AS n FROM t JOIN o ON o.k = t.id AND {es[0]}",
}
"""One expression as it is: conditions, of which some pass the barrier, and arithmetic, which some sources answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement whose answer depends on what is hidden."""

    backend: str
    barrier: str
    form: str
    placement: str
    sql: str
    want: Outcome
    got: Outcome


@dataclass(slots=True)
class Report:
    """What was asked of one backend with one barrier."""

    backend: str
    barrier: str
    expressions: int = 0
    refused: int = 0
    lifted: int = 0
    statements: int = 0
    seconds: float = 0.0
    leaks: list[Finding] = field(default_factory=list)


def _ask(context: VirtualContext, sql: str) -> Outcome:
    try:
        return "rows", repr(context.query(sql).to_arrow().to_pylist())
    except TauroError as error:
        return type(error).__name__, str(error)


def _is_lifted(context: VirtualContext, expression: Expression) -> bool:
    """Whether a query that only shows it is answered without a barrier."""
    eve = context.as_principal("eve", roles=[FORMS[0]])
    plan = whole(eve.plan(LIFTED["passed"]([expression.sql])))
    return not any(BARRIER in sql for sql in (plan.residual_sql, *(fragment.sql for fragment in plan.fragments)))


@dataclass(slots=True)
class _Fuzzer:
    prepared: Prepared
    report: Report
    wanted: dict[tuple[bool, str], Outcome]

    def want(self, form: str, sql: str) -> Outcome:
        """The answer of a database that holds the visible rows, or the masked values."""
        masked = form == "mask"
        if (masked, sql) not in self.wanted:
            self.wanted[masked, sql] = _ask(self.prepared.masked if masked else self.prepared.visible, sql)
        return self.wanted[masked, sql]

    def compare(self, who: VirtualContext, form: str, placement: str, expressions: Sequence[Expression]) -> None:
        """Ask together; what differs is asked again in halves, down to the one that leaks."""
        statement = {**PLACEMENTS, **LIFTED, **_ALONE}[placement]
        sql = statement([expression.sql for expression in expressions])
        want, got = self.want(form, sql), _ask(who, sql)
        self.report.statements += 1
        if want == got and (want[0] == "rows" or len(expressions) == 1):
            return
        if len(expressions) > 1:
            middle = len(expressions) // 2
            self.compare(who, form, placement, expressions[:middle])
            self.compare(who, form, placement, expressions[middle:])
        else:
            self.report.leaks.append(
                Finding(self.prepared.backend.name, self.report.barrier, form, placement, sql, want, got)
            )

    def answered(self, expressions: Sequence[Expression]) -> Iterator[Expression]:
        """Those that answer over the visible rows of this backend."""
        if not expressions:
            return
        sqls = [expression.sql for expression in expressions]
        if self.want("eq", _select(sqls))[0] == "rows" == self.want("mask", _select(sqls))[0]:
            yield from expressions
        elif len(expressions) > 1:
            middle = len(expressions) // 2
            yield from self.answered(expressions[:middle])
            yield from self.answered(expressions[middle:])


def fuzz(
    prepared: Prepared,
    throwing: Sequence[Expression],
    barrier: str,
    wanted: dict[tuple[bool, str], Outcome] | None = None,
    forms: Sequence[str] = FORMS,
) -> Report:
    """Ask every throwing expression behind every form of policy; over the forms each meets every placement.

    Parameters
    ----------
    wanted
        Answers of the harmless databases, kept from one barrier to the next.
    forms
        Some of `FORMS`.
    """
    started = time.process_time()
    report = Report(prepared.backend.name, barrier)
    fuzzer = _Fuzzer(prepared, report, {} if wanted is None else wanted)
    here = {column.name for column in prepared.backend.columns()}
    known = [expression for expression in throwing if expression.columns <= here]
    usable = [e for start in range(0, len(known), _BATCH) for e in fuzzer.answered(known[start : start + _BATCH])]
    report.expressions, report.refused = len(usable), len(known) - len(usable)
    lifted = [] if barrier == "strict" else [e for e in usable if _is_lifted(prepared.raw[barrier], e)]
    report.lifted = len(lifted)
    for turn, form in enumerate(forms):
        who = (prepared.masks if form == "mask" else prepared.raw)[barrier].as_principal("eve", roles=[form])
        for number, start in enumerate(range(0, len(usable), _BATCH)):
            batch = usable[start : start + _BATCH]
            others = [placement for placement in PLACEMENTS if placement != "where"]
            for placement in ("where", others[(turn + number) % len(others)]):
                fuzzer.compare(who, form, placement, batch)
        for start in range(0, len(lifted), _BATCH):
            for placement in LIFTED:
                fuzzer.compare(who, form, placement, lifted[start : start + _BATCH])
        for number, expression in enumerate(e for e in usable if e.condition):
            if (turn + number) % len(forms) >= _FORMS_ALONE:
                continue
            alone = list(_ALONE)[(turn + number) % len(_ALONE)]
            fuzzer.compare(who, form, alone, [expression])
    report.seconds = time.process_time() - started
    return report
