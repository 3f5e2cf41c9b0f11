"""The enforcer's own door to its audit trail, as its callers know it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tauro_nb.security.audit import SUCCESS, AuditLog, AuditTrail
from tauro_nb.security.policy import Operation
from tauro_nb.security.principal import Principal

__all__ = ["AuditedAccess"]


class AuditedAccess:
    """The part of an enforcer that records accesses and finds the records."""

    trail: AuditTrail

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
