"""How often the log is signed and rotated, how long it is kept, and who may read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["AuditSettings"]


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What an audit log does besides being written.

    Parameters
    ----------
    checkpoints
        The second place signed checkpoints are copied to: a file, best on another volume or one that is shipped away.
        Beside the log when not given, which protects against accidents only.
    checkpoint_every, checkpoint_seconds
        A checkpoint is signed when so many records, or the first of them so long ago, were not covered by one yet.
    rotate_bytes
        A segment that has grown to this size is closed, and the next one begun.
    retention_days
        Closed segments whose last record is older are deleted, which is recorded. None keeps everything.
    readers
        Roles that may read everybody's records and the table `tauro.audit`.
    key
        File of the audit key; beside the log when not given.

    Examples
    --------
    >>> AuditSettings().readers
    ('auditor', 'admin')
    """

    checkpoints: Path | None = None
    checkpoint_every: int = 1000
    checkpoint_seconds: float = 60.0
    rotate_bytes: int = 32 * 1024 * 1024
    retention_days: int | None = None
    readers: tuple[str, ...] = ("auditor", "admin")
    key: Path | None = None
