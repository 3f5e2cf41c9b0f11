"""Which tables the SQL of a view names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["tables_in"]

_PARAMETER: Final = re.compile(r"\{\{\s*\w+\s*\}\}")


@lru_cache(maxsize=1024)
def tables_in(query: str) -> tuple[str, ...]:
    """Return the names a query reads, sorted, without its own CTEs.

    A query that is no SQL names nothing here: whoever runs it is told.

    >>> tables_in("WITH big AS (SELECT * FROM orders WHERE n > {{ n }}) SELECT * FROM big JOIN customers USING (id)")
    ('customers', 'orders')
    """
    from sqlglot import exp, parse_one  # 0.1 s, and most catalogs have no views
    from sqlglot.errors import SqlglotError

    try:
        tree = parse_one(_PARAMETER.sub("NULL", query), dialect="duckdb")
    except (SqlglotError, RecursionError):
        return ()
    names: dict[str, str] = {}
    for table in tree.find_all(exp.Table):
        name = ".".join(part.name for part in table.parts)
        if name and not _is_cte(table):
            names.setdefault(name.casefold(), name)
    return tuple(sorted(names.values()))


def _is_cte(table: exp.Table) -> bool:
    """Whether the name belongs to a CTE that is in scope here: one before it in a WITH above it, or a recursive one."""
    from sqlglot import exp

    if table.args.get("db"):
        return False
    node: exp.Expr | None = table
    inside: exp.CTE | None = None
    while node is not None:
        inside = node if isinstance(node, exp.CTE) else inside
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            for cte in with_.expressions:
                if cte is inside and not with_.recursive:
                    break
                if cte.alias.casefold() == table.name.casefold():
                    return True
        node = node.parent
    return False
