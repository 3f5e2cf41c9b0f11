from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tauro_nb.catalog.lineage import LineageEdge, LineageGraph, LineageNode
from tauro_nb.catalog.views import tables_in

NAMES = [f"n{i}" for i in range(7)]
edge_lists = st.lists(st.builds(LineageEdge, st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20)


@given(edge_lists, st.sampled_from(NAMES))
@settings(max_examples=150, deadline=None)
def test_the_closure_is_what_networkx_says_cycles_or_not(edges: list[LineageEdge], name: str) -> None:
    theirs = nx.DiGraph([(edge.upstream, edge.downstream) for edge in edges])
    theirs.add_node(name)
    ours = LineageGraph.build(edges)
    assert set(ours.downstream(name)) == nx.descendants(theirs, name)
    assert set(ours.upstream(name)) == nx.ancestors(theirs, name)


@given(edge_lists, st.sampled_from(NAMES), st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_depth_counts_steps_and_the_nearest_come_first(edges: list[LineageEdge], name: str, depth: int) -> None:
    theirs = nx.DiGraph([(edge.upstream, edge.downstream) for edge in edges])
    theirs.add_node(name)
    steps = nx.single_source_shortest_path_length(theirs, name)
    found = LineageGraph.build(edges).downstream(name, depth)
    assert set(found) == {other for other, distance in steps.items() if 0 < distance <= depth}
    assert [steps[other] for other in found] == sorted(steps[other] for other in found)


@given(edge_lists, st.randoms())
@settings(max_examples=50, deadline=None)
def test_the_same_edges_in_any_order_make_the_same_graph(edges: list[LineageEdge], random: object) -> None:
    shuffled = [*edges, *edges]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert LineageGraph.build(shuffled) == LineageGraph.build(edges)


def test_around_one_node() -> None:
    graph = LineageGraph.build(
        [LineageEdge("a", "b"), LineageEdge("b", "c"), LineageEdge("c", "d"), LineageEdge("x", "d")],
        [LineageNode("b", "view", "b")],
    )
    near = graph.around("c", depth=1)
    assert [(node.name, node.kind) for node in near.nodes] == [("b", "view"), ("c", "source"), ("d", "source")]
    assert near.edges == (LineageEdge("b", "c"), LineageEdge("c", "d"))
    assert [node.name for node in graph.around("c").nodes] == ["a", "b", "c", "d"]


def test_a_long_chain_is_no_recursion() -> None:
    graph = LineageGraph.build([LineageEdge(f"{i:05}", f"{i + 1:05}") for i in range(5000)])
    assert len(graph.downstream("00000")) == 5000


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT * FROM a, b JOIN c USING (x) WHERE EXISTS (SELECT 1 FROM d)", ("a", "b", "c", "d")),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ("a",)),  # the inner one is the table
        ("WITH a AS (SELECT * FROM b), c AS (SELECT * FROM a) SELECT * FROM c", ("b",)),
        ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r JOIN t USING (i)) SELECT * FROM r", ("t",)),
        ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) JOIN a USING (x)", ("a",)),  # out of its scope
        ("WITH c AS (SELECT * FROM later), later AS (SELECT 1) SELECT * FROM c", ("later",)),
        ('SELECT * FROM "My Table" WHERE day > {{ since }} UNION SELECT * FROM s.t', ("My Table", "s.t")),
        ("SELECT * FROM T JOIN t USING (x)", ("T",)),
        ("SELECT '{{ x }}' FROM a", ("a",)),
        ("FROM a", ("a",)),
        ("this is not sql at all (((", ()),
        ("SELECT 1", ()),
        ("", ()),
    ],
)
def test_tables_that_a_view_reads(query: str, names: tuple[str, ...]) -> None:
    assert tables_in(query) == names
