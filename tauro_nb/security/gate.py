"""Whether a table may be read at all, before anything is known of its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from sqlglot import exp

from tauro_nb.security.decision import ColumnDecision, TableDecision
from tauro_nb.security.declared import NOTHING_DECLARED, Declared
from tauro_nb.security.levels import Operation
from tauro_nb.security.policy import TableSecurityPolicy
from tauro_nb.security.principal import Principal

__all__ = ["gate", "refusal", "without_policy"]

_READING = frozenset({Operation.SELECT, Operation.EXPORT})


def gate(
    policy: TableSecurityPolicy,
    table: str,
    principal: Principal,
    operation: Operation,
    declared: Declared = NOTHING_DECLARED,
) -> str:
    """Say why a principal may not read a table at all, or nothing.

    Examples
    --------
    >>> policy = TableSecurityPolicy("customers", allowed_roles=["admin"])
    >>> gate(policy, "customers", Principal.of("ana"), Operation.SELECT)
    'no role of `ana` may read `customers`'
    >>> listed = Declared(access=(("select", ("hr",)),))
    >>> gate(TableSecurityPolicy("pay"), "pay", Principal.of("ana"), Operation.SELECT, listed)
    '`access_control` of `pay` lists no role of `ana`'
    """
    if operation not in _READING:
        return f"`{table}` is a virtual table: {operation.name} is not possible"
    listed = declared.roles_for(operation.value)
    if listed is not None and not principal.matches(listed):
        return f"`access_control` of `{table}` lists no role of `{principal.name}`"
    found = next((says for closed, says in _CLOSED if closed(policy, principal)), "")
    return found.format(table=table, name=principal.name) if found else ""


# The first that holds closes the table; denied roles first, whatever else a principal holds.
_CLOSED: tuple[tuple[Callable[[TableSecurityPolicy, Principal], bool], str], ...] = (
    (lambda policy, who: who.matches(policy.denied_roles), "`{table}` is denied to a role of `{name}`"),
    (
        lambda policy, who: bool(policy.allowed_roles) and not who.matches(policy.allowed_roles),
        "no role of `{name}` may read `{table}`",
    ),
    (
        lambda policy, who: bool(policy.purposes) and who.purpose not in policy.purposes,
        "`{table}` may be read for certain purposes only, and the purpose of `{name}` is none of them",
    ),
    (
        lambda policy, who: policy.tenant_column is not None and who.tenant is None and not policy.tenant_optional,
        "`{table}` holds rows of tenants, and `{name}` has no tenant",
    ),
    (
        lambda policy, who: bool(policy.row_level_filters) and not who.matches(policy.row_level_filters),
        "no row filter of `{table}` applies to `{name}`",
    ),
)


def refusal(
    table: str, principal: Principal, columns: Iterable[str] | Mapping[str, str], reason: str, policy_hash: str
) -> TableDecision:
    """Build the decision that gives nothing; its row filter is FALSE for whoever looks no further."""
    kinds = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "VARCHAR")
    denied = {name: ColumnDecision(name, kind, "denied", rule=reason) for name, kind in kinds.items()}
    return TableDecision(
        table=table,
        principal=principal,
        allowed=False,
        reason=reason,
        columns=MappingProxyType(denied),
        filter_tree=exp.false(),
        policy_hash=policy_hash,
    )


def without_policy(
    table: str, principal: Principal, columns: Mapping[str, str], default_access: str, operation: Operation
) -> TableDecision:
    """Decide for a table that has no policy."""
    name = f"default:{default_access}"
    if operation not in _READING:
        reason = f"`{table}` is a virtual table: {operation.name} is not possible"
        return refusal(table, principal, columns, reason, name)
    if default_access != "allow":
        return refusal(table, principal, columns, f"`{table}` has no policy, and no policy means no access here", name)
    clear = {column: ColumnDecision(column, kind, "clear", rule="no policy") for column, kind in columns.items()}
    return TableDecision(table, principal, True, "", MappingProxyType(clear), None, name)
