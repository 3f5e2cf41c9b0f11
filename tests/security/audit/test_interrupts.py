"""Whoever interrupts a query, and at whatever line: the log goes on, for this process and for others, and verifies."""

from __future__ import annotations

import itertools
import linecache
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tauro_nb.security import audit
from tauro_nb.security.audit import AuditSettings, AuditTrail
from tauro_nb.security.audit import segments as files

_OURS = str(Path(audit.__file__).parent)
# Tracing stops at lines where an interrupt of the real kind, which comes after calls, cannot.
_NO_CALL = ("with ", "try:")
_STRIDE = int(os.environ.get("TAURO_INTERRUPTS_STRIDE", "31"))
"""Every so many lines; 1 are all of them, some 2,600, in three minutes."""


class _Interrupt:
    """Raises KeyboardInterrupt at the n-th line of the audit package that is run."""

    def __init__(self, lines: int) -> None:
        self.left = lines

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self.line if frame.f_code.co_filename.startswith(_OURS) else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        if event == "line" and not text.startswith(_NO_CALL):
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self.line


def _ask(trail: AuditTrail, number: int) -> None:
    trail.result(trail.intent("ana", {f"t{number}": ["a"]}), row_count=number)


def _interrupted(log: Path, lines: int) -> bool:
    """Two writers of one log, of which one is interrupted; whether it was, and what came after verifies."""
    settings = AuditSettings(checkpoint_every=3, rotate_bytes=2500)
    mine, other = AuditTrail(log, settings=settings), AuditTrail(log, settings=settings)
    for number in range(2):
        _ask(mine, number)
        _ask(other, number)
    before, interrupted = sys.gettrace(), False
    sys.settrace(_Interrupt(lines).call)
    try:
        for number in range(3, 6):
            _ask(mine, number)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        sys.settrace(before)
    for number in range(6, 9):
        _ask(other, number)
        _ask(mine, number)
    mine.close()
    other.close()
    found = AuditTrail(log, settings=settings).verify()
    assert found.ok, f"interrupted at line {lines}: {found}"
    return interrupted


def test_an_interrupt_at_any_line_leaves_a_log_that_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.5)
    tried = 0
    for lines in itertools.count(1, _STRIDE):
        if not _interrupted(tmp_path / f"{lines}.jsonl", lines):
            break
        tried += 1
    assert tried > 2000 // _STRIDE
