"""`python -m tests.security.audit.kill [QUERIES] [SEED]`: queries of a catalog, killed again and again while they run.

Every process asks until it is killed with SIGKILL, at a moment that chance decides; the next one goes on with the same
log. At the end every query that was answered must be in the log, and the log must verify.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tauro_nb.context import VirtualContext

ROOT = Path(__file__).resolve().parents[3]
# Queries of a real catalog: reads a CSV file, and says after each one that it got its answer.
ASKER = """
import json, sys
from tauro_nb import VirtualContext
config, count, who = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ctx = VirtualContext(config, who)
print("ready", flush=True)
plan = ctx.plan("SELECT a FROM numbers")
for number in range(count):
    rows = ctx.run(plan, query_id=f"{who}-{number}").rows()
    assert len(rows) == 3
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
print("done", flush=True)
ctx.close()
"""


@dataclass(frozen=True)
class Outcome:
    """What a run came to: queries that were answered, those of them that are not in the log, and what `verify` says."""

    acknowledged: int
    lost: int
    lives: int
    records: int
    segments: int
    problem: str


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, **options)


def catalog(folder: Path, audit: dict[str, Any]) -> dict[str, Any]:
    """A table of three rows."""
    (folder / "numbers.csv").write_text("a\n1\n2\n3\n")
    return {"virtual_tables": {"numbers": {"path": str(folder / "numbers.csv")}}, "audit": audit}


def run(folder: Path, queries: int, lives: int, seed: int) -> Outcome:
    """Ask `queries` times in about so many processes, each of which is killed at a moment that the seed decides."""
    chance = random.Random(seed)
    audit = {"path": str(folder / "audit.jsonl"), "checkpoint_every": 150, "rotate_bytes": 1 << 20}
    config = catalog(folder, audit)
    acknowledged: set[str] = set()
    life = 0
    while len(acknowledged) < queries:
        share = max(chance.randint(queries // lives // 2, 2 * queries // lives), 1)
        until = min(len(acknowledged) + share, queries)
        process = start(ASKER, json.dumps(config), 10 * queries, f"life{life}")
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                acknowledged.add(f"life{life}-{line.strip()}")
            if len(acknowledged) == until:
                # Somewhere in the next query: between its intent, its rows and its result.
                time.sleep(chance.random() * 0.02)
                process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "a process ended by itself"
        life += 1
    with VirtualContext(config, "admin") as ctx:
        logged = {log.query_id for log in ctx.audit_logs(status="SUCCESS")}
        found = ctx.verify_audit()
    return Outcome(
        len(acknowledged),
        len(acknowledged - logged),
        life,
        found.records,
        found.segments,
        "" if found.ok else str(found),
    )


def main() -> None:
    """Run it and print what came of it; exit code 1 when something was lost."""
    queries = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), queries, 25, seed)
    sys.stdout.write(f"{outcome}\n")
    sys.exit(1 if outcome.lost or outcome.problem else 0)


if __name__ == "__main__":
    main()
