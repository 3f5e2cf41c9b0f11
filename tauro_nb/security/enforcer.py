"""The one place where it is decided who sees what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tauro_nb.errors import AccessDenied, PolicyError, TauroError
from tauro_nb.security.audit import AuditLog
from tauro_nb.security.audited import asker_of
from tauro_nb.security.book import UNUSABLE
from tauro_nb.security.decision import TableDecision
from tauro_nb.security.gate import gate, refusal, without_policy
from tauro_nb.security.in_force import PoliciesInForce
from tauro_nb.security.policy import Operation
from tauro_nb.security.principal import Principal
from tauro_nb.security.reads import ColumnsOf
from tauro_nb.security.row_policy import RowPolicy
from tauro_nb.security.rows import Row
from tauro_nb.security.standing import Compiled, Refusals, Relations, denial_of

__all__ = ["SecurityEnforcer"]


class SecurityEnforcer(PoliciesInForce):
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
    definitions
        Where the catalog says what a table's definition itself asks for: `encryption_config`, `access_control`.
    store
        Policies that are kept in files; they are looked at before every decision.
    catalog
        Where the names in policies' subqueries are found; without it any table may be there, `tables` knows columns.
    reader
        Reads such tables for row lists; without it a policy that needs them is refused there.
    barrier
        Which predicates of the user pass below a policy: `leakproof` ones or, when `strict`, none.

    Examples
    --------
    >>> from tauro_nb.security import FieldSecurityPolicy, TableSecurityPolicy
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

    def principal(self, who: str | Principal) -> Principal:
        """Look up a declared principal by name; an undeclared name is its own only role.

        Raises
        ------
        AccessDenied
            The name is empty or holds control characters.
        """
        declared = self.principals.get(who) if isinstance(who, str) else None
        return Principal.of(who) if declared is None else declared

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
        who, book = self.principal(principal), self.book
        closed = book.closes(table_name)
        if closed:
            return refusal(table_name, who, columns, closed, UNUSABLE)
        compiled = self._current(table_name, book)
        if compiled is None:
            return without_policy(table_name, who, columns, book.default_access, operation)
        relations = self._relations(table_name, compiled, who, columns_of)
        return compiled.decide(table_name, columns, who, operation, relations)

    def decide_for_policy(self, table_name: str, columns: Mapping[str, str], principal: Principal) -> TableDecision:
        """Decide what a policy that is run as its owner gets of a table, for a principal: all of it, in plain."""
        compiled = self._current(table_name)
        if compiled is None:
            return without_policy(table_name, principal, columns, "allow", Operation.SELECT)
        return compiled.bind(columns, strict=False).as_they_are(table_name, principal)

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
        self, table_name: str, who: Principal, compiled: Compiled | None, operation: Operation = Operation.SELECT
    ) -> str:
        """Why the table as a whole is closed to a principal; empty when it is open."""
        book = self.book
        if book.closes(table_name):
            return book.closes(table_name)
        if compiled is None:
            return without_policy(table_name, who, {}, book.default_access, operation).reason
        return gate(compiled.policy, table_name, who, operation, compiled.parsed.declared)

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
            self._refused(principal, table_name, wrong, columns=names, operation=operation)
            return False
        reason = self._gate(table_name, who, compiled, operation)
        if compiled is not None and not reason:
            bound = compiled.bind(dict.fromkeys(names, "VARCHAR"), strict=False)
            denied = [name for name in names if bound.access(name, who) in ("denied", "encrypted")]
            reason = f"no access to {', '.join(f'`{name}`' for name in denied)}" if denied else ""
        if reason:
            self.trail.denied(
                who.name, table_name, reason, columns=names, operation=operation, **asker_of(who).claims()
            )
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
            with Refusals(self.trail, table_name, who, compiled.policy_hash):
                visible = self._rows_of(table_name, compiled, who).visible(visible)
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
            with Refusals(self.trail, table_name, who, compiled.policy_hash):
                self._rows_of(table_name, compiled, who).mask(rows, masked)
        self._record(table_name, who, compiled, masked)
        return masked

    def _refused(self, principal: str | Principal, table_name: str, wrong: TauroError, **more: Any) -> None:
        """Record a refusal of somebody who may not even have a name."""
        if isinstance(principal, Principal):
            self.trail.denied(principal.name, table_name, denial_of(wrong), **asker_of(principal).claims(), **more)
        else:
            self.trail.denied(str(principal), table_name, denial_of(wrong), **more)

    def _enter(self, table_name: str, principal: str | Principal) -> tuple[Principal, Compiled | None]:
        """Let a principal through to row lists of a table, or record and raise the refusal."""
        self.version()
        try:
            who = self.principal(principal)
            compiled = self._current(table_name)
        except (AccessDenied, PolicyError) as wrong:
            self._refused(principal, table_name, wrong)
            raise
        reason = self._gate(table_name, who, compiled)
        if reason:
            self.trail.denied(
                who.name, table_name, reason, policy_hash=self._hash_of(compiled), **asker_of(who).claims()
            )
            raise AccessDenied(reason, table=table_name)
        return who, compiled

    def _rows_of(self, table_name: str, compiled: Compiled, who: Principal) -> RowPolicy:
        def relations() -> Relations:
            columns_of = None
            if self._reader is not None:
                columns_of = self._reader.columns_for(table_name, who, compiled.policy.run_as)
            return self._relations(table_name, compiled, who, columns_of)

        types = self._catalog.columns(table_name)
        return RowPolicy(table_name, types, who, compiled, relations, self._sandbox, self._reader)

    def _record(self, table_name: str, who: Principal, compiled: Compiled | None, rows: Sequence[Row]) -> None:
        """Record that rows are about to be handed over; when that fails they are not."""
        if compiled is not None and not compiled.policy.audit_all_access:
            return
        self.trail.record(
            AuditLog(
                principal=who.name,
                **asker_of(who).claims(),
                table_name=table_name,
                field_names=tuple(dict.fromkeys(key for row in rows for key in row)),
                row_count=len(rows),
                policy_hash=self._hash_of(compiled),
                policy_version=self.version(),
            )
        )
