"""R53: a log that is full, closed, slow, shared or killed: nothing acknowledged is lost; no record means no rows."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import AuditUnavailable
from tauro_nb.security.audit import AuditSettings, AuditTrail, segments
from tauro_nb.security.audit.checkpoint import read_checkpoints
from tests.security.audit.kill import catalog, run, start

# The trail alone, as fast as it goes.
WRITER = """
import sys
from tauro_nb.security.audit import AuditSettings, AuditTrail
path, count, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]
trail = AuditTrail(path, settings=AuditSettings(checkpoint_every=200, rotate_bytes=int(sys.argv[4])))
for number in range(count):
    trail.result(trail.intent(who, {"t": ["a"]}, query_id=f"{who}-{number}"), row_count=1)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
if "stay" in sys.argv:
    sys.stdin.read()
trail.close()
"""


def ended(trail: AuditTrail, status: str = "SUCCESS") -> set[str]:
    return {log.query_id for log in trail.records(status=status)}


@pytest.mark.slow
def test_kill_9_loses_no_acknowledged_record(tmp_path: Path) -> None:
    """Queries run in one process after the other, each killed in the middle; together they are 10,000."""
    log = tmp_path / "audit.jsonl"
    acknowledged: set[str] = set()
    settings = AuditSettings(checkpoint_every=200, rotate_bytes=1 << 20)
    for life in range(10):
        who = f"life{life}"
        process = start(WRITER, log, 1000 if life == 9 else 100_000, who, settings.rotate_bytes)
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.add(f"{who}-{line.strip()}")
            if len(acknowledged) == 1000 * (life + 1) - 7 and life < 9:
                process.send_signal(signal.SIGKILL)
        acknowledged.discard(f"{who}-")
        process.communicate()
        assert process.returncode == (0 if life == 9 else -signal.SIGKILL)
    assert len(acknowledged) >= 9_990
    trail = AuditTrail(log, settings=settings)
    assert acknowledged <= ended(trail)
    trail.denied("after", "t", "the log is written on")
    result = trail.verify()
    assert result.ok, str(result)
    assert result.segments > 1


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9_of_a_catalog_s_queries(tmp_path: Path, seed: int) -> None:
    """A share of what `make audit-crash` runs with 10,000 queries."""
    outcome = run(tmp_path, queries=150, lives=3, seed=seed)
    assert (outcome.lost, outcome.problem) == (0, "")
    assert outcome.acknowledged >= 150
    assert outcome.lives >= 2


def test_a_line_torn_by_a_crash_is_cut_off_and_noted(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    first = AuditTrail(log)
    first.denied("ana", "t", "whole")
    with log.open("ab") as file:
        file.write(b'{"event":"deny","ha')
    assert "half-written" in str(first.verify())
    second = AuditTrail(log)
    second.denied("ana", "t", "next")
    assert [record["event"] for record in second.events()] == ["log.segment", "deny", "log.recovered", "deny"]
    assert [log.denial_reason for log in second.records()] == ["whole", "next"]
    assert second.verify().ok
    first.denied("ana", "t", "the first one goes on, too")
    assert first.verify().ok


@pytest.mark.parametrize("left", [b"", b'{"event":"log.segm'])
def test_a_crash_at_the_very_first_record(tmp_path: Path, left: bytes) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(left)
    trail = AuditTrail(log)
    # There was a file, but nothing in it: the key is made, or was made before the crash.
    (tmp_path / "audit.jsonl.key").unlink(missing_ok=True)
    trail.denied("ana", "t", "first")
    assert trail.verify().ok
    assert [log.denial_reason for log in trail.records()] == ["first"]


def test_a_crash_between_two_segments(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    settings = AuditSettings(rotate_bytes=4096)
    trail = AuditTrail(log, settings=settings)
    while not log.with_name("audit.jsonl.000001").exists():
        trail.denied("ana", "t", "x" * 100)
    trail.close()
    log.unlink()  # as if the next segment had never been begun; what it held was not there either
    (tmp_path / "audit.jsonl.checkpoints").unlink()
    other = AuditTrail(log, settings=settings)
    other.denied("ana", "t", "on")
    assert other.verify().ok
    assert other.records()[-1].denial_reason == "on"


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    processes = [start(WRITER, log, 400, f"p{n}", 1 << 16) for n in range(3)]
    for process in processes:
        out, _ = process.communicate(timeout=250)
        assert (process.returncode, len(out.split())) == (0, 400)
    trail = AuditTrail(log)
    result = trail.verify()
    assert result.ok, str(result)
    assert result.segments > 3
    assert result.unsigned == 0
    assert len(ended(trail)) == 1200
    numbers = [record["seq"] for record in trail.events()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_forked_child_writes_on(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    trail.denied("parent", "t", "1")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            trail.denied("child", "t", "2")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    trail.denied("parent", "t", "3")
    assert [log.principal for log in trail.records()] == ["parent", "child", "parent"]
    assert trail.verify().ok


def test_two_contexts_of_one_process_share_a_log(tmp_path: Path) -> None:
    config = catalog(tmp_path, {"path": str(tmp_path / "audit.jsonl")})
    with VirtualContext(config, "admin") as one, VirtualContext(config, "admin") as two:
        for ctx in (one, two, one):
            assert len(ctx.query("SELECT a FROM numbers").rows()) == 3
        assert one.verify_audit().ok
        assert len(two.audit_logs(table_name="numbers")) == 3


# --- refused


def refused(ctx: VirtualContext, words: str) -> None:
    """Nothing was read: the plan is not even handed to the engine."""
    plan = ctx.plan("SELECT a FROM numbers")
    ran: list[object] = []
    engine = ctx.layer.machine.engine
    run, engine.run = engine.run, ran.append  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(AuditUnavailable, match=words) as caught:
            ctx.run(plan)
    finally:
        engine.run = run  # type: ignore[method-assign]
    assert ran == []
    assert str(caught.value).count("\n") == 0
    assert "audit.jsonl" not in str(caught.value)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _write_forever(file: FileIO) -> None:
    while True:
        file.write(b"x" * 512)


def _ask_forever(ctx: VirtualContext, answered: list[Any]) -> None:
    while True:
        answered += ctx.query("SELECT a FROM numbers").rows()


def test_r53_a_full_disk(tmp_path: Path, disk: Path) -> None:
    config = catalog(tmp_path, {"path": str(disk / "audit.jsonl")})
    with VirtualContext(config, "admin") as ctx:
        assert len(ctx.query("SELECT a FROM numbers").rows()) == 3
        with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            _write_forever(file)
        # The log's own last page has room for some records more.
        answered: list[Any] = []
        with pytest.raises(AuditUnavailable):
            _ask_forever(ctx, answered)
        refused(ctx, "No space left on device")
        (disk / "filler").unlink()
        assert len(ctx.query("SELECT a FROM numbers").rows()) == 3
        assert ctx.verify_audit().ok
        logs = ctx.audit_logs(table_name="numbers", status="success")
        assert sum(log.row_count or 0 for log in logs) >= len(answered) + 6


def test_r53_a_folder_that_cannot_be_written(tmp_path: Path, disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    config = catalog(tmp_path, {"path": str(disk / "audit.jsonl")})
    with VirtualContext(config, "admin") as ctx:
        refused(ctx, "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        ctx.query("SELECT a FROM numbers").rows()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=False)
        ctx.close()


LIMITED = """
import resource, signal, sys
from tauro_nb import VirtualContext
from tauro_nb.errors import AuditUnavailable
import json
ctx = VirtualContext(json.loads(sys.argv[1]), "admin")
ctx.query("SELECT a FROM numbers").rows()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
answers = 0
try:
    for _ in range(100):
        answers += len(ctx.query("SELECT a FROM numbers").rows())
except AuditUnavailable as error:
    print(answers, error)
"""


def test_r53_a_file_that_may_not_grow(tmp_path: Path) -> None:
    config = catalog(tmp_path, {"path": str(tmp_path / "audit.jsonl")})
    out, _ = start(LIMITED, json.dumps(config)).communicate(timeout=120)
    assert "the audit record could not be written (File too large)" in out
    trail = AuditTrail(tmp_path / "audit.jsonl")
    assert trail.verify().ok
    assert trail.path is not None
    assert trail.path.stat().st_size <= 6000


def test_r53_dev_full_as_the_second_place(tmp_path: Path) -> None:
    """A checkpoint that cannot be copied away refuses the query that is due for it."""
    settings = {"checkpoints": "/dev/full", "checkpoint_every": 2}
    config = catalog(tmp_path, {"path": str(tmp_path / "audit.jsonl"), **settings})
    with VirtualContext(config, "admin") as ctx:
        assert len(ctx.query("SELECT a FROM numbers").rows()) == 3
        refused(ctx, "No space left on device")


def test_r53_a_log_that_somebody_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_PATIENCE", 0.05)
    config = catalog(tmp_path, {"path": str(tmp_path / "audit.jsonl")})
    with VirtualContext(config, "admin") as ctx:
        ctx.query("SELECT a FROM numbers").rows()
        with (tmp_path / "audit.jsonl.lock").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            started = time.monotonic()
            refused(ctx, "another process holds the log")
            assert time.monotonic() - started < 5
        assert len(ctx.query("SELECT a FROM numbers").rows()) == 3


def test_r53_a_log_that_fills_up_between_intent_and_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are there, but not the record of them: they are not handed over."""
    config = catalog(tmp_path, {"path": str(tmp_path / "audit.jsonl")})
    with VirtualContext(config, "admin") as ctx:
        result = ctx.query("SELECT a FROM numbers")

        def full(_handle: int, _data: bytes) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(AuditUnavailable):
                result.rows()
        assert [log.status for log in ctx.audit_logs(table_name="numbers")] == ["STARTED"]
        assert len(ctx.query("SELECT a FROM numbers").rows()) == 3


def test_rotation_and_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "audit.jsonl"
    settings = AuditSettings(rotate_bytes=4096, retention_days=30)
    trail = AuditTrail(log, settings=settings)
    for number in range(40):
        trail.denied("ana", "t", f"{number} " + "x" * 100)
    closed = sorted(tmp_path.glob("audit.jsonl.0*"))
    assert len(closed) >= 3
    for older, newer in zip(closed, [*closed[1:], log], strict=True):
        end = older.read_bytes().splitlines()[-1]
        header = json.loads(newer.read_bytes().splitlines()[0])
        assert json.loads(end)["event"] == "log.checkpoint"
        assert header["follows"] == hashlib.sha256(end).hexdigest()
    assert [log.denial_reason.split()[0] for log in trail.records()] == [str(n) for n in range(40)]
    assert trail.verify().segments == len(closed) + 1

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + timedelta(days=40)

    monkeypatch.setattr("tauro_nb.security.audit.writer.datetime", Later)
    trail.denied("ana", "t", "forty days later")
    assert sorted(tmp_path.glob("audit.jsonl.0*")) == [log.with_name(f"audit.jsonl.{len(closed) + 1:06d}")]
    result = trail.verify()
    assert result.ok, str(result)
    retired = [record for record in trail.events() if record["event"] == "log.retired"]
    assert [record["segment"] for record in retired] == list(range(1, len(closed) + 1))
    # Who deletes a segment without that record is found out.
    min(tmp_path.glob("audit.jsonl.0*")).unlink()
    assert not trail.verify().ok
    assert read_checkpoints((tmp_path / "audit.jsonl.checkpoints").read_bytes())
