"""The audit trail: an intent before anything runs, a result after, and every refusal.

Without a path records are kept in memory. With one they are in a log that tells when it was changed (`verify`).
An intent or refusal that cannot be written stops the access (`on_failure="fail_operation"`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tauro_nb.errors import AuditUnavailable, UsageError
from tauro_nb.security.audit.chain import Fixed, plain, stamp
from tauro_nb.security.audit.codec import Asked, Asker, Results, access_event, logs_of
from tauro_nb.security.audit.formats import to_csv, to_json, to_jsonl
from tauro_nb.security.audit.keys import AuditKeys, KeyFileError, Ring, key_from_file
from tauro_nb.security.audit.log import DENIED, SUCCESS, AuditLog, check_status
from tauro_nb.security.audit.segments import LogFiles
from tauro_nb.security.audit.settings import AuditSettings
from tauro_nb.security.audit.table import audit_reader
from tauro_nb.security.audit.verify import Verification, verify
from tauro_nb.security.audit.writer import BrokenLog, Event, LogWriter
from tauro_nb.security.policy import Operation

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AuditTrail"]

_WRITABLE: Final = "make the audit file writable"
_NOTED: Final = ("tenant", "query", "origin")
_FORMATS: Final = {"json": to_json, "jsonl": to_jsonl, "csv": to_csv}
Details = Mapping[str, Any]


class AuditTrail:
    """Writes and finds audit records; safe to use from several threads, and with several processes on one path.

    Parameters
    ----------
    path
        The log, created with mode 0600; None keeps records in memory only.
    on_failure
        `fail_operation`: what cannot be recorded does not run. `continue`: it runs, and `failures` counts.
    settings
        Checkpoints, rotation, retention, readers.
    ring
        Has the audit key, if it is kept somewhere; otherwise the key is in a file beside the log.
    memory
        How many of the newest records without a place on disk `records()` can find.

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
        settings: AuditSettings | None = None,
        ring: Ring | None = None,
        memory: int = 100_000,
    ) -> None:
        if on_failure not in ("fail_operation", "continue"):
            raise UsageError(f"`on_failure` is `fail_operation` or `continue`, not {on_failure!r}")
        self.path = None if path is None else Path(path)
        self.on_failure = on_failure
        self.settings = settings or AuditSettings()
        self.failures = 0
        self.session = secrets.token_hex(16)
        self._host = socket.gethostname()
        self._ring = ring
        self._keys: AuditKeys | None = None
        self._log = None if self.path is None else LogWriter(self.path, self._find_keys, self.settings)
        self._written_origin: tuple[tuple[int, Mapping[str, str]], Fixed] = (0, {}), Fixed.of({})
        self._results = Results()
        self.whence: Callable[[], Mapping[str, str]] = dict
        self._sequence = itertools.count(1)
        # Only asked for what it does in one go, so that threads need no lock.
        self._running: dict[str, tuple[str, datetime]] = {}
        # Only what is not on disk: without a path everything, with `continue` what could not be written.
        self._kept: deque[Mapping[str, Any]] = deque(maxlen=memory)

    # --- writing

    def intent(
        self,
        principal: str,
        tables: Mapping[str, Iterable[str]],
        *,
        roles: Iterable[str] = (),
        statement: str = "",
        query_id: str | None = None,
        objects: Mapping[str, Details] | None = None,
    ) -> str:
        """Record, before it runs, that a query will read these tables and columns; returns its id.

        Parameters
        ----------
        objects
            Further attributes of `AuditLog`, by table.

        Raises
        ------
        AuditUnavailable
            It could not be written, so the query must not run.
        """
        asked = Asked.of(tables, objects or {}, statement=statement)
        return self.begin(Asker(principal, frozenset(roles)), asked, query_id=query_id)

    def begin(
        self,
        asker: Asker,
        asked: Asked,
        *,
        query_id: str | None = None,
        params: Mapping[str, str] | None = None,
        along: Sequence[Event] = (),
    ) -> str:
        """Record the intent of a query that is described already, perhaps because it was asked before.

        Parameters
        ----------
        asked
            What intents say of the query.
        params
            The parameters of this one, under the audit key.
        along
            Events that are written with it, in one go; see `event`.

        Raises
        ------
        AuditUnavailable
            It could not be written, so the query must not run.
        """
        query, now = query_id or secrets.token_hex(16), datetime.now(UTC)
        event = asked.intent(now, query, params or {}, asker, self._fixed_origin())
        running = asker.principal, now
        if self._running.setdefault(query, running) is not running:
            raise UsageError(f"the query id `{query}` is running already")
        try:
            self._append([event, *along], sync=True)
        except BaseException:
            del self._running[query]
            raise
        return query

    def result(
        self,
        query_id: str,
        *,
        row_count: int | None = None,
        status: str = SUCCESS,
        reason: str = "",
        duration_ms: float | None = None,
        byte_count: int | None = None,
        error_class: str = "",
    ) -> None:
        """Record how a query ended. A second result for the same query is ignored.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        """
        check_status(status)
        now = datetime.now(UTC)
        running = self._running.pop(query_id, None)
        if running is None:
            return
        principal, began = running
        about = {
            "status": status,
            "row_count": row_count,
            "denial_reason": reason,
            "duration_ms": duration_ms if duration_ms is not None else (now - began).total_seconds() * 1e3,
            "byte_count": byte_count,
            "error_class": error_class,
        }
        ended = self._results.event(query_id, principal, now, about)
        # The next intent, or closing, makes it durable: the access itself is on disk since its intent.
        self._append([ended], sync=False)

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
        tenant: str | None = None,
        purpose: str | None = None,
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
                query_id=query_id or secrets.token_hex(16),
                event="deny",
                tenant=tenant,
                purpose=purpose,
            )
        )

    def record(self, log: AuditLog) -> AuditLog:
        """Record an access that needs no intent, because its data is at hand already, or that was refused.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        """
        (written,) = self.record_all([log])
        return written

    def record_all(self, logs: Sequence[AuditLog]) -> list[AuditLog]:
        """Record several accesses at once: they share one write and one sync.

        Raises
        ------
        AuditUnavailable
            None of them was written.
        """
        here = self.origin
        logs = [log if log.origin else replace(log, origin=here) for log in logs]
        for log in logs:
            check_status(log.status)
        events = [access_event("deny" if log.event == "deny" else "access", [log]) for log in logs]
        numbers = self._append(events, sync=True)
        return [replace(log, sequence=number) for log, number in zip(logs, numbers, strict=True)]

    def note(
        self, event: str, principal: str, *, roles: Iterable[str] = (), tenant: str | None = None, **facts: Any
    ) -> None:
        """Record something that is no access: a policy changed, a key was used, the log was verified or exported.

        Raises
        ------
        AuditUnavailable
            It could not be written.
        """
        made = self.event(event, principal, roles=roles, tenant=tenant, origin=self.origin, **facts)
        self._append([made], sync=True)

    @staticmethod
    def event(event: str, principal: str, **facts: Any) -> dict[str, Any]:
        """The record of something that is no access; what is empty is left out.

        Parameters
        ----------
        event
            `policy.change`, `key.use`, `join.keys`, `export`, `config`, `audit.verify`, `login`.
        facts
            What happened. `roles`, `tenant`, `query` and `origin` have places of their own in a record.

        Examples
        --------
        >>> event = AuditTrail.event("policy.change", "root", policy="customers", roles=["admin"])
        >>> event["roles"], event["facts"]
        (['admin'], {'policy': 'customers'})
        """
        own = {"roles": sorted(facts.pop("roles", ())), **{name: facts.pop(name, None) for name in _NOTED}}
        now = stamp(datetime.now(UTC))
        kept = {name: value for name, value in own.items() if value}
        return {"event": event, "time": now, "principal": principal, **kept, "facts": facts}

    @property
    def origin(self) -> dict[str, str]:
        """Where a request comes from: session, host and process, and what `whence` adds (kernel, notebook, cell)."""
        return {"session": self.session, "host": self._host, "pid": str(os.getpid()), **self.whence()}

    def _fixed_origin(self) -> Fixed:
        """Most requests come from where the one before came from."""
        here = os.getpid(), self.whence()
        if self._written_origin[0] != here:
            self._written_origin = (here[0], dict(here[1])), Fixed.of(self.origin)
        return self._written_origin[1]

    # --- reading

    def records(
        self,
        table_name: str | None = None,
        principal: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        status: str | None = None,
    ) -> list[AuditLog]:
        """Find records, on disk too, oldest first; times without a zone are UTC, both ends count.

        Raises
        ------
        UsageError
            The status, in whatever case, is not one of `STATUSES`: no records would say that nothing happened. Or a
            time is no datetime.
        """
        wanted = None if status is None else status.upper()
        if wanted is not None:
            check_status(wanted)
        folded = None if table_name is None else table_name.casefold()
        start, end = _utc(start_time), _utc(end_time)
        found = [
            log
            for log in logs_of(self.events())
            if (folded is None or log.table_name.casefold() == folded)
            and (principal is None or log.principal == principal)
            and (wanted is None or log.status == wanted)
            and (start is None or log.timestamp >= start)
            and (end is None or log.timestamp <= end)
        ]
        return sorted(found, key=lambda log: log.sequence)

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Every record, oldest first: those on disk, segment by segment, then those that are only in memory."""
        kept = self._kept.copy()
        if self.path is not None:
            yield from self._on_disk(self.path)
        yield from kept

    def _on_disk(self, path: Path) -> Iterator[dict[str, Any]]:
        files = LogFiles(path)
        try:
            lines = files.lines()
        finally:
            files.close()
        for line in lines:
            # What is no record any more is for `verify` to name.
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def reader(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Columns of the table `tauro.audit`, streamed: see `AUDIT_COLUMNS`."""
        return audit_reader(self.events(), columns)

    def export(self, format: str = "json", logs: Sequence[AuditLog] | None = None) -> str:
        """Write records as `json`, `jsonl` or `csv` (with spreadsheet formulas made harmless)."""
        write = _FORMATS.get(format.casefold())
        if write is None:
            raise UsageError(f"an audit trail exports as {', '.join(_FORMATS)}, not as {format!r}")
        return write([log.to_dict() for log in (self.records() if logs is None else logs)])

    # --- evidence

    @property
    def has_second_place(self) -> bool:
        """Whether signed checkpoints leave the folder of the log: who can change one there can change the other."""
        place = self.settings.checkpoints
        return place is not None and self.path is not None and place.resolve().parent != self.path.resolve().parent

    @property
    def keys(self) -> AuditKeys:
        """Keys of this trail; for one in memory, made when first asked for.

        Raises
        ------
        AuditUnavailable
            There is a log, and its key is gone or unreadable.
        """
        try:
            return self._find_keys(self.path is not None and self.path.exists())
        except OSError as wrong:
            raise _unreadable(wrong) from None

    def value_keys(self) -> AuditKeys | None:
        """The keys that literals and parameters are recorded under; begins a log that is not there yet.

        None where a log cannot be written and `on_failure` is `continue`: values are then left out.

        Raises
        ------
        AuditUnavailable
            The log cannot be written.
        """
        if self._log is None:
            return self.keys
        if self._keys is None:
            try:
                self._keys = self._log.keys()
            except OSError as wrong:
                if self.on_failure == "fail_operation":
                    raise _unavailable(wrong) from None
        return self._keys

    def verify(self, checkpoints: Path | None = None) -> Verification:
        """Check every record, and the checkpoints of the second place; see `verify`.

        Raises
        ------
        AuditUnavailable
            It cannot be read.
        """
        if self._log is None or self.path is None:
            return Verification(True, notes=("in memory only: there is no log to verify",))
        if not self.path.exists() and not LogFiles(self.path).closed() and not self._log.checkpoint_file.exists():
            return Verification(True, notes=("nothing was recorded yet",))
        keys = self.keys
        try:
            return verify(self.path, keys, checkpoints or self._log.checkpoint_file)
        except OSError as wrong:
            raise _unreadable(wrong) from None

    def checkpoint(self) -> None:
        """Sign everything written so far.

        Raises
        ------
        AuditUnavailable
            The log or the second place cannot be written.
        """
        if self._log is not None:
            try:
                self._log.checkpoint()
            except OSError as wrong:
                raise _unavailable(wrong) from None

    def close(self) -> None:
        """Sign what was written, and close the file; a later record opens it again."""
        if self._log is not None:
            try:
                self._log.close()
            except OSError:
                self.failures += 1

    # --- inside

    def _find_keys(self, exists: bool) -> AuditKeys:
        if self._keys is None:
            if self.path is None:
                self._keys = AuditKeys(secrets.token_bytes(32))
            else:
                place = self.settings.key or self.path.with_name(self.path.name + ".key")
                self._keys = key_from_file(place, self._ring, may_create=not exists)
        return self._keys

    def _append(self, events: Sequence[Event], *, sync: bool) -> Sequence[int]:
        """Append records; their numbers, 0 for what is not on disk although it should be."""
        if self._log is None:
            numbers = [next(self._sequence) for _ in events]
        else:
            try:
                return self._log.append(events, sync=sync)
            except OSError as wrong:
                self.failures += 1
                if self.on_failure == "fail_operation":
                    raise _unavailable(wrong) from None
            numbers = [0 for _ in events]
        self._kept.extend({**plain(event), "seq": number} for event, number in zip(events, numbers, strict=True))
        return numbers


def _unavailable(wrong: OSError) -> AuditUnavailable:
    damaged = isinstance(wrong, (BrokenLog, KeyFileError))
    cure = "`verify_audit()` says where; put the log and its key back as they were" if damaged else _WRITABLE
    return AuditUnavailable(
        f"the audit record could not be written ({wrong.strerror or type(wrong).__name__})",
        hint=f"Nothing was read; {cure}.",
    )


def _unreadable(wrong: OSError) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log could not be read ({wrong.strerror or type(wrong).__name__})",
        hint="It is readable for the account that writes it, as is its key.",
    )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is not None and not isinstance(moment, datetime):
        raise UsageError(f"a time of the audit trail is a datetime, not {type(moment).__name__}")
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
