"""A real kernel for tests: run a cell, interrupt it, press Tab."""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "start_kernel"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Reply:
    """What a cell sent: texts by message type, the error if there was one, seconds since the interrupt."""

    streams: str = ""
    data: list[dict[str, Any]] = field(default_factory=list)
    error: tuple[str, str, list[str]] | None = None
    after_interrupt: float = 0.0

    @property
    def text(self) -> str:
        """Everything shown, as plain text."""
        return "\n".join(str(item.get("text/plain", "")) for item in self.data)


class Kernel:
    """A client of one kernel."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def run(
        self, code: str, *, interrupt_after: float | None = None, timeout: float = 60, attended: bool = False
    ) -> Reply:
        """Run a cell to its end, or interrupt it after some seconds; `attended`, somebody could be asked for input."""
        message, reply = self._client.execute(code, allow_stdin=attended), Reply()
        started, interrupted = time.monotonic(), None
        while time.monotonic() - started < timeout:
            if interrupt_after is not None and interrupted is None and time.monotonic() - started > interrupt_after:
                self._manager.interrupt_kernel()
                interrupted = time.monotonic()
            try:
                got = self._client.get_iopub_msg(timeout=0.05)
            except queue.Empty:
                continue
            if got["parent_header"].get("msg_id") == message and _collect(reply, got["msg_type"], got["content"]):
                reply.after_interrupt = time.monotonic() - (interrupted or started)
                return reply
        raise TimeoutError(code)

    def complete(self, code: str, cursor: int) -> dict[str, Any]:
        """Press Tab at a position."""
        content: dict[str, Any] = self._client.complete(code, cursor, reply=True, timeout=30)["content"]
        return content


def _collect(reply: Reply, kind: str, content: dict[str, Any]) -> bool:
    """Note one message; whether it was the last."""
    if kind == "stream":
        reply.streams += content["text"]
    elif kind in ("display_data", "execute_result"):
        reply.data.append(content["data"])
    elif kind == "error":
        reply.error = (content["ename"], content["evalue"], content["traceback"])
    return bool(kind == "status" and content["execution_state"] == "idle")


@contextmanager
def start_kernel() -> Iterator[Kernel]:
    """A kernel of this interpreter, in the checkout."""
    manager = KernelManager(transport="ipc" if sys.platform == "linux" else "tcp")
    manager.kernel_spec.argv[0] = sys.executable
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PLOOMBER_STATS_ENABLED": "false"}
    manager.start_kernel(cwd=str(ROOT), env=environment)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
