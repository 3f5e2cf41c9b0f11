"""Which form of a panel to show: the live widget in a kernel, script-free HTML and text everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tauro_nb.magics.show import Shown

if TYPE_CHECKING:
    from tauro_nb.catalog.lineage import LineageGraph
    from tauro_nb.context import VirtualContext
    from tauro_nb.query.plan import QueryPlan

__all__ = ["catalog_panel", "lineage_panel", "plan_panel", "without_queries"]


def catalog_panel(ctx: VirtualContext, pattern: str, *, live: bool) -> Any:
    """The catalog, narrowed by a search."""
    if live:
        from tauro_nb.widgets import CatalogPanel

        panel = CatalogPanel(ctx.catalog(), ctx.catalog)
        panel.search(pattern)
        return panel
    from tauro_nb.widgets import catalog_html, catalog_text

    snapshot = ctx.catalog()
    return Shown(catalog_text(snapshot, pattern), catalog_html(snapshot, pattern), snapshot)


def plan_panel(plan: QueryPlan, *, live: bool) -> Any:
    """What will run where."""
    if live:
        from tauro_nb.widgets import PlanView

        return PlanView(plan)
    from tauro_nb.widgets import plan_html, plan_text

    return Shown(plan_text(plan), plan_html(plan), plan)


def lineage_panel(graph: LineageGraph, focus: str | None, depth: int, *, live: bool) -> Any:
    """Where data comes from and where it goes."""
    if live:
        from tauro_nb.widgets import LineageGraphPanel

        return LineageGraphPanel(graph, focus, depth)
    from tauro_nb.widgets import lineage_html, lineage_text

    return Shown(lineage_text(graph, focus, depth), lineage_html(graph, focus, depth), graph)


def without_queries(graph: LineageGraph) -> LineageGraph:
    """The graph without the queries seen so far: tables and sources only."""
    queries = {node.name for node in graph.nodes if node.kind == "query"}
    return type(graph)(
        tuple(node for node in graph.nodes if node.name not in queries),
        tuple(edge for edge in graph.edges if edge.downstream not in queries and edge.upstream not in queries),
    )
