"""A TCP proxy that counts bytes, in a process of its own so that it shares no interpreter lock with anybody.

Each line on its standard input is answered with the counters so far; end of input ends it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

__all__ = ["CountingProxy", "Traffic"]

CHUNK = 1 << 18


@dataclass(frozen=True)
class Traffic:
    """Bytes that a client has received and sent, and connections it has opened."""

    received: int
    sent: int
    connections: int

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.received - other.received, self.sent - other.sent, self.connections - other.connections)


class CountingProxy:
    """Start a proxy in front of a database; `uri` is the database as seen through it."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        command = [sys.executable, "-m", "benchmarks.proxy", str(parts.hostname), str(parts.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = self._ask()["port"]
        userinfo = parts.netloc.rpartition("@")[0]
        self.uri = urlunsplit(parts._replace(netloc=f"{userinfo}@127.0.0.1:{port}"))

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


class _Relay:
    """The server side: accepts, connects on, pumps both ways and counts."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
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
                threading.Thread(target=self._pump, args=(source, sink, counter), daemon=True).start()

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


def main(host: str, port: str) -> None:
    """Serve until standard input ends."""
    relay = _Relay(host, int(port))
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(relay.snapshot()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
