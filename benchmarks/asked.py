"""A contestant in a process of its own: started once, asked again and again, one JSON object a line.

Its peak memory is its own then, and nobody's warm-up helps another. It may run on another Python than ours, so that
nothing of the project is imported here.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from benchmarks.setting import Setting, peak_mb

__all__ = ["Contestant", "Process", "serve"]


class Contestant(ABC):
    """Runs SQL over the eight tables."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @abstractmethod
    def run(self, text: str) -> tuple[pa.Table, float | None]:
        """The answer, and how many milliseconds went into planning if that is known."""

    def plan(self, text: str) -> Any:
        """Plan only, where that exists."""
        raise NotImplementedError(text)


class Process:
    """A contestant in its own process.

    Parameters
    ----------
    name
        Of the contestant.
    setting
        Where its tables are.
    command
        What starts a process that knows contestants of that name (see `serve`).
    """

    def __init__(self, name: str, setting: Setting, command: Sequence[str] = ()) -> None:
        command = list(command) or [sys.executable, "-m", "benchmarks.contestants"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(name=name, setting=setting.plain())

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the contestant has no pipes")
        pipe_in.write(json.dumps(request) + "\n")
        pipe_in.flush()
        line = pipe_out.readline()
        if not line:
            raise RuntimeError(f"the contestant died with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let it end."""
        # `with` closes the pipes, and with the input gone the process ends.
        with self._process:
            pass


def serve(contestants: Mapping[str, Callable[[Setting], Contestant]]) -> None:
    """Answer requests, one JSON object a line, until input ends."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # whatever anybody prints must not mix with the answers
        first = json.loads(sys.stdin.readline())
        contestant = contestants[first["name"]](Setting.of(first["setting"]))
        print("{}", file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(contestant, json.loads(line))), file=out, flush=True)


def _answer(contestant: Contestant, request: Mapping[str, Any]) -> dict[str, Any]:
    if "peak" in request:
        return {"peak_mb": peak_mb()}
    try:
        if "plan" in request:
            return _planned(contestant, request["plan"])
        return _timed(contestant, request["run"], request.get("keep"))
    except Exception as error:  # noqa: BLE001 - a failure is a result, and is printed as one
        return {"error": f"{type(error).__name__}: {error}"}


def _timed(contestant: Contestant, text: str, keep: str | None) -> dict[str, Any]:
    """Run a query; `keep` is the file that its answer is written to."""
    started = time.perf_counter()
    table, plan_ms = contestant.run(text)
    seconds = time.perf_counter() - started
    if keep is not None:
        with pa.OSFile(keep, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return {"seconds": seconds, "rows": table.num_rows, "plan_ms": plan_ms, "checksum": _checksum(table)}


def _checksum(table: pa.Table) -> str:
    """The same for the same rows in any order."""
    rows = sorted(repr(tuple(row.values())) for row in table.to_pylist())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _planned(contestant: Contestant, text: str) -> dict[str, Any]:
    started = time.perf_counter()
    contestant.plan(text)
    return {"seconds": time.perf_counter() - started}
