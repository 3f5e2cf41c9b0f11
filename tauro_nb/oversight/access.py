"""What somebody gets of a table, rule by rule and in words: which rule decides, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tauro_nb.errors import AccessDenied, nearest
from tauro_nb.html import Html, badge
from tauro_nb.report import Report, Sheet

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.security.compiled import ParsedPolicy
    from tauro_nb.security.compose import Ruling
    from tauro_nb.security.decision import TableDecision
    from tauro_nb.security.principal import Principal

__all__ = ["AccessExplanation", "ColumnAccess", "explain_access", "undeclared"]

ACCESS_BADGES: Final[Mapping[str, Html]] = {
    "masked": badge("◐", "masked", "warn"),
    "encrypted": badge("◐", "encrypted", "warn"),
    "denied": badge("⊘", "denied", "bad"),
}


@dataclass(frozen=True)
class ColumnAccess:
    """What somebody gets of one column.

    Parameters
    ----------
    name, type
        The column; the type as it is shown.
    access
        `clear`, `masked`, `encrypted` or `denied`.
    mask
        The mask's name when masked.
    why
        The rule that decides, in words.
    others
        Rules that speak of the column, too, and are less strict.
    policy
        What the deciding rules say, as they are written; only for those who may read policies.
    """

    name: str
    type: str
    access: str
    mask: str | None
    why: str
    others: tuple[str, ...] = ()
    policy: str = ""


@dataclass(frozen=True, repr=False)
class AccessExplanation(Report):
    """What somebody gets of one table, and why.

    Parameters
    ----------
    table, principal, roles
        Who, and what.
    allowed, why
        Whether the table may be read, and which rule says so.
    rows
        Whose conditions restrict the rows, in words.
    row_policy
        The conditions as they are written; only for those who may read policies.
    columns
        One entry a column; none where they are not known, or the table is closed to whoever asks.
    policy_version
        The version of all policies that this was true for.
    note
        That nobody of this name is declared, where others are, and who may be meant.
    """

    table: str
    principal: str
    roles: tuple[str, ...]
    allowed: bool
    why: str
    rows: str
    row_policy: tuple[str, ...]
    columns: tuple[ColumnAccess, ...]
    policy_version: str
    note: str = ""

    def sheets(self) -> Sequence[Sheet]:
        """The table of columns, under what holds for the table."""
        roles = f" ({', '.join(self.roles)})" if self.roles else ""
        state = "may be read" if self.allowed else "may not be read"
        lead = [self.note] if self.note else []
        lead.append(f"Table: {state}; {self.why}.")
        if self.allowed:
            lead.append(f"Rows: {self.rows}.")
            lead += [f"  {text}" for text in self.row_policy]
        every = ("column", "type", "gets", "why", "less strict", "policy")
        cells = [(c.name, c.type, c.access, c.why, "; ".join(c.others), c.policy) for c in self.columns]
        kept = [place for place in range(len(every)) if place < 4 or any(row[place] for row in cells)]
        headers = tuple(every[place] for place in kept)
        rows = tuple(tuple(row[place] for place in kept) for row in cells)
        badges = {(2, access): mark for access, mark in ACCESS_BADGES.items()}
        return (Sheet(self.table, f"as {self.principal}{roles}", headers, rows, tuple(lead), badges=badges),)


def explain_access(ctx: VirtualContext, who: Principal, name: str) -> AccessExplanation:
    """Explain what `who` gets of a table, as far as the context's own principal may know.

    Raises
    ------
    UnknownTable
        There is no such table.
    """
    table = ctx.sight.resolve(name).name
    seen = ctx.as_principal(who)
    columns = _columns(ctx, seen, table)
    decision = ctx.security.decide(table, columns, who)
    rules = ctx.security.rules_of(table)
    parsed = None if rules is None else rules.parsed
    readable = ctx.reads_policies
    shown = columns if decision.allowed or readable else {}
    return AccessExplanation(
        table=table,
        principal=who.name,
        roles=tuple(sorted(who.roles)),
        allowed=decision.allowed,
        why=decision.reason or _allowed_by(parsed, who),
        rows=decision.filter_rule or _all_rows(parsed, who),
        row_policy=tuple(_row_texts(parsed, who)) if readable and parsed is not None and decision.allowed else (),
        columns=tuple(_column(decision, column, parsed, who, readable=readable) for column in shown),
        policy_version=ctx.policy_version,
        note=undeclared(ctx, who),
    )


def undeclared(ctx: VirtualContext, who: Principal) -> str:
    """Say that a name is not declared where others are: it may be a slip. To whoever may look through other eyes."""
    known = ctx.security.principals
    if who.name in known or not known or who.name == ctx.principal.name:
        return ""
    return f"Nobody is declared as `{who.name}`, so that the name is the only role.{nearest(who.name, known)}"


def _columns(ctx: VirtualContext, seen: VirtualContext, table: str) -> Mapping[str, str]:
    """The table's columns, as who asks or who is asked about may know them."""
    for context in (seen, ctx):
        try:
            return context.planner.fresh_entry(table).columns
        except AccessDenied:
            continue
    return ctx.layer.schema_registry.resolve(table).schema


def _allowed_by(parsed: ParsedPolicy | None, who: Principal) -> str:
    if parsed is None:
        return "it has no policy, and `default_access` is `allow`"
    policy, listed = parsed.policy, parsed.declared.roles_for("select")
    if listed is not None and not policy.allowed_roles:
        return f"its `access_control` lists `{next(role for role in listed if who.matches((role,)))}`"
    held = [role for role in policy.allowed_roles if who.matches((role,))]
    if held:
        return f"its `allowed_roles` list `{held[0]}`"
    return "its policy names no `allowed_roles`, so everybody may"


def _all_rows(parsed: ParsedPolicy | None, who: Principal) -> str:
    if parsed is None or not parsed.conditions.permissive.templates:
        return "all; no row filter applies"
    roles = [role for role in parsed.conditions.permissive.of(who) if not parsed.policy.row_level_filters[role].strip()]
    return f"all; the row filter of `{roles[0]}` is empty" if roles else "all"


def _row_texts(parsed: ParsedPolicy, who: Principal) -> Iterator[str]:
    """The conditions that restrict somebody's rows, as they are written."""
    policy, conditions = parsed.policy, parsed.conditions
    if policy.tenant_column is not None:
        yield f"tenant: {policy.tenant_column} = {{tenant}}"
    for role in conditions.restrictive.of(who):
        yield f"restrictive, `{role}`: {policy.restrictive_filters[role]}"
    if not conditions.lifting(who):
        for role in conditions.permissive.of(who):
            yield f"`{role}`: {policy.row_level_filters[role]}"


def _column(
    decision: TableDecision, name: str, parsed: ParsedPolicy | None, who: Principal, *, readable: bool
) -> ColumnAccess:
    column = decision.columns[name]
    rulings = [] if parsed is None or not decision.allowed else parsed.rulings(name, who)
    others = tuple(dict.fromkeys(ruling.says for ruling in rulings if ruling.access != column.access))
    deciding = [ruling for ruling in rulings if ruling.access == column.access]
    return ColumnAccess(
        name,
        column.shown_type,
        column.access,
        column.mask,
        column.rule or "no rule speaks of it",
        others,
        "; ".join(filter(None, map(_rule_text, deciding))) if readable else "",
    )


def _rule_text(ruling: Ruling) -> str:
    """A ruling's masks as they are written, or the level and roles of its rule."""
    if ruling.masks:
        return "; ".join(
            f"mask {mask.masker.name}"
            + (f" when {mask.when}" if mask.when else "")
            + (f" ({mask.origin})" if mask.origin else "")
            for mask in ruling.masks
        )
    rule = ruling.rule
    if rule is None:
        return ""
    roles = [f"{key}: {', '.join(value)}" for key in ("allowed_roles", "denied_roles") if (value := getattr(rule, key))]
    return "; ".join([rule.access_level.value, *roles])
