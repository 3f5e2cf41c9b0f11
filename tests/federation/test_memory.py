"""A join of two streams that are each many times what the engine may hold: it spills, and ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT_MB = 100
# What Python, its libraries and the batches on their way take besides.
BESIDES_MB = 600

# A process of its own: the highest memory of this one is that of all tests before.
PROGRAM = """
import json, sys
from pathlib import Path
from tauro_nb.context import VirtualContext

config, max_bytes = json.loads(sys.argv[1])
sql = "SELECT a.id, a.text = b.text AS same, a.text AS one, b.text AS other FROM a JOIN b ON a.id = b.id"
spill, spilled, rows, total, same = Path(config["engine"]["temp_directory"]), 0, 0, 0, 0
with VirtualContext(config) as ctx:
    for batch in ctx.query(sql, max_bytes=max_bytes).to_batches():
        spilled = max(spilled, sum(file.stat().st_size for file in spill.rglob("*") if file.is_file()))
        rows += batch.num_rows
        total += sum(batch["id"].to_pylist())
        same += sum(batch["same"].to_pylist())
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
left = list(map(str, spill.iterdir()))
print(json.dumps({"rows": rows, "total": total, "same": same, "spilled": spilled, "peak_mb": peak, "left": left}))
"""


@pytest.mark.parametrize(("rows", "max_bytes"), [(600_000, None), (200_000, "10GB")], ids=["streamed", "counted"])
def test_a_join_of_streams_stays_within_its_memory(
    places: dict[str, Any], tmp_path: Path, rows: int, max_bytes: str | None
) -> None:
    side = f"SELECT i AS id, repeat(md5((i % 9973)::text), 15) AS text FROM generate_series(1, {rows}) t(i)"
    sides = {"a": side, "b": side.replace("i AS id", f"{rows} - i + 1 AS id")}
    uri = places["connections"]["pg"]["uri"]
    config = {
        "engine": {"memory_limit": f"{LIMIT_MB}MB", "temp_directory": str(tmp_path / "spill")},
        "connections": {name: {"type": "postgresql", "uri": uri} for name in sides},
        "virtual_tables": {name: {"connection": name, "query": query} for name, query in sides.items()},
    }
    command = [sys.executable, "-c", PROGRAM, json.dumps([config, max_bytes])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["rows"], found["total"]) == (rows, rows * (rows + 1) // 2)
    assert found["same"] == sum((i % 9973) == ((rows - i + 1) % 9973) for i in range(1, rows + 1))
    assert found["spilled"] > LIMIT_MB * 1_000_000
    assert found["peak_mb"] < LIMIT_MB + BESIDES_MB
    assert found["left"] == []
