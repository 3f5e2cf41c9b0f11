"""Sites and doors for the red team."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tauro_nb import VirtualContext
from tauro_nb.magics import load, unload
from tauro_nb.magics.commands import TauroMagics
from tauro_nb.magics.completion import Completer
from tauro_nb.magics.session import Session
from tests.security.redteam.doors import Visit
from tests.security.redteam.sites import Site, build_site, truth_database
from tests.security.redteam.staff import COLUMNS, VIEW
from tests.security.redteam.trial import Gate, Reach, Trial

_SERVERS = {"postgresql": "postgres_server", "mysql": "mariadb_server"}
_MARKS = {"postgresql": (pytest.mark.postgres,), "mysql": (pytest.mark.mariadb,)}


def _cases(*pairs: str) -> list[Any]:
    return [pytest.param(pair, id=pair, marks=_MARKS.get(pair.partition("-")[2], ())) for pair in pairs]


STATEMENTS = _cases(
    *(f"sql-{kind}" for kind in ("duckdb", "parquet", "sqlite", "postgresql", "mysql")),
    "ibis-postgresql", "dbapi-sqlite", "magics-parquet", "rows-duckdb", "panels-postgresql", "completion-sqlite",
)  # fmt: skip
"""Every kind of source through SQL, every other door over one of them."""
GATES = _cases("sql-sqlite", "sql-postgresql", "ibis-duckdb", "dbapi-parquet", "magics-sqlite", "panels-duckdb")
"""What is refused is refused before a source is asked."""


@pytest.fixture(scope="session")
def site_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """The site of a kind, filled when it is first asked for."""
    with contextlib.ExitStack() as stack:
        built: dict[str, Site] = {}

        def get(kind: str) -> Site:
            if kind not in built:
                server = request.getfixturevalue(_SERVERS[kind]) if kind in _SERVERS else None
                folder = tmp_path_factory.mktemp(f"canary-{kind}")
                built[kind] = stack.enter_context(build_site(kind, folder, server))
            return built[kind]

        yield get


@pytest.fixture(scope="session")
def truth() -> Iterator[duckdb.DuckDBPyConnection]:
    with truth_database() as con:
        yield con


@pytest.fixture(scope="session")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualContext]:
    """A catalog over a database that holds nothing but the truth, for its owner."""
    path = tmp_path_factory.mktemp("owner") / "own.duckdb"
    truth_database(path).close()
    columns = {name: {c: k for c, k in kinds.items() if c != "secret"} for name, kinds in COLUMNS.items()}
    tables: dict[str, Any] = {
        name: {"connector_type": "duckdb", "connection": "own", "table": name, "schema": columns[name]}
        for name in ("emp", "orders")
    }
    own = {"own": {"type": "duckdb", "path": str(path)}}
    with VirtualContext({"connections": own, "virtual_tables": {**tables, "team": {"query": VIEW}}}, "ana") as ctx:
        yield ctx


@pytest.fixture(scope="session")
def red_shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_ns={})
    load(shell)
    yield shell
    unload(shell)
    shell.reset(new_session=False)


@pytest.fixture
def reach(request: pytest.FixtureRequest) -> Reach:
    """Notes a door and what came of it, for the table of `python -m tests.security.redteam`."""

    def note(door: str, outcome: str) -> None:
        request.node.user_properties.append(("redteam", (door, outcome)))

    return note


def tab(ctx: VirtualContext, shell: InteractiveShell) -> Completer:
    """Completion over one catalog."""
    session = Session()
    session.open(ctx)
    return Completer(session, shell, TauroMagics)


@pytest.fixture(params=STATEMENTS)
def trial(
    request: pytest.FixtureRequest,
    site_of: Callable[..., Site],
    truth: duckdb.DuckDBPyConnection,
    owner: VirtualContext,
    red_shell: InteractiveShell,
    reach: Reach,
) -> Trial:
    """A statement through one door, over one kind of source."""
    door, kind = request.param.split("-")
    site = site_of(kind)
    completers = tab(site.analyst, red_shell), tab(owner, red_shell)
    return Trial(door, Visit(site, red_shell), truth, completers, reach, request.param_index)


@pytest.fixture(params=GATES)
def gate(
    request: pytest.FixtureRequest, site_of: Callable[..., Site], red_shell: InteractiveShell, reach: Reach
) -> Gate:
    """A statement that no door may let in."""
    door, kind = request.param.split("-")
    return Gate(door, Visit(site_of(kind), red_shell), reach, request.param_index)
