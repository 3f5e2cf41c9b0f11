"""An append-only JSONL file that says when it could not write."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tauro_nb.security.audit_format import to_jsonl

__all__ = ["JsonLines"]

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)


class JsonLines:
    r"""Opened on first use with mode 0600; the caller holds a lock.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "audit.jsonl"
    >>> JsonLines(path).append([{"b": 1, "a": "x"}], sync=True)
    >>> path.read_text()
    '{"a":"x","b":1}\n'
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._torn = False

    def append(self, records: Sequence[Mapping[str, Any]], *, sync: bool) -> None:
        """Append records, all in one write where the system allows it.

        Raises
        ------
        OSError
            They are not, or not certainly, in the file.
        """
        handle = self._opened()
        # A write that broke off left half a line; the next record starts on a line of its own.
        lines = ("\n" if self._torn else "") + to_jsonl(records)
        self._torn = True
        rest = memoryview(lines.encode("ascii"))
        while rest:
            rest = rest[os.write(handle, rest) :]
        self._torn = False
        if sync:
            _sync(handle)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _opened(self) -> int:
        if self._handle is not None and not self._still_there(self._handle):
            self.close()
        if self._handle is None:
            self._handle = os.open(self._path, _FLAGS, 0o600)
        return self._handle

    def _still_there(self, handle: int) -> bool:
        """Whether the path still names the open file: rotated or deleted, records would go where nobody looks."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False
