"""The audit trail: an intent before anything runs, a result after, and every refusal.

Records are kept in memory and, when there is a path, appended to a JSONL file: one object a line, keys sorted, control
characters escaped. An intent or refusal that cannot be written stops the access (`on_failure="fail_operation"`).
"""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tauro_nb.errors import AuditUnavailable, UsageError
from tauro_nb.security.audit_file import JsonLines
from tauro_nb.security.audit_format import to_csv, to_json, to_jsonl
from tauro_nb.security.policy import Operation

__all__ = ["STATUSES", "AuditLog", "AuditTrail"]

STARTED, SUCCESS, DENIED, FAILED, CANCELLED = "STARTED", "SUCCESS", "DENIED", "FAILED", "CANCELLED"
STATUSES = (STARTED, SUCCESS, DENIED, FAILED, CANCELLED)
_FORMATS = {"json": to_json, "jsonl": to_jsonl, "csv": to_csv}


@dataclass(frozen=True, slots=True)
class AuditLog:
    """One access of one principal to one table.

    Parameters
    ----------
    principal, roles
        Who.
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
        Order of writing within this process.
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

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return {
            "principal": self.principal,
            "roles": list(self.roles),
            "table_name": self.table_name,
            "field_names": list(self.field_names),
            "row_count": self.row_count,
            "status": self.status,
            "denial_reason": self.denial_reason,
            "operation": self.operation.value,
            "timestamp": self.timestamp.isoformat(timespec="microseconds"),
            "query_id": self.query_id,
            "statement": self.statement,
            "policy_hash": self.policy_hash,
            "duration_ms": self.duration_ms,
            "sequence": self.sequence,
        }


class AuditTrail:
    """Writes and finds audit records; safe to use from several threads.

    Parameters
    ----------
    path
        JSONL file, created with mode 0600; None keeps records in memory only.
    on_failure
        `fail_operation`: what cannot be recorded does not run. `continue`: it runs, and `failures` counts.
    memory
        How many of the newest records `records()` can find.

    Examples
    --------
    >>> trail = AuditTrail()
    >>> query = trail.intent("ana", {"customers": ["email"]}, statement="SELECT email FROM customers")
    >>> trail.result(query, row_count=3)
    >>> [(log.principal, log.table_name, log.status, log.row_count) for log in trail.records()]
    [('ana', 'customers', 'SUCCESS', 3)]
    """

    def __init__(
        self,
        path: str | Path | None = None,
        on_failure: Literal["fail_operation", "continue"] = "fail_operation",
        *,
        memory: int = 100_000,
    ) -> None:
        if on_failure not in ("fail_operation", "continue"):
            raise UsageError(f"`on_failure` is `fail_operation` or `continue`, not {on_failure!r}")
        self.path = None if path is None else Path(path)
        self.on_failure = on_failure
        self.failures = 0
        self._file = None if self.path is None else JsonLines(self.path)
        self._lock = threading.RLock()
        self._sequence = itertools.count(1)
        self._open: dict[str, list[AuditLog]] = {}
        self._done: deque[AuditLog] = deque(maxlen=memory)

    def intent(
        self,
        principal: str,
        tables: Mapping[str, Iterable[str]],
        *,
        roles: Iterable[str] = (),
        operation: Operation = Operation.SELECT,
        statement: str = "",
        policies: Mapping[str, str] | None = None,
        query_id: str | None = None,
    ) -> str:
        """Record, before it runs, that a query will read these tables and columns; returns its id.

        Raises
        ------
        AuditUnavailable
            It could not be written, so the query must not run.
        """
        query = query_id or uuid.uuid4().hex
        now = datetime.now(UTC)
        with self._lock:
            if query in self._open:
                raise UsageError(f"the query id `{query}` is running already")
            logs = [
                AuditLog(
                    principal=principal,
                    roles=tuple(sorted(roles)),
                    table_name=table,
                    field_names=tuple(columns),
                    row_count=None,
                    status=STARTED,
                    operation=operation,
                    timestamp=now,
                    query_id=query,
                    statement=statement,
                    policy_hash=(policies or {}).get(table, ""),
                    sequence=next(self._sequence),
                )
                for table, columns in tables.items()
            ]
            self._write("intent", logs, sync=True)
            self._open[query] = logs
        return query

    def result(
        self,
        query_id: str,
        *,
        row_count: int | None = None,
        status: str = SUCCESS,
        reason: str = "",
        duration_ms: float | None = None,
    ) -> None:
        """Record how a query ended. A second result for the same query is ignored."""
        _check_status(status)
        now = datetime.now(UTC)
        with self._lock:
            logs = self._open.pop(query_id, None)
            if logs is None:
                return
            ended = [
                replace(
                    log,
                    status=status,
                    row_count=row_count,
                    denial_reason=reason,
                    duration_ms=duration_ms if duration_ms is not None else (now - log.timestamp).total_seconds() * 1e3,
                )
                for log in logs
            ]
            self._done.extend(ended)
            self._write("result", ended, sync=False)

    def denied(
        self,
        principal: str,
        table: str,
        reason: str,
        *,
        columns: Iterable[str] = (),
        roles: Iterable[str] = (),
        operation: Operation = Operation.SELECT,
        statement: str = "",
        policy_hash: str = "",
        query_id: str | None = None,
    ) -> AuditLog:
        """Record a refusal."""
        return self.record(
            AuditLog(
                principal=principal,
                roles=tuple(sorted(roles)),
                table_name=table,
                field_names=tuple(columns),
                status=DENIED,
                denial_reason=reason,
                operation=operation,
                statement=statement,
                policy_hash=policy_hash,
                query_id=query_id or uuid.uuid4().hex,
            )
        )

    def record(self, log: AuditLog) -> AuditLog:
        """Record an access that needs no intent, because its data is at hand already.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        """
        _check_status(log.status)
        with self._lock:
            numbered = replace(log, sequence=next(self._sequence))
            self._write("access", [numbered], sync=True)
            self._done.append(numbered)
        return numbered

    def records(
        self,
        table_name: str | None = None,
        principal: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        status: str | None = None,
    ) -> list[AuditLog]:
        """Find records, oldest first; times without a zone are UTC, both ends count."""
        folded = None if table_name is None else table_name.casefold()
        start, end = _utc(start_time), _utc(end_time)
        with self._lock:
            logs = [*self._done, *itertools.chain.from_iterable(self._open.values())]
        found = [
            log
            for log in logs
            if (folded is None or log.table_name.casefold() == folded)
            and (principal is None or log.principal == principal)
            and (status is None or log.status == status.upper())
            and (start is None or log.timestamp >= start)
            and (end is None or log.timestamp <= end)
        ]
        return sorted(found, key=lambda log: log.sequence)

    def export(self, format: str = "json", logs: Sequence[AuditLog] | None = None) -> str:
        """Write records as `json`, `jsonl` or `csv` (with spreadsheet formulas made harmless)."""
        write = _FORMATS.get(format.casefold())
        if write is None:
            raise UsageError(f"an audit trail exports as {', '.join(_FORMATS)}, not as {format!r}")
        return write([log.to_dict() for log in (self.records() if logs is None else logs)])

    def close(self) -> None:
        """Close the file; a later record opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _write(self, event: str, logs: Sequence[AuditLog], *, sync: bool) -> None:
        if self._file is None:
            return
        try:
            self._file.append([{"event": event, **log.to_dict()} for log in logs], sync=sync)
        except OSError as wrong:
            self.failures += 1
            if self.on_failure == "fail_operation":
                raise AuditUnavailable(
                    f"the audit record could not be written ({wrong.strerror or type(wrong).__name__})",
                    hint="Nothing was read; make the audit file writable.",
                ) from None


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise UsageError(f"an audit status is one of {', '.join(STATUSES)}, not {status!r}")


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
