"""Pytest plugin inside the suite's process: puts a backend in, writes every outcome to a file."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ibis_suite.data import FOLDER, Prepared

BACKEND = "TAURO_IBIS_SUITE_BACKEND"
OUTCOMES = "TAURO_IBIS_SUITE_OUTCOMES"

# What a test that only reads does not call.
_WRITES = {
    "creates or changes tables": (
        "create_table create_view drop_table drop_view insert upsert truncate_table rename_table create_database "
        "drop_database create_catalog drop_catalog attach detach"
    ),
    "runs raw SQL": "raw_sql _safe_raw_sql begin",
    "brings files of its own": (
        "read_csv read_parquet read_json read_delta read_geo read_xlsx read_sqlite read_postgres read_mysql"
    ),
    "registers Python code": "_register_python_udf _register_pyarrow_udf _register_udf",
}
_sinks: list[set[str]] = [set()]
_by_fixture: dict[int, set[str]] = {}


def _watched(method: Callable[..., Any], cause: str, *, anywhere: bool) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        caller = Path(sys._getframe(1).f_code.co_filename)
        by_test = "backends/tests/" in caller.as_posix() and caller.name.startswith(("test_", "conftest"))
        if anywhere or by_test:
            _sinks[-1].add(cause)
        return method(*args, **kwargs)

    return wrapper


def _watch(backend: type) -> None:
    for cause, names in _WRITES.items():
        for name in names.split():
            if (method := getattr(backend, name, None)) is not None:
                setattr(backend, name, _watched(method, cause, anywhere=name.startswith("_register")))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Import the suite's configuration while there seems to be one backend.

    It makes a test for every backend there is, 40,000 that could only be deselected.
    """
    import ibis.backends

    names = ibis.backends._get_backend_names
    ibis.backends._get_backend_names = lambda **_: frozenset({"duckdb"})
    import ibis.backends.conftest as suite

    ibis.backends._get_backend_names = names
    suite.ALL_BACKENDS = names()


def pytest_configure() -> None:
    """Answer the suite's two questions: how is a backend set up, and which class is it."""
    import ibis.backends.conftest as suite
    import ibis.backends.duckdb as wheel

    from tests.ibis_suite.backends import CONFIGURATIONS

    configuration, backend = CONFIGURATIONS[os.environ[BACKEND]]
    suite._get_backend_conf = lambda _: configuration
    if backend is not None:
        suite._get_backend_cls = lambda _: backend
    else:
        _watch(wheel.Backend)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that use no backend: the wheel's compiler tests would pass whatever ours does."""
    backends = {"backend", "backend_no_data", "ddl_backend", "backend_cls"}
    others = [item for item in items if not backends & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if backends & set(getattr(item, "fixturenames", ()))]


@pytest.hookimpl(tryfirst=True)
def pytest_plugin_registered(plugin: object) -> None:
    """Show the suite our data folder; it looks for one beside the installed wheel."""
    if isinstance(plugin, ModuleType) and plugin.__name__ == "ibis.conftest":

        @pytest.fixture(scope="session")
        def data_dir() -> Path:
            return Prepared(Path(os.environ[FOLDER])).data_dir

        plugin.data_dir = data_dir  # type: ignore[attr-defined] # it is a conftest with that fixture


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    """Note what a fixture writes: only the first test of many pays for it, all of them depend on it."""
    _sinks.append(_by_fixture.setdefault(id(fixturedef), set()))
    try:
        return (yield)
    finally:
        _sinks.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note what the test itself writes."""
    writes: set[str] = set()
    _sinks.append(writes)
    try:
        return (yield)
    finally:
        _sinks.pop()
        fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009 # private, and all there is
        for definitions in fixtures:
            writes |= _by_fixture.get(id(definitions[-1]), set())
        item.user_properties.append(("writes", sorted(writes)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the type and the first line of an exception."""
    report = yield
    if call.excinfo is not None:
        error = call.excinfo.value
        text = (str(error).strip().splitlines() or [""])[0]
        kinds = [kind.__name__ for kind in type(error).__mro__]
        report.user_properties.append(("error", {"kinds": kinds, "text": text[:300]}))
    return report


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One JSON line a test; a setup counts only when the test never ran, a teardown never."""
    if report.when == "teardown" or (report.when == "setup" and report.passed):
        return
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    line = {"test": report.nodeid, "outcome": _outcome(report), **dict(report.user_properties)}
    with Path(os.environ[OUTCOMES]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
