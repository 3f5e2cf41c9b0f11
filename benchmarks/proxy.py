"""A TCP proxy that counts bytes, slows them down and loses them, in a process of its own.

It shares no interpreter lock with anybody. Each line on its standard input is a JSON object of orders, perhaps empty,
and is answered with the counters so far; end of input ends it.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import struct
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
# Close with a reset, as a network does that lost a connection.
_RESET = struct.pack("ii", 1, 0)


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

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return int(self._ask()["open"])

    @property
    def stalled(self) -> bool:
        """Whether nothing goes through."""
        return bool(self._ask()["stalled"])

    def drop(self, *, after: int | None = None) -> None:
        """Reset every connection, at once or when so many more bytes of answers went through."""
        self._ask(cut=after or 0)

    def stall(self, *, after: int | None = None) -> None:
        """Pass nothing on any more: connections stay open, new ones are taken, nobody answers."""
        self._ask(stall=after or 0)

    def refuse(self) -> None:
        """Reset new connections as soon as they are there."""
        self._ask(refuse=True)

    def heal(self) -> None:
        """Forget every order; what was held back goes on."""
        self._ask(heal=True)

    def close(self) -> None:
        """End the process and with it all connections."""
        # `with` closes the pipes, and with the input gone the process ends.
        with self._process:
            pass

    def _ask(self, **orders: Any) -> dict[str, Any]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the proxy has no pipes")
        pipe_in.write(json.dumps(orders) + "\n")
        pipe_in.flush()
        answer: dict[str, Any] = json.loads(pipe_out.readline())
        return answer


class _Line:
    """One direction of a slow wire: what is put on it leaves one after the other, and arrives a little later."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._free_at = 0.0

    def __bool__(self) -> bool:
        return self._wire != FULL_SPEED

    def arrival(self, number: int) -> float:
        """When so many bytes that are sent now will be there."""
        with self._lock:
            leaving = number / self._wire.rate if self._wire.rate else 0.0
            self._free_at = max(self._free_at, time.monotonic()) + leaving
            return self._free_at + self._wire.delay


class _Pair:
    """A client's connection and ours to the server for it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sides = (client, server)
        self.ways = 2

    def reset(self) -> None:
        """Lose the connection: whoever reads or writes on either side gets an error."""
        for side in self.sides:
            with contextlib.suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Closing alone would leave whoever waits for bytes waiting.
                side.shutdown(socket.SHUT_RD)
            side.close()


class _Relay:
    """The server side: accepts, connects on, pumps both ways, counts, and loses what it is told to lose."""

    def __init__(self, host: str, port: int, wire: Wire) -> None:
        self._target = (host, port)
        self._lock = threading.RLock()
        self._counts = {"received": 0, "sent": 0, "connections": 0}
        self._lines = {counter: _Line(wire) for counter in ("received", "sent")}
        self._pairs: set[_Pair] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._due: dict[str, int] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def obey(self, orders: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked, and say what was counted."""
        with self._lock:
            received = self._counts["received"]
            self._due |= {order: received + orders[order] for order in ("cut", "stall") if order in orders}
            self._refusing = self._refusing or "refuse" in orders
            if "heal" in orders:
                self._refusing, self._due = False, {}
                self._flowing.set()
            self._fall_due()
            return {
                "port": self._listener.getsockname()[1],
                "traffic": dict(self._counts),
                "open": len(self._pairs),
                "stalled": not self._flowing.is_set(),
            }

    def _fall_due(self) -> None:
        with self._lock:
            due = {order for order, at in self._due.items() if at <= self._counts["received"]}
            for order in due:
                del self._due[order]
            if "stall" in due:
                self._flowing.clear()
            while "cut" in due and self._pairs:
                self._pairs.pop().reset()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._flowing.wait()
        try:
            if self._refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target)
        except OSError:
            _Pair(client, client).reset()
            return
        pair = _Pair(client, server)
        for side in pair.sides:
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.add(pair)
            self._counts["connections"] += 1
        for source, sink, counter in ((server, client, "received"), (client, server, "sent")):
            threading.Thread(target=self._pump, args=(pair, source, sink, counter), daemon=True).start()

    def _count(self, counter: str, number: int) -> None:
        with self._lock:
            self._counts[counter] += number
            if self._due:
                self._fall_due()

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket, counter: str) -> None:
        line = self._lines[counter]
        try:
            if line:
                self._pump_slowly(line, source, sink, counter)
            else:
                self._pump_straight(source, sink, counter)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            with self._lock:
                self._pairs.discard(pair)
            pair.reset()
        self._gone(pair)

    def _gone(self, pair: _Pair) -> None:
        """One way has ended; with the other one the connection has."""
        with self._lock:
            pair.ways -= 1
            if pair.ways:
                return
            self._pairs.discard(pair)
        for side in pair.sides:
            side.close()

    def _pump_straight(self, source: socket.socket, sink: socket.socket, counter: str) -> None:
        buffer = memoryview(bytearray(CHUNK))
        while number := source.recv_into(buffer):
            # Before it is passed on: whoever has the bytes finds them counted.
            self._count(counter, number)
            self._flowing.wait()
            sink.sendall(buffer[:number])
        self._flowing.wait()

    def _pump_slowly(self, line: _Line, source: socket.socket, sink: socket.socket, counter: str) -> None:
        waiting: queue.Queue[tuple[float, bytes]] = queue.Queue(UNDERWAY)

        def receive() -> None:
            data = b"-"
            while data:
                try:
                    data = source.recv(SLICE)
                except OSError:
                    data = b""
                waiting.put((line.arrival(len(data)), data))

        threading.Thread(target=receive, daemon=True).start()
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            self._count(counter, len(data))
            self._flowing.wait()
            if not data:
                return
            sink.sendall(data)


def main(host: str, port: str, rate: str, delay: str) -> None:
    """Serve until standard input ends."""
    relay = _Relay(host, int(port), Wire(float(rate), float(delay)))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(relay.obey(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
