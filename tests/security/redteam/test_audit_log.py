"""R53 to R57: the audit log, through the catalog; `tests/security/audit` takes it apart."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, AuditUnavailable, TauroError
from tauro_nb.security import AuditLog, AuditTrail
from tests.security.redteam.doors import DOORS, Visit, displayed
from tests.security.redteam.sites import ANALYST, Site
from tests.security.redteam.staff import EMP
from tests.security.redteam.trial import Reach, canaries


@pytest.fixture
def audited(site_of: Callable[[str], Site], tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """A site whose log is a file."""
    site, path = site_of("duckdb"), tmp_path / "audit.jsonl"
    with VirtualContext({**site.config, "audit": {"path": str(path)}}, "admin") as admin:
        name, roles = ANALYST
        yield Site(site.kind, site.folder, site.config, admin, admin.as_principal(name, roles=roles)), path


@pytest.mark.parametrize("door", [*DOORS])
def test_r53_no_record_no_answer(
    audited: tuple[Site, Path], red_shell: Any, reach: Reach, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _ = audited
    sql = "SELECT id FROM emp"
    DOORS[door](Visit(site, red_shell), sql)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(AuditUnavailable):
        DOORS[door](Visit(site, red_shell), sql)
    reach(door, "refused")


@pytest.mark.parametrize("how", ["edited", "deleted", "cut", "swapped", "repeated"])
def test_r54_a_changed_line_is_found(audited: tuple[Site, Path], reach: Reach, how: str) -> None:
    site, path = audited
    for _ in range(3):
        site.analyst.query("SELECT id FROM emp").rows()
    assert site.admin.as_principal("eve", roles=["auditor"]).verify_audit().ok
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "edited": [lines[0].replace(b"ana", b"bob"), *lines[1:]] if b"ana" in lines[0] else
        [*lines[:1], lines[1].replace(b"ana", b"bob"), *lines[2:]],
        "deleted": [*lines[:2], *lines[3:]],
        "cut": lines[:-2],
        "swapped": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "repeated": [*lines, lines[-1]],
    }[how]  # fmt: skip
    assert changed != lines
    path.write_bytes(b"".join(changed))
    found = site.admin.as_principal("eve", roles=["auditor"]).verify_audit()
    # What was cut from the end only a checkpoint in another place could show: the answer says that there is none.
    assert found.unsigned == found.records if how == "cut" else not found.ok
    reach("sql", "refused")


FORGED = ['x"}\n{"event": "query.result"', "\x1b[31mred", "\u202egnp", "a\r\nb"]
FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", '=HYPERLINK("http://x")']


def test_r55_nothing_starts_a_line_and_nothing_is_a_formula(reach: Reach) -> None:
    trail = AuditTrail()
    for text in (*FORGED, *FORMULAS):
        trail.record(AuditLog(principal=text, table_name=text, field_names=(text,), denial_reason=text))
    jsonl = trail.export("jsonl")
    assert len(jsonl.splitlines()) == len(FORGED) + len(FORMULAS)
    assert all(json.loads(line)["principal"] for line in jsonl.splitlines())
    assert "\x1b" not in jsonl + trail.export("json") + trail.export("csv")
    cells = [cell for row in csv.reader(io.StringIO(trail.export("csv"))) for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
    reach("sql", "holds")


def test_r55_through_the_magic(site_of: Callable[[str], Site], red_shell: Any, reach: Reach) -> None:
    site = site_of("sqlite")
    red_shell.user_ns["catalog"] = site.admin.as_principal("<script>alert(1)</script>\u00a0=1", roles=["analyst"])
    cells = ("%vconnect catalog", "%%vquery\nSELECT 1", "%vaudit")
    shown = "\n".join(displayed(red_shell, cell) for cell in cells)
    forms = [json.loads(line) for line in shown.splitlines() if line.startswith('{"text/')]
    html = "".join(form.get("text/html", "") for form in forms)
    assert "alert(1)" in html
    assert "<script>" not in html
    reach("magics", "holds")


@pytest.mark.parametrize("door", [door for door in DOORS if door != "rows"])
def test_r56_no_value_of_a_statement_is_logged(
    audited: tuple[Site, Path], red_shell: Any, reach: Reach, door: str
) -> None:
    site, path = audited
    visit = Visit(site, red_shell)
    DOORS[door](visit, "SELECT id FROM emp WHERE ssn = '666-13-0002' OR email LIKE 'canary%' OR grade = 747747")
    for refused in ("SELECT * FROM vault WHERE gem = 'RUBY'", "SELECT nothing FROM emp WHERE name = 'UMBRA 2'"):
        with pytest.raises(TauroError):
            DOORS[door](visit, refused)
    logged = path.read_text()
    assert logged.count("query.intent") >= 1
    assert canaries(logged) == []
    assert "s3cret" not in logged
    reach(door, "holds")


def test_r56_row_lists_log_counts_only(audited: tuple[Site, Path], reach: Reach) -> None:
    site, path = audited
    kept = site.admin.security.apply_row_level_security("emp", site.analyst.principal, EMP)
    site.admin.security.apply_field_masking("emp", site.analyst.principal, kept)
    assert canaries(path.read_text()) == []
    reach("rows", "holds")


@pytest.mark.parametrize("door", ["sql", "magics", "dbapi"])
def test_r57_who_is_watched_does_not_read_the_watch(
    audited: tuple[Site, Path], red_shell: Any, reach: Reach, door: str
) -> None:
    """Own records may be shown; those of others, and verifying, are for auditors."""
    site, _ = audited
    site.admin.query("SELECT secret FROM emp").rows()
    site.analyst.query("SELECT id FROM emp").rows()
    if door == "magics":
        red_shell.user_ns["catalog"] = site.analyst
        shown = displayed(red_shell, "%vconnect catalog") + displayed(red_shell, "%vaudit")
        assert "secret" not in shown
        with capture_output():
            done = red_shell.run_cell("%vaudit --all")
        assert isinstance(done.error_in_exec, AccessDenied)
    elif door == "sql":
        with pytest.raises(AccessDenied):
            site.analyst.verify_audit()
        with pytest.raises(TauroError):
            site.analyst.query("SELECT * FROM audit_log")
    else:
        with pytest.raises(TauroError):
            tauro_nb.connect(site.analyst).execute("SELECT * FROM audit")
    reach(door, "refused")


def test_r57_numbers_without_a_gap(audited: tuple[Site, Path], reach: Reach) -> None:
    site, path = audited
    for sql in ("SELECT id FROM emp", "SELECT 1"):
        site.analyst.query(sql).rows()
    with pytest.raises(AccessDenied):
        site.analyst.query("SELECT * FROM vault")
    numbers = [json.loads(line)["seq"] for line in path.read_text().splitlines()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    reach("sql", "holds")
