"""One policy bound to one set of columns: rules resolved once, decisions per principal kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType

from sqlglot import exp

from tauro_nb.errors import AccessDenied, PolicyError, nearest
from tauro_nb.security.binding import BoundFilter, bind_filter, converts
from tauro_nb.security.compose import ColumnRule, MaskRule, Ruling, check_ties, masks_of, rule_on, strictest
from tauro_nb.security.conditions import Conditions, Group
from tauro_nb.security.decision import Access, Barrier, ColumnDecision, TableDecision
from tauro_nb.security.declared import NOTHING_DECLARED, Declared
from tauro_nb.security.digest import content_hash
from tauro_nb.security.encryption import CIPHERTEXT, Encryptions, stored_columns
from tauro_nb.security.gate import gate, refusal
from tauro_nb.security.keys.ring import KeyRing
from tauro_nb.security.levels import AccessLevel, Operation
from tauro_nb.security.masks import ConstantMasker, Masker, MaskScope, NullMasker, WeakMask
from tauro_nb.security.masks.base import null_of
from tauro_nb.security.policy import FieldSecurityPolicy, TableSecurityPolicy
from tauro_nb.security.principal import Principal
from tauro_nb.security.relations import Relation, Scope
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.tags import TagGuard
from tauro_nb.security.template import FilterTemplate
from tauro_nb.security.types import is_text

__all__ = ["BoundPolicy", "ParsedPolicy"]


class ParsedPolicy:
    """A policy and the tags of its table, checked as far as that goes without knowing the table's columns.

    Parameters
    ----------
    policy
        A private copy: the administrator's own object may change at any time.
    guard
        What tags say of the table.
    declared
        What the table's definition asks for.
    barrier
        What the configuration asks for; the stricter of that and the policy's own counts.

    Raises
    ------
    PolicyError
        A condition does not parse, a mask does not exist or ties with another, or a key and its `field_name` differ.
    """

    def __init__(
        self,
        policy: TableSecurityPolicy,
        guard: TagGuard | None = None,
        declared: Declared = NOTHING_DECLARED,
        barrier: Barrier = "leakproof",
    ) -> None:
        self.policy = policy
        self.barrier: Barrier = "strict" if "strict" in (barrier, policy.barrier) else "leakproof"
        self.guard = guard
        self.declared = declared
        self.config = config = declared.encryption
        self.policy_hash = policy.content_hash + (f"+{guard.content_hash}" if guard is not None else "")
        self.policy_hash += f"+{content_hash(config)}" if config is not None else ""
        self.policy_hash += f"+{content_hash(declared.access)}" if declared.access else ""
        self.names: dict[str, str] = {}
        self.rules: dict[str, tuple[ColumnRule, ...]] = {}
        for key, rule in policy.field_policies.items():
            self._check_key(key, rule.field_name)
            if not isinstance(rule.access_level, AccessLevel):
                raise PolicyError(f"policy of `{policy.table_name}`: `{key}` has no access level {rule.access_level!r}")
            self.names[key.casefold()] = rule.field_name
            self.rules[key.casefold()] = (ColumnRule.of(rule),)
        for column, found in guard.rules.items() if guard is not None else ():
            self.rules[column] = (*self.rules.get(column, ()), *found)
        masks: list[tuple[str, MaskRule]] = []
        for column, sources in self.rules.items():
            what = f"policy of `{policy.table_name}`, column `{column}`"
            check_ties(sources, what, all_encrypted=policy.requires_encryption)
            masks += [(column, mask) for mask in masks_of(sources, all_encrypted=policy.requires_encryption)]
            for source in sources:
                named = (*source.role_masks, source.mask_for_others())  # they must exist, whether or not they are used
                for masker in [mask.masker for mask in named if mask.masker.warning]:
                    words = f"column `{column}`: the mask `{masker.name}` {masker.warning}."
                    warnings.warn(words, WeakMask, stacklevel=2)
        self.conditions = Conditions.of(policy, masks)
        self.relation_names = self.conditions.relation_names().union(
            *(mask.masker.relation_names() for _, mask in masks)
        )
        self.stored = stored_columns(self.field_rules(), config)

    def relations_for(self, principal: Principal) -> frozenset[str]:
        """Tables, as written, that are read for what applies to a principal."""
        if not self.relation_names:
            return self.relation_names
        masks = [mask for column in self.rules for mask in self.ruling(column, principal).masks]
        whens = [self.conditions.masks[mask.when] for mask in masks if mask.when is not None]
        names = [template.relation_names() for template in (*self.conditions.row_templates(principal), *whens)]
        return frozenset().union(*names, *(mask.masker.relation_names() for mask in masks))

    def field_rules(self) -> dict[str, tuple[FieldSecurityPolicy, ...]]:
        """Column in lower case -> the field policies about it, its tags' among them."""
        return {column: tuple(source.rule for source in sources) for column, sources in self.rules.items()}

    def _check_key(self, key: str, field_name: str) -> None:
        table = self.policy.table_name
        if key.casefold() != field_name.casefold():
            raise PolicyError(f"policy of `{table}`: `field_policies` has `{key}` for a rule about `{field_name}`")
        if key.casefold() in self.names:
            raise PolicyError(f"policy of `{table}`: two rules for the column `{key}`")

    def ruling(self, column: str, principal: Principal) -> Ruling:
        """What the rules of one column say to a principal who may read the table."""
        guard = self.guard
        found = self.rulings(column, principal)
        if found:
            return strictest(found)
        if guard is not None and guard.closed and column.casefold() not in guard.classified:
            return Ruling("denied", "not classified yet, in a table whose tags have a policy")
        return Ruling("clear", "")

    def rulings(self, column: str, principal: Principal) -> list[Ruling]:
        """What each rule of one column says on its own; the strictest counts."""
        every = self.policy.requires_encryption
        sources = self.rules.get(column.casefold(), ())
        found = [rule_on(source, principal, all_encrypted=every) for source in sources]
        if every and column.casefold() not in self.names:
            found.append(Ruling("encrypted", "encrypted for nobody: it has no field policy"))
        if not found and column.casefold() in self.stored:
            found.append(Ruling("encrypted", "encrypted at its source, and no field policy says who may read it"))
        return found

    def require_columns(self, columns: Iterable[str]) -> None:
        """Refuse rules about columns that the table does not have.

        A rule that was mistyped, or whose column was renamed, would otherwise leave the real column open. In a table
        that is closed by a tag that cannot happen, so that a tag may stay on a column that is gone.

        Raises
        ------
        PolicyError
            There is such a rule.
        """
        listed = list(columns)
        known = {name.casefold() for name in listed}
        ruled: dict[str, str] = dict(self.names)
        if self.guard is not None and not self.guard.closed:
            ruled |= {column: self.guard.names[column] for column in self.guard.rules}
        unknown = set(ruled) - known
        if unknown and known:
            name = ruled[min(unknown)]
            raise PolicyError(
                f"policy of `{self.policy.table_name}`: the table has no column `{name}`.{nearest(name, listed)}",
                hint="Until the rule and the table agree, nothing of the table can be read.",
            )


class BoundPolicy:
    """Makes decisions for one policy and one set of columns.

    Parameters
    ----------
    parsed
        The policy.
    columns
        Column -> DuckDB type, of the raw table.
    sandbox
        Binds conditions and converts values.
    strict
        Refuse rules about columns that the table does not have.
    relations
        The tables that the policy reads besides, by the names it has for them, in lower case. What reads one whose
        columns are not known yet lets no row pass, and shows no value.
    """

    def __init__(
        self,
        parsed: ParsedPolicy,
        columns: Mapping[str, str],
        sandbox: Sandbox,
        *,
        strict: bool = True,
        relations: Mapping[str, Relation] = MappingProxyType({}),
    ) -> None:
        self.policy = parsed.policy
        self.parsed = parsed
        self._scope = Scope(parsed.policy.table_name, dict(columns), relations, parsed.policy.run_as)
        self._columns = dict(columns)
        self._sandbox = sandbox
        self._ring = sandbox.functions.ring if sandbox.functions is not None else KeyRing()
        self._filters: dict[int, BoundFilter] = {}
        self._masks: dict[tuple[str, str], exp.Expr] = {}
        if strict:
            parsed.require_columns(columns)

    def _is_unread(self, names: Iterable[str]) -> bool:
        """Whether one of these tables is there, and its columns are not known yet."""
        found = [self._scope.relations.get(name.casefold()) for name in names]
        return any(relation is not None and not relation.columns for relation in found)

    def bind_all(self) -> None:
        """Bind every condition and compile every mask as far as columns are known, whoever they are for.

        Raises
        ------
        PolicyError
            One of them does not fit the columns.
        """
        for bind in self._bindings():
            bind()

    def mistakes(self) -> Iterator[str]:
        """What does not fit the columns, whoever it is for."""
        for bind in self._bindings():
            try:
                bind()
            except PolicyError as wrong:
                yield wrong.message

    def _bindings(self) -> Iterator[Callable[[], object]]:
        """Every condition and every mask, each to be bound by itself."""
        conditions = self.parsed.conditions
        for group in (conditions.permissive, conditions.restrictive):
            for role, template in group.templates.items():
                if template is not None and not self._is_unread(template.relation_names()):
                    yield partial(self._bind, template, self._name_of(group, role))
        yield partial(self._bind, conditions.tenant, self._tenant_name)
        for name in self._columns:
            sources = self.parsed.rules.get(name.casefold(), ())
            for mask in masks_of(sources, all_encrypted=self.policy.requires_encryption):
                yield partial(self._masked_tree, mask, name, None)
                if mask.when is not None and not self._is_unread(self._when(mask).relation_names()):
                    yield partial(self._bind_when, mask, name)
            yield partial(self.encryptions(None).spec, name, self._columns[name])

    def decide(self, table: str, principal: Principal, operation: Operation) -> TableDecision:
        """Decide for one principal.

        Raises
        ------
        PolicyError
            A rule that applies to the principal does not fit the columns.
        """
        reason = gate(self.policy, table, principal, operation, self.parsed.declared)
        if reason:
            return self._refuse(table, principal, reason)
        try:
            tree, rule = self.row_filter(principal, unread=not self._columns)
            columns = {name: self.column(name, principal) for name in self._columns}
        except AccessDenied as denied:
            return self._refuse(table, principal, str(denied))
        return TableDecision(
            table=table,
            principal=principal,
            allowed=True,
            reason="",
            columns=MappingProxyType(columns),
            filter_tree=tree,
            policy_hash=self.parsed.policy_hash,
            filter_rule=rule,
            audited=self.policy.audit_all_access,
            barrier=self.parsed.barrier,
        )

    def _refuse(self, table: str, principal: Principal, reason: str) -> TableDecision:
        return refusal(table, principal, self._columns, reason, self.parsed.policy_hash)

    # -- rows

    def row_filter(self, principal: Principal, *, unread: bool = False) -> tuple[exp.Expr | None, str | None]:
        """The tenant's rows AND all restrictive filters AND any of the permissive ones; and whose they are, in words.

        Of an `unread` table, whose columns are not known yet, no row passes.

        Raises
        ------
        AccessDenied
            The principal lacks an attribute.
        """
        conditions = self.parsed.conditions
        words: list[str] = []
        parts: list[Callable[[], exp.Expr]] = []
        if (tenant := conditions.tenant_of(principal)) is not None:
            words.append("rows of the own tenant")
            parts.append(partial(self._joined, {self._tenant_name: tenant}, principal, exp.or_))
        for group, joins in ((conditions.restrictive, exp.and_), (conditions.permissive, exp.or_)):
            lifted = group is conditions.permissive and conditions.lifting(principal)
            roles = [] if lifted else [role for role in group.of(principal) if group.templates[role] is not None]
            if roles:
                words.append(group.rule(roles))
                named = {self._name_of(group, role): group.templates[role] for role in roles}
                parts.append(partial(self._joined, named, principal, joins))
        if not words:
            return None, None
        applying = conditions.row_templates(principal)
        if unread or any(self._is_unread(template.relation_names()) for template in applying):
            return exp.false(), "; ".join(words)
        trees = [tree() for tree in parts]
        whole = trees[0] if len(trees) == 1 else exp.paren(exp.and_(*trees, copy=False))
        return self.encryptions(principal).over_stored(whole, self._columns), "; ".join(words)

    def _joined(
        self, named: Mapping[str, FilterTemplate | None], principal: Principal, joins: Callable[..., exp.Expr]
    ) -> exp.Expr:
        bound = [self._bind(template, what) for what, template in named.items()]
        trees = [one.for_principal(principal) for one in bound if one is not None]
        return trees[0] if len(trees) == 1 else exp.paren(joins(*trees, copy=False))

    def _name_of(self, group: Group, role: str) -> str:
        return f"{group.kind} of `{role}` on `{self.policy.table_name}`"

    def _bind(self, template: FilterTemplate | None, what: str) -> BoundFilter | None:
        """The one place where a condition meets columns."""
        if template is not None and id(template) not in self._filters:
            self._filters[id(template)] = bind_filter(template, self._scope, what, self._sandbox)
        return self._filters.get(id(template))

    @property
    def _tenant_name(self) -> str:
        return f"tenant column of `{self.policy.table_name}`"

    # -- columns

    def as_they_are(self, table: str, principal: Principal) -> TableDecision:
        """The decision of a policy that reads the table for a principal: everything, in plain."""
        clear = Ruling("clear", "read by a policy")
        columns = {name: _clear(self, name, clear, principal) for name in self._columns}
        return TableDecision(table, principal, True, "", MappingProxyType(columns), None, self.parsed.policy_hash)

    def access(self, name: str, principal: Principal) -> Access:
        """What a principal gets of one column, without compiling its mask."""
        return self.parsed.ruling(name, principal).access

    def encryptions(self, principal: Principal | None) -> Encryptions:
        """How columns are encrypted, with the keys of the principal's tenant."""
        tenant = principal.tenant if principal is not None and principal.tenant is not None else ""
        parsed = self.parsed
        return Encryptions(self.policy.table_name, parsed.field_rules(), parsed.config, self._ring, tenant)

    def column(self, name: str, principal: Principal) -> ColumnDecision:
        """Decide one column of the table for a principal who may read the table.

        Raises
        ------
        AccessDenied
            The principal lacks an attribute.
        """
        ruling = self.parsed.ruling(name, principal)
        return _EXPRESSED[ruling.access](self, name, ruling, principal)

    def kind(self, name: str) -> str:
        """The DuckDB type of a raw column."""
        return self._columns[name]

    def masked(self, name: str, ruling: Ruling, principal: Principal) -> ColumnDecision:
        """The strictest mask; where its condition is definitely false, the next one; at last the raw value."""
        kind = self._columns[name]
        unconditional = next((n for n, mask in enumerate(ruling.masks) if mask.when is None), len(ruling.masks))
        chain = ruling.masks[: unconditional + 1]
        whens = [self._when(mask) for mask in chain if mask.when is not None]
        if any(self._is_unread(template.relation_names()) for template in whens):
            return ColumnDecision(name, kind, "masked", chain[0].masker.name, null_of(kind), ruling.says)
        tree: exp.Expr = exp.column(name, quoted=True)
        for mask in reversed(chain):
            masked = self._masked_tree(mask, name, principal)
            when = self._bind_when(mask, name)
            if when is None:
                tree = masked
            else:
                clear = exp.Not(this=exp.paren(when.for_principal(principal)))
                tree = exp.Case(ifs=[exp.If(this=clear, true=tree.copy())], default=masked.copy())
        tree = self.encryptions(principal).over_stored(tree, self._columns)
        first = self._masked_tree(chain[0], name, principal)
        shown = NullMasker.name if _is_null(first) else chain[0].masker.name
        return ColumnDecision(name, kind, "masked", shown, tree, ruling.says)

    def _bind_when(self, mask: MaskRule, name: str) -> BoundFilter | None:
        if mask.when is None:
            return None
        what = f"condition of the mask of `{name}` in `{self.policy.table_name}`"
        return self._bind(self._when(mask), what)

    def _when(self, mask: MaskRule) -> FilterTemplate:
        assert mask.when is not None
        return self.parsed.conditions.masks[mask.when]

    def _masked_tree(self, mask: MaskRule, name: str, principal: Principal | None) -> exp.Expr:
        """The one place where a mask meets its column; without a principal it is only checked."""
        if mask.masker.personal:
            return self._compile_mask(mask, name, principal)
        key = (name, mask.identity)
        if key not in self._masks:
            self._masks[key] = self._compile_mask(mask, name, principal)
        return self._masks[key]

    def _compile_mask(self, mask: MaskRule, name: str, principal: Principal | None) -> exp.Expr:
        kind = self._columns[name]
        self._check_value(mask.masker, name, kind)
        if self._is_unread(mask.masker.relation_names()):
            return null_of(kind)
        scope = MaskScope(
            self.policy.table_name, self._columns, self._sandbox, principal, self._ring, names=self._scope
        )
        return mask.masker.compile_in(name, kind, scope)

    def _check_value(self, masker: Masker, name: str, kind: str) -> None:
        if not isinstance(masker, ConstantMasker) or masker.value is None or is_text(kind):
            return
        if not converts(masker.value, kind, self._sandbox):
            raise PolicyError(
                f"policy of `{self.policy.table_name}`: the mask value of `{name}` is not a {kind} without loss"
            )


def _is_null(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Cast) and isinstance(tree.this, exp.Null)


def _denied(bound: BoundPolicy, name: str, ruling: Ruling, _: Principal) -> ColumnDecision:
    return ColumnDecision(name, bound.kind(name), "denied", rule=ruling.says)


def _clear(bound: BoundPolicy, name: str, ruling: Ruling, principal: Principal) -> ColumnDecision:
    kind, ciphers = bound.kind(name), bound.encryptions(principal)
    tree = ciphers.opened(name, kind) if ciphers.is_stored(name) else None
    return ColumnDecision(name, kind, "clear", tree=tree, rule=ruling.says)


def _encrypted(bound: BoundPolicy, name: str, ruling: Ruling, principal: Principal) -> ColumnDecision:
    kind, ciphers = bound.kind(name), bound.encryptions(principal)
    tree = ciphers.sealed(name, kind)
    return ColumnDecision(name, kind, "encrypted", tree=tree, rule=ruling.says, shown_type=CIPHERTEXT)


_EXPRESSED: Mapping[Access, Callable[[BoundPolicy, str, Ruling, Principal], ColumnDecision]] = MappingProxyType(
    {"denied": _denied, "encrypted": _encrypted, "masked": BoundPolicy.masked, "clear": _clear}
)
"""How each access becomes an expression."""
