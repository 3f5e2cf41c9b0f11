"""One condition, as it may stand behind WHERE."""

from __future__ import annotations

from typing import Final

import sqlglot
from sqlglot import exp

__all__ = ["parse_condition"]

_WRITTEN: Final = frozenset({"expressions", "where"})


def parse_condition(text: str, dialect: str) -> exp.Expr | None:
    """The tree of a condition; None when the text says more, or something else.

    Behind WHERE nothing is taken for a statement, as `REPLACE(...) = 'a'` is by itself.

    Raises
    ------
    SqlglotError
        It does not parse.

    Examples
    --------
    >>> parse_condition("REPLACE(a, 'x', 'y') = 'z'", "duckdb").key
    'eq'
    >>> [parse_condition(text, "duckdb") for text in ("a LIMIT 1", "a UNION SELECT 2", "a; DROP TABLE t")]
    [None, None, None]
    """
    trees = sqlglot.parse(f"SELECT 1 WHERE {text}", read=dialect)
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select) or any(value for key, value in tree.args.items() if key not in _WRITTEN):
        return None
    condition: exp.Expr = tree.args["where"].this
    # A tree of its own: nothing that looks upwards from it may meet our SELECT.
    return condition.pop()
