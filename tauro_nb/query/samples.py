"""Random samples where a policy stands: drawn row by row, of what is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.errors import UnsupportedStatement
from tauro_nb.query.trees import copied, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner
    from tauro_nb.query.query import Query

__all__ = ["draw_by_row"]


def draw_by_row(query: Query, planner: Planner) -> Query:
    """Write SYSTEM samples as BERNOULLI, and refuse reservoirs with a seed, where a policy stands on a table.

    SYSTEM takes or leaves 2,048 stored rows at a time: how many of them are seen together says how many are hidden
    between them. What a reservoir keeps for a seed goes by where such blocks end, and can be computed for a guess.

    Raises
    ------
    UnsupportedStatement
        A reservoir has a seed.
    """
    del planner
    samples = every(query.tree, exp.TableSample) if query.fenced else []
    if any(_method(sample) == "RESERVOIR" and sample.args.get("seed") for sample in samples):
        raise UnsupportedStatement(
            "a reservoir sample cannot be repeated (REPEATABLE) where a policy stands on a table.",
            sql=query.text,
            hint="Leave out the seed, or draw by row: USING SAMPLE 10% (bernoulli, 42).",
        )
    if not any(_method(sample) == "SYSTEM" for sample in samples):
        return query
    tree = copied(query.tree)
    for sample in every(tree, exp.TableSample):
        if _method(sample) == "SYSTEM":
            sample.set("method", exp.var("BERNOULLI"))
    return query.evolve("draw_by_row", tree)


def _method(sample: exp.TableSample) -> str:
    # Ibis puts a text where the parser puts a node.
    method = sample.args.get("method") or ""
    return str(getattr(method, "name", method)).upper()
