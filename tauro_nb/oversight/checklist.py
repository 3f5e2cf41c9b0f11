"""Controls that regulations ask for, looked for in the live configuration: in place, not in place, or nothing to do.

A control in place does not say that a regulation is met: people, contracts and the sources' own rights are part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tauro_nb.catalog.snapshot import SYSTEM
from tauro_nb.errors import TauroError
from tauro_nb.security.principal import EVERYBODY, Principal
from tauro_nb.text import plural

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.context import VirtualContext
    from tauro_nb.security.policy import TableSecurityPolicy

__all__ = ["CONTROLS", "UNTOLD", "CheckResult", "Control", "check"]

Result = Literal["pass", "fail", "not applicable"]

PERSONAL: Final = frozenset({"pii", "personal", "gdpr", "ccpa", "phi"})
HEALTH: Final = frozenset({"phi", "health", "hipaa", "medical"})
PAYMENT: Final = frozenset({"pci", "payment", "card", "cardholder"})

#: The reason for whoever may not read policies.
UNTOLD: Final = "told to those who may read policies"
_STRANGER: Final = Principal("~somebody without any role")
"""Nobody can hold this name and be declared: control of a column is judged by what it shows to a stranger."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at the configuration gave, and which setting or rule decided it."""

    result: Result
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class Control:
    """One control, the regulation it is mapped to, and how it is looked for."""

    regulation: str
    control: str
    look: Callable[[VirtualContext], Finding]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer for one control."""

    regulation: str
    control: str
    result: Result
    reason: str
    rule: str


def check(ctx: VirtualContext, control: Control) -> CheckResult:
    """Look for one control; what cannot be looked at is not in place."""
    try:
        found = control.look(ctx)
    except TauroError as wrong:
        found = Finding("fail", f"cannot be judged: {wrong.message}", "policies")
    reason = found.reason if ctx.reads_policies else UNTOLD
    return CheckResult(control.regulation, control.control, found.result, reason, found.rule)


# -- what is looked at


def _tables(ctx: VirtualContext) -> list[VirtualTable]:
    """The whole catalog, whoever looks: a control is in place or not."""
    return [table for table in ctx.layer.schema_registry.list_tables() if not table.name.startswith(f"{SYSTEM}.")]


def _tagged(ctx: VirtualContext, tags: frozenset[str]) -> list[VirtualTable]:
    """Tables that carry one of the tags, themselves or on a column."""
    return [
        table
        for table in _tables(ctx)
        if tags & {tag.casefold() for tag in (*table.tags, *(t for found in table.column_tags.values() for t in found))}
    ]


def _columns(table: VirtualTable, tags: frozenset[str]) -> list[str]:
    """The columns of a table that carry one of the tags; where the table does, all that nobody looked at as well."""
    own = [name for name, found in table.column_tags.items() if tags & {tag.casefold() for tag in found}]
    return own + [name for name in table.schema if name not in table.column_tags] if _carries(table, tags) else own


def _carries(table: VirtualTable, tags: frozenset[str]) -> bool:
    """Whether the table itself is tagged, whatever its columns are."""
    return bool(tags & {tag.casefold() for tag in table.tags})


def _has_unknown_columns(ctx: VirtualContext, table: VirtualTable, tags: frozenset[str]) -> bool:
    """Whether columns may be among those to protect that nobody named, and that are not closed for that."""
    if not _carries(table, tags) or table.schema:
        return not _columns(table, tags)
    rules = ctx.security.rules_of(table.name)
    return not _columns(table, tags) or rules is None or rules.parsed.guard is None or not rules.parsed.guard.closed


def _nothing(tags: frozenset[str]) -> Finding:
    known = ", ".join(f"`{tag}`" for tag in sorted(tags))
    return Finding("not applicable", f"no table or column is tagged {known}; `classify` proposes tags", "tags")


def _shown_to_strangers(
    ctx: VirtualContext, table: VirtualTable, columns: list[str], harmless: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Columns whose values somebody without any role would see less protected than asked for, and how."""
    rules = ctx.security.rules_of(table.name)
    for column in columns:
        ruling = None if rules is None else rules.parsed.ruling(column, _STRANGER)
        access = "clear" if ruling is None else ruling.access
        if access not in harmless:
            yield f"{table.name}.{column}", access
        elif ruling is not None and ruling.masks and all(mask.when is not None for mask in ruling.masks):
            yield f"{table.name}.{column}", "clear in some rows"


def _protected(tags: frozenset[str], harmless: frozenset[str], asked: str) -> Callable[[VirtualContext], Finding]:
    """Every column with the tags is `asked` for whoever has no right to it."""

    def look(ctx: VirtualContext) -> Finding:
        tables = _tagged(ctx, tags)
        if not tables:
            return _nothing(tags)
        unknown = [table.name for table in tables if _has_unknown_columns(ctx, table, tags)]
        if unknown:
            reason = f"not all columns of `{unknown[0]}` are tagged or declared, so nobody knows which to protect"
            return Finding("fail", reason, "virtual_tables.column_tags")
        weak = [found for table in tables for found in _shown_to_strangers(ctx, table, _columns(table, tags), harmless)]
        if weak:
            column, access = weak[0]
            more = f" and {len(weak) - 1} more" if len(weak) > 1 else ""
            return Finding("fail", f"`{column}`{more}: {access}, not {asked}", "security_policies.field_policies")
        count = sum(len(_columns(table, tags)) for table in tables)
        return Finding(
            "pass", f"{plural(count, 'tagged column')} {asked}", "security_policies.field_policies, tag_policies"
        )

    return look


def _durable_audit(ctx: VirtualContext) -> Finding:
    trail = ctx.layer.audit_trail
    if trail.path is None:
        return Finding("fail", "the audit trail is in memory and ends with the process", "audit.path")
    if trail.on_failure != "fail_operation":
        return Finding("fail", "what cannot be recorded runs all the same", "audit.on_failure")
    quiet = [policy.table_name for policy in ctx.security.book.tables.values() if not policy.audit_all_access]
    if quiet:
        return Finding("fail", f"accesses of `{quiet[0]}` are recorded only when refused", "audit_all_access")
    return Finding("pass", "every request is on disk before it runs, and nothing runs without", "audit.path")


def _evidence(ctx: VirtualContext) -> Finding:
    durable = _durable_audit(ctx)
    if durable.result != "pass":
        return durable
    if not ctx.layer.audit_trail.has_second_place:
        return Finding(
            "fail", "checkpoints are beside the log, where whoever forges it can forge them", "audit.checkpoints"
        )
    return Finding("pass", "the log is chained, and signed checkpoints are kept elsewhere", "audit.checkpoints")


def _kept(days: int) -> Callable[[VirtualContext], Finding]:
    def look(ctx: VirtualContext) -> Finding:
        durable, keeps = _durable_audit(ctx), ctx.layer.audit_trail.settings.retention_days
        if durable.result != "pass":
            return durable
        if keeps is not None and keeps < days:
            return Finding("fail", f"records are deleted after {keeps} days, not {days}", "audit.retention_days")
        return Finding(
            "pass", f"records are kept {'for ever' if keeps is None else f'{keeps} days'}", "audit.retention_days"
        )

    return look


def _rows_filtered(tags: frozenset[str]) -> Callable[[VirtualContext], Finding]:
    def look(ctx: VirtualContext) -> Finding:
        tables = _tagged(ctx, tags)
        if not tables:
            return _nothing(tags)
        policies = {table.name: ctx.security.get_policy(table.name) for table in tables}
        open_ = [name for name, policy in policies.items() if policy is None or not _filters(policy)]
        if open_:
            return Finding("fail", f"`{open_[0]}` has no row filter", "security_policies.row_level_filters")
        return Finding(
            "pass", f"the rows of {plural(len(tables), 'table')} are filtered", "security_policies.row_level_filters"
        )

    return look


def _filters(policy: TableSecurityPolicy) -> bool:
    """Whether a policy leaves rows out for anybody who may read: an empty filter is none, for `*` it lifts all."""
    always = (*policy.restrictive_filters.values(), policy.tenant_column or "")
    texts = policy.row_level_filters
    some = any(text.strip() for text in texts.values()) and bool(texts.get(EVERYBODY, "FALSE").strip())
    return some or any(text.strip() for text in always)


def _by_role(tags: frozenset[str] | None) -> Callable[[VirtualContext], Finding]:
    """Tables, all of them or those with tags, are for named roles."""

    def look(ctx: VirtualContext) -> Finding:
        tables = _tables(ctx) if tags is None else _tagged(ctx, tags)
        if not tables:
            return (
                _nothing(tags)
                if tags is not None
                else Finding("not applicable", "the catalog is empty", "virtual_tables")
            )
        open_ = [table.name for table in tables if _lets_in_strangers(ctx, table.name)]
        if open_:
            more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
            return Finding(
                "fail", f"`{open_[0]}`{more}: open to somebody without any role", "security_policies.allowed_roles"
            )
        closed = f"{plural(len(tables), 'table')} closed to whoever has no role"
        return Finding("pass", closed, "allowed_roles, default_access")

    return look


def _lets_in_strangers(ctx: VirtualContext, table: str) -> bool:
    """Whether no role is needed: a purpose is what somebody says, and a tenant is no role."""
    policy = ctx.security.get_policy(table)
    purpose = next(iter(policy.purposes), None) if policy is not None else None
    return not ctx.security.decide(table, {}, replace(_STRANGER, tenant="~any", purpose=purpose)).reason


def _named_askers(ctx: VirtualContext) -> Finding:
    name = ctx.layer.config.security.default_principal
    if ctx.reads_policies_as(ctx.security.principal(name)):
        return Finding(
            "fail", f"who names nobody asks as `{name}`, who may read policies", "security.default_principal"
        )
    return Finding("pass", f"who names nobody asks as `{name}`", "security.default_principal")


_ENCRYPTED: Final = frozenset({"encrypted", "denied"})
_MASKED: Final = frozenset({"masked", "encrypted", "denied"})
_SIX_YEARS: Final = 6 * 365

CONTROLS: Final[tuple[Control, ...]] = (
    Control("GDPR", "accesses are recorded", _durable_audit),
    Control("GDPR", "rows about people are filtered by who asks", _rows_filtered(PERSONAL)),
    Control(
        "GDPR", "personal columns are encrypted or closed", _protected(PERSONAL, _ENCRYPTED, "encrypted or closed")
    ),
    Control("HIPAA", "health columns are encrypted or closed", _protected(HEALTH, _ENCRYPTED, "encrypted or closed")),
    Control("HIPAA", "the audit trail is kept for six years", _kept(_SIX_YEARS)),
    Control("SOC2", "the audit trail shows when it was changed", _evidence),
    Control("SOC2", "every table is for named roles", _by_role(None)),
    Control("SOC2", "who asks is named", _named_askers),
    Control(
        "PCI-DSS", "payment columns are encrypted or closed", _protected(PAYMENT, _ENCRYPTED, "encrypted or closed")
    ),
    Control("PCI-DSS", "payment tables are for named roles", _by_role(PAYMENT)),
    Control("PCI-DSS", "accesses are recorded for a year", _kept(365)),
    Control("CCPA", "personal columns are masked or more", _protected(PERSONAL, _MASKED, "masked")),
    Control("CCPA", "accesses are recorded", _durable_audit),
)
"""What is looked for."""
