"""`python -m benchmarks.audit`: what the audit log adds to a query, and how fast it is written, verified and read.

Beside it stands what the disk itself takes to write as much and sync it (`fdatasync`), measured in turn with it: on a
busy machine the difference says more than the figure.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tauro_nb import VirtualContext
from tauro_nb.query.plan import QueryPlan, whole
from tauro_nb.record import Record
from tauro_nb.security.audit import AuditLog, AuditTrail
from tauro_nb.security.audit.table import AUDIT_COLUMNS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "audit.json"
QUERIES = int(os.environ.get("TAURO_BENCH_QUERIES", "1500"))
RECORDS, GROUP, THREADS = 20_000, 100, 16
CATALOG: dict[str, Any] = {
    "virtual_tables": {
        "people": {"query": "SELECT i AS id, 'a' || i AS email, i % 7 AS team, i AS salary FROM range(9) t(i)"},
        "teams": {"query": "SELECT i AS team, 'team ' || i AS name FROM range(7) t(i)"},
    },
    "security_policies": {
        "people": {
            "row_level_filters": {"admin": "", "analyst": "salary < 5"},
            "field_policies": {"email": {"masking_enabled": True, "mask": "email", "allowed_roles": ["admin"]}},
        }
    },
}  # fmt: skip
SQL = "SELECT p.email, t.name FROM people p JOIN teams t USING (team) WHERE p.id > 2 AND t.name <> 'none'"


GROUPED = "SELECT principal, count(*) AS n FROM tauro.audit GROUP BY principal"


def measure(folder: Path) -> dict[str, Any]:
    """All figures, of a log in a folder of its own."""
    return {
        "added to a query": _added(folder / "added"),
        "within a query": _within(folder / "within"),
        "grouped": _grouped(folder / "grouped"),
        "threads": _threads(folder / "threads"),
        "read back": _read_back(folder / "grouped"),
    }


def _added(folder: Path) -> dict[str, Any]:
    """Intent (with what it says of the query) and result around nothing; a bare write and sync of as many bytes."""
    folder.mkdir()
    with VirtualContext({**CATALOG, "audit": {"path": str(folder / "audit.jsonl")}}, "admin") as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])
        plan, who = whole(ana.plan(SQL)), ana.principal

        def audited(asked: QueryPlan) -> None:
            record = Record(ctx.layer, who, asked, secrets.token_hex(16), time.perf_counter())
            record.intent()
            record.ended()

        audited(plan)
        log = folder / "audit.jsonl"
        before = log.stat().st_size
        audited(plan)
        line = b"x" * (log.stat().st_size - before)
        handle = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def bare() -> None:
            os.write(handle, line)
            os.fdatasync(handle)

        figures = _in_turn({
            "a query asked before": lambda: audited(plan),
            # Nothing is known of it yet: its shape and the roles of its columns are worked out.
            "a new query": lambda: audited(replace(plan, _notes={})),
            "a bare write and sync": bare,
        })  # fmt: skip
        os.close(handle)
        assert ctx.verify_audit().ok
    figures["bytes a query"] = len(line)
    return figures


def _within(folder: Path) -> dict[str, Any]:
    """A whole query that was asked before, recorded and not: what is written in between comes out of cold caches."""
    folder.mkdir()
    with VirtualContext({**CATALOG, "audit": {"path": str(folder / "audit.jsonl")}}, "admin") as ctx:
        ana = ctx.as_principal("ana", roles=["analyst"])

        def asked() -> None:
            ana.query(SQL).rows()

        def unrecorded() -> None:
            with patch.multiple(AuditTrail, begin=_nothing, result=_nothing):
                asked()

        asked()
        figures = _in_turn({"recorded": asked, "not recorded": unrecorded})
    added = figures["recorded"]["median ms"] - figures["not recorded"]["median ms"]
    return {**figures, "added ms": round(added, 3)}


def _nothing(*_: Any, **__: Any) -> None:
    """What is written of a query, for comparison."""


def _in_turn(works: dict[str, Callable[[], None]]) -> dict[str, Any]:
    walls: dict[str, list[float]] = {name: [] for name in works}
    cpus: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(QUERIES):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.thread_time()
            work()
            walls[name].append((time.perf_counter() - wall) * 1e3)
            cpus[name].append((time.thread_time() - cpu) * 1e3)
    return {
        name: {
            "median ms": round(statistics.median(walls[name]), 3),
            "p99 ms": round(statistics.quantiles(walls[name], n=100)[98], 3),
            "median cpu ms": round(statistics.median(cpus[name]), 3),
        }
        for name in works
    }


def _grouped(folder: Path) -> dict[str, Any]:
    """Records that are written a hundred at a time."""
    folder.mkdir()
    trail = AuditTrail(folder / "audit.jsonl")
    logs = [AuditLog("ana", f"t{number}", ("a", "b"), 3, statement="SELECT a, b FROM t") for number in range(GROUP)]
    rates = _rates(lambda: [trail.record_all(logs) for _ in range(RECORDS // GROUP)], RECORDS)
    trail.close()
    return {**rates, "group": GROUP}


def _rates(work: Callable[[], object], count: int) -> dict[str, int]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"a second": round(count / wall), "a cpu second": round(count / cpu)}


def _threads(folder: Path) -> dict[str, Any]:
    """Intents of many threads, which share a write and a sync."""
    folder.mkdir()
    trail = AuditTrail(folder / "audit.jsonl")
    each = RECORDS // 4 // THREADS

    def work(who: str) -> None:
        for _ in range(each):
            trail.result(trail.intent(who, {"t": ["a"]}), row_count=1)

    threads = [threading.Thread(target=work, args=(f"p{number}",)) for number in range(THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    trail.close()
    return {"queries a second": round(each * THREADS / took), "threads": THREADS}


def _read_back(folder: Path) -> dict[str, Any]:
    """Verify the whole log, and read it as `tauro.audit`."""
    with VirtualContext({"audit": {"path": str(folder / "audit.jsonl")}}, "admin") as ctx:
        trail = ctx.layer.audit_trail
        count = sum(1 for _ in trail.events())
        return {
            "records": count,
            "verified": _rates(lambda: _require(ctx.verify_audit().ok), count),
            "read as tauro.audit": _rates(lambda: trail.reader(list(AUDIT_COLUMNS)).read_all(), count),
            "GROUP BY over tauro.audit": _rates(lambda: ctx.query(GROUPED).rows(), count),
        }


def _require(holds: bool) -> None:
    assert holds


def main() -> None:
    """Measure, print, and keep the figures."""
    load = os.getloadavg()[0]
    (HERE / ".data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HERE / ".data") as folder:
        figures = measure(Path(folder))
    figures["setting"] = {"queries": QUERIES, "cpus": os.cpu_count(), "load before": round(load, 1)}
    text = json.dumps(figures, indent=1)
    print(text)
    RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
