"""The counting proxy counts every byte, both ways, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.proxy import CountingProxy

ANSWER = b"a" * 3_000_001


def _serve(listener: socket.socket) -> None:
    """Read ten bytes, answer with three million and one, until nobody asks any more."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while len(connection.recv(10, socket.MSG_WAITALL)) == 10:
                connection.sendall(ANSWER)


@pytest.fixture
def server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def test_every_byte_is_counted(server: int) -> None:
    proxy = CountingProxy(f"postgresql://user:pa%2Fss@127.0.0.1:{server}/db")
    try:
        host, _, port = proxy.uri.removeprefix("postgresql://user:pa%2Fss@").removesuffix("/db").partition(":")
        before = proxy.traffic()
        with socket.create_connection((host, int(port))) as client:
            for _ in range(3):
                client.sendall(b"0123456789")
                assert len(client.recv(len(ANSWER), socket.MSG_WAITALL)) == len(ANSWER)
        moved = proxy.traffic() - before
    finally:
        proxy.close()
    assert (moved.received, moved.sent, moved.connections) == (3 * len(ANSWER), 30, 1)
