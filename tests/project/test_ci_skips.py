"""The rule in conftest.py that nothing skips silently in CI, tried on a small project."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="no browser")
def test_skips(): pass

def test_skips_inside():
    pytest.skip("no data")

@pytest.mark.xfail(reason="known")
def test_fails_as_expected(): assert False
"""
MODULE = "import pytest\nnope = pytest.importorskip('no_such_module_anywhere')\ndef test_never(): pass\n"


@pytest.fixture
def project(pytester: pytest.Pytester, root: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.syspath_prepend(root)
    pytester.makeconftest("from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport")
    return pytester


def test_skips_fail_in_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    project.makepyfile(TESTS)
    result = project.runpytest_inprocess("-p", "no:nbval")
    result.assert_outcomes(passed=1, failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(["*skipped in CI, where nothing may skip: no browser*"])


def test_modules_that_skip_fail_in_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    project.makepyfile(MODULE)
    project.runpytest_inprocess("-p", "no:nbval").assert_outcomes(errors=1)


@pytest.mark.parametrize("value", [None, "false"])
def test_skips_are_skips_elsewhere(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)
    project.makepyfile(TESTS)
    project.runpytest_inprocess("-p", "no:nbval").assert_outcomes(passed=1, skipped=2, xfailed=1)
