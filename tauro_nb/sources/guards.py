"""Guards that several dialects share: when a node means the same at the source as in DuckDB."""

from __future__ import annotations

from sqlglot import exp

from tauro_nb.sources.capability import Guard, always, family, operands

__all__ = [
    "QUERY_NODES",
    "alike",
    "bare_like",
    "by_position",
    "comparable",
    "equal",
    "given_divisor",
    "given_lengths",
    "known_outputs",
    "of",
    "plain_case",
    "plain_group",
    "plain_join",
    "truth_test",
    "typed_literal",
]

_KNOWN = ("integer", "unsigned", "decimal", "float", "text", "date", "timestamp", "boolean")
_ORDERED = ("integer", "unsigned", "decimal", "date", "timestamp")


def known_outputs(node: exp.Expr) -> bool:
    """Every output is of a type whose equality is the same on both sides (DISTINCT, set operations compare them)."""
    selects = node.selects if isinstance(node, exp.Query) else []
    return bool(selects) and all(family(select) in _KNOWN for select in selects)


def by_position(node: exp.Expr) -> bool:
    """A set operation that matches columns by position; no BY NAME."""
    return not any(node.args.get(name) for name in ("by_name", "side", "kind", "on"))


def plain_set_operation(node: exp.Expr) -> bool:
    """A set operation of DuckDB's that others have, over outputs that compare alike, and come from both sides alike."""
    assert isinstance(node, exp.SetOperation)
    pairs = zip(node.left.selects, node.right.selects, strict=False)
    return by_position(node) and known_outputs(node) and all(alike(*pair) for pair in pairs)


def plain_select(node: exp.Expr) -> bool:
    """A SELECT without DuckDB's own clauses; DISTINCT only over types that compare alike."""
    assert isinstance(node, exp.Select)
    foreign = ("qualify", "windows", "laterals", "sample", "kind", "hint", "into", "locks", "connect", "pivots")
    if any(node.args.get(name) for name in foreign):
        return False
    return not node.args.get("distinct") or known_outputs(node)


def is_condition(node: exp.Expr | None) -> bool:
    """Whether an expression is true, false or unknown; DuckDB takes numbers and text for that too, others do not."""
    if node is None:
        return True
    inner = node.unnest()
    return (
        isinstance(inner, (exp.Predicate, exp.Connector, exp.Not, exp.Boolean, exp.Null)) or family(inner) == "boolean"
    )


def conditions(node: exp.Expr) -> bool:
    """All operands are conditions."""
    return all(is_condition(child) for child in node.iter_expressions())


def plain_join(node: exp.Expr) -> bool:
    """INNER, CROSS, LEFT, RIGHT or FULL with ON; no ASOF, POSITIONAL, SEMI, ANTI, NATURAL, USING."""
    assert isinstance(node, exp.Join)
    plain = not node.args.get("using") and not node.method and node.kind.upper() in ("", "INNER", "CROSS", "OUTER")
    return plain and is_condition(node.args.get("on"))


def plain_group(node: exp.Expr) -> bool:
    """GROUP BY a list of expressions; no ALL, ROLLUP, CUBE, GROUPING SETS."""
    special = any(node.args.get(name) for name in ("all", "rollup", "cube", "grouping_sets", "totals"))
    return not special and all(family(item) in _KNOWN for item in node.expressions)


def comparable(node: exp.Expr) -> bool:
    """`<` and its like: types with one order everywhere. Text has as many orders as collations."""
    return operands(*_ORDERED)(node)


def equal(node: exp.Expr) -> bool:
    """`=` and `<>`: also text (deterministic collations) and booleans."""
    return operands(*_ORDERED, "text", "boolean")(node)


def of(*allowed: str) -> Guard:
    """The first operand is of one of the families; what else there is, literals and units, has rows of its own."""
    return lambda node: family(node.this) in allowed


def alike(*nodes: exp.Expr | None) -> bool:
    """Values of one known family, or exact numbers: a source would convert others as it likes, and narrow floats."""
    given = [node for node in nodes if node is not None and family(node) != "null"]
    found = {family(node) for node in given}
    widths = {node.type for node in given} if "float" in found else set()
    return "other" not in found and len(widths) <= 1 and (len(found) <= 1 or found <= {"integer", "decimal"})


def plain_case(node: exp.Expr) -> bool:
    """`CASE` of conditions, or of one value and others that compare alike; its results are alike as well."""
    assert isinstance(node, exp.Case)
    tests = [branch.this for branch in node.args["ifs"]]
    results = [branch.args.get("true") for branch in node.args["ifs"]]
    decided = alike(node.this, *tests) if node.this is not None else all(map(is_condition, tests))
    return decided and alike(*results, node.args.get("default"))


def truth_test(node: exp.Expr) -> bool:
    """`IS NULL` of anything, `IS TRUE` and `IS FALSE` of conditions."""
    given = node.expression
    return isinstance(given, exp.Null) or (isinstance(given, exp.Boolean) and is_condition(node.this))


def _whole(node: exp.Expr | None, least: int) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit() and int(node.name) >= least


def given_divisor(node: exp.Expr) -> bool:
    """A remainder or quotient of integers by a written number: 0 and -1 are where engines differ."""
    assert isinstance(node, exp.Binary)
    return family(node.left) == "integer" and _whole(node.right, 1)


def given_lengths(node: exp.Expr) -> bool:
    """A part of a text from a written place on: 0 and negative ones mean something else in each engine."""
    places = [node.args.get(name) for name in ("start", "length", "expression")]
    first = places[0]
    plain = all(_whole(place, 0) for place in places if place is not None)
    return family(node.this) == "text" and plain and (first is None or _whole(first, 1))


def membership(node: exp.Expr) -> bool:
    """`IN` over literals or an uncorrelated single-column query of one family."""
    assert isinstance(node, exp.In)
    if node.args.get("unnest") or node.args.get("field"):
        return False
    query = node.args.get("query")
    others = list(node.expressions) if query is None else list(query.this.selects)
    found = {family(node.this), *(family(item) for item in others)} - {"null"}
    return found <= {*_ORDERED, "text"} and (len(found) == 1 or found <= {"integer", "unsigned", "decimal"})


def between(node: exp.Expr) -> bool:
    """`BETWEEN` over ordered types."""
    return operands(*_ORDERED)(node)


def sortable(node: exp.Expr) -> bool:
    """A sort key of an ordered type, with the place of NULLs written."""
    return family(node.this) in _ORDERED


def typed_literal(node: exp.Expr) -> bool:
    """A cast that only types a literal: DATE '...' and its like."""
    return isinstance(node.this, exp.Literal) and node.this.is_string and family(node) in ("date", "timestamp")


def number_or_text(node: exp.Expr) -> bool:
    """Literals: text without control characters a source might refuse; plain numbers."""
    assert isinstance(node, exp.Literal)
    return "\x00" not in node.this and "\\" not in node.this


def bare_like(node: exp.Expr) -> bool:
    """`LIKE` with a literal pattern that has no escape: DuckDB has none by default, others have backslash."""
    return family(node.this) == "text" and isinstance(node.expression, exp.Literal) and "\\" not in node.expression.this


def count_form(node: exp.Expr) -> bool:
    """`count(*)`, `count(x)`, `count(DISTINCT x)`."""
    return not node.args.get("expressions")


def plain_distinct(node: exp.Expr) -> bool:
    """`DISTINCT` of one known expression, or of the select list; no ON."""
    return not node.args.get("on") and all(family(item) in _KNOWN for item in node.expressions)


def flat_with(node: exp.Expr) -> bool:
    """CTEs that are not recursive."""
    return not node.args.get("recursive")


def star_of_count(node: exp.Expr) -> bool:
    """The star of `count(*)` and no other."""
    return isinstance(node.parent, exp.Count)


QUERY_NODES: dict[type[exp.Expr], Guard] = {
    exp.Select: plain_select,
    exp.Subquery: always,
    exp.Union: plain_set_operation,
    exp.Intersect: plain_set_operation,
    exp.Except: plain_set_operation,
    exp.With: flat_with,
    exp.CTE: always,
    exp.From: always,
    exp.Join: plain_join,
    exp.Where: conditions,
    exp.Group: plain_group,
    exp.Having: conditions,
    exp.Limit: lambda node: isinstance(node.expression, exp.Literal),
    exp.Offset: lambda node: isinstance(node.expression, exp.Literal),
    exp.Distinct: plain_distinct,
    exp.Table: lambda node: not isinstance(node.this, exp.Func) and not node.args.get("sample"),
    exp.TableAlias: lambda node: not node.args.get("columns"),
    exp.Identifier: always,
    exp.Alias: always,
    exp.Column: always,
    exp.Star: star_of_count,
    exp.Paren: always,
    exp.And: conditions,
    exp.Or: conditions,
    exp.Not: conditions,
    exp.Is: lambda node: isinstance(node.expression, exp.Null),
    exp.Exists: always,
    exp.Literal: number_or_text,
    exp.Boolean: always,
    exp.Null: always,
    exp.EQ: equal,
    exp.NEQ: equal,
    exp.GT: comparable,
    exp.GTE: comparable,
    exp.LT: comparable,
    exp.LTE: comparable,
    exp.Between: between,
    exp.In: membership,
    exp.Count: count_form,
}
"""Rows every SQL source shares. Each dialect adds its own and removes what it does differently."""
