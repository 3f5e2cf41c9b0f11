"""The counting proxy counts every byte, both ways, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
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
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
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


def ask(proxy: CountingProxy, size: int = 1) -> bytes:
    """So many bytes of an answer through the proxy."""
    host, _, port = proxy.uri.rpartition("@")[2].removesuffix("/db").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.settimeout(2)
        client.sendall(b"0123456789")
        return client.recv(size, socket.MSG_WAITALL)


def test_a_slow_way(server: int) -> None:
    proxy = CountingProxy(f"postgresql://u@127.0.0.1:{server}/db", delay=0.05, rate=20_000_000)
    try:
        started = time.monotonic()
        assert ask(proxy)
        first = time.monotonic()
        assert len(ask(proxy, len(ANSWER))) == len(ANSWER)
    finally:
        proxy.close()
    assert first - started >= 0.1
    assert time.monotonic() - first >= 0.1 + len(ANSWER) / 20_000_000


def test_what_is_lost(server: int) -> None:
    proxy = CountingProxy(f"postgresql://u@127.0.0.1:{server}/db")
    try:
        proxy.drop(after=1000)
        with pytest.raises(ConnectionError):
            ask(proxy, len(ANSWER))
        proxy.stall()
        with pytest.raises(TimeoutError):
            ask(proxy)
        proxy.heal()
        assert ask(proxy)
        proxy.refuse()
        with pytest.raises(ConnectionError):
            ask(proxy)
    finally:
        proxy.close()
