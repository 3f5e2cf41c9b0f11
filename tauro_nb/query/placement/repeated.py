"""What a recursive query reads of a source is fetched once, into a table of the engine's, before its first turn."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from tauro_nb.query.names import FRAGMENT, STEP, leaf_kind, leaf_table
from tauro_nb.query.plan import Fragment, Step
from tauro_nb.query.trees import copied, every

__all__ = ["fetched_once"]


def fetched_once(
    tree: exp.Expr, steps: tuple[Step, ...], fragments: Mapping[str, Fragment]
) -> tuple[exp.Expr, tuple[Step, ...]]:
    """The tree with the steps that run before it, those of its recursive queries' fragments among them, first.

    DuckDB asks for the answer again with every turn: a stream is empty then, a server may say something else, and its
    MySQL scanner (1.5.5) ends the process. A fragment that waits for keys is in a table already.

    Examples
    --------
    >>> import sqlglot
    >>> walk = 'SELECT 1 AS n UNION ALL SELECT n FROM r JOIN (SELECT n FROM "~fragment"."f0") AS f USING (n)'
    >>> tree = sqlglot.parse_one(f"WITH RECURSIVE r AS ({walk}) SELECT * FROM r")
    >>> found = {"f0": Fragment("f0", "crm", "query", ("t",), exp.select("n"), {})}
    >>> tree, (step,) = fetched_once(tree, (), found)
    >>> step.sql, '(SELECT n FROM "~step"."r0")' in tree.sql()
    ('SELECT * FROM "f0"', True)
    """
    made: dict[str, Step] = {}
    for around in (tree, *(step.tree for step in steps)):
        for node in _repeated(around):
            fragment = fragments[node.name]
            if fragment.keys:
                continue
            if node.name not in made:
                first = exp.Select(expressions=[exp.Star()]).from_(leaf_table(node.name, FRAGMENT), copy=False)
                rows = None if fragment.expected_rows is None else round(fragment.expected_rows)
                step = Step(f"r{len(steps) + len(made)}", first, copied(first), fragment.tables, rows)
                made[node.name] = step
            node.replace(leaf_table(made[node.name].id, STEP, node.alias or None))
    return tree, (*made.values(), *steps)


def _repeated(tree: exp.Expr) -> list[exp.Table]:
    """Where fragments are read by a recursive query."""
    ctes = [cte for clause in every(tree, exp.With) if clause.args.get("recursive") for cte in clause.expressions]
    return [node for cte in ctes for node in every(cte, exp.Table) if leaf_kind(node) == FRAGMENT]
