"""Whether rules and tables go together: what a policy's author wants to know before anybody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tauro_nb.errors import PolicyError, TauroError
from tauro_nb.html import Html, badge
from tauro_nb.policy_tables import PolicyTables
from tauro_nb.report import Report, Sheet
from tauro_nb.security.reads import relations_of
from tauro_nb.security.relations import OWNER
from tauro_nb.text import plural

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.query.planner import Planner
    from tauro_nb.security.standing import Compiled

__all__ = ["PolicyCheck", "PolicyFinding", "check_policies"]

State = Literal["right", "wrong", "unknown"]

_MARKS: Final[Mapping[tuple[int, str], Html]] = {
    (1, "right"): badge("✓", "right", "ok"),
    (1, "wrong"): badge("⊘", "wrong", "bad"),
    (1, "unknown"): badge("◐", "unknown", "warn"),
}


@dataclass(frozen=True)
class PolicyFinding:
    """What came of looking at the rules of one table.

    Parameters
    ----------
    table
        The virtual table.
    state
        `right`; `wrong`, with one finding for each mistake; `unknown` where the columns could not be had.
    because
        The mistake, or why nothing is known; empty when it is right.
    """

    table: str
    state: State
    because: str = ""


@dataclass(frozen=True, repr=False)
class PolicyCheck(Report):
    """What was found, table by table; those without rules are left out.

    Parameters
    ----------
    findings
        One entry for each mistake, and for each table whose rules are right.
    unusable
        Mistakes of the policies' files themselves: until they are mended no rule is in force, and none was looked at.
    """

    findings: tuple[PolicyFinding, ...]
    unusable: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every rule was looked at, and is right: for a test of policies before they are put in force."""
        return not self.unusable and all(finding.state == "right" for finding in self.findings)

    def sheets(self) -> Sequence[Sheet]:
        """One table, mistakes first."""
        if self.unusable:
            note = f"{plural(len(self.unusable), 'mistake')} in the files; until they can be used, everything is closed"
            wrong_files = tuple(("", "wrong", mistake) for mistake in self.unusable)
            return (Sheet("Policies", note, ("table", "is", "because"), wrong_files, badges=dict(_MARKS)),)
        order = ("wrong", "unknown", "right")
        rows = sorted(
            ((f.table, f.state, f.because) for f in self.findings), key=lambda row: (order.index(row[1]), row)
        )
        wrong = len({finding.table for finding in self.findings if finding.state == "wrong"})
        tables = plural(len({finding.table for finding in self.findings}), "table")
        note = f"{wrong} of {tables} {'has' if wrong == 1 else 'have'} mistakes"
        return (Sheet("Policies", note, ("table", "is", "because"), tuple(rows), badges=dict(_MARKS)),)


def check_policies(ctx: VirtualContext) -> PolicyCheck:
    """Bind all rules of all tables to the columns that the tables have now."""
    from tauro_nb.query.planner import Planner

    if unusable := ctx.security.book.mistakes:
        return PolicyCheck((), tuple(unusable))
    # Whoever may read policies may be denied the tables.
    owner = Planner(ctx.planner.services, ctx.principal, run_as=OWNER)
    catalog = PolicyTables(ctx.layer)
    return PolicyCheck(tuple(finding for name in catalog.names() for finding in _findings(owner, catalog, name)))


def _findings(owner: Planner, catalog: PolicyTables, table: str) -> Iterator[PolicyFinding]:
    try:
        rules = owner.services.security.rules_of(table)
        mistakes = [] if rules is None else list(_mistakes(owner, catalog, table, rules))
    except PolicyError as wrong:
        yield PolicyFinding(table, "wrong", wrong.message)
    except TauroError as unknown:
        yield PolicyFinding(table, "unknown", unknown.message)
    else:
        yield from (PolicyFinding(table, "wrong", mistake) for mistake in mistakes)
        if rules is not None and not mistakes:
            yield PolicyFinding(table, "right")


def _mistakes(owner: Planner, catalog: PolicyTables, table: str, rules: Compiled) -> Iterator[str]:
    def columns_of(name: str) -> Mapping[str, str]:
        return owner.entry(name).columns

    owner.services.security.require_readable(table)
    relations = relations_of(rules.parsed.relation_names, catalog, columns_of, required_by=table)
    return rules.bind(columns_of(table), relations, strict=True).mistakes()
