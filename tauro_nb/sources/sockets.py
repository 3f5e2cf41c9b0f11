"""Break connections that nobody else can: those that a library opened, and in which it waits for a server that is gone.

DuckDB's scanners wait for their server without end, and no interruption of the engine reaches them there. Once its
socket is shut down, the scanner sees a lost connection, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["addresses", "leads_to", "marked", "sever"]

# Every system that has them lists a process's open files here; elsewhere nothing is found, and nothing is broken.
_OPEN_FILES: Final = Path("/dev/fd")


def sever(ours: Callable[[socket.socket], bool]) -> int:
    """Shut down every socket of this process that is ours; returns how many there were."""
    count = 0
    for found in _sockets():
        with found, contextlib.suppress(OSError):
            if ours(found):
                found.shutdown(socket.SHUT_RDWR)
                count += 1
    return count


def _sockets() -> Iterator[socket.socket]:
    """Sockets that no object of Python's holds: those have owners of their own."""
    held = {thing.fileno() for thing in gc.get_objects() if issubclass(type(thing), socket.socket)}
    numbers = {int(file.name) for file in _OPEN_FILES.iterdir()} if _OPEN_FILES.is_dir() else set()
    for number in numbers - held:
        try:
            # A duplicate: closing it leaves theirs open.
            copy = os.dup(number)
        except OSError:
            continue
        try:
            yield socket.socket(fileno=copy)
        except OSError:
            os.close(copy)


def marked(milliseconds: int) -> Callable[[socket.socket], bool]:
    """Whether a socket has this `tcp_user_timeout`, which a source sets to a number of its own."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    return lambda found: option is not None and found.getsockopt(socket.IPPROTO_TCP, option) == milliseconds


def leads_to(places: frozenset[tuple[str, int]]) -> Callable[[socket.socket], bool]:
    """Whether a socket is connected to one of these addresses."""
    return lambda found: found.family != socket.AF_UNIX and found.getpeername()[:2] in places


def addresses(host: str, port: int) -> frozenset[tuple[str, int]]:
    """The addresses that a name stands for; none when it stands for nothing."""
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return frozenset((str(address[0]), int(address[1])) for *_, address in found)
    return frozenset()
