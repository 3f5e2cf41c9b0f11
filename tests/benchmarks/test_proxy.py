"""The counting proxy counts every byte both ways, is as slow as it says, and loses what it is told to lose."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.proxy import FULL_SPEED, CountingProxy, Wire

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


def _three_questions(server: int, wire: Wire) -> tuple[float, CountingProxy]:
    """Ask three times through a proxy; seconds, and the proxy."""
    proxy = CountingProxy(f"postgresql://user:pa%2Fss@127.0.0.1:{server}/db", wire)
    host, _, port = proxy.uri.removeprefix("postgresql://user:pa%2Fss@").removesuffix("/db").partition(":")
    with socket.create_connection((host, int(port))) as client:
        started = time.monotonic()
        for _ in range(3):
            client.sendall(b"0123456789")
            assert len(client.recv(len(ANSWER), socket.MSG_WAITALL)) == len(ANSWER)
        return time.monotonic() - started, proxy


def test_every_byte_is_counted(server: int) -> None:
    _, proxy = _three_questions(server, FULL_SPEED)
    with proxy:
        moved = proxy.traffic()
    assert (moved.received, moved.sent, moved.connections) == (3 * len(ANSWER), 30, 1)


def test_a_slow_wire_takes_its_time_and_loses_nothing(server: int) -> None:
    wire = Wire(rate=30e6, delay=0.02)
    seconds, proxy = _three_questions(server, wire)
    with proxy:
        moved = proxy.traffic()
    assert (moved.received, moved.sent) == (3 * len(ANSWER), 30)
    least = 3 * (len(ANSWER) / wire.rate + 2 * wire.delay)
    assert seconds >= least * 0.98


def ask(proxy: CountingProxy, size: int = 1) -> bytes:
    """So many bytes of an answer through the proxy."""
    host, _, port = proxy.uri.rpartition("@")[2].removesuffix("/db").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.settimeout(2)
        client.sendall(b"0123456789")
        return client.recv(size, socket.MSG_WAITALL)


def test_what_is_lost(server: int) -> None:
    with CountingProxy(f"postgresql://u@127.0.0.1:{server}/db") as proxy:
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
