"""A TCP proxy that counts bytes, and can be as slow as a network, in a process of its own: it shares no interpreter
lock with anybody.

Each line on its standard input is answered with the counters so far; end of input ends it.
"""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

__all__ = ["FULL_SPEED", "SLOW", "CountingProxy", "Traffic", "Wire"]

CHUNK = 1 << 18
SLICE = 1 << 14
"""How much goes over a slow wire at a time: connections take turns."""
UNDERWAY = 256
"""Slices that a slow wire takes in before it lets the sender wait."""


@dataclass(frozen=True)
class Wire:
    """A way to a server.

    Parameters
    ----------
    rate
        Bytes a second in each direction, for all connections together; 0 is as fast as the machine.
    delay
        Seconds that a byte takes one way.
    """

    rate: float = 0.0
    delay: float = 0.0


FULL_SPEED: Final = Wire()
SLOW: Final = Wire(rate=200e6 / 8, delay=0.005)
"""200 Mbit/s and 5 ms each way."""


@dataclass(frozen=True)
class Traffic:
    """Bytes that a client has received and sent, and connections it has opened."""

    received: int = 0
    sent: int = 0
    connections: int = 0

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.received - other.received, self.sent - other.sent, self.connections - other.connections)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.received + other.received, self.sent + other.sent, self.connections + other.connections)


class CountingProxy:
    """Start a proxy in front of a database; `uri` is the database as seen through it."""

    def __init__(self, uri: str, wire: Wire = FULL_SPEED) -> None:
        parts = urlsplit(uri)
        address = [str(parts.hostname), str(parts.port), str(wire.rate), str(wire.delay)]
        command = [sys.executable, "-m", "benchmarks.proxy", *address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = self._ask()["port"]
        userinfo = parts.netloc.rpartition("@")[0]
        self.uri = urlunsplit(parts._replace(netloc=f"{userinfo}@127.0.0.1:{port}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def traffic(self) -> Traffic:
        """The counters now."""
        return Traffic(**self._ask()["traffic"])

    def close(self) -> None:
        """End the process and with it all connections."""
        # `with` closes the pipes, and with the input gone the process ends.
        with self._process:
            pass

    def _ask(self) -> dict[str, Any]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the proxy has no pipes")
        pipe_in.write("\n")
        pipe_in.flush()
        answer: dict[str, Any] = json.loads(pipe_out.readline())
        return answer


class _Line:
    """One direction of a slow wire: what is put on it leaves one after the other, and arrives a little later."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._free_at = 0.0

    def arrival(self, number: int) -> float:
        """When so many bytes that are sent now will be there."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + number / self._wire.rate
            return self._free_at + self._wire.delay


class _Relay:
    """The server side: accepts, connects on, pumps both ways and counts."""

    def __init__(self, host: str, port: int, wire: Wire) -> None:
        self._target = (host, port)
        self._lines = {name: _Line(wire) if wire.rate else None for name in ("received", "sent")}
        self._lock = threading.Lock()
        self._counts = {"received": 0, "sent": 0, "connections": 0}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            return {"port": self._listener.getsockname()[1], "traffic": dict(self._counts)}

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            self._count("connections", 1)
            for source, sink, counter in ((server, client, "received"), (client, server, "sent")):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line = self._lines[counter]
                if line is None:
                    threading.Thread(target=self._pump, args=(source, sink, counter), daemon=True).start()
                else:
                    self._start_slow(source, sink, counter, line)

    def _start_slow(self, source: socket.socket, sink: socket.socket, counter: str, line: _Line) -> None:
        underway: queue.Queue[tuple[float, bytes]] = queue.Queue(UNDERWAY)
        threading.Thread(target=self._take, args=(source, counter, line, underway), daemon=True).start()
        threading.Thread(target=_deliver, args=(underway, source, sink), daemon=True).start()

    def _count(self, counter: str, number: int) -> None:
        with self._lock:
            self._counts[counter] += number

    def _pump(self, source: socket.socket, sink: socket.socket, counter: str) -> None:
        buffer = memoryview(bytearray(CHUNK))
        try:
            while number := source.recv_into(buffer):
                # Before it is passed on: whoever has the bytes finds them counted.
                self._count(counter, number)
                sink.sendall(buffer[:number])
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()

    def _take(
        self, source: socket.socket, counter: str, line: _Line, underway: queue.Queue[tuple[float, bytes]]
    ) -> None:
        """Put what a side sends on the line; an empty piece says that it has ended."""
        try:
            while data := source.recv(SLICE):
                self._count(counter, len(data))
                underway.put((line.arrival(len(data)), data))
        except OSError:
            source.close()
        underway.put((0.0, b""))


def _deliver(underway: queue.Queue[tuple[float, bytes]], source: socket.socket, sink: socket.socket) -> None:
    """Pass on what has arrived."""
    alive = True
    while (piece := underway.get())[1]:
        # A side that has gone takes nothing more; the other is heard out, so that it need not wait for ever.
        if not alive:
            continue
        time.sleep(max(piece[0] - time.monotonic(), 0.0))
        try:
            sink.sendall(piece[1])
        except OSError:
            source.close()
            alive = False
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def main(host: str, port: str, rate: str, delay: str) -> None:
    """Serve until standard input ends."""
    relay = _Relay(host, int(port), Wire(float(rate), float(delay)))
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(relay.snapshot()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
