"""R54: whatever is done to the log, `verify` names the first record that is not as it was written."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tauro_nb.security.audit import AuditKeys, AuditSettings, AuditTrail, Verification
from tauro_nb.security.audit.chain import Filled, Fixed, Form, Keyed, canonical, linked, plain, seal, unseal
from tauro_nb.security.audit.checkpoint import Checkpoint, read_checkpoints
from tauro_nb.security.audit.merkle import MerkleTree
from tauro_nb.security.keys import KeyRing, PassphraseSecret, Slot

Lines = list[bytes]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A closed log: header, ten queries of two records each, a checkpoint."""
    trail = AuditTrail(tmp_path / "audit.jsonl")
    for number in range(10):
        trail.result(trail.intent("ana", {f"t{number}": ["a"]}), row_count=number)
    trail.close()
    return tmp_path / "audit.jsonl"


def found(log: Path) -> Verification:
    return AuditTrail(log).verify()


def rewrite(log: Path, change: Callable[[Lines], Lines]) -> None:
    lines = log.read_bytes().splitlines()
    log.write_bytes(b"".join(line + b"\n" for line in change(lines)))


def test_an_untouched_log_verifies(log: Path) -> None:
    result = found(log)
    assert (result.ok, result.records, result.checkpoints, result.unsigned) == (True, 22, 2, 0)
    assert "verifies" in str(result)


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], int, str]] = {
    "edit": (lambda lines: [*lines[:5], lines[5].replace(b"ana", b"eve"), *lines[6:]], 6, "was edited"),
    "edit one bit of the end": (lambda lines: [*lines[:5], lines[5][:-3] + b'x"}', *lines[6:]], 6, "was edited"),
    "no json": (lambda lines: [*lines[:5], b"{}", *lines[6:]], 6, "was edited"),
    "an empty line": (lambda lines: [*lines[:5], b"", *lines[5:]], 6, "was edited"),
    "delete": (lambda lines: lines[:5] + lines[6:], 6, "record 6 is missing"),
    "delete several": (lambda lines: lines[:5] + lines[9:], 6, "records 6 to 9 are missing"),
    "delete the first": (lambda lines: lines[1:], 1, "is not the first of a segment"),
    "insert": (
        lambda lines: [
            *lines[:5],
            seal(Keyed(b"another key"), canonical({"seq": 6, "prev": "", "event": "deny"}))[0],
            *lines[5:],
        ],
        6,
        "did not come from this log",
    ),
    "reorder": (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], 6, "reordered"),
    "replay": (lambda lines: [*lines[:9], lines[5], *lines[9:]], 10, "is there again"),
    "replay at the end": (lambda lines: [*lines, lines[3]], 23, "is there again"),
    "truncate": (lambda lines: lines[:10], 11, "record 21 was signed for, and is not there"),
    "truncate the checkpoint": (lambda lines: lines[:-3], 20, "record 21 was signed for, and is not there"),
    "empty": (lambda _: [], 1, "record 21 was signed for, and is not there"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_r54_the_first_bad_record_is_named(log: Path, how: str) -> None:
    change, sequence, words = TAMPERED[how]
    rewrite(log, change)
    result = found(log)
    assert (result.ok, result.sequence) == (False, sequence)
    assert words in result.problem
    assert result.problem in str(result)


def test_r54_a_deleted_log_is_missed(log: Path) -> None:
    log.unlink()
    assert found(log).problem == "the log was cut: record 21 was signed for, and is not there"


def test_r54_a_log_begun_again_with_the_same_key_is_no_substitute(log: Path) -> None:
    log.unlink()
    trail = AuditTrail(log)
    trail.denied("ana", "t", "again")
    trail.close()
    assert found(log).problem == "the log was cut: record 21 was signed for, and is not there"


def test_r54_a_checkpoint_of_somebody_else_does_not_count(log: Path) -> None:
    second = log.with_name("audit.jsonl.checkpoints")
    (checkpoint,) = read_checkpoints(second.read_bytes())
    forged = replace(checkpoint, size=3, sequence=3).sign(AuditKeys(b"x" * 32))
    second.write_bytes(forged.to_line())
    rewrite(log, lambda lines: lines[:3])
    assert found(log).problem == "the checkpoint after record 3 is not signed with the audit key"
    rewrite(log, lambda lines: lines[:2])
    assert found(log).problem == "a checkpoint in the second place, after record 3, is not ours"
    second.write_bytes(b"nonsense\n")
    assert found(log).problem == "the file of checkpoints holds something else"


def test_r54_who_has_the_key_is_caught_by_the_second_place(log: Path) -> None:
    """A chain can be made anew with its key; a checkpoint that was taken elsewhere cannot be taken back."""
    keys = AuditTrail(log).keys

    def forge(lines: Lines) -> Lines:
        mac, made = "", []
        for line in lines:
            record = unseal(keys.links, line)
            assert record is not None
            del record["mac"]
            made_line, mac = seal(
                keys.links, canonical({**record, "prev": mac, **({"principal": "eve"} if made else {})})
            )
            made.append(made_line)
        return made

    rewrite(log, forge)
    assert "not those the checkpoint was signed for" in found(log).problem


def test_without_checkpoints_a_cut_cannot_be_seen_and_the_answer_says_so(log: Path) -> None:
    log.with_name("audit.jsonl.checkpoints").unlink()
    rewrite(log, lambda lines: lines[:10])
    result = found(log)
    assert (result.ok, result.unsigned) == (True, 10)
    assert "10 records after the last one" in str(result)


def test_checkpoints_that_the_second_place_lost_are_told(log: Path) -> None:
    """A cut right behind a checkpoint leaves no record after the last one, so that number says nothing."""
    trail = AuditTrail(log)
    trail.denied("ana", "t", "x")
    trail.close()
    assert trail.verify().notes == ()
    second = log.with_name("audit.jsonl.checkpoints")
    second.write_bytes(second.read_bytes().splitlines(keepends=True)[0])
    assert "lost its checkpoints after record 21" in str(trail.verify())
    second.unlink()
    rewrite(log, lambda lines: lines[:22])
    assert (found(log).ok, found(log).unsigned) == (True, 0)
    assert "lost its checkpoints after record 0" in str(found(log))


def test_a_closed_segment_in_the_place_of_a_later_one(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    trail = AuditTrail(log, settings=AuditSettings(rotate_bytes=4096))
    for _ in range(40):
        trail.denied("ana", "t", "x")
    trail.close()
    first, second = (tmp_path / f"audit.jsonl.00000{number}" for number in (1, 2))
    shutil.copy(first, second)
    assert trail.verify().problem == "segment 1 is there again, in the place of segment 2"
    assert trail.verify().segment == second.name


def test_the_whole_file_in_an_older_copy(log: Path, tmp_path: Path) -> None:
    """Somebody puts yesterday's copy back while we write: the chain goes on, and the gap shows."""
    shutil.copy(log, tmp_path / "old")
    trail = AuditTrail(log)
    trail.denied("ana", "t", "today")
    shutil.copy(tmp_path / "old", tmp_path / "new")
    (tmp_path / "new").rename(log)
    trail.denied("ana", "t", "still today")
    result = trail.verify()
    assert (result.ok, result.sequence) == (False, 23)
    assert "record 23 is missing" in result.problem


def test_a_cut_while_we_write_shows(log: Path) -> None:
    trail = AuditTrail(log)
    trail.denied("ana", "t", "one")
    content = log.read_bytes()
    with log.open("r+b") as file:
        file.truncate(content.rstrip(b"\n").rindex(b"\n") + 1)
    trail.denied("ana", "t", "two")
    assert "record 23 is missing" in trail.verify().problem


def test_an_end_that_is_not_ours_is_not_appended_to(log: Path) -> None:
    rewrite(log, lambda lines: [*lines[:-1], lines[-1].replace(b"checkpoint", b"checkpaint")])
    trail = AuditTrail(log)
    with pytest.raises(
        OSError, match=r"its last record is not as it was written\) Nothing was read; `verify_audit\(\)` says"
    ):
        trail.denied("ana", "t", "x")
    assert trail.verify().sequence == 22


def test_a_lost_key_is_not_replaced(log: Path) -> None:
    log.with_name("audit.jsonl.key").unlink()
    with pytest.raises(OSError, match="the audit key is gone, but not the log"):
        AuditTrail(log).denied("ana", "t", "x")
    with pytest.raises(OSError, match=r"could not be read \(the audit key is gone, but not the log\)"):
        AuditTrail(log).verify()


@given(records=st.lists(st.binary(max_size=8), max_size=70))
def test_the_tree_is_that_of_rfc_6962(records: list[bytes]) -> None:
    def root(leaves: list[bytes]) -> bytes:
        """The definition, word by word."""
        if len(leaves) < 2:
            return hashlib.sha256(b"\x00" + leaves[0]).digest() if leaves else hashlib.sha256().digest()
        k = 1
        while k * 2 < len(leaves):
            k *= 2
        return hashlib.sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()

    tree = MerkleTree()
    for record in records:
        tree.append(record)
    assert tree.root() == root(records)


def test_a_checkpoint_can_be_checked_without_a_secret(log: Path) -> None:
    (checkpoint,) = read_checkpoints(log.with_name("audit.jsonl.checkpoints").read_bytes())
    header = json.loads(log.read_bytes().splitlines()[0])
    assert checkpoint.is_signed_by(header["key"])
    assert not Checkpoint(**{**checkpoint.to_dict(), "root": "00" * 32}).is_signed_by(header["key"])


def test_checkpoints_come_after_so_many_records_and_so_long(tmp_path: Path) -> None:
    def signed(settings: AuditSettings) -> int:
        folder = tmp_path / str(settings.checkpoint_every)
        folder.mkdir()
        second = folder / "elsewhere"
        trail = AuditTrail(folder / "a", settings=replace(settings, checkpoints=second))
        for _ in range(9):
            trail.denied("ana", "t", "x")
        assert trail.verify().ok
        return len(read_checkpoints(second.read_bytes())) if second.exists() else 0

    assert signed(AuditSettings(checkpoint_every=3)) == 2
    assert signed(AuditSettings(checkpoint_every=1000)) == 0
    assert signed(AuditSettings(checkpoint_every=1001, checkpoint_seconds=0)) == 8


def test_the_key_of_a_ring_that_is_kept(tmp_path: Path) -> None:
    secret = PassphraseSecret("correct horse")
    ring = KeyRing.open(tmp_path / "keys.json", secret, create=True, cost={"n": 2**10, "r": 8, "p": 1})
    log = tmp_path / "audit.jsonl"
    AuditTrail(log, ring=ring).denied("ana", "t", "x")
    assert set(json.loads((tmp_path / "audit.jsonl.key").read_text())) == {"kind", "version", "ring"}
    ring.rotate(Slot("audit"))
    trail = AuditTrail(log, ring=KeyRing.open(tmp_path / "keys.json", secret))
    trail.denied("ana", "t", "with the key it began with")
    assert trail.verify().ok
    with pytest.raises(OSError, match="a key ring that is not configured"):
        AuditTrail(log).denied("ana", "t", "x")


@settings(deadline=None)
@given(
    record=st.dictionaries(
        st.text(max_size=6).filter(lambda name: name not in ("prev", "seq", "v")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=6,
    ),
    fixed=st.sets(st.text(max_size=6)),
)
def test_a_member_written_before_is_written_the_same(record: dict[str, Any], fixed: set[str]) -> None:
    mixed = {name: Fixed.of(value) if name in fixed else value for name, value in record.items()}
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).replace("\x7f", "\\u007f")
    assert canonical(mixed) == canonical(record) == text.encode("ascii")
    assert plain(mixed) == record
    open_names = [name for name in record if name not in fixed]
    form = Form({name: mixed[name] for name in record if name in fixed}, open_names)
    filled = Filled(form, {name: record[name] for name in open_names})
    assert plain(filled) == record
    chained = {**record, "prev": "ff", "seq": 7, "v": 1}
    assert linked(filled, 7, "ff") == linked(mixed, 7, "ff") == canonical(chained)


@given(key=st.binary(max_size=130), body=st.binary(max_size=200))
def test_a_mac_is_that_of_the_library(key: bytes, body: bytes) -> None:
    made = Keyed(key)
    assert made.mac(body) == made.mac(body) == hmac.digest(key, body, "sha256").hex()
