"""The files of a log: `audit.jsonl` that is written, `audit.jsonl.000001` and so on that are closed, and their lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["LogBusy", "LogFiles", "sync_folder"]

_PATIENCE: Final = 10.0
_PAUSE: Final = 0.0002
_LOCK: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class LogBusy(OSError):
    """Another process did not let go of the log."""


class _Hold:
    """The lock while it is held. Not a generator: every record goes through it twice."""

    __slots__ = ("_handle", "_kind")

    def __init__(self, handle: int, kind: int) -> None:
        self._handle = handle
        self._kind = kind | fcntl.LOCK_NB

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._handle, self._kind)
        except BlockingIOError:
            self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            time.sleep(_PAUSE)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._handle, self._kind)
                return
        raise LogBusy(11, "another process holds the log")

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_UN)


class LogFiles:
    """Names and lock of one log; every writer and reader of any process goes through `locked`.

    Parameters
    ----------
    path
        The file that is written.

    Examples
    --------
    >>> LogFiles(Path("audit.jsonl")).closed_name(7).name
    'audit.jsonl.000007'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._owner = os.getpid()

    def closed_name(self, segment: int) -> Path:
        """The file of a closed segment."""
        return self.path.with_name(f"{self.path.name}.{segment:06d}")

    def closed(self) -> list[Path]:
        """Files of closed segments, the oldest first."""
        pattern = re.compile(re.escape(self.path.name) + r"\.\d{6,}")
        with contextlib.suppress(FileNotFoundError):
            found = [path for path in self.path.parent.iterdir() if pattern.fullmatch(path.name)]
            return sorted(found, key=lambda path: int(path.suffix[1:]))
        return []

    def beside(self, ending: str) -> Path:
        """A file that belongs to the log."""
        return self.path.with_name(self.path.name + ending)

    def locked(self, *, shared: bool = False) -> _Hold:
        """Hold the log, alone or among readers, for the length of a `with`.

        Raises
        ------
        OSError
            The lock file cannot be opened, or, on entering, somebody holds it for seconds.
        """
        if self._owner != os.getpid():
            # A lock belongs to the open file, which a forked child shares with its parent.
            self.close()
            self._owner = os.getpid()
        if self._handle is None:
            self._handle = os.open(self.beside(".lock"), _LOCK, 0o600)
        return _Hold(self._handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def let_go(self) -> None:
        """Give the lock back, if this process still has it."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def snapshot(self) -> list[tuple[Path, bytes]]:
        """Content of every segment at one moment, the oldest first."""
        found = []
        for path, file, size in self._opened():
            with file:
                found.append((path, file.read(size)))
        return found

    def lines(self) -> Iterator[bytes]:
        """Whole lines of every segment as it was at one moment, read as they are asked for."""
        # Opened here and now: a segment that is deleted meanwhile can still be read.
        return _lines(self._opened())

    def _opened(self) -> list[tuple[Path, BinaryIO, int]]:
        with contextlib.ExitStack() as stack:
            # In a folder that can only be read nobody writes, and there is nothing to wait for.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                stack.enter_context(self.locked(shared=True))
            handles = [(path, path.open("rb")) for path in [*self.closed(), self.path] if path.is_file()]
            return [(path, file, os.fstat(file.fileno()).st_size) for path, file in handles]

    def close(self) -> None:
        """Let go of the lock file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lines(opened: Sequence[tuple[Path, BinaryIO, int]]) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        for _, file, _ in opened:
            stack.enter_context(file)
        for _, file, size in opened:
            read = 0
            for line in file:
                read += len(line)
                # What was written since, and what a crash left half-written, is not of that moment.
                if read > size or not line.endswith(b"\n"):
                    break
                yield line


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
