"""The enforcer's own door to its audit trail, as its callers know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tauro_nb.errors import UsageError
from tauro_nb.security.audit import SUCCESS, Asker, AuditLog, AuditTrail
from tauro_nb.security.policy import Operation
from tauro_nb.security.principal import Principal

__all__ = ["AuditedAccess", "asker_of"]


def asker_of(principal: Principal, caller: str = "") -> Asker:
    """Who asks (`caller`, if that is somebody else), with whose rights, for whom and what for.

    >>> asker_of(Principal("ana"), caller="root")[:3]
    ('root', frozenset(), 'ana')
    """
    acting_as = principal.name if caller else ""
    return Asker(caller or principal.name, principal.roles, acting_as, principal.tenant, principal.purpose)


class AuditedAccess:
    """The part of an enforcer that records accesses and finds the records."""

    trail: AuditTrail

    if TYPE_CHECKING:

        @property
        def principals(self) -> Mapping[str, Principal]:
            """Who is declared."""

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
        """Record an access that happened elsewhere; what is declared of a name is recorded with it.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        UsageError
            The status is none, or the number of rows is below zero.
        """
        if row_count < 0:
            raise UsageError("an access has 0 rows or more.")
        who = principal if isinstance(principal, Principal) else self.principals.get(str(principal))
        return self.trail.record(
            AuditLog(
                principal=str(principal) if who is None else who.name,
                **({} if who is None else asker_of(who).claims()),
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
