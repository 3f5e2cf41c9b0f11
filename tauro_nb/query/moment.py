"""One moment for a whole query: its parts run in transactions of their own, each of which would have its `now()`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlglot import exp

from tauro_nb.query.trees import every

__all__ = ["fix_moment", "fixed_calls"]

_TYPED: Final = (exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Localtimestamp, exp.Localtime)
_NAMED: Final = frozenset(
    {"now", "get_current_timestamp", "transaction_timestamp", "current_localtime", "current_localtimestamp",
     "txid_current"}
)  # fmt: skip
_READ: Final = "getvariable"
_PREFIX: Final = "moment "


def fix_moment(trees: Iterable[exp.Expr]) -> None:
    """Read what is the same throughout a transaction of the engine's from variables of the run, in place.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT now() AS t, current_date AS d, random() AS r", dialect="duckdb")
    >>> fix_moment([tree])
    >>> tree.sql("duckdb")
    "SELECT GETVARIABLE('moment NOW()') AS t, GETVARIABLE('moment CURRENT_DATE') AS d, RANDOM() AS r"
    >>> fixed_calls([tree])
    {'moment NOW()': 'NOW()', 'moment CURRENT_DATE': 'CURRENT_DATE'}
    """
    for tree in trees:
        for node in [node for node in every(tree, exp.Anonymous, *_TYPED) if _is_of_a_moment(node)]:
            name = exp.Literal.string(_PREFIX + node.sql("duckdb"))
            node.replace(exp.Anonymous(this=_READ, expressions=[name]))


def fixed_calls(trees: Iterable[exp.Expr]) -> dict[str, str]:
    """Which variables trees read, and the call that each stands for."""
    read = (node for tree in trees for node in every(tree, exp.Anonymous) if node.name == _READ)
    names = (node.expressions[0].name for node in read)
    return {name: name.removeprefix(_PREFIX) for name in names}


def _is_of_a_moment(node: exp.Expr) -> bool:
    return isinstance(node, _TYPED) or (node.name.lower() in _NAMED and not node.expressions)
