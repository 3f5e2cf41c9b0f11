"""A join of two streams that are each many times what the engine may hold: it spills, and ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.engine.portions import ANSWER_ROWS
from tauro_nb.errors import QueryCancelled

LIMIT_MB = 100

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


# `besides` is for Python, its libraries and the batches on their way: with batches of 65,536 rows it was not enough.
@pytest.mark.parametrize(
    ("rows", "max_bytes", "besides"), [(600_000, None, 320), (200_000, "10GB", 390)], ids=["streamed", "counted"]
)
def test_a_join_of_streams_stays_within_its_memory(
    places: dict[str, Any], tmp_path: Path, rows: int, max_bytes: str | None, besides: int
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
    assert found["peak_mb"] < LIMIT_MB + besides
    assert found["left"] == []


def test_batches_that_were_read_ahead_are_not_handed_out_once_the_context_is_closed(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": range(100_000)}), tmp_path / "t.parquet")
    table = {"source_type": "filesystem", "connector_type": "parquet", "path": str(tmp_path / "t.parquet")}
    with VirtualContext({"virtual_tables": {"t": table}}) as ctx:
        batches = ctx.query("FROM t").to_batches()
        assert 0 < batches.read_next_batch().num_rows <= ANSWER_ROWS
    with pytest.raises(QueryCancelled):
        batches.read_next_batch()
