"""The one place where it is decided who sees what."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlglot import exp

from tauro_nb.catalog.table import EncryptionConfig
from tauro_nb.errors import AccessDenied, CipherError, KeysetError, PolicyError, UsageError, nearest
from tauro_nb.security.audit import SUCCESS, AuditLog, AuditTrail
from tauro_nb.security.compiled import ParsedPolicy
from tauro_nb.security.decision import Barrier, TableDecision
from tauro_nb.security.encryption import Finder, stored_types
from tauro_nb.security.functions import EngineFunctions
from tauro_nb.security.gate import gate, without_policy
from tauro_nb.security.keys import KeyRing
from tauro_nb.security.policy import Operation, TableSecurityPolicy, TagPolicy
from tauro_nb.security.principal import Principal
from tauro_nb.security.reads import ColumnsOf, Reader, relations_of, require_no_circle
from tauro_nb.security.relations import INVOKER, OWNER, Catalog, NoCatalog, Tables, policy_reads
from tauro_nb.security.remembered import CompiledPolicy, Relations
from tauro_nb.security.rows import Row, RowColumns, Run, in_sandbox, mask_values, maskable_array, matching_rows
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.tags import Labels, TagCatalog, guard_signature, make_guard

__all__ = ["SecurityEnforcer"]


class SecurityEnforcer:
    r"""Holds the policies, decides, and records.

    Queries and row lists go through the same compiled policy: `decide` for the former, `apply_row_level_security` and
    `apply_field_masking` for the latter.

    Parameters
    ----------
    default_access
        What a table without a policy means: `allow` or `deny`.
    principals
        Declared principals by name; a name that is not declared is its own only role.
    trail
        Where accesses are recorded; a trail in memory when not given.
    tables
        Known columns of a table (name -> {column: type}, or a function that returns that or None). With them policies
        are bound and type-checked when they are registered.
    labels
        Where the tags of tables and columns are kept; without it policies of tags rule nothing.
    keys
        Keys for encryption and pseudonyms; in memory only when not given.
    encryption
        Looks up what the catalog says of a table's encryption.
    catalog
        Where the names in policies' subqueries are found; without it any table may be there, `tables` knows columns.
    reader
        Reads such tables for row lists; without it a policy that needs them is refused there.
    barrier
        Which predicates of the user pass below a policy: `leakproof` ones or, when `strict`, none.

    Examples
    --------
    >>> from tauro_nb.security import FieldSecurityPolicy
    >>> enforcer = SecurityEnforcer()
    >>> enforcer.register_policy(
    ...     TableSecurityPolicy(
    ...         "customers",
    ...         row_level_filters={"analyst": "department = 'Sales'", "admin": ""},
    ...         field_policies={"email": FieldSecurityPolicy("email", masking_enabled=True, allowed_roles=["admin"])},
    ...     )
    ... )
    >>> rows = [{"id": 1, "department": "Sales", "email": "alan@example.com"}, {"id": 2, "department": "Legal"}]
    >>> visible = enforcer.apply_row_level_security("customers", "analyst", rows)
    >>> enforcer.apply_field_masking("customers", "analyst", visible)
    [{'id': 1, 'department': 'Sales', 'email': 'a***n@example.com'}]
    >>> decision = enforcer.decide("customers", {"department": "VARCHAR", "email": "VARCHAR"}, "analyst")
    >>> decision.row_filter.sql("duckdb"), decision.columns["email"].mask
    ('("department" = \'Sales\')', 'email')
    """

    def __init__(
        self,
        default_access: Literal["allow", "deny"] = "allow",
        principals: Mapping[str, Principal] | None = None,
        trail: AuditTrail | None = None,
        tables: Tables | None = None,
        labels: TagCatalog | None = None,
        keys: KeyRing | None = None,
        encryption: Finder | None = None,
        catalog: Catalog | None = None,
        reader: Reader | None = None,
        barrier: Barrier = "leakproof",
    ) -> None:
        if default_access not in ("allow", "deny"):
            raise UsageError(f"`default_access` is `allow` or `deny`, not {default_access!r}")
        self.default_access = default_access
        self.principals = principals if principals is not None else {}
        self.trail = trail if trail is not None else AuditTrail()
        self._catalog: Catalog = NoCatalog(tables) if catalog is None else catalog
        self._reader = reader
        self._labels = labels
        self._encryption = encryption
        self._barrier: Barrier = barrier
        self.keys = keys if keys is not None else KeyRing()
        self.functions = EngineFunctions(self.keys)
        self._sandbox = Sandbox(self.functions)
        self._lock = threading.Lock()
        self._policies: dict[str, TableSecurityPolicy] = {}
        self._tag_policies: dict[str, TagPolicy] = {}
        self._compiled: dict[str, CompiledPolicy] = {}

    def register_policy(self, policy: TableSecurityPolicy) -> None:
        """Put a policy in force, in place of an earlier one for the same table, in one step.

        Raises
        ------
        PolicyError
            The policy is wrong; the earlier one stays in force.
        """
        if not isinstance(policy, TableSecurityPolicy):
            raise UsageError(f"a TableSecurityPolicy is needed, not {type(policy).__name__}")
        compiled = self._check(policy.table_name, policy, self._tag_policies)
        key = policy.table_name.casefold()
        with self._lock:
            self._policies[key] = policy
            self._compiled[key] = compiled

    def register_tag_policy(self, policy: TagPolicy) -> None:
        """Put the policy of a tag in force, in place of an earlier one for the same tag, in one step.

        Raises
        ------
        PolicyError
            The policy is wrong, or does not go together with that of a table; the earlier one stays in force.
        """
        if not isinstance(policy, TagPolicy):
            raise UsageError(f"a TagPolicy is needed, not {type(policy).__name__}")
        key = policy.tag.casefold()
        wanted = {**self._tag_policies, key: policy}
        make_guard(([key], {"column": [key]}), wanted)
        self._check_tables(wanted)
        with self._lock:
            self._tag_policies = {**self._tag_policies, key: policy}

    def get_tag_policy(self, tag: str) -> TagPolicy | None:
        """The policy of a tag; changing it takes effect with the next decision."""
        return self._tag_policies.get(tag.casefold())

    def remove_tag_policy(self, tag: str) -> bool:
        """Take the policy of a tag away; the tag is a label then. Returns whether there was one."""
        with self._lock:
            rest = dict(self._tag_policies)
            found = rest.pop(tag.casefold(), None)
            self._tag_policies = rest
        return found is not None

    def check_tables(self) -> None:
        """Check the policy of every table in the catalog with the tags it carries now.

        Raises
        ------
        PolicyError
            Rules of one table do not go together, or do not fit its columns.
        """
        self._check_tables(self._tag_policies)

    def _check_tables(self, tag_policies: Mapping[str, TagPolicy]) -> None:
        for name in self._labels.names() if self._labels is not None else ():
            policy = self._policies.get(name.casefold())
            if policy is not None or self._guard_signature(name, tag_policies) is not None:
                self._check(name, policy, tag_policies)

    def _compile(
        self, table_name: str, policy: TableSecurityPolicy | None, tag_policies: Mapping[str, TagPolicy]
    ) -> CompiledPolicy:
        """Parse a policy with the tags of its table."""
        # Copies: the administrator's objects may change while a decision is made.
        own = TableSecurityPolicy(table_name) if policy is None else copy.deepcopy(policy)
        tags = copy.deepcopy(dict(tag_policies))
        labels = self._labels_of(table_name, tags)
        guarded = None if labels is None else guard_signature(labels, tags)
        guard = None if labels is None or guarded is None else make_guard(labels, tags)
        config = self._encryption_of(table_name)
        if own.run_as not in (OWNER, INVOKER, *self.principals):
            known = (OWNER, INVOKER, *self.principals)
            raise PolicyError(f"policy of `{table_name}`: `run_as` is nobody known.{nearest(own.run_as, known)}")
        signature = (None if policy is None else own.signature(), guarded, config)
        return CompiledPolicy(ParsedPolicy(own, guard, config, self._barrier), signature, self._sandbox)

    def _check(
        self, table_name: str, policy: TableSecurityPolicy | None, tag_policies: Mapping[str, TagPolicy]
    ) -> CompiledPolicy:
        """Parse a policy, and bind it where the columns are known."""
        compiled = self._compile(table_name, policy, tag_policies)
        names = compiled.parsed.relation_names
        self._require_no_circle(table_name, names)
        relations = relations_of(names, self._catalog, self._catalog.columns)
        if unknown := sorted(name for name in names if name.casefold() not in relations):
            raise PolicyError(f"policy of `{table_name}`: there is no table `{unknown[0]}`")
        columns = self._catalog.columns(table_name)
        if columns:
            compiled.bind(columns, relations, strict=True).bind_all()
        return compiled

    def _require_no_circle(self, table_name: str, names: frozenset[str]) -> None:
        def policy_reads(table: str) -> frozenset[str]:
            compiled = self._compiled.get(table.casefold())
            return frozenset() if compiled is None else compiled.parsed.relation_names

        if names:
            require_no_circle(table_name, names, self._catalog, policy_reads)

    def _relations(
        self, table_name: str, compiled: CompiledPolicy, principal: Principal, columns_of: ColumnsOf | None
    ) -> Relations:
        """The tables that are read for what applies to a principal."""
        names = compiled.parsed.relations_for(principal)
        self._require_no_circle(table_name, names)
        return relations_of(names, self._catalog, columns_of or self._catalog.columns)

    def _labels_of(self, table_name: str, tag_policies: Mapping[str, TagPolicy]) -> Labels | None:
        return self._labels.labels(table_name) if tag_policies and self._labels is not None else None

    def _encryption_of(self, table_name: str) -> EncryptionConfig | None:
        config = None if self._encryption is None else self._encryption(table_name)
        return config if config is not None and config.enabled and config.fields else None

    def stored_columns(self, table_name: str) -> frozenset[str]:
        """Columns, in lower case, that the table's source holds as ciphertext."""
        compiled = self._current(table_name)
        return frozenset() if compiled is None else compiled.parsed.stored

    def _guard_signature(self, table_name: str, tag_policies: Mapping[str, TagPolicy]) -> tuple[Any, ...] | None:
        labels = self._labels_of(table_name, tag_policies)
        return None if labels is None else guard_signature(labels, tag_policies)

    def get_policy(self, table_name: str) -> TableSecurityPolicy | None:
        """The policy in force; changing it takes effect with the next decision."""
        return self._policies.get(table_name.casefold())

    def remove_policy(self, table_name: str) -> bool:
        """Take a policy away; afterwards `default_access` decides. Returns whether there was one."""
        with self._lock:
            self._compiled.pop(table_name.casefold(), None)
            return self._policies.pop(table_name.casefold(), None) is not None

    def principal(self, who: str | Principal) -> Principal:
        """Look up a declared principal by name; an undeclared name is its own only role.

        Raises
        ------
        AccessDenied
            The name is empty or holds control characters.
        """
        if isinstance(who, str) and who in self.principals:
            return self.principals[who]
        return Principal.of(who)

    def decide(
        self,
        table_name: str,
        columns: Mapping[str, str],
        principal: str | Principal,
        operation: Operation = Operation.SELECT,
        columns_of: ColumnsOf | None = None,
    ) -> TableDecision:
        """Decide what a principal gets of a table; records nothing.

        Parameters
        ----------
        table_name
            The virtual table.
        columns
            All columns of the raw table with their DuckDB types. Empty when they are not known yet: the decision then
            says whether the table may be read and is filtered, and its row filter is FALSE.
        principal
            Who asks.
        operation
            What for.
        columns_of
            Tells the columns of tables that the policy reads besides, as its `run_as` has them; without it what the
            catalog knows counts, and what reads a table that is not known yet shows nothing.

        Raises
        ------
        PolicyError
            The policy does not fit the columns; nothing may be read then.
        AccessDenied
            The principal's name is not one.
        """
        who = self.principal(principal)
        compiled = self._current(table_name)
        if compiled is None:
            return without_policy(table_name, who, columns, self.default_access, operation)
        relations = self._relations(table_name, compiled, who, columns_of)
        return compiled.decide(table_name, columns, who, operation, relations)

    def decide_for_policy(self, table_name: str, columns: Mapping[str, str], principal: Principal) -> TableDecision:
        """Decide what a policy that is run as its owner gets of a table, for a principal: all of it, in plain."""
        compiled = self._current(table_name)
        if compiled is None:
            return without_policy(table_name, principal, columns, "allow", Operation.SELECT)
        return compiled.bind(columns, strict=False).as_they_are(table_name, principal)

    def run_as(self, table_name: str) -> str:
        """As whom the policy of a table reads other tables."""
        compiled = self._current(table_name)
        return OWNER if compiled is None else compiled.policy.run_as

    def check_table(self, table_name: str, principal: str | Principal) -> None:
        """Refuse before anything is known of a table's columns; records nothing.

        Raises
        ------
        AccessDenied
            The principal may not read the table at all.
        """
        reason = self._gate(table_name, self.principal(principal), self._current(table_name))
        if reason:
            raise AccessDenied(reason, table=table_name)

    def is_row_filtered(self, table_name: str, principal: str | Principal) -> bool:
        """Whether a row filter stands between this principal and the table."""
        who, compiled = self.principal(principal), self._current(table_name)
        if compiled is None:
            return False
        return bool(compiled.parsed.conditions.row_templates(who))

    def _gate(
        self, table_name: str, who: Principal, compiled: CompiledPolicy | None, operation: Operation = Operation.SELECT
    ) -> str:
        """Why the table as a whole is closed to a principal; empty when it is open."""
        if compiled is None:
            return without_policy(table_name, who, {}, self.default_access, operation).reason
        return gate(compiled.policy, table_name, who, operation)

    def validate_access(
        self,
        principal: str | Principal,
        table_name: str,
        field_names: Sequence[str] | None = None,
        operation: Operation = Operation.SELECT,
    ) -> bool:
        """Whether a principal may read a table and the values of these columns; a refusal is recorded.

        A masked value is one, ciphertext is none.
        """
        names = list(field_names or ())
        try:
            who = self.principal(principal)
            compiled = self._current(table_name)
        except (AccessDenied, PolicyError) as wrong:
            self.trail.denied(str(principal), table_name, str(wrong), columns=names, operation=operation)
            return False
        reason = self._gate(table_name, who, compiled, operation)
        if compiled is not None and not reason:
            bound = compiled.bind(dict.fromkeys(names, "VARCHAR"), strict=False)
            denied = [name for name in names if bound.access(name, who) in ("denied", "encrypted")]
            reason = f"no access to {', '.join(f'`{name}`' for name in denied)}" if denied else ""
        if reason:
            self.trail.denied(who.name, table_name, reason, columns=names, roles=who.roles, operation=operation)
        return not reason

    def apply_row_level_security(
        self, table_name: str, principal: str | Principal, rows: Sequence[Row]
    ) -> list[dict[str, Any]]:
        """The rows that a principal may see: the same objects, in the same order.

        A row that lacks a column of the filter has NULL there; when all rows lack it, nothing is judged and nothing
        returned.

        Raises
        ------
        AccessDenied
            The principal may not read the table, or the filter cannot be evaluated on these values.
        PolicyError
            The filter does not fit the rows, for example because its column is missing.
        """
        who, compiled = self._enter(table_name, principal)
        visible: list[Any] = list(rows)
        if compiled is not None and visible:
            with _Refusals(self, table_name, who, compiled):
                visible = self._filter(table_name, who, compiled, visible)
        self._record(table_name, who, compiled, visible)
        return visible

    def apply_field_masking(
        self, table_name: str, principal: str | Principal, rows: Sequence[Row]
    ) -> list[dict[str, Any]]:
        """Copies of the rows: masked, encrypted or decrypted, without denied columns; other values are the same object.

        Raises
        ------
        AccessDenied
            The principal may not read the table.
        PolicyError
            The policy is wrong.
        """
        who, compiled = self._enter(table_name, principal)
        masked: list[dict[str, Any]] = [dict(row) for row in rows]
        if compiled is not None and masked:
            with _Refusals(self, table_name, who, compiled):
                self._mask(table_name, who, compiled, rows, masked)
        self._record(table_name, who, compiled, masked)
        return masked

    def audit_access(
        self,
        principal: str | Principal,
        table_name: str,
        field_names: Sequence[str] | None = None,
        row_count: int = 0,
        status: str = SUCCESS,
        denial_reason: str = "",
        operation: Operation = Operation.SELECT,
    ) -> AuditLog:
        """Record an access that happened elsewhere.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        """
        return self.trail.record(
            AuditLog(
                principal=principal.name if isinstance(principal, Principal) else str(principal),
                table_name=table_name,
                field_names=tuple(field_names or ()),
                row_count=row_count,
                status=status,
                denial_reason=denial_reason,
                operation=operation,
            )
        )

    def get_audit_logs(
        self,
        table_name: str | None = None,
        principal: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        status: str | None = None,
    ) -> list[AuditLog]:
        """Find audit records, oldest first; times without a zone are UTC."""
        return self.trail.records(table_name, principal, start_time, end_time, status)

    def export_audit_trail(self, format: str = "json") -> str:
        """All records as `json`, `jsonl` or `csv`."""
        return self.trail.export(format)

    def close(self) -> None:
        """Close the audit file and the private engine; both open again when needed."""
        self.trail.close()
        self._sandbox.close()

    def _current(self, table_name: str) -> CompiledPolicy | None:
        """The compiled policy, compiled anew when the policy, the tags or their policies have changed since."""
        key = table_name.casefold()
        policy, compiled, tag_policies = self._policies.get(key), self._compiled.get(key), self._tag_policies
        guarded = self._guard_signature(table_name, tag_policies)
        config = self._encryption_of(table_name)
        if policy is None and ((guarded is None and config is None) or self.default_access != "allow"):
            return None
        if compiled is None or compiled.signature != (None if policy is None else policy.signature(), guarded, config):
            compiled = self._compile(table_name, policy, tag_policies)
            with self._lock:
                if self._policies.get(key) is policy:
                    self._compiled[key] = compiled
        return compiled

    def _enter(self, table_name: str, principal: str | Principal) -> tuple[Principal, CompiledPolicy | None]:
        """Let a principal through to row lists of a table, or record and raise the refusal."""
        try:
            who = self.principal(principal)
            compiled = self._current(table_name)
        except (AccessDenied, PolicyError) as wrong:
            self.trail.denied(str(principal), table_name, str(wrong))
            raise
        reason = self._gate(table_name, who, compiled)
        if reason:
            policy = compiled.policy_hash if compiled else f"default:{self.default_access}"
            self.trail.denied(who.name, table_name, reason, roles=who.roles, policy_hash=policy)
            raise AccessDenied(reason, table=table_name)
        return who, compiled

    def _filter(self, table_name: str, who: Principal, compiled: CompiledPolicy, rows: list[Any]) -> list[Any]:
        applying = compiled.parsed.conditions.row_templates(who)
        if not applying:
            return rows
        names = {name for template in applying for name in template.column_names()}
        source = RowColumns(rows, self._catalog.columns(table_name), self._sandbox)
        arrays, types = source.select(names)
        relations = self._relations(table_name, compiled, who, self._columns_for(table_name, compiled, who))
        tree, _ = compiled.bind(types, relations, strict=False).row_filter(who)
        held = stored_types(types, compiled.parsed.stored)
        return rows if tree is None else matching_rows(rows, arrays, held, tree, self._runner(tree, who))

    def _columns_for(self, table_name: str, compiled: CompiledPolicy, who: Principal) -> ColumnsOf | None:
        """How the columns of other tables are found for row lists, where a policy reads such tables."""
        if not compiled.parsed.relations_for(who):
            return None
        if self._reader is None:
            raise PolicyError(
                f"policy of `{table_name}`: it reads other tables, and there is no data layer to read them from",
                hint="Use the `security` of a VirtualDataLayer.",
            )
        return self._reader.columns(who, compiled.policy.run_as)

    def _runner(self, tree: exp.Expr, who: Principal) -> Run:
        reader = self._reader
        if reader is None or next(policy_reads(tree), None) is None:
            return in_sandbox(self._sandbox)
        return lambda select, rows: reader.run(select, rows, who)

    def _mask(
        self,
        table_name: str,
        who: Principal,
        compiled: CompiledPolicy,
        rows: Sequence[Row],
        masked: list[dict[str, Any]],
    ) -> None:
        source = RowColumns(rows, self._catalog.columns(table_name), self._sandbox)
        for key in source.keys:
            # A key of its own at a time: two spellings of a column are both hidden.
            access = compiled.bind({key: "VARCHAR"}, strict=False).access(key, who)
            if access == "clear" and key.casefold() not in compiled.parsed.stored:
                continue
            holders = [number for number, row in enumerate(rows) if key in row]
            if access == "denied":
                for number in holders:
                    del masked[number][key]
                continue
            values = self._masked_values(compiled, who, source.only(holders), key)
            for number, value in zip(holders, values, strict=True):
                masked[number][key] = value

    def _masked_values(self, compiled: CompiledPolicy, who: Principal, source: RowColumns, key: str) -> list[Any]:
        """The values of one key as a principal sees them; conditions see the other columns as they are."""
        ruling = compiled.parsed.ruling(key, who)
        others = compiled.parsed.conditions.columns_of(ruling.masks) - {key.casefold()}
        arrays, types = source.select(others)
        own = {key: maskable_array([row.get(key) for row in source.rows])}
        types = {**types, **source.types_of(own)}
        table = compiled.policy.table_name
        relations = self._relations(table, compiled, who, self._columns_for(table, compiled, who))
        column = compiled.bind(types, relations, strict=False).column(key, who)
        if column.expression is None:
            raise PolicyError(f"the mask of `{key}` is missing")
        held = stored_types(types, compiled.parsed.stored)
        return mask_values({**arrays, **own}, held, column.expression, key, self._runner(column.expression, who))

    def _record(self, table_name: str, who: Principal, compiled: CompiledPolicy | None, rows: Sequence[Row]) -> None:
        """Record that rows are about to be handed over; when that fails they are not."""
        if compiled is not None and not compiled.policy.audit_all_access:
            return
        self.trail.record(
            AuditLog(
                principal=who.name,
                roles=tuple(sorted(who.roles)),
                table_name=table_name,
                field_names=tuple(dict.fromkeys(key for row in rows for key in row)),
                row_count=len(rows),
                policy_hash=compiled.policy_hash if compiled else f"default:{self.default_access}",
            )
        )


class _Refusals:
    """Records a refusal that happens in its body, and lets it pass."""

    def __init__(self, enforcer: SecurityEnforcer, table: str, who: Principal, compiled: CompiledPolicy) -> None:
        self._enforcer, self._table, self._who, self._compiled = enforcer, table, who, compiled

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (AccessDenied, CipherError, KeysetError, PolicyError)):
            self._enforcer.trail.denied(
                self._who.name,
                self._table,
                str(error),
                roles=self._who.roles,
                policy_hash=self._compiled.policy_hash,
            )
