"""Who runs: ours, DuckDB with PostgreSQL attached, and DuckDB with everything in local files.

Each contestant lives in a process of its own, started once and asked again and again, so that peak memory is its own
and nobody's warm-up helps another.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.setting import IN_POSTGRES, catalog
from tests.tpc.data import extension_file

__all__ = ["CONTESTANTS", "Process"]


class Contestant(ABC):
    """Runs SQL over the eight tables."""

    def __init__(self, paths: Mapping[str, str], uri: str) -> None:
        self.paths = paths
        self.uri = uri

    @abstractmethod
    def run(self, text: str) -> tuple[pa.Table, float | None]:
        """The answer, and how many milliseconds went into planning if that is known."""

    def plan(self, text: str) -> Any:
        """Plan only, where that exists."""
        raise NotImplementedError(text)


class Ours(Contestant):
    """The product, with its default settings."""

    def __init__(self, paths: Mapping[str, str], uri: str) -> None:
        super().__init__(paths, uri)
        from tauro_nb.context import VirtualContext  # the others must not pay for it in memory

        self.ctx = VirtualContext(config=catalog(paths, uri))

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        result = self.ctx.query(text)
        return result.to_arrow(), result.stats.plan_ms

    def plan(self, text: str) -> Any:
        return self.ctx.plan(text)


class Local(Contestant):
    """Plain DuckDB over Parquet files: what it would cost if everything were here already."""

    def __init__(self, paths: Mapping[str, str], uri: str) -> None:
        super().__init__(paths, uri)
        self.con = duckdb.connect(config={"extension_directory": tempfile.mkdtemp(prefix="tauro-bench-")})
        self.con.execute("SET enable_progress_bar = false")
        self._create_views()

    def _create_views(self) -> None:
        for name, path in self.paths.items():
            self.con.execute(f"CREATE VIEW {name} AS FROM '{path}'")

    def run(self, text: str) -> tuple[pa.Table, float | None]:
        return self.con.execute(text).to_arrow_table(), None


class Attach(Local):
    """Plain DuckDB, PostgreSQL attached, views over its tables: what a person does without us."""

    def _create_views(self) -> None:
        self.con.execute(f"INSTALL '{extension_file('postgres_scanner')}'")
        self.con.execute("LOAD postgres_scanner")
        self.con.execute(f"ATTACH '{self.uri}' AS pg (TYPE postgres, READ_ONLY)")
        for name, path in self.paths.items():
            source = f"pg.public.{name}" if name in IN_POSTGRES else f"'{path}'"
            self.con.execute(f"CREATE VIEW {name} AS FROM {source}")


CONTESTANTS: Mapping[str, type[Contestant]] = {"ours": Ours, "attach": Attach, "local": Local}


class Process:
    """A contestant in its own process."""

    def __init__(self, name: str, paths: Mapping[str, str], uri: str) -> None:
        command = [sys.executable, "-m", "benchmarks.contestants"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(name=name, paths=dict(paths), uri=uri)

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


def _timed(contestant: Contestant, text: str) -> dict[str, Any]:
    started = time.perf_counter()
    table, plan_ms = contestant.run(text)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": table.num_rows, "plan_ms": plan_ms, "checksum": _checksum(table)}


def _checksum(table: pa.Table) -> str:
    """The same for the same rows in any order."""
    rows = sorted(repr(tuple(row.values())) for row in table.to_pylist())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _planned(contestant: Contestant, text: str) -> dict[str, Any]:
    started = time.perf_counter()
    contestant.plan(text)
    return {"seconds": time.perf_counter() - started}


def _answer(contestant: Contestant, request: Mapping[str, Any]) -> dict[str, Any]:
    if "peak" in request:
        return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    try:
        return _planned(contestant, request["plan"]) if "plan" in request else _timed(contestant, request["run"])
    except Exception as error:  # noqa: BLE001 - a failure is a result, and is printed as one
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer requests, one JSON object a line, until input ends."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # whatever anybody prints must not mix with the answers
        first = json.loads(sys.stdin.readline())
        contestant = CONTESTANTS[first["name"]]({k: str(Path(v)) for k, v in first["paths"].items()}, first["uri"])
        print("{}", file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(contestant, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
