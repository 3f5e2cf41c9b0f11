"""Reads a log from its first record to its last, and names the first that is not as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tauro_nb.html import badge, el
from tauro_nb.security.audit.chain import unseal
from tauro_nb.security.audit.checkpoint import Checkpoint, read_checkpoints
from tauro_nb.security.audit.keys import AuditKeys
from tauro_nb.security.audit.merkle import MerkleTree
from tauro_nb.security.audit.segments import LogFiles
from tauro_nb.text import plural

__all__ = ["Verification", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Parameters
    ----------
    ok
        Whether every record is as it was written, in its place, and every checkpoint holds.
    records, segments, checkpoints
        How many were checked.
    problem
        What is wrong first, in words; empty when nothing is.
    segment, line, sequence
        Where: file name, line in it, and number of the record that should be there.
    unsigned
        Records after the last checkpoint: their end could have been cut off without a trace.
    notes
        What is not wrong, and good to know.
    """

    ok: bool
    records: int = 0
    segments: int = 0
    checkpoints: int = 0
    problem: str = ""
    segment: str = ""
    line: int | None = None
    sequence: int | None = None
    unsigned: int = 0
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        checkpoints = plural(self.checkpoints, "checkpoint")
        counted = f"{plural(self.records, 'record')} in {plural(self.segments, 'segment')}, {checkpoints}"
        if not self.ok:
            where = f" ({self.segment} line {self.line})" if self.line is not None else ""
            return f"the audit log does NOT verify: {self.problem}{where}; {counted} read"
        notes = "".join(f"; {note}" for note in self.notes)
        return f"the audit log verifies: {counted}, {plural(self.unsigned, 'record')} after the last one{notes}"

    def _repr_html_(self) -> str:
        mark = badge("✓", "verifies", "ok") if self.ok else badge("✗", "does not verify", "bad")
        return str(el("p", mark, " ", str(self)))


class _WrongError(Exception):
    """The first thing that is wrong."""


@dataclass(slots=True)
class _Reader:
    keys: AuditKeys
    wanted: dict[tuple[str, int], list[Checkpoint]]
    log: str = ""
    segment: int = 0
    sequence: int = 0
    mac: str = ""
    closing: str = ""
    tree: MerkleTree = field(default_factory=MerkleTree)
    sizes: dict[tuple[str, int], int] = field(default_factory=dict)
    retired: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    first: tuple[str, int] | None = None
    seen: set[str] = field(default_factory=set)
    checkpoints: int = 0
    records: int = 0
    unsigned: int = 0
    signed: int = 0
    recovered: int = 0
    file: str = ""
    line: int = 0
    torn: bool = False

    def read(self, segments: Sequence[tuple[Path, bytes]]) -> None:
        """Check the segments of a log, the oldest first."""
        for number, (file, content) in enumerate(segments, 1):
            self.file, self.line = file.name, 0
            lines = content.split(b"\n")
            half = lines.pop()
            if half and number < len(segments):
                self.take(half, iter(()))
            self.torn = bool(half)
            for self.line, record in enumerate(lines, 1):
                self.take(record, iter(lines[self.line :]))
            if lines:
                self.end_segment()
        self.line = 0

    def found(self, segments: int, problem: str = "", kept: int | None = None) -> Verification:
        """What is to be said of it; `kept` is the last record that the second place has a checkpoint after."""
        counted = (self.records, segments, self.checkpoints)
        if problem:
            return Verification(False, *counted, problem, self.file, self.line or None, self.sequence + 1)
        notes = []
        if self.torn:
            notes.append("the last line is half-written and was never acknowledged; the next writer cuts it off")
        if self.recovered:
            torn = "half-written record was" if self.recovered == 1 else "half-written records were"
            notes.append(f"{self.recovered} {torn} cut off after a crash")
        if kept is not None and kept < self.signed:
            # It is written there before it is written here, so that something is gone there.
            notes.append(f"the second place lost its checkpoints after record {kept}: an end cut off would not show")
        return Verification(True, *counted, unsigned=self.unsigned, notes=tuple(notes))

    def take(self, line: bytes, later: Iterator[bytes]) -> None:
        """Check one record against everything before it."""
        record = unseal(self.keys.links, line)
        expected = self.sequence + 1
        if record is None:
            raise _WrongError(f"record {expected} was edited, or did not come from this log")
        if record["event"] == "log.segment" and self.tree.size == 0:
            self._enter(record)
        elif self.tree.size == 0:
            raise _WrongError(f"record {expected} is not the first of a segment: records before it were deleted")
        else:
            self._follow(record, later)
        check = _CHECKS.get(record["event"])
        if check is not None:
            check(self, record)
        self.sequence, self.mac = record["seq"], record["mac"]
        self.seen.add(self.mac)
        self.tree.append(line)
        self.records += 1
        self.unsigned = 0 if record["event"] == "log.checkpoint" else self.unsigned + 1
        self.closing = hashlib.sha256(line).hexdigest() if record["event"] == "log.checkpoint" else ""
        for checkpoint in self.wanted.get((self.log, self.segment), ()):
            if checkpoint.size == self.tree.size:
                self._hold(checkpoint)

    def _enter(self, record: dict[str, Any]) -> None:
        """The first record of a segment."""
        segment = record["segment"]
        if self.first is None:
            self.first = (record["log"], segment)
            self.log, self.segment = self.first
            return
        if record["log"] != self.log:
            raise _WrongError(f"segment {self.segment + 1} belongs to another log")
        if record["seq"] <= self.sequence:
            raise _WrongError(f"segment {segment} is there again, in the place of segment {self.segment + 1}")
        if segment != self.segment + 1 or record["seq"] != self.sequence + 1 or record["prev"] != self.mac:
            raise _WrongError(f"{_missing(self.sequence + 1, record['seq'])} missing before segment {segment}")
        if record["follows"] != self.closing:
            raise _WrongError(f"segment {segment} does not follow the closing checkpoint of segment {self.segment}")
        self.segment = segment

    def _follow(self, record: dict[str, Any], later: Iterator[bytes]) -> None:
        """Any other record: the next number, after the very record that was before it."""
        expected, number = self.sequence + 1, record["seq"]
        if record["mac"] in self.seen or number <= self.sequence:
            raise _WrongError(
                f"record {number} is there again, in the place of record {expected}: replayed or inserted"
            )
        if number > expected:
            if any(_sequence(line) == expected for line in later):
                raise _WrongError(f"record {number} stands in the place of record {expected}: records were reordered")
            raise _WrongError(f"{_missing(expected, number)} missing: deleted, or cut off")
        if record["prev"] != self.mac:
            raise _WrongError(f"record {number} does not follow record {self.sequence}: one of them was replaced")

    def checkpoint(self, record: dict[str, Any]) -> None:
        """A checkpoint inside of the log."""
        checkpoint = Checkpoint.of(record["checkpoint"])
        self._hold(checkpoint)
        self.signed = checkpoint.sequence

    def retire(self, record: dict[str, Any]) -> None:
        """A segment that was deleted because its time was over."""
        self.retired[record["log"], record["segment"]] = (record["last"], record["sha256"])

    def recover(self, record: dict[str, Any]) -> None:
        """What a crash left was cut off."""
        self.recovered += 1

    def _hold(self, checkpoint: Checkpoint) -> None:
        """Compare what was signed with what is there."""
        if not checkpoint.is_signed_by(self.keys.public):
            raise _WrongError(f"the checkpoint after record {checkpoint.sequence} is not signed with the audit key")
        held = (checkpoint.log, checkpoint.segment, checkpoint.size, checkpoint.root)
        if held != (self.log, self.segment, self.tree.size, self.tree.root().hex()):
            raise _WrongError(f"the records up to {checkpoint.sequence} are not those the checkpoint was signed for")
        self.checkpoints += 1

    def end_segment(self) -> None:
        """Note how long it was, and be ready for the next."""
        self.sizes[self.log, self.segment] = self.tree.size
        self.tree = MerkleTree()


_CHECKS = {"log.checkpoint": _Reader.checkpoint, "log.retired": _Reader.retire, "log.recovered": _Reader.recover}


def verify(path: Path, keys: AuditKeys, checkpoints: Iterable[Checkpoint] | Path | None = None) -> Verification:
    """Check a log.

    Parameters
    ----------
    path
        The file that is written; closed segments are beside it.
    keys
        Keys of the log.
    checkpoints
        Signed checkpoints from the second place, or the file with them. Without them nobody can tell whether records
        were cut off the end.

    Raises
    ------
    OSError
        It cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from tauro_nb.security.audit import AuditTrail
    >>> trail = AuditTrail(Path(tempfile.mkdtemp()) / "audit.jsonl")
    >>> _ = trail.denied("ana", "payroll", "no")
    >>> trail.close()
    >>> str(trail.verify())
    'the audit log verifies: 3 records in 1 segment, 2 checkpoints, 0 records after the last one'
    """
    try:
        known = _known(checkpoints)
    except ValueError:
        return Verification(False, problem="the file of checkpoints holds something else")
    files = LogFiles(path)
    segments = files.snapshot()
    files.close()
    reader = _Reader(keys, _by_segment(known))
    try:
        reader.read(segments)
        _nothing_missing(reader, known)
    except _WrongError as wrong:
        return reader.found(len(segments), str(wrong))
    kept = None if checkpoints is None else max((checkpoint.sequence for checkpoint in known), default=0)
    return reader.found(len(segments), kept=kept)


def _known(checkpoints: Iterable[Checkpoint] | Path | None) -> list[Checkpoint]:
    if checkpoints is None:
        return []
    if isinstance(checkpoints, Path):
        return read_checkpoints(checkpoints.read_bytes()) if checkpoints.exists() else []
    return list(checkpoints)


def _by_segment(checkpoints: Iterable[Checkpoint]) -> dict[tuple[str, int], list[Checkpoint]]:
    found: dict[tuple[str, int], list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        found.setdefault((checkpoint.log, checkpoint.segment), []).append(checkpoint)
    return found


def _nothing_missing(reader: _Reader, known: Iterable[Checkpoint]) -> None:
    """Whether something that was there once is gone: whole segments, or the end of one."""
    if reader.first is not None:
        log, first = reader.first
        for segment in range(1, first):
            if (log, segment) not in reader.retired:
                raise _WrongError(f"segment {segment} is missing, and was not deleted for its age")
    for checkpoint in known:
        place = (checkpoint.log, checkpoint.segment)
        if place in reader.retired:
            continue
        if not checkpoint.is_signed_by(reader.keys.public):
            raise _WrongError(f"a checkpoint in the second place, after record {checkpoint.sequence}, is not ours")
        if reader.sizes.get(place, 0) < checkpoint.size:
            raise _WrongError(f"the log was cut: record {checkpoint.sequence} was signed for, and is not there")


def _missing(first: int, found: int) -> str:
    """How records from the first to the one before what was found are named."""
    return f"record {first} is" if found - first <= 1 else f"records {first} to {found - 1} are"


def _sequence(line: bytes) -> int:
    try:
        return int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError):
        return 0
