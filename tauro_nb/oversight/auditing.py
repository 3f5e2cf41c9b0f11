"""The door to the audit log: everybody finds the own records, auditors those of all."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.errors import AccessDenied, TauroError
from tauro_nb.security.audit import AuditLog, Verification

if TYPE_CHECKING:
    from tauro_nb.layer import VirtualDataLayer
    from tauro_nb.security.principal import Principal

__all__ = ["AuditDoor"]

# Numbers between the own ones would tell what others do, and that keys were sent, which goes by hidden rows; by a hash
# somebody could try whether a policy is the one they guess.
_NOT_TOLD: Final[dict[str, Any]] = {"policy_columns": (), "policy_hash": "", "policy_version": "", "sequence": 0}


class AuditDoor:
    """The part of a context that reads and writes the audit log."""

    layer: VirtualDataLayer
    _caller: str

    if TYPE_CHECKING:

        @property
        def principal(self) -> Principal:
            """Who asks."""

    def audit_logs(
        self,
        table_name: str | None = None,
        principal: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        status: str | None = None,
    ) -> list[AuditLog]:
        """Find audit records, oldest first.

        Whoever holds none of the roles in `audit.readers` finds the own ones, without what only the policy reads,
        hashes of policies, numbers and connections of other tables; an auditor with a tenant finds those of the tenant.

        Parameters
        ----------
        table_name, principal, status
            Only records of this table, of this principal, or with this status.
        start_time, end_time
            Only records between the two, in UTC when they name no zone; both ends count.

        Raises
        ------
        AccessDenied
            This principal is no auditor and asks for somebody else's.
        """
        reads = self.reads_audit
        if not reads and principal not in (None, self.principal.name):
            self.require_auditor("read the audit records of others")
        who = principal if reads else self.principal.name
        found = self.layer.audit_trail.records(table_name, who, start_time, end_time, status)
        tenant = self.principal.tenant
        mine = [log for log in found if (reads and tenant is None) or log.tenant == tenant]
        return mine if reads else [self._own(log) for log in mine if not log.is_policy_only]

    def _own(self, log: AuditLog) -> AuditLog:
        """A record as whoever asked may read it: of connections its own table's, for policies read others."""
        table = self.layer.schema_registry.get_table(log.table_name)
        mine = None if table is None else table.connection_id
        others = self.layer.config.connections.keys() - {mine}
        return replace(log, **_NOT_TOLD, backends=tuple(name for name in log.backends if name not in others))

    def export_audit(self, format: str = "jsonl", **filters: Any) -> str:
        """Audit records as `json`, `jsonl` or `csv`; who exported them is recorded.

        Parameters
        ----------
        format
            In `csv`, cells that a spreadsheet would run as formulas are made harmless.
        filters
            As for `audit_logs`.

        Raises
        ------
        AccessDenied
            This principal holds none of the roles in `audit.readers`.
        """
        self.require_auditor("export the audit log")
        logs = self.audit_logs(**filters)
        text = self.layer.audit_trail.export(format, logs)
        self._note("export", format=format, records=len(logs))
        return text

    def verify_audit(self, checkpoints: str | os.PathLike[str] | None = None) -> Verification:
        """Check the whole audit log, and name the first record that is not as it was written; a record says who asked.

        Parameters
        ----------
        checkpoints
            A file of signed checkpoints from elsewhere, in place of the configured one.

        Raises
        ------
        AccessDenied
            This principal holds none of the roles in `audit.readers`.
        AuditUnavailable
            The log cannot be read.
        """
        self.require_auditor("verify the audit log")
        found = self.layer.audit_trail.verify(None if checkpoints is None else Path(checkpoints))
        self._note("audit.verify", ok=found.ok, records=found.records)
        return found

    @property
    def reads_audit(self) -> bool:
        """Whether this principal may read everybody's audit records; nobody may while nobody knows who is who."""
        return not self.layer.security.book.closed and self.principal.matches(self.layer.audit_trail.settings.readers)

    def _note(self, event: str, **facts: Any) -> None:
        who = self.principal
        self.layer.audit_trail.note(event, self._caller or who.name, roles=who.roles, tenant=who.tenant, **facts)

    def require_auditor(self, what: str) -> None:
        """Refuse whoever is no auditor; the refusal is recorded.

        Raises
        ------
        AccessDenied
            This principal holds none of the roles in `audit.readers`.
        """
        readers = self.layer.audit_trail.settings.readers
        if not self.reads_audit:
            denied = AccessDenied(
                f"{self.principal.name!r} may not {what}.", hint=f"It is for the roles {', '.join(readers)}."
            )
            self._record_refusal(denied)
            raise denied

    def _record_refusal(
        self, error: TauroError, query_id: str | None = None, asked: Any = None, params: Any = None
    ) -> None:
        """A query that never ran leaves a record all the same."""
        from tauro_nb.record import record_refusal

        trail, made = self.layer.audit_trail, query_id or secrets.token_hex(16)
        version = self.layer.security.version(thorough=False)
        record_refusal(trail, self.principal, error, made, asked, params, self._caller, version)
