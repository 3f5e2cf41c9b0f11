from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from tauro_nb.context import VirtualContext
from tauro_nb.magics import load, unload


@pytest.fixture(scope="session")
def layer(demo: Path) -> Iterator[VirtualContext]:
    """The demo catalog, opened once."""
    with VirtualContext(demo, "root") as context:
        yield context


@pytest.fixture
def bare_shell() -> Iterator[InteractiveShell]:
    """A shell of its own, without history."""
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_ns={})
    yield shell
    shell.reset(new_session=False)


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """A shell with the magics, connected to nothing."""
    load(bare_shell)
    yield bare_shell
    unload(bare_shell)


Run = Callable[[str], Any]


@pytest.fixture
def run(shell: InteractiveShell) -> Run:
    """Run a cell; what it returned, showed or raised."""

    def run(code: str) -> Any:
        with capture_output() as captured:
            done = shell.run_cell(code, store_history=False)
        return SimpleNamespace(
            result=done.result,
            error=done.error_in_exec or done.error_before_exec,
            shown=(captured.stdout + "".join(output.data["text/plain"] for output in captured.outputs))
            .removeprefix("Out[0]: ")
            .strip(),
        )

    return run


@pytest.fixture
def ana(run: Run, shell: InteractiveShell, layer: VirtualContext) -> Run:
    """`run`, connected to the demo catalog as the analyst."""
    shell.user_ns["catalog"] = layer
    assert run("%vconnect catalog --principal ana").error is None
    return run
