"""jupysql itself, in a shell and in a real kernel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import tauro_nb
from tauro_nb.context import VirtualContext
from tauro_nb.errors import BindError, UsageError
from tests.kernel import start_kernel

QUERY = "SELECT customer_id, email FROM customers ORDER BY customer_id LIMIT 3"


@pytest.fixture(scope="module")
def ctx(demo: Path) -> Iterator[VirtualContext]:
    with VirtualContext(demo, "ana") as context:
        yield context


@pytest.fixture(scope="module")
def shell(ctx: VirtualContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """A shell with jupysql, quiet, and the demo catalog attached."""
    home = tmp_path_factory.mktemp("ploomber")
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_ns={})
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), capture_output():
        patch.setenv("PLOOMBER_HOME_DIR", str(home))
        warnings.simplefilter("ignore")  # its imports, not ours
        shell.extension_manager.load_extension("sql")
        shell.run_cell("%config SqlMagic.displaycon = False\n%config SqlMagic.feedback = 0")
        from tauro_nb.interop.jupysql import attach

        attach(ctx)
        yield shell
        from sql.connection import ConnectionManager

        ConnectionManager.close_all()
    assert list(home.rglob("*")) == []


def run(shell: InteractiveShell, code: str) -> Any:
    done = shell.run_cell(code)
    done.raise_error()
    return done.result


def test_sql(shell: InteractiveShell) -> None:
    result = run(shell, f"%sql {QUERY}")
    assert [tuple(row) for row in result] == [
        (1, "b***1@example.com"),
        (4, "s***4@example.org"),
        (6, "a***6@example.com"),
    ]
    assert result.keys == ["customer_id", "email"]
    assert len(run(shell, f"%%sql tauro\n{QUERY}")) == 3
    run(shell, "%sql one << SELECT 1 AS a")
    assert [tuple(row) for row in run(shell, "one")] == [(1,)]


def test_a_frame_costs_one_query(shell: InteractiveShell, ctx: VirtualContext) -> None:
    before = len(ctx.audit_logs())
    frame = run(shell, f"%sql {QUERY}").DataFrame()
    assert list(frame["customer_id"]) == [1, 4, 6]
    assert len(ctx.audit_logs()) == before + 1
    assert run(shell, f"%sql {QUERY}").PolarsDataFrame().height == 3


def test_a_connection_by_name(shell: InteractiveShell, ctx: VirtualContext) -> None:
    shell.user_ns["conn"] = tauro_nb.connect(ctx, "root")
    run(shell, "%sql conn --alias boss")
    for name, count in (("boss", 2000), ("tauro", 981)):
        run(shell, f"%sql {name}")
        assert [tuple(row) for row in run(shell, "%sql SELECT count(*) FROM customers")] == [(count,)]


def test_snippets_are_governed(shell: InteractiveShell) -> None:
    run(shell, "%%sql --save sales --no-execute\nSELECT customer_id, region FROM customers")
    result = run(shell, "%sql --with sales SELECT count(*) FROM sales")
    assert [tuple(row) for row in result] == [(981,)]


def test_our_error_comes_through(shell: InteractiveShell) -> None:
    done = shell.run_cell("%sql SELECT emial FROM customers")
    assert isinstance(done.error_in_exec, BindError)
    assert done.error_in_exec._render_traceback_()[0] == ("BindError: unknown column `emial`. Did you mean `email`?")


@pytest.mark.parametrize("plot", ["histogram", "bar", "pie", "box"])
def test_plots_aggregate_behind_the_policy(shell: InteractiveShell, ctx: VirtualContext, plot: str) -> None:
    mpl.use("agg")
    before = len(ctx.audit_logs(table_name="customers"))
    column = "customer_id" if plot in ("histogram", "box") else "region"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's, through jupysql
        axes = run(shell, f"%sqlplot {plot} --table customers --column {column}")
    assert axes is not None
    logs = ctx.audit_logs(table_name="customers")[before:]
    assert logs
    assert {log.status for log in logs} == {"SUCCESS"}


def test_profile(shell: InteractiveShell) -> None:
    profile = run(shell, "%sqlcmd profile --table countries")
    assert "code" in str(profile)


def test_without_jupysql_the_error_has_the_cure(ctx: VirtualContext, monkeypatch: pytest.MonkeyPatch) -> None:
    from sql import _current

    from tauro_nb.interop.jupysql import attach

    def nothing() -> None:
        raise RuntimeError

    monkeypatch.setattr(_current, "_get_sql_magic", nothing)
    with pytest.raises(UsageError, match="%load_ext sql"):
        attach(ctx)


def test_in_a_kernel(demo: Path) -> None:
    with start_kernel() as kernel:
        kernel.run("%load_ext sql\n%config SqlMagic.displaycon = False\n%config SqlMagic.feedback = 0")
        kernel.run(f"import tauro_nb\nconn = tauro_nb.connect({str(demo)!r}, 'ana')")
        assert kernel.run("%sql conn --alias tauro").error is None
        assert "b***1@example.com" in kernel.run(f"%sql {QUERY}").text
        error = kernel.run("%sql SELECT emial FROM customers").error
        assert error is not None
        assert error[:2] == ("BindError", "unknown column `emial`. Did you mean `email`?")
        assert not any(".py" in line for line in error[2])
        assert "4" in kernel.run("%sql SELECT 2 + 2 AS four").text
        assert kernel.run("import sys; 'posthog' in sys.modules").text == "False"
