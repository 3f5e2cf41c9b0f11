"""The audit trail: nothing is lost, forged or forgotten, and no record means no access."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tauro_nb.errors import AuditUnavailable, UsageError
from tauro_nb.security import AuditLog, AuditTrail, Operation, SecurityEnforcer
from tauro_nb.security.audit.formats import to_csv, to_jsonl


def lines(path: Path) -> list[dict[str, Any]]:
    """Records of the file, without those the log writes about itself."""
    found = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    return [record for record in found if not record["event"].startswith("log.")]


def test_intent_then_result(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path)
    query = trail.intent(
        "ana",
        {"customers": ["id", "email"], "orders": ["total"]},
        roles={"b", "a"},
        statement="SELECT ?",
        objects={"customers": {"policy_hash": "abc"}},
    )
    (intent,) = lines(path)
    assert (intent["event"], intent["outcome"], intent["query"]) == ("query.intent", "STARTED", query)
    assert intent["objects"] == [
        {"name": "customers", "columns": ["id", "email"], "policy": "abc"},
        {"name": "orders", "columns": ["total"]},
    ]
    assert [log.status for log in trail.records()] == ["STARTED", "STARTED"]
    trail.result(query, row_count=7, duration_ms=1.5)
    trail.result(query, row_count=8, status="FAILED")
    assert [(log.status, log.row_count, log.query_id) for log in trail.records()] == [("SUCCESS", 7, query)] * 2
    written = lines(path)
    assert [entry["event"] for entry in written] == ["query.intent", "query.result"]
    assert (written[0]["roles"], written[0]["statement"]) == (["a", "b"], "SELECT ?")
    ended = {name: written[1][name] for name in ("query", "principal", "outcome", "rows", "ms")}
    assert ended == {"query": query, "principal": "ana", "outcome": "SUCCESS", "rows": 7, "ms": 1.5}
    logs = trail.records()
    assert [(log.table_name, log.field_names, log.policy_hash, log.roles) for log in logs] == [
        ("customers", ("id", "email"), "abc", ("a", "b")),
        ("orders", ("total",), "", ("a", "b")),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_intent_is_synced_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path)
    trail.denied("ana", "t", "the first record makes the file")
    monkeypatch.setattr("tauro_nb.security.audit.writer._sync", lambda _: synced.append(path.stat().st_size))
    query = trail.intent("ana", {"t": ["a"]})
    assert synced == [path.stat().st_size]
    trail.result(query)
    assert len(synced) == 1
    trail.denied("ana", "t", "no")
    assert synced[1:] == [path.stat().st_size]


@pytest.mark.parametrize("call", ["intent", "denied", "audit_access"])
def test_what_cannot_be_recorded_does_not_run(tmp_path: Path, call: str) -> None:
    trail = AuditTrail(tmp_path)  # a folder cannot be appended to, not even by root
    calls: dict[str, Callable[[], object]] = {
        "intent": lambda: trail.intent("ana", {"t": ["a"]}),
        "denied": lambda: trail.denied("ana", "t", "no"),
        "audit_access": lambda: SecurityEnforcer(trail=trail).audit_access("ana", "t"),
    }
    with pytest.raises(AuditUnavailable) as caught:
        calls[call]()
    assert str(tmp_path) not in str(caught.value)
    assert trail.records() == []


def test_on_failure_continue_counts(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, on_failure="continue")
    trail.result(trail.intent("ana", {"t": ["a"]}))
    assert trail.failures == 2
    assert [log.status for log in trail.records()] == ["SUCCESS"]
    with pytest.raises(UsageError):
        AuditTrail(on_failure="shrug")  # type: ignore[arg-type]


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path)
    trail.denied("ana", "t", "zeroth")
    before = path.read_bytes()
    real = os.write
    calls: list[int] = []

    def full(handle: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 1:
            return real(handle, bytes(data)[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AuditUnavailable, match="No space left"):
        trail.denied("ana", "t", "first")
    monkeypatch.setattr(os, "write", real)
    assert path.read_bytes() == before
    trail.denied("ana", "t", "second")
    assert [entry["reason"] for entry in lines(path)] == ["zeroth", "second"]
    assert [log.denial_reason for log in trail.records()] == ["zeroth", "second"]
    assert trail.verify().ok


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def short(handle: int, data: bytes) -> int:
        return real(handle, bytes(data)[:7])

    monkeypatch.setattr(os, "write", short)
    trail = AuditTrail(tmp_path / "a")
    trail.denied("ana", "t", "because")
    assert lines(tmp_path / "a")[0]["reason"] == "because"
    assert trail.verify().ok


def test_a_file_that_was_moved_or_deleted_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path)
    trail.denied("ana", "t", "1")
    path.rename(tmp_path / "old")
    trail.denied("ana", "t", "2")
    path.unlink()
    trail.denied("ana", "t", "3")
    trail.close()
    trail.denied("ana", "t", "4")
    assert [entry["reason"] for entry in lines(path)] == ["3", "4"]
    assert [entry["reason"] for entry in lines(tmp_path / "old")] == ["1"]
    found = trail.verify()
    assert not found.ok
    assert found.problem == "segment 1 is missing, and was not deleted for its age"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(AuditUnavailable):
        AuditTrail(tmp_path / "audit.jsonl").denied("ana", "t", "1")
    assert (tmp_path / "victim").read_text() == ""


@example(texts=["del\x7f", "\u2028\x85", "\x1b[2J"])
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_nothing_in_a_record_starts_a_line(texts: list[str]) -> None:
    written = to_jsonl([{"principal": text, "statement": text} for text in texts])
    assert written.isascii()
    assert all(" " <= char <= "~" for char in written.replace("\n", ""))
    assert [json.loads(line)["principal"] for line in written.split("\n")[:-1]] == texts


@given(
    text=st.text(max_size=20) | st.builds(lambda head, tail: head + tail, st.sampled_from('=+-@|%\t\r\n "'), st.text())
)
def test_no_csv_cell_is_a_formula(text: str) -> None:
    row = list(csv.reader(io.StringIO(to_csv([{"principal": text, "sequence": -1}]), newline="")))[1]
    assert row[1].lstrip()[:1] not in ("=", "+", "-", "@", "|", "%")
    assert not any(char in row[1] for char in "\r\n\t\x00")
    assert row[-1] == "-1"


def moments(trail: AuditTrail) -> list[str]:
    base = datetime(2024, 6, 1, 12, tzinfo=UTC)
    for n, (who, table) in enumerate([("ana", "Customers"), ("bob", "orders"), ("ana", "orders")]):
        trail.record(AuditLog(who, table, timestamp=base + timedelta(hours=n), status="DENIED" if n else "SUCCESS"))
    return [log.principal for log in trail.records()]


@pytest.mark.parametrize(
    ("find", "found"),
    [
        ({}, [1, 2, 3]),
        ({"table_name": "customers"}, [1]),
        ({"principal": "ana"}, [1, 3]),
        ({"principal": "ana", "status": "denied"}, [3]),
        ({"start_time": datetime(2024, 6, 1, 13)}, [2, 3]),  # noqa: DTZ001
        ({"end_time": datetime(2024, 6, 1, 13)}, [1, 2]),  # noqa: DTZ001
        ({"start_time": datetime(2024, 6, 1, 14, 30, tzinfo=UTC)}, []),
        ({"table_name": "nope"}, []),
    ],
)
def test_find_records(find: dict[str, Any], found: list[int]) -> None:
    enforcer = SecurityEnforcer()
    moments(enforcer.trail)
    assert [log.sequence for log in enforcer.get_audit_logs(**find)] == found


def test_the_specification_s_loops_run() -> None:
    enforcer = SecurityEnforcer()
    log = enforcer.audit_access(
        "john.doe", "customers", field_names=["email", "name"], row_count=1500, status="SUCCESS"
    )
    assert (log.principal, log.row_count, log.operation) == ("john.doe", 1500, Operation.SELECT)
    enforcer.audit_access("eve", "customers", status="DENIED", denial_reason="no")
    logs = enforcer.get_audit_logs(table_name="customers")
    assert [(entry.principal, entry.denial_reason) for entry in logs if entry.status == "DENIED"] == [("eve", "no")]
    assert {entry.operation.value for entry in logs} == {"select"}
    exported = json.loads(enforcer.export_audit_trail(format="json"))
    assert [entry["principal"] for entry in exported] == ["john.doe", "eve"]
    assert len(enforcer.export_audit_trail("jsonl").splitlines()) == 2
    assert enforcer.export_audit_trail(format="csv").splitlines()[1].split(",")[1] == "john.doe"
    with pytest.raises(UsageError):
        enforcer.export_audit_trail("xml")
    with pytest.raises(UsageError):
        enforcer.audit_access("a", "b", status="MAYBE")
    with pytest.raises(UsageError, match="audit status"):
        enforcer.get_audit_logs(status="DENEID")
    with pytest.raises(UsageError, match="is a datetime, not str"):
        enforcer.get_audit_logs(start_time="2024-01-01")  # type: ignore[arg-type]


def test_memory_keeps_the_newest() -> None:
    trail = AuditTrail(memory=2)
    for n in range(3):
        trail.denied("ana", "t", str(n))
    assert [log.denial_reason for log in trail.records()] == ["1", "2"]


def test_two_queries_cannot_share_an_id() -> None:
    trail = AuditTrail()
    trail.intent("ana", {"t": []}, query_id="q")
    with pytest.raises(UsageError):
        trail.intent("bob", {"t": []}, query_id="q")


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")

    def work(n: int) -> None:
        for m in range(25):
            trail.result(trail.intent(f"p{n}", {"t": ["x" * 200]}), row_count=m)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines(tmp_path / "audit.jsonl")
    assert len(written) == 200
    assert [entry["seq"] for entry in written] == list(range(2, 202))
    assert len(trail.records(status="success")) == 100
    assert trail.verify().ok
