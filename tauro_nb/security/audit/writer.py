"""Appends records to the log: chained, in one write, on disk before it returns, whoever else writes to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tauro_nb.security.audit.chain import Filled, linked, seal, stamp, unseal
from tauro_nb.security.audit.checkpoint import Checkpoint
from tauro_nb.security.audit.keys import AuditKeys
from tauro_nb.security.audit.merkle import MerkleTree
from tauro_nb.security.audit.segments import LogFiles, sync_folder
from tauro_nb.security.audit.settings import AuditSettings

__all__ = ["BrokenLog", "Event", "LogWriter"]

_FLAGS: Final = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_CHECKPOINT: Final = b'"event":"log.checkpoint"'
_TAIL_BYTES: Final = 1 << 20
_INTERRUPTED: Final = "writing was interrupted"
# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)

Event = dict[str, Any] | Filled


class BrokenLog(OSError):
    """The end of the log is not as it was written: nothing can be chained to it."""


@dataclass(slots=True)
class _Pending:
    """Records of one caller, and what became of them."""

    events: Sequence[Event]
    sync: bool
    done: bool = False
    error: OSError | None = None
    numbers: Sequence[int] = ()


@dataclass(slots=True)
class _Head:
    """Where the log stands: the file that is written, and the last record of the chain."""

    handle: int
    inode: tuple[int, int]
    log: str
    segment: int
    begun: datetime
    offset: int = 0
    sequence: int = 0
    mac: str = ""
    tree: MerkleTree = field(default_factory=MerkleTree)
    uncovered: int = 0
    uncovered_since: float = 0.0
    unsynced: bool = False


class LogWriter:
    """The writing end of a log; safe for threads, for processes, and across a fork.

    Parameters
    ----------
    path
        The file. Nothing is touched before the first record.
    keys
        Gives the keys; is told whether there are records already, so that a lost key is not quietly replaced.
    settings
        When to sign, rotate and delete.
    """

    def __init__(self, path: Path, keys: Callable[[bool], AuditKeys], settings: AuditSettings) -> None:
        self.files = LogFiles(path)
        self._path = path
        self._name = str(path)
        self._find_keys = keys
        self._keys: AuditKeys | None = None
        self._settings = settings
        self._head: _Head | None = None
        self._owner = os.getpid()
        self._fresh_locks()

    def _fresh_locks(self) -> None:
        self._writing = threading.Lock()
        # Whoever waits is in it; only who holds `_writing` takes out.
        self._queue: deque[_Pending] = deque()

    @property
    def checkpoint_file(self) -> Path:
        """The second place of checkpoints."""
        return self._settings.checkpoints or self.files.beside(".checkpoints")

    def append(self, events: Sequence[Event], *, sync: bool) -> Sequence[int]:
        """Append records; returns their numbers. With `sync` they are on disk then.

        Callers that wait for each other share one write and one sync.

        Raises
        ------
        OSError
            They are not in the log.
        """
        self._after_fork()
        mine = _Pending(events, sync)
        self._queue.append(mine)
        with self._writing:
            if not mine.done:
                try:
                    self._commit([self._queue.popleft() for _ in range(len(self._queue))])
                except BaseException:
                    # Interrupted, perhaps on the way out: other processes must not wait for this one's next record.
                    self.files.let_go()
                    raise
        if mine.error is not None:
            raise mine.error
        if not mine.done:
            # Whoever took it to be written was interrupted before the first of it.
            raise InterruptedError(4, _INTERRUPTED)
        return mine.numbers

    def keys(self) -> AuditKeys:
        """Keys of the log, which is begun if it is not there.

        Raises
        ------
        OSError
            It cannot be written, or its key is gone.
        """
        self._after_fork()
        with self._writing, self.files.locked():
            self._current()
            return self._key(exists=True)

    def checkpoint(self) -> None:
        """Sign what is not covered yet.

        Raises
        ------
        OSError
            The second place or the log cannot be written.
        """
        self._after_fork()
        with self._writing, self.files.locked():
            self._cover(self._current())

    def close(self) -> None:
        """Sign what is not covered yet, and close the file; a later record opens it again.

        Raises
        ------
        OSError
            It could not be signed. The file is closed all the same.
        """
        self._after_fork()
        with self._writing:
            try:
                if self._head is not None:
                    with self.files.locked():
                        head = self._current()
                        self._cover(head)
                        self._flush(head)
            finally:
                self._drop()
                self.files.close()

    def _after_fork(self) -> None:
        """A child has locks that nobody will release, and shares its parent's place in the file."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._fresh_locks()
            self._drop()

    def _commit(self, batch: Sequence[_Pending]) -> None:
        try:
            with self.files.locked():
                head = self._keep_house(self._current())
                events = [event for item in batch for event in item.events]
                number = self._write(head, events, sync=any(item.sync for item in batch))
                for item in batch:
                    item.numbers = range(number, number := number + len(item.events))
                    item.done = True
        except OSError as wrong:
            for item in batch:
                item.error = wrong
        finally:
            # Also when something else was raised: nobody may take it for written.
            for item in batch:
                if not item.done:
                    item.done, item.error = True, item.error or InterruptedError(4, _INTERRUPTED)

    # --- where the log stands; the caller holds the lock

    def _current(self) -> _Head:
        """The head, brought up to what other processes wrote."""
        known = self._head
        try:
            status = os.lstat(self._name)
        except FileNotFoundError:
            self._head = self._begin(known)
            return self._head
        if known is None or known.inode != (status.st_dev, status.st_ino):
            self._drop()
            self._head = self._load(known)
        elif status.st_size > known.offset:
            self._absorb(known, status.st_size)
        else:
            # Shorter than what was written: the chain goes on from what is known, so that the gap shows.
            known.offset = status.st_size
        assert self._head is not None
        return self._head

    def _load(self, known: _Head | None) -> _Head:
        handle = os.open(self._path, _FLAGS)
        try:
            status = os.fstat(handle)
            head = _Head(handle, (status.st_dev, status.st_ino), "", 0, datetime.now(UTC))
            first, ended, _ = os.pread(handle, _TAIL_BYTES, 0).partition(b"\n")
            if not ended:
                # Not even the first record was written whole: as if the file were not there.
                os.ftruncate(handle, 0)
                return self._open_segment(head, self._furthest(known))
            header = unseal(self._key(exists=True).links, first)
            _require(header is not None and header["event"] == "log.segment", "its first record is not one of this log")
            assert header is not None
            head.log, head.segment = header["log"], header["segment"]
            head.begun = datetime.fromisoformat(header["time"])
            self._absorb(head, status.st_size)
        except BaseException:
            os.close(handle)
            raise
        if known is not None and known.log == head.log and known.sequence > head.sequence:
            # An older copy was put in its place: the chain goes on from what is known, so that the gap shows.
            head.sequence, head.mac = known.sequence, known.mac
        return head

    def _absorb(self, head: _Head, size: int) -> None:
        """Take in what was written since; what a crash left half-written is cut off, and that is recorded."""
        fresh = _read_exactly(head.handle, head.offset, size - head.offset)
        *lines, torn = fresh.split(b"\n")
        if lines:
            last = unseal(self._key(exists=True).links, lines[-1])
            if last is None:
                raise BrokenLog(22, "its last record is not as it was written")
            covered = max((n for n, line in enumerate(lines, 1) if _CHECKPOINT in line), default=None)
            if covered is not None or not head.uncovered:
                head.uncovered_since = time.monotonic()
            head.uncovered = len(lines) - covered if covered is not None else head.uncovered + len(lines)
            for line in lines:
                head.tree.append(line)
            head.sequence, head.mac = int(last["seq"]), str(last["mac"])
            head.offset += len(fresh) - len(torn)
            head.unsynced = True
        if torn:
            os.ftruncate(head.handle, head.offset)
            digest = hashlib.sha256(torn).hexdigest()
            self._write(head, [_event("log.recovered", cut=len(torn), sha256=digest)], sync=True)

    def _begin(self, known: _Head | None) -> _Head:
        """A new file: of a new log, or the next segment."""
        self._drop()
        before = self._furthest(known)
        self._key(exists=before is not None)
        handle = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            sync_folder(self._path.parent)
            status = os.fstat(handle)
            return self._open_segment(_Head(handle, (status.st_dev, status.st_ino), "", 0, datetime.now(UTC)), before)
        except BaseException:
            os.close(handle)
            raise

    def _open_segment(self, head: _Head, before: _Head | None) -> _Head:
        """Write the first record of a segment: which log it is, and what it follows."""
        head.log = before.log if before is not None else secrets.token_hex(16)
        head.segment = before.segment + 1 if before is not None else 1
        if before is not None:
            head.sequence, head.mac = before.sequence, before.mac
        follows = self._digest_of(self.files.closed_name(before.segment)) if before is not None else ""
        keys = self._key(exists=before is not None)
        self._write(
            head,
            [_event("log.segment", log=head.log, segment=head.segment, follows=follows, key=keys.public)],
            sync=True,
        )
        head.uncovered = 0
        return head

    def _furthest(self, known: _Head | None) -> _Head | None:
        """Where the log ended: as it is known here, or where another process closed it since."""
        closed = self._last_closed()
        if known is None or closed is None or known.log != closed.log:
            return known or closed
        return max(known, closed, key=lambda head: head.sequence)

    def _last_closed(self) -> _Head | None:
        """Where the last closed segment ended, when there is one."""
        closed = self.files.closed()
        if not closed:
            return None
        last = unseal(self._key(exists=True).links, _last_line(closed[-1]))
        if last is None or last.get("event") != "log.checkpoint":
            raise BrokenLog(22, "its last closed segment is not as it was written")
        ended = Checkpoint.of(last["checkpoint"])
        return _Head(-1, (0, 0), ended.log, ended.segment, datetime.now(UTC), sequence=last["seq"], mac=last["mac"])

    def _digest_of(self, segment: Path) -> str:
        """Hash of the closing checkpoint of a segment; empty when the file is gone."""
        try:
            return hashlib.sha256(_last_line(segment)).hexdigest()
        except FileNotFoundError:
            return ""

    # --- writing; the caller holds the lock

    def _write(self, head: _Head, events: Sequence[Event], *, sync: bool) -> int:
        """Chain and append records in one write, which undoes itself if it fails; returns the number of the first."""
        key = self._key(exists=True).links
        mac, lines = head.mac, []
        for number, event in enumerate(events, head.sequence + 1):
            line, mac = seal(key, linked(event, number, mac))
            lines.append(line)
        written, before = b"\n".join([*lines, b""]), head.offset
        try:
            # Within reach of what undoes it: a head that is ahead of the file, or half-way, is dropped.
            for line in lines:
                head.tree.append(line)
            rest = memoryview(written)
            while rest:
                rest = rest[os.write(head.handle, rest) :]
            if sync:
                _sync(head.handle)
            head.offset += len(written)
            head.unsynced = not sync
            head.sequence, head.mac = head.sequence + len(lines), mac
            if head.uncovered == 0:
                head.uncovered_since = time.monotonic()
            head.uncovered += len(events)
        except BaseException:
            # What was not acknowledged must not be there. Where even that fails, the next opening cuts it off.
            with contextlib.suppress(OSError):
                os.ftruncate(head.handle, before)
            if head is self._head:
                self._drop()
            raise
        return head.sequence - len(lines) + 1

    def _flush(self, head: _Head) -> None:
        if head.unsynced:
            _sync(head.handle)
            head.unsynced = False

    def _keep_house(self, head: _Head) -> _Head:
        """Sign, rotate and delete what is due, before anything else is written; returns where the log stands then."""
        settings = self._settings
        waited = time.monotonic() - head.uncovered_since
        if head.uncovered >= settings.checkpoint_every or (head.uncovered and waited >= settings.checkpoint_seconds):
            self._cover(head)
        # Only what is closed can be deleted: with a retention, a segment does not stay open for longer than a day.
        old = settings.retention_days is not None and datetime.now(UTC) - head.begun > timedelta(days=1)
        return self._rotate(head) if head.offset >= settings.rotate_bytes or old else head

    def _cover(self, head: _Head) -> None:
        """Sign the log as it is. First here, then in the second place, then as a record of the log itself."""
        if head.uncovered == 0:
            return
        self._flush(head)
        statement = Checkpoint(
            head.log, head.segment, head.tree.size, head.tree.root().hex(), head.sequence, head.mac
        ).sign(self._key(exists=True))
        _append_durably(self.checkpoint_file, statement.to_line())
        self._write(head, [_event("log.checkpoint", checkpoint=statement.to_dict())], sync=False)
        head.uncovered = 0

    def _rotate(self, head: _Head) -> _Head:
        """Close the segment with a checkpoint and begin the next one, which names it."""
        self._cover(head)
        self._flush(head)
        closed = self.files.closed_name(head.segment)
        if closed.exists():
            raise BrokenLog(17, "there is a closed segment of this number already")
        self._path.rename(closed)
        sync_folder(self._path.parent)
        self._head = self._begin(head)
        self._retire(self._head)
        return self._head

    def _retire(self, head: _Head) -> None:
        """Delete closed segments that are past their time; the log says which."""
        if self._settings.retention_days is None:
            return
        oldest = datetime.now(UTC) - timedelta(days=self._settings.retention_days)
        for segment in self.files.closed():
            line = _last_line(segment)
            last = unseal(self._key(exists=True).links, line)
            if last is None or datetime.fromisoformat(last["time"]) >= oldest:
                return
            ended, digest = Checkpoint.of(last["checkpoint"]), hashlib.sha256(line).hexdigest()
            gone = _event("log.retired", log=ended.log, segment=ended.segment, last=last["seq"], sha256=digest)
            self._write(head, [gone], sync=True)
            segment.unlink()

    def _key(self, *, exists: bool) -> AuditKeys:
        if self._keys is None:
            self._keys = self._find_keys(exists)
        return self._keys

    def _drop(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            with contextlib.suppress(OSError):
                os.close(head.handle)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise BrokenLog(22, problem)


def _event(name: str, **members: Any) -> dict[str, Any]:
    return {"event": name, "time": stamp(datetime.now(UTC)), **members}


def _read_exactly(handle: int, offset: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(handle, size, offset)):
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().removesuffix(b"\n").rpartition(b"\n")[2]


def _append_durably(path: Path, content: bytes) -> None:
    handle = os.open(path, _FLAGS | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest) :]
            _sync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
