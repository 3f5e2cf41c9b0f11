from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import tauro_nb
from tauro_nb.errors import TauroError, UsageError
from tauro_nb.magics.commands import TauroMagics

Run = Callable[[str], Any]
MAGICS = {"vconnect", "vquery", "vcatalog", "vdescribe", "vprofile", "vlineage", "vplan", "vaudit"} | {
    "vaccess",
    "vpolicies",
    "vposture",
}


def footprint(shell: InteractiveShell) -> dict[str, Any]:
    """Everything an extension may leave in a shell."""
    manager = shell.magics_manager
    return {
        "line": set(manager.magics["line"]),
        "cell": set(manager.magics["cell"]),
        "registry": set(manager.registry),
        "configurables": [type(found).__name__ for found in shell.configurables],
        "matchers": list(shell.Completer.custom_matchers),
        "events": {name: list(found) for name, found in shell.events.callbacks.items()},
        "variables": set(shell.user_ns),
    }


def test_loading_is_silent_and_unloading_leaves_nothing(bare_shell: InteractiveShell) -> None:
    before = footprint(bare_shell)
    with capture_output() as captured:
        tauro_nb.load_ipython_extension(bare_shell)
        loaded = footprint(bare_shell)
        tauro_nb.unload_ipython_extension(bare_shell)
    assert captured.stdout + captured.stderr == ""
    assert loaded["line"] - before["line"] >= MAGICS
    assert {"vquery", "vplan"} == loaded["cell"] - before["cell"]
    assert footprint(bare_shell) == before


def test_loading_twice_is_loading_once(bare_shell: InteractiveShell) -> None:
    tauro_nb.load_ipython_extension(bare_shell)
    once = footprint(bare_shell)
    tauro_nb.load_ipython_extension(bare_shell)
    assert footprint(bare_shell) == once
    tauro_nb.unload_ipython_extension(bare_shell)
    tauro_nb.unload_ipython_extension(bare_shell)


def test_unloading_closes_what_vconnect_opened_and_nothing_else(run: Run, shell: InteractiveShell) -> None:
    mine = tauro_nb.VirtualContext({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})
    shell.user_ns |= {"mine": mine, "config": {"virtual_tables": {"two": {"query": "SELECT 2 AS a"}}}}
    run("%vconnect mine\n%vconnect config --alias other")
    run("a = %vquery -a default SELECT * FROM one\nb = %vquery -a other SELECT * FROM two")
    (magics,) = (found for found in shell.configurables if isinstance(found, TauroMagics))
    opened = magics.session.get("other").context
    tauro_nb.unload_ipython_extension(shell)
    assert opened.layer.idle
    assert not mine.layer.idle
    mine.close()


NEEDY = (
    "%vquery SELECT 1",
    "%%vquery\nSELECT 1",
    "%vcatalog",
    "%vdescribe t",
    "%vprofile t",
    "%vlineage",
    "%vplan",
    "%vaudit",
    "%vconnect",
)


@pytest.mark.parametrize("code", NEEDY)
def test_without_a_catalog_the_error_has_the_cure(run: Run, code: str) -> None:
    error = run(code).error
    assert isinstance(error, UsageError)
    assert "Run `%vconnect catalog.yaml` first" in str(error)


def test_connect(run: Run, demo: Path) -> None:
    done = run(f"%vconnect {demo} --principal ana")
    assert done.shown == "Connected `default` as ana: 9 tables (1 denied) from 4 sources."
    assert run("%vconnect --principal root").shown == "Connected `default` as root: 9 tables from 4 sources."
    run("config = {'virtual_tables': {'one': {'query': 'SELECT 1 AS a'}}}")
    assert run("%vconnect config --alias small").shown == "Connected `small` as admin: 1 table from 0 sources."
    assert run("%vquery SELECT * FROM one").result.rows() == [{"a": 1}]
    assert run("%vquery -a default SELECT count(*) AS n FROM customers").result.rows() == [{"n": 2000}]
    listed = run("%vconnect --list").shown
    rows = [line.split() for line in listed.splitlines()[-2:]]
    assert rows == [["default", "root", "9"], ["small", "admin", "1", "current"]]
    run("%vconnect --close small")
    assert run("%vquery SELECT count(*) AS n FROM customers").result.rows() == [{"n": 2000}]
    assert "no connection `small`" in str(run("%vquery -a small SELECT 1").error)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("%vconnect nowhere.yaml", "nowhere.yaml"),
        ("%vconnect $nothing", "there is no variable `nothing`"),
        ("%vconnect a b", "one word too many"),
        ("n = 3\n%vconnect n", "a int is no catalog"),
        ("bad = {'virtual_tables': {'t': {'qurey': 'SELECT 1'}}}\n%vconnect bad", "query"),
        ("%vconnect --alias nope", "no connection `nope`"),
        ("%vconnect --close nope", "no connection `nope`"),
    ],
)
def test_what_is_no_catalog_is_refused_and_the_old_one_stays(ana: Run, code: str, says: str) -> None:
    error = ana(code).error
    assert isinstance(error, TauroError)
    assert says in str(error)
    assert ana("%vquery SELECT count(*) AS n FROM customers").result.rows() == [{"n": 981}]


def test_a_path_with_spaces(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "my catalog.yaml"
    path.write_text("virtual_tables: {one: {query: SELECT 1 AS a}}")
    assert "1 table" in run(f'%vconnect "{path}"').shown


def test_help_shows_the_options_under_the_right_name(shell: InteractiveShell) -> None:
    for name in MAGICS:
        text = shell.magics_manager.magics["line"][name].__doc__
        assert f"%{name}" in text
        assert "--alias" in text
