"""EXISTS and IN over tables of the source that holds the rows they speak of: decided there where that costs less."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from tauro_nb.query.placement.alike import pair_of
from tauro_nb.query.placement.cost import WORKED_ROW, Rates, asked, scanned
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.placement.groups import RatesOf, Site
from tauro_nb.query.placement.reach import null_supplied, plain_joins, relations
from tauro_nb.query.placement.unselective import is_unselective
from tauro_nb.query.secrecy import is_policy
from tauro_nb.query.trees import alias_of, conjuncts, copied, every, owner_of, quoted_column

__all__ = ["move_semi_joins"]

_VALUE_BYTES = 12.0
_FOUND: Final = 0.5
"""What looking up a value costs that is there already, of what one costs that is written and read first: 42,000
customers are looked for in an index of PostgreSQL's orders in 0.06 s."""


def move_semi_joins(select: exp.Select, site: Site, estimator: Estimator, rates: RatesOf) -> None:
    """Move conditions of WHERE that look through other tables into the relation they speak of, in place.

    Parameters
    ----------
    site
        The source that can answer a whole relation, if there is one.
    rates
        What a source costs.
    """
    where = select.args.get("where")
    if where is None or not plain_joins(select) or select.args.get("sample"):
        return
    kept = [part for part in conjuncts(where.this) if not _move(part, select, site, estimator, rates)]
    select.set("where", exp.Where(this=exp.and_(*kept, copy=False)) if kept else None)


def _move(part: exp.Expr, select: exp.Select, site: Site, estimator: Estimator, rates: RatesOf) -> bool:
    """Move one condition, if its source decides sooner; whether it was moved."""
    around = relations(select)
    looked = None if is_policy(part) else _looked_through(part)
    alias = None if looked is None else _spoken_of(part, around)
    if looked is None or alias is None or alias in null_supplied(select):
        return False
    relation = around[alias]
    if site(relation) is None:
        return False
    together = _together(relation, part)
    source = site(together)
    if source is None or not _pays(looked, relation, alias, part, estimator, rates(source)):
        return False
    # What is looked through may be a join; a source that is spared it would be asked for the parts, again and again.
    if is_unselective(together.this, estimator, rates(source)):
        return False
    relation.replace(together)
    return True


def _looked_through(part: exp.Expr) -> exp.Select | None:
    """The query of an EXISTS, a NOT EXISTS or an IN."""
    node = part.unnest()
    inner = node.this.unnest() if isinstance(node, exp.Not) else node
    if isinstance(inner, exp.Exists):
        query = inner.this.unnest()
    elif isinstance(inner, exp.In) and inner is node and not inner.args.get("negate"):
        query = inner.args["query"].unnest() if inner.args.get("query") is not None else None
    else:
        return None
    return query if isinstance(query, exp.Select) else None


def _spoken_of(part: exp.Expr, around: Mapping[str, exp.Expr]) -> str | None:
    """The one relation of a SELECT that a condition reads, besides what it looks through."""
    own = {alias_of(node) for node in every(part, exp.Table, exp.Subquery) if node.alias_or_name}
    used = {owner_of(column) for column in every(part, exp.Column)} - own
    if own & around.keys() or len(used) != 1:
        return None
    alias = next(iter(used))
    relation = around.get(alias)
    return alias if isinstance(relation, exp.Subquery) and isinstance(relation.this, exp.Select) else None


def _together(relation: exp.Expr, part: exp.Expr) -> exp.Subquery:
    """The relation with the condition in it, under the same name."""
    alias = relation.args["alias"]
    selects = []
    for item in relation.this.selects:
        column = quoted_column(item.alias_or_name, alias.name)
        column.type = item.type
        selects.append(exp.alias_(column, item.alias_or_name, quoted=True, copy=False))
    inner = exp.Select(expressions=selects).from_(copied(relation), copy=False).where(copied(part), copy=False)
    return exp.Subquery(this=inner, alias=copied(alias))


def _pays(
    looked: exp.Select, relation: exp.Expr, alias: str, part: exp.Expr, estimator: Estimator, rates: Rates
) -> bool:
    """Whether the source decides sooner than it hands over what the condition looks through."""
    inner = relations(looked)
    keys = [column for column in _keys(looked, part, alias) if owner_of(column) in inner]
    if not keys:
        return False
    rows, many = estimator.rows(relation), sum(map(estimator.rows, inner.values()))
    found = [key for key in keys if estimator.is_indexed(inner[key.table.lower()], key.name)]
    looked_up = rows * rates.key if found else math.inf
    there = min(looked_up * _FOUND, (rows + many) * WORKED_ROW)
    distinct = max(estimator.distinct_of(keys[0], inner), 1.0)
    keyed = looked_up + many * min(rows / distinct, 1.0) * (rates.row + _VALUE_BYTES / rates.bandwidth)
    here = min(keyed, scanned(rates, many, _VALUE_BYTES))
    width = _VALUE_BYTES * len(relation.this.selects)
    return there + asked(rates, rows, width) < here + scanned(rates, rows, width)


def _keys(looked: exp.Select, part: exp.Expr, alias: str) -> list[exp.Column]:
    """The columns looked through that must be equal to one of the relation."""
    where = looked.args.get("where")
    pairs = [pair for one in conjuncts(where.this if where is not None else None) if (pair := pair_of(one)) is not None]
    keys = [right if owner_of(left) == alias else left for left, right in pairs if alias in _tables(left, right)]
    member = part.unnest()
    if isinstance(member, exp.In) and isinstance(member.this, exp.Column):
        keys += [value for item in looked.selects[:1] if isinstance(value := item.unalias(), exp.Column)]
    return keys


def _tables(*columns: exp.Column) -> set[str]:
    return {owner_of(column) for column in columns}
