"""`AuditLog`: one access of one principal to one table, as auditors read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tauro_nb.errors import UsageError
from tauro_nb.security.audit.chain import stamp
from tauro_nb.security.policy import Operation

__all__ = ["CANCELLED", "DENIED", "FAILED", "POLICY_ONLY", "STARTED", "STATUSES", "SUCCESS", "AuditLog", "check_status"]

STARTED, SUCCESS, DENIED, FAILED, CANCELLED = "STARTED", "SUCCESS", "DENIED", "FAILED", "CANCELLED"
STATUSES: Final = (STARTED, SUCCESS, DENIED, FAILED, CANCELLED)


POLICY_ONLY: Final = ("policy",)
"""Role of columns that only a policy reads."""


@dataclass(frozen=True, slots=True)
class AuditLog:
    """One access of one principal to one table.

    Parameters
    ----------
    principal, roles
        Who, and the roles that were active.
    table_name, field_names
        What; columns that were only filtered or joined on count.
    row_count
        Rows returned by the query (None while it runs).
    status
        STARTED, SUCCESS, DENIED, FAILED or CANCELLED.
    denial_reason
        Why denied, or the class of the error when failed.
    operation
        What was done.
    timestamp
        When it was asked for, in UTC.
    query_id
        Equal for all tables of one query.
    statement
        The query in a form without literals; never the user's text.
    policy_hash
        Content hash of the policy that decided.
    duration_ms
        From intent to result.
    sequence
        Number of the record in the log; 0 for whoever finds the own records only.
    event
        `query`, `access` (rows at hand), `deny` (refused before it was planned or run).
    parent_id
        The query this one belongs to, if any.
    acting_as
        Whose rights were used, where `principal` looked through somebody else's eyes.
    tenant, purpose
        For whom and what for, as the principal declared.
    origin
        Session, kernel, cell and host, as far as known.
    mode
        Where the policy is enforced: `embedded` is inside the process that asks.
    policy_version
        Content hash of all policies together, when they have one.
    column_roles
        Column -> `projected`, `filtered`, `joined`, ...; the roles it has in the query. `policy`: only a policy
        reads it.
    masked
        Column -> name of the mask or cipher that applied.
    row_filter
        Whose row filter applied, in words.
    policy_columns
        Columns that only the policy reads: for auditors, never for the one who asked.
    base
        The query does not name the table: it reads a view over it.
    fingerprint
        Short name of all queries of one shape.
    literals, params
        Values of the query under the audit key's HMAC, in order and by name: equal values are equal, nothing more.
    backends
        Ids of the connections that were read.
    byte_count
        Arrow bytes returned.
    error_class
        Class of the error that ended it.

    Examples
    --------
    >>> AuditLog("ana", "customers", ("email",), 3).status
    'SUCCESS'
    """

    principal: str
    table_name: str
    field_names: tuple[str, ...] = ()
    row_count: int | None = 0
    status: str = SUCCESS
    denial_reason: str = ""
    operation: Operation = Operation.SELECT
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    query_id: str = ""
    roles: tuple[str, ...] = ()
    statement: str = ""
    policy_hash: str = ""
    duration_ms: float | None = None
    sequence: int = 0
    event: str = "access"
    parent_id: str = ""
    acting_as: str = ""
    tenant: str | None = None
    purpose: str | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    mode: str = "embedded"
    policy_version: str = ""
    column_roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masked: Mapping[str, str] = field(default_factory=dict)
    row_filter: str = ""
    policy_columns: tuple[str, ...] = ()
    base: bool = False
    fingerprint: str = ""
    literals: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    backends: tuple[str, ...] = ()
    byte_count: int | None = None
    error_class: str = ""

    @property
    def is_policy_only(self) -> bool:
        """Whether only a policy read the table: for auditors to know, and nobody else.

        >>> AuditLog("ana", "rights", column_roles={"dept": POLICY_ONLY}).is_policy_only
        True
        """
        return bool(self.column_roles) and all(roles == POLICY_ONLY for roles in self.column_roles.values())

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["operation"] = self.operation.value
        values["timestamp"] = stamp(self.timestamp)
        return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def check_status(status: str) -> None:
    """Refuse a status that is none.

    Raises
    ------
    UsageError
        It is not one of `STATUSES`.
    """
    if status not in STATUSES:
        raise UsageError(f"an audit status is one of {', '.join(STATUSES)}, not {status!r}")
