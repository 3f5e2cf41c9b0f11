"""Fixtures for every room, and the rule that nothing skips silently in CI."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mariadb import MariaDBServer, mariadb_is_installed, start_mariadb
from tests.servers import PostgresServer, start_postgres

# Runs in a process of its own: its modules import the test-suite inside the Ibis wheel, markers and all.
collect_ignore = ["ibis_suite"]

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

ALLOWED_SKIPS: frozenset[str] = frozenset()
"""Reasons for which a test may skip in CI. Empty: CI has everything the tests need."""


def pytest_configure() -> None:
    """Ctrl-C works in tests, and in what they start, also where a shell runs them in the background and ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_ci() -> bool:
    return os.environ.get("CI", "").casefold() not in {"", "0", "false"}


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, unless its reason is on the list or it is an expected failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _in_ci():
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _in_ci():
        _fail_if_skipped(report)
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Data sets beside the checkout, too large to be part of it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("no folder `shared/data` beside the checkout")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo catalog, built once per session; its `catalog.yaml`."""
    from tauro_nb.demo import build

    return build(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session."""
    server = start_postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_uri(postgres_server: PostgresServer) -> str:
    """URI of the session's server, over TCP, with its password; every test sees the same database."""
    return postgres_server.uri()


@pytest.fixture
def fresh_postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """URI of an empty database that only this test sees."""
    name = postgres_server.create_database()
    yield postgres_server.uri(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """One MariaDB for the whole session."""
    if not mariadb_is_installed():
        pytest.skip("no MariaDB: install its server (Debian: apt-get install mariadb-server)")
    server = start_mariadb()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb_uri(mariadb_server: MariaDBServer) -> str:
    """URI of the session's server and its database `test`, which every test sees."""
    return mariadb_server.uri()


@pytest.fixture
def fresh_mariadb_database(mariadb_server: MariaDBServer) -> Iterator[str]:
    """URI of an empty database that only this test sees."""
    name = mariadb_server.create_database()
    yield mariadb_server.uri(name)
    mariadb_server.drop_database(name)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for browser tests."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no browser: install Chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A running browser, one for all tests: Playwright allows no second one. Chromium is never downloaded."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, headless=True, args=flags)
        yield started
        started.close()
