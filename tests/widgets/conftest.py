"""A small company's catalog, lineage and plan; front ends that only listen; a browser when there is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import comm
import pytest
import sqlglot

from tauro_nb.catalog.snapshot import CatalogSnapshot, ColumnSnapshot, SourceSnapshot, TableSnapshot
from tauro_nb.query.plan import Fragment, QueryPlan, RuleFired

SNAPSHOTS = Path(__file__).parent / "snapshots"

#: Names and texts that try to leave the place where they are shown.
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"><script>alert('x')</script>",
    "</script><svg onload=alert(1)>",
    "</style></title></desc></pre>",
    "' onmouseover='alert(1)",
    "{{constructor}}${alert(1)}`",
    "user\u202egnp.exe\u2066",
    "\x1b[31mred\x00",
    "&lt;b&gt;&amp;",
)


class Node(NamedTuple):
    """Has what a `LineageNode` has."""

    name: str
    kind: str = "table"
    label: str = ""


class Edge(NamedTuple):
    """Has what a `LineageEdge` has."""

    upstream: str
    downstream: str
    kind: str = "declared"


class Graph(NamedTuple):
    """Has what a `LineageGraph` has."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


@pytest.fixture
def snapshot() -> CatalogSnapshot:
    column = ColumnSnapshot
    customers = (
        column("id", "BIGINT"),
        column("name", "VARCHAR", description="Full name"),
        column("email", "VARCHAR", "masked", "email"),
        column("phone", "VARCHAR", "masked", "phone"),
        column("ssn", "VARCHAR", "denied"),
        column("signed_up", "TIMESTAMP WITH TIME ZONE"),
    )
    orders = (column("order_id", "BIGINT"), column("customer_id", "BIGINT"), column("total", "DECIMAL(15,2)"))
    about = "Everyone who ever bought something."
    reason = "`salaries` allows the roles `hr` and `finance`."
    tables = (
        TableSnapshot(
            "customers",
            "sql",
            "postgresql",
            "crm",
            about,
            ("pii", "gold"),
            customers,
            row_filtered=True,
            row_count=1234,
        ),
        TableSnapshot("salaries", "sql", "postgresql", "crm", "", ("pii",), access="denied", reason=reason),
        TableSnapshot("orders", "sql", "duckdb", "warehouse", "One row an order.", (), orders, row_count=6_001_215),
        TableSnapshot("order_totals", "view", "duckdb", "warehouse", "Orders by customer.", schema_known=False),
        TableSnapshot("events", "filesystem", "parquet", "", "Clicks, by day.", (), (column("at", "TIMESTAMP"),)),
    )
    sources = (
        SourceSnapshot("crm", "postgresql", "connected"),
        SourceSnapshot("warehouse", "duckdb"),
        SourceSnapshot("billing", "mysql", "down"),
    )
    return CatalogSnapshot("ana", tables, sources)


@pytest.fixture
def large_snapshot() -> CatalogSnapshot:
    """5,000 tables of 20 columns."""
    columns = tuple(ColumnSnapshot(f"column_{n}", "VARCHAR") for n in range(20))
    tables = tuple(
        TableSnapshot(f"schema_{n % 50}_table_{n}", "sql", "postgresql", f"source_{n % 7}", columns=columns)
        for n in range(5_000)
    )
    return CatalogSnapshot("ana", tables, tuple(SourceSnapshot(f"source_{n}", "postgresql") for n in range(7)))


@pytest.fixture
def graph() -> Graph:
    nodes = [Node(name, "source") for name in ("crm", "warehouse", "files")]
    nodes += [Node(name) for name in ("customers", "salaries", "orders", "events")]
    nodes += [Node(name, "view") for name in ("order_totals", "active_customers", "churn_by_country")]
    nodes += [Node("q:8f1c", "query", "query 8f1c"), Node("q:2b77", "query", "query 2b77")]
    edges = [
        Edge("crm", "customers"),
        Edge("crm", "salaries"),
        Edge("warehouse", "orders"),
        Edge("files", "events"),
        Edge("orders", "order_totals", "view"),
        Edge("customers", "order_totals", "view"),
        Edge("customers", "active_customers", "view"),
        Edge("events", "active_customers", "view"),
        Edge("active_customers", "churn_by_country", "view"),
        Edge("order_totals", "churn_by_country", "view"),
        Edge("churn_by_country", "q:8f1c", "query"),
        Edge("orders", "q:8f1c", "query"),
        Edge("order_totals", "q:2b77", "query"),
    ]
    return Graph(tuple(nodes), tuple(edges))


Part = TypeVar("Part", Fragment, QueryPlan, RuleFired)


def shown(part: Part, **texts: object) -> Part:
    """The part with these texts, which it would otherwise write from its trees when somebody looks."""
    vars(part).update(texts)
    return part


def fired(name: str, before: str, after: str) -> RuleFired:
    """A rule with these texts."""
    nothing = sqlglot.exp.null()
    return shown(RuleFired(name, nothing, nothing), before=before, after=after)


@pytest.fixture
def plan() -> QueryPlan:
    tree = sqlglot.parse_one("SELECT 1", dialect="duckdb")
    assert isinstance(tree, sqlglot.exp.Query)
    columns = {"id": "BIGINT", "country": "VARCHAR"}
    why = "The join reads another source, so it stays in the engine."
    customers = shown(
        Fragment("f0", "crm", "query", ("customers",), tree, columns, 603, 12_000, reason=why),
        sql="SELECT id, country\nFROM customers\nWHERE country IN ('NO', 'SE')",
        predicates=("country IN ('NO', 'SE')",),
    )
    columns = {"customer_id": "BIGINT", "total": "DECIMAL(15,2)"}
    why = "A DuckDB file is scanned in place."
    orders = shown(
        Fragment("f1", "warehouse", "relation", ("orders",), tree, columns, 4_200_000, 67_200_000, reason=why),
        sql="SELECT customer_id, total\nFROM orders\nWHERE total > 100",
        predicates=("total > 100",),
    )
    events = shown(
        Fragment("f2", "files", "relation", ("events",), tree, {"at": "TIMESTAMP"}),
        sql="SELECT at FROM events",
        predicates=(),
    )
    rules = (
        fired("pushdown_projections", "SELECT * FROM customers", "SELECT id, country FROM customers"),
        fired("pushdown_predicates", "SELECT total FROM (SELECT * FROM orders)", "SELECT total FROM orders"),
    )
    made = QueryPlan(
        sql="SELECT c.country, sum(o.total) AS revenue\nFROM customers c JOIN orders o ON o.customer_id = c.id",
        tree=tree,
        principal="ana",
        tables=("customers", "orders"),
        columns={},
        fragments=(customers, orders, events),
        residual=tree,
        shown=tree,
        schema={"country": "VARCHAR", "revenue": "DECIMAL(38,2)"},
        journal=rules,
        fenced=True,
        estimated_rows=603,
        estimated_bytes=67_212_000,
        plan_ms=12.3,
    )
    return shown(
        made, residual_sql="SELECT f0.country, sum(f1.total) AS revenue\nFROM f0 JOIN f1 ON f1.customer_id = f0.id"
    )


@pytest.fixture
def hostile() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture
def hostile_snapshot() -> CatalogSnapshot:
    tables = tuple(
        TableSnapshot(
            name,
            name,
            name,
            name,
            name,
            (name,),
            (ColumnSnapshot(name, name, "masked", name, name),),
            access="denied" if place % 2 else "allowed",
            reason=name,
        )
        for place, name in enumerate(HOSTILE)
    )
    return CatalogSnapshot(HOSTILE[0], tables, tuple(SourceSnapshot(name, name) for name in HOSTILE))


@pytest.fixture
def hostile_graph() -> Graph:
    nodes = tuple(
        Node(name, kind, name) for name, kind in zip(HOSTILE, ("source", "table", "view", *HOSTILE), strict=False)
    )
    return Graph(nodes, tuple(Edge(a, b, a) for a, b in pairwise(HOSTILE)))


@pytest.fixture
def hostile_plan() -> QueryPlan:
    tree = sqlglot.parse_one("SELECT 1", dialect="duckdb")
    assert isinstance(tree, sqlglot.exp.Query)
    parts = tuple(shown(Fragment(t, t, "query", (t,), tree, {t: t}, reason=t), sql=t, predicates=(t,)) for t in HOSTILE)
    made = QueryPlan(
        sql=HOSTILE[1],
        tree=tree,
        principal=HOSTILE[0],
        tables=HOSTILE,
        columns={},
        fragments=parts,
        residual=tree,
        shown=tree,
        schema={},
        journal=tuple(fired(text, text, f"{text} ") for text in HOSTILE),
    )
    return shown(made, residual_sql=HOSTILE[2])


class Line(comm.base_comm.BaseComm):
    """A front end that only listens."""

    def __init__(self, **kwargs: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(**kwargs)

    def publish_msg(self, msg_type: str, data: Any = None, **_: Any) -> None:
        self.sent.append({"type": msg_type, "data": data})


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """Every comm that opens during the test: a layout and a panel for each panel."""
    opened: list[Line] = []

    def create(**kwargs: Any) -> Line:
        opened.append(Line(**kwargs))
        return opened[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return opened


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare with a committed file; `TAURO_UPDATE_SNAPSHOTS=1` writes it."""

    def check(name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if os.environ.get("TAURO_UPDATE_SNAPSHOTS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert text + "\n" == path.read_text(encoding="utf-8"), f"{name} changed"

    return check
