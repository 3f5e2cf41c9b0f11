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


def asked_through(proxy: CountingProxy) -> socket.socket:
    host, _, port = proxy.uri.rpartition("@")[2].removesuffix("/db").partition(":")
    client = socket.create_connection((host, int(port)))
    client.settimeout(0.5)
    client.sendall(b"0123456789")
    return client


def test_a_slow_way(server: int) -> None:
    proxy = CountingProxy(f"postgresql://u@127.0.0.1:{server}/db", delay=0.05, rate=20_000_000)
    try:
        started = time.monotonic()
        with asked_through(proxy) as client:
            client.settimeout(None)
            assert client.recv(1)
            first = time.monotonic() - started
            assert len(client.recv(len(ANSWER) - 1, socket.MSG_WAITALL)) == len(ANSWER) - 1
        assert first >= 0.1
        assert time.monotonic() - started >= 0.1 + len(ANSWER) / 20_000_000
    finally:
        proxy.close()


def test_what_is_lost(server: int) -> None:
    proxy = CountingProxy(f"postgresql://u@127.0.0.1:{server}/db")
    try:
        proxy.drop(after=1000)
        with asked_through(proxy) as client, pytest.raises(ConnectionResetError):
            client.recv(len(ANSWER), socket.MSG_WAITALL)
        proxy.stall()
        with asked_through(proxy) as client, pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        with asked_through(proxy) as client:
            assert client.recv(1)
        proxy.refuse()
        with asked_through(proxy) as client, pytest.raises(ConnectionResetError):
            client.recv(1)
    finally:
        proxy.close()
