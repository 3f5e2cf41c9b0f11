"""One policy bound to one set of columns: rules resolved once, decisions per principal kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlglot import exp

from tauro_nb.errors import AccessDenied, PolicyError, nearest
from tauro_nb.security.binding import BoundFilter, bind_filter, converts
from tauro_nb.security.decision import Access, ColumnDecision, TableDecision
from tauro_nb.security.masks import ConstantMasker, Masker, NullMasker, WeakMask, choose_mask
from tauro_nb.security.policy import AccessLevel, FieldSecurityPolicy, Operation, TableSecurityPolicy
from tauro_nb.security.principal import Principal
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.template import FilterTemplate, parse_filter
from tauro_nb.security.types import is_text

__all__ = ["BoundPolicy", "check_policy", "gate", "refusal", "templates_of", "without_policy"]

_READING = frozenset({Operation.SELECT, Operation.EXPORT})


@dataclass(frozen=True, slots=True)
class _FieldRule:
    """What roles that are not allowed get of a column, and the words for it."""

    applies: Callable[[FieldSecurityPolicy, TableSecurityPolicy], bool]
    access: Access
    says: str


# The strictest first: deny, then mask, then clear. Roles listed without saying what the others get: they get nothing.
_FIELD_RULES: tuple[_FieldRule, ...] = (
    _FieldRule(
        lambda rule, table: (
            table.requires_encryption or rule.encryption_enabled or rule.access_level is AccessLevel.ENCRYPTED
        ),
        "denied",
        "encrypted for {roles}",
    ),
    _FieldRule(lambda rule, _: rule.access_level is AccessLevel.RESTRICTED, "denied", "restricted to {roles}"),
    _FieldRule(
        lambda rule, _: (
            rule.masking_enabled
            or rule.mask is not None
            or rule.mask_value is not None
            or rule.access_level is AccessLevel.MASKED
        ),
        "masked",
        "masked except for {roles}",
    ),
    _FieldRule(lambda rule, _: bool(rule.allowed_roles), "denied", "allowed for {roles} only"),
)


def templates_of(policy: TableSecurityPolicy) -> dict[str, FilterTemplate | None]:
    """Parse every row filter of a policy; None stands for "no restriction".

    Raises
    ------
    PolicyError
        One does not parse.
    """
    return {
        role: _template(text, _filter_name(role, policy.table_name)) for role, text in policy.row_level_filters.items()
    }


def _template(text: object, what: str) -> FilterTemplate | None:
    if not isinstance(text, str):
        # None could be meant as "nothing may be seen" as well as "everything may".
        raise PolicyError(f"{what}: a filter is a text, not {type(text).__name__}", hint='"" is no restriction.')
    return parse_filter(text, what) if text.strip() else None


def check_policy(policy: TableSecurityPolicy) -> None:
    """Check what can be checked without knowing the table's columns.

    Raises
    ------
    PolicyError
        A filter does not parse, a mask does not exist, or a key and its `field_name` differ.
    """
    templates_of(policy)
    seen: set[str] = set()
    for key, rule in policy.field_policies.items():
        if key.casefold() != rule.field_name.casefold():
            raise PolicyError(
                f"policy of `{policy.table_name}`: `field_policies` has `{key}` for a rule about `{rule.field_name}`"
            )
        if key.casefold() in seen:
            raise PolicyError(f"policy of `{policy.table_name}`: two rules for the column `{key}`")
        seen.add(key.casefold())
        if not isinstance(rule.access_level, AccessLevel):
            raise PolicyError(f"policy of `{policy.table_name}`: `{key}` has no access level {rule.access_level!r}")
        masker = choose_mask(rule.field_name, rule.mask, rule.mask_value)
        if masker.warning:
            warnings.warn(f"column `{key}`: the mask `{masker.name}` {masker.warning}.", WeakMask, stacklevel=2)


class BoundPolicy:
    """Makes decisions for one policy and one set of columns.

    Parameters
    ----------
    policy
        A private copy: the administrator's own object may change at any time.
    templates
        Its row filters, parsed.
    columns
        Column -> DuckDB type, of the raw table.
    sandbox
        Binds filters and converts values.
    strict
        Refuse rules about columns that the table does not have: a rule that was mistyped, or whose column was renamed,
        would otherwise leave the real column open.
    """

    def __init__(
        self,
        policy: TableSecurityPolicy,
        templates: Mapping[str, FilterTemplate | None],
        columns: Mapping[str, str],
        sandbox: Sandbox,
        *,
        strict: bool = True,
    ) -> None:
        self.policy = policy
        self.policy_hash = policy.content_hash
        self._templates = templates
        self._columns = dict(columns)
        self._sandbox = sandbox
        self._filters: dict[str, BoundFilter] = {}
        self._rules = self._rules_by_column(strict)
        self._masked: dict[str, ColumnDecision] = {}

    def _rules_by_column(self, strict: bool) -> dict[str, FieldSecurityPolicy]:
        by_folded = {name.casefold(): rule for name, rule in self.policy.field_policies.items()}
        unknown = set(by_folded) - {name.casefold() for name in self._columns}
        if strict and unknown and self._columns:
            name = by_folded[min(unknown)].field_name
            raise PolicyError(
                f"policy of `{self.policy.table_name}`: the table has no column `{name}`."
                + nearest(name, self._columns),
                hint="Until the rule and the table agree, nothing of the table can be read.",
            )
        return {name: by_folded[name.casefold()] for name in self._columns if name.casefold() in by_folded}

    def bind_all(self) -> None:
        """Bind every filter and compile every mask, whoever they are for.

        Raises
        ------
        PolicyError
            One of them does not fit the columns.
        """
        for role in self._templates:
            self._bound(role)
        for name, rule in self._rules.items():
            if _rule_for_others(rule, self.policy)[0] == "masked":
                self._mask(name, rule)

    def decide(self, table: str, principal: Principal, operation: Operation) -> TableDecision:
        """Decide for one principal.

        Raises
        ------
        PolicyError
            A rule that applies to the principal does not fit the columns.
        """
        reason = gate(self.policy, table, principal, operation)
        if reason:
            return self._refuse(table, principal, reason)
        try:
            tree, rule = self.row_filter(principal) if self._columns else self._unread_filter(principal)
        except AccessDenied as denied:
            return self._refuse(table, principal, str(denied))
        columns = {name: self.column(name, principal) for name in self._columns}
        return TableDecision(
            table=table,
            principal=principal,
            allowed=True,
            reason="",
            columns=MappingProxyType(columns),
            filter_tree=tree,
            policy_hash=self.policy_hash,
            filter_rule=rule,
            audited=self.policy.audit_all_access,
        )

    def _refuse(self, table: str, principal: Principal, reason: str) -> TableDecision:
        return refusal(table, principal, self._columns, reason, self.policy_hash)

    def row_filter(self, principal: Principal) -> tuple[exp.Expr | None, str | None]:
        """OR the filters of the principal's roles; one role without restriction lifts all of them.

        Raises
        ------
        AccessDenied
            The principal lacks an attribute.
        """
        roles = self._filtering_roles(principal)
        if not roles:
            return None, None
        bound = [self._bound(role) for role in roles]
        trees = [item.for_principal(principal) for item in bound if item is not None]
        return (trees[0] if len(trees) == 1 else exp.paren(exp.or_(*trees, copy=False))), _filter_rule(roles)

    def _unread_filter(self, principal: Principal) -> tuple[exp.Expr | None, str | None]:
        """Say that a filter applies to a table whose columns are not known yet; no row passes meanwhile."""
        roles = self._filtering_roles(principal)
        return (exp.false(), _filter_rule(roles)) if roles else (None, None)

    def _filtering_roles(self, principal: Principal) -> list[str]:
        """Roles of the principal that restrict rows; none when one of them lifts the restriction."""
        roles = [role for role in self._templates if role in principal.identities]
        return [] if any(self._templates[role] is None for role in roles) else roles

    def _bound(self, role: str) -> BoundFilter | None:
        template = self._templates[role]
        if template is not None and role not in self._filters:
            name = _filter_name(role, self.policy.table_name)
            table = self.policy.table_name
            self._filters[role] = bind_filter(template, self._columns, name, table, self._sandbox)
        return self._filters.get(role)

    def access(self, name: str, principal: Principal) -> Access:
        """What a principal gets of one column, without compiling its mask."""
        rule = self._rules.get(name)
        if rule is None:
            return "denied" if self.policy.requires_encryption else "clear"
        if not principal.identities.isdisjoint(rule.allowed_roles):
            return "clear"
        return _rule_for_others(rule, self.policy)[0]

    def column(self, name: str, principal: Principal) -> ColumnDecision:
        """Decide one column of the table for a principal who may read the table."""
        kind = self._columns[name]
        rule = self._rules.get(name)
        if rule is None:
            if self.policy.requires_encryption:
                return ColumnDecision(name, kind, "denied", rule="encrypted for nobody: it has no field policy")
            return ColumnDecision(name, kind, "clear")
        if not principal.identities.isdisjoint(rule.allowed_roles):
            return ColumnDecision(name, kind, "clear", rule="clear for a role it is allowed for")
        access, says = _rule_for_others(rule, self.policy)
        if access == "masked":
            return self._mask(name, rule)
        return ColumnDecision(name, kind, access, rule=says)

    def _mask(self, name: str, rule: FieldSecurityPolicy) -> ColumnDecision:
        found = self._masked.get(name)
        if found is None:
            kind = self._columns[name]
            masker = choose_mask(rule.field_name, rule.mask, rule.mask_value)
            self._check_value(masker, name, kind)
            tree = masker.compile(name, kind)
            shown = NullMasker.name if _is_null(tree) else masker.name
            says = _rule_for_others(rule, self.policy)[1]
            found = self._masked[name] = ColumnDecision(name, kind, "masked", shown, tree, says)
        return found

    def _check_value(self, masker: Masker, name: str, kind: str) -> None:
        if not isinstance(masker, ConstantMasker) or masker.value is None or is_text(kind):
            return
        if not converts(masker.value, kind, self._sandbox):
            raise PolicyError(
                f"policy of `{self.policy.table_name}`: the mask value of `{name}` is not a {kind} without loss"
            )


def _is_null(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Cast) and isinstance(tree.this, exp.Null)


def _filter_rule(roles: list[str]) -> str:
    return f"row filter{'s' if len(roles) > 1 else ''} of {', '.join(f'`{role}`' for role in roles)}"


def _filter_name(role: str, table: str) -> str:
    return f"row filter of `{role}` on `{table}`"


def gate(policy: TableSecurityPolicy, table: str, principal: Principal, operation: Operation) -> str:
    """Say why a principal may not read a table at all, or nothing.

    Examples
    --------
    >>> policy = TableSecurityPolicy("customers", allowed_roles=["admin"])
    >>> gate(policy, "customers", Principal.of("ana"), Operation.SELECT)
    'no role of `ana` may read `customers`'
    """
    if operation not in _READING:
        return f"`{table}` is a virtual table: {operation.name} is not possible"
    if policy.allowed_roles and principal.identities.isdisjoint(policy.allowed_roles):
        return f"no role of `{principal.name}` may read `{table}`"
    if policy.row_level_filters and principal.identities.isdisjoint(policy.row_level_filters):
        return f"no row filter of `{table}` applies to `{principal.name}`"
    return ""


def _rule_for_others(rule: FieldSecurityPolicy, table: TableSecurityPolicy) -> tuple[Access, str]:
    """What roles that are not allowed get, by the first rule that applies."""
    roles = ", ".join(rule.allowed_roles) or "nobody"
    found = next((item for item in _FIELD_RULES if item.applies(rule, table)), None)
    return ("clear", "unrestricted") if found is None else (found.access, found.says.format(roles=roles))


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
