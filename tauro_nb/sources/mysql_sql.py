"""What MySQL and MariaDB may be asked, and the SQL that asks it so that they answer as DuckDB would."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from tauro_nb.query.names import RAW
from tauro_nb.query.trees import conjuncts, every
from tauro_nb.sources.attached import is_plain_scan
from tauro_nb.sources.capability import Capability, Guard, always, families, family, operands
from tauro_nb.sources.guards import (
    QUERY_NODES,
    alike,
    bare_like,
    equal,
    given_divisor,
    is_condition,
    of,
    plain_case,
    sortable,
    typed_literal,
)
from tauro_nb.sources.keys import KeyForm, key_list
from tauro_nb.sources.mysql_columns import Column, as_bytes, as_text, as_utf8
from tauro_nb.walks import enclose_negations

__all__ = ["CAPABILITY", "RawTable", "translate", "written"]

_IDENTIFIER_LENGTH = 64
_LARGEST_SCALE = 30
_WIDEST_DECIMAL = 37
_ALL_ROWS = 2**64 - 1
_INTEGER_DIGITS = {exp.DType.TINYINT: 3, exp.DType.SMALLINT: 5, exp.DType.INT: 10, exp.DType.BIGINT: 19}


Shape = tuple[int, int]


def _decimal_shape(node: exp.Expr) -> Shape | None:
    """Digits and scale of an exact number, where they can be told; arithmetic then cannot overflow on either side."""
    node = node.unnest()
    return next((shape(node) for kind, shape in _SHAPES if isinstance(node, kind)), None)


def _literal_shape(node: exp.Expr) -> Shape | None:
    whole, _, part = node.name.partition(".")
    return (len(whole) + len(part), len(part)) if (whole + part).isdigit() and not node.is_string else None


def _column_shape(node: exp.Expr) -> Shape | None:
    kind = node.type
    if not isinstance(kind, exp.DataType):
        return None
    if family(node) == "decimal" and len(kind.expressions) == 2:
        width, scale = (int(part.name) for part in kind.expressions)
        return width, scale
    digits = _INTEGER_DIGITS.get(kind.this)
    return None if digits is None else (digits, 0)


def _computed_shape(node: exp.Expr) -> Shape | None:
    assert isinstance(node, exp.Binary)
    left, right = _decimal_shape(node.left), _decimal_shape(node.right)
    if left is None or right is None:
        return None
    if isinstance(node, exp.Mul):
        return left[0] + right[0], left[1] + right[1]
    scale = max(left[1], right[1])
    return max(left[0] - left[1], right[0] - right[1]) + scale + 1, scale


_SHAPES: tuple[tuple[Any, Callable[[exp.Expr], Shape | None]], ...] = (
    (exp.Neg, lambda node: _decimal_shape(node.this)),
    (exp.Literal, _literal_shape),
    (exp.Column, _column_shape),
    ((exp.Add, exp.Sub, exp.Mul), _computed_shape),
)


def _arithmetic(node: exp.Expr) -> bool:
    """Decimals that fit. Integers overflow at other bounds than DuckDB's."""
    shape = _decimal_shape(node)
    kinds = {family(child) for child in node.iter_expressions()}
    return shape is not None and "decimal" in kinds and shape[0] <= _WIDEST_DECIMAL and shape[1] <= _LARGEST_SCALE


def _exact_sum(node: exp.Expr) -> bool:
    return families(node.this, "integer", "unsigned", "decimal")


def _ordered_value(node: exp.Expr) -> bool:
    return families(node.this, "integer", "unsigned", "decimal", "date", "timestamp") and not node.expressions


def _plain_case(node: exp.Expr) -> bool:
    return node.this is None and plain_case(node)


def _real_literal(node: exp.Expr) -> bool:
    """A date that is one, written in full: of others the server makes NULL, where DuckDB complains."""
    if not typed_literal(node):
        return False
    try:
        dt.datetime.fromisoformat(node.this.name)
    except ValueError:
        return False
    return node.this.name[:4].isdigit() and "T" not in node.this.name and "+" not in node.this.name


def _name(node: exp.Expr) -> bool:
    """A name that the server takes: at most 64 characters of the basic plane, no blank at its end."""
    name = node.name
    return len(name) <= _IDENTIFIER_LENGTH and name == name.rstrip() and all(" " <= char <= "\uffff" for char in name)


def _membership(node: exp.Expr) -> bool:
    query = node.args.get("query")
    # "This version doesn't yet support 'LIMIT & IN/ALL/ANY/SOME subquery'"
    limited = query is not None and (query.this.args.get("limit") or query.this.args.get("offset"))
    return not limited and QUERY_NODES[exp.In](node)


def _sort_key(node: exp.Expr) -> bool:
    """A key of an ordered type; not of a set operation or DISTINCT, which take no expression to place NULLs."""
    query = node.find_ancestor(exp.Query)
    if not isinstance(query, exp.Select) or query.args.get("distinct"):
        return False
    # Where NULLs go is written with the value that a name stands for; a number would be a position.
    meant = {item.alias_or_name: item.unalias() for item in query.selects}
    value = meant.get(node.this.name, node.this) if isinstance(node.this, exp.Column) else node.this
    return not isinstance(value, exp.Literal) and sortable(node)


def _union(node: exp.Expr) -> bool:
    """Both sides give columns of the same families: of a signed and an unsigned number the scanner takes the first."""
    assert isinstance(node, exp.SetOperation)
    pairs = zip(node.left.selects, node.right.selects, strict=False)
    return QUERY_NODES[exp.Union](node) and all(
        len({family(one), family(other)} - {"null"}) <= 1 for one, other in pairs
    )


def _join(node: exp.Expr) -> bool:
    assert isinstance(node, exp.Join)
    return QUERY_NODES[exp.Join](node) and node.side.upper() in ("", "LEFT", "RIGHT")


def _group(node: exp.Expr) -> bool:
    return QUERY_NODES[exp.Group](node) and not any(isinstance(item, exp.Literal) for item in node.expressions)


def _bytewise_like(node: exp.Expr) -> bool:
    """`%` finds the same in bytes as in characters, `_` does not."""
    return bare_like(node) and "_" not in node.expression.name


def _named(node: exp.Expr) -> bool:
    """What stands in FROM has a name."""
    return bool(node.args.get("alias")) or not isinstance(node.parent, (exp.From, exp.Join))


_OWN: dict[type[exp.Expr], Guard] = {
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul), _arithmetic),
    **dict.fromkeys((exp.Min, exp.Max), _ordered_value),
    **dict.fromkeys((exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif), equal),
    **dict.fromkeys((exp.Year, exp.Month, exp.Day), of("date", "timestamp")),
    exp.Mod: given_divisor,
    exp.Subquery: _named,
    exp.Union: _union,
    exp.Join: _join,
    exp.Offset: lambda node: QUERY_NODES[exp.Offset](node) and bool(node.parent and node.parent.args.get("limit")),
    exp.Identifier: _name,
    exp.Group: _group,
    exp.In: _membership,
    exp.Sum: _exact_sum,
    exp.Neg: lambda node: isinstance(node.this, exp.Literal) or operands("decimal")(node),
    exp.Like: _bytewise_like,
    exp.Cast: _real_literal,
    exp.DataType: always,
    exp.Case: _plain_case,
    exp.If: lambda node: is_condition(node.this),
    exp.Coalesce: lambda node: alike(*node.iter_expressions()),
    exp.Order: always,
    exp.Ordered: _sort_key,
}

# INTERSECT and EXCEPT came with MySQL 8.0.31; FULL JOIN never did.
CAPABILITY = Capability(
    "mysql",
    {node: guard for node, guard in QUERY_NODES.items() if node not in (exp.Intersect, exp.Except)} | _OWN,
    # Of texts that are short enough to be compared there; so are these masks of them.
    masks=frozenset({"email", "phone", "ssn", "first4", "last4", "partial", "redact"}),
    keys=KeyForm(frozenset({"integer", "decimal"}), key_list, most=50_000),
)


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table at the server: how it is named there, and its columns by their lower-case names."""

    relation: exp.Expr
    columns: Mapping[str, Column]


def translate(tree: exp.Query, schema: Mapping[str, str], tables: Mapping[str, RawTable]) -> exp.Query:
    """A fragment as the server must be asked for it.

    Inside, text is UTF-8 bytes and dates that do not exist are NULL, so that conditions decide as in DuckDB. What an
    index can serve is asked once more of the column itself, which is true whenever the exact condition is.

    Parameters
    ----------
    tree
        The fragment over raw tables; every parameter a literal.
    schema
        The columns it gives, with their DuckDB types.
    tables
        The raw tables by name.
    """
    # Conditions for an index are copies: they must be as exact as what they are copied from.
    _with_fractions(tree)
    alone = is_plain_scan(tree) and len(list(tree.find_all(exp.Select))) == 1
    if alone and all(isinstance(item.unalias(), (exp.Column, exp.Literal)) for item in tree.selects):
        return _scan(tree, tables)
    raws = [node for node in tree.find_all(exp.Table) if node.db == RAW]
    for cte in tree.find_all(exp.CTE):
        # A hint that the server does not know; it decides that by itself.
        cte.set("materialized", None)
    # What an index serves is gathered first: bytes find none.
    gathered = [(node, _own_conditions(node, tables[node.name])) for node in raws]
    _in_bytes(tree)
    CAPABILITY.translate_masks(tree)
    for node, conditions in gathered:
        node.replace(_derived(node, tree, tables[node.name], conditions))
    return _sent(tree, schema)


def written(tree: exp.Expr) -> str:
    r"""SQL that means the same whatever the server's `sql_mode` and `sql_select_limit` are; the tree is changed.

    What is negated stands in parentheses, for NOT may bind as tightly as `!` (HIGH_NOT_PRECEDENCE). Texts that a mode
    reads otherwise are written by their bytes: a backslash (NO_BACKSLASH_ESCAPES), nothing (EMPTY_STRING_IS_NULL). A
    query without a limit has the largest, for the server would have it end after `sql_select_limit` rows.

    >>> import sqlglot
    >>> written(sqlglot.parse_one("SELECT a NOT IN (1), b IS NOT NULL", dialect="mysql"))
    'SELECT NOT (a IN (1)), NOT (b IS NULL) LIMIT 18446744073709551615'
    >>> written(exp.Literal.string("\\"))
    "CAST(x'5c' AS CHAR CHARACTER SET utf8mb4)"
    """
    # The root may be one of them.
    whole = exp.Paren(this=tree)
    for apart in every(whole, exp.NullSafeNEQ):
        apart.replace(exp.Not(this=exp.NullSafeEQ(this=apart.this, expression=apart.expression)))
    for negated in every(enclose_negations(whole), exp.Not):
        negated.set("this", exp.Paren(this=negated.this.unnest()))
    for node in every(whole, exp.Literal):
        # What separates is written as it is: there the server takes no expression.
        if node.is_string and (not node.name or "\\" in node.sql("mysql")) and node.arg_key != "separator":
            node.replace(as_utf8(exp.HexString(this=node.name.encode().hex())))
    asked = whole.this
    if isinstance(asked, exp.Query) and not asked.args.get("limit"):
        asked = asked.limit(_ALL_ROWS, copy=False)
    return str(asked.sql("mysql", copy=False))


def _scan(tree: exp.Query, tables: Mapping[str, RawTable]) -> exp.Select:
    """One table: its columns are sent as they are, only conditions see them converted."""
    assert isinstance(tree, exp.Select)
    raw = tree.args["from_"].this
    table = tables[raw.name]
    where = tree.args.get("where")
    indexed = _indexed(tree, table, raw.alias_or_name)
    if where is not None:
        for column in [node for node in where.find_all(exp.Column) if node.name.lower() in table.columns]:
            column.replace(table.columns[column.name.lower()].inside(column.copy()))
        _in_bytes(where)
        CAPABILITY.translate_masks(where)
    for item in tree.selects:
        column = item.unalias()
        if isinstance(column, exp.Column):
            column.replace(table.columns[column.name.lower()].outside(column.copy()))
    relation = table.relation.copy()
    relation.set("alias", raw.args.get("alias"))
    raw.replace(relation)
    return tree.where(*indexed, copy=False)


def _own_conditions(node: exp.Table, table: RawTable) -> list[exp.Expr]:
    """Conditions on the columns of one raw table, for the subquery that will stand for it."""
    around = node.find_ancestor(exp.Select)
    if around is None or around.args.get("joins"):
        return []
    conditions = _indexed(around, table, node.alias_or_name)
    for column in [column for condition in conditions for column in condition.find_all(exp.Column)]:
        column.set("table", None)
    return conditions


def _derived(node: exp.Table, tree: exp.Query, table: RawTable, conditions: list[exp.Expr]) -> exp.Expr:
    """What stands for a raw table: a subquery of its converted columns, which the server merges into the query."""
    alias = node.args.get("alias")
    used = {column.name.lower() for column in tree.find_all(exp.Column)} & table.columns.keys()
    converted = {name: column.inside(column.node()) for name, column in
                 table.columns.items() if name in used}  # fmt: skip
    relation = table.relation.copy()
    if all(isinstance(value, exp.Column) for value in converted.values()):
        relation.set("alias", alias)
        return relation
    if isinstance(relation, exp.Subquery):
        relation.set("alias", exp.TableAlias(this=exp.to_identifier("stored", quoted=True)))
    selects = [exp.alias_(value, name, quoted=True, copy=False) for name, value in converted.items()]
    select = exp.Select(expressions=selects).from_(relation, copy=False)
    select = select.where(*conditions, copy=False)
    return exp.Subquery(this=select, alias=alias)


def _indexed(select: exp.Select, table: RawTable, alias: str) -> list[exp.Expr]:
    """Conditions on the columns themselves that follow from those of `select`: they cost nothing, and find an index."""
    where = select.args.get("where")
    parts = conjuncts(where.this) if where is not None else ()
    return [part.copy() for part in parts if _follows(part, table) and part.this.table in ("", alias)]


_RANGES = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In)


def _follows(part: exp.Expr, table: RawTable) -> bool:
    """Whether a condition of a column and literals also holds for the stored value, whenever it holds exactly."""
    column = table.columns.get(part.this.name.lower()) if isinstance(part, _RANGES) and part.this else None
    if column is None or not isinstance(part.this, exp.Column):
        return False
    others = [child for child in part.iter_expressions() if child is not part.this]
    if column.is_date:
        return all(isinstance(other, exp.Cast) for other in others)
    literal = all(isinstance(other, exp.Literal) and column.takes(other.name) for other in others)
    return column.is_text and isinstance(part, (exp.EQ, exp.In)) and literal


def _in_bytes(tree: exp.Expr) -> None:
    """Text literals as bytes, as the columns are."""
    for node in list(tree.find_all(exp.Literal)):
        if node.is_string and not isinstance(node.parent, (exp.Cast, exp.Like)):
            node.replace(as_bytes(node.copy()))


def _with_fractions(tree: exp.Expr) -> None:
    """Written moments with their fractions, which a bare DATETIME drops."""
    for node in every(tree, exp.Cast):
        if isinstance(node.this, exp.Literal) and family(node) == "timestamp":
            node.set("to", exp.DataType.build("DATETIME(6)", dialect="mysql"))


def _sent(tree: exp.Expr, schema: Mapping[str, str]) -> exp.Query:
    """The query with its columns in a form that arrives whole: text as UTF-8, wide numbers written out."""
    assert isinstance(tree, exp.Query)
    if not any(_form(kind) for kind in schema.values()):
        return tree
    if not tree.args.get("order"):
        selects = [
            exp.alias_(_dressed(exp.column(exp.to_identifier(name, quoted=True)), kind), name, quoted=True)
            for name, kind in schema.items()
        ]
        return exp.select(*selects).from_(tree.subquery("answer", copy=False))
    # The server forgets the order of a subquery: here the columns themselves are dressed, and sort keys that
    # name a column of the answer go by what it was.
    assert isinstance(tree, exp.Select)
    values = {item.alias_or_name.lower(): item.unalias().copy() for item in tree.selects}
    for ordered in tree.args["order"].expressions:
        for column in list(ordered.find_all(exp.Column)):
            if not column.table and column.name.lower() in values:
                column.replace(values[column.name.lower()].copy())
    selects = [
        exp.alias_(_dressed(item.unalias().copy(), kind), item.alias_or_name, quoted=True)
        for item, kind in zip(tree.selects, schema.values(), strict=True)
    ]
    tree.set("expressions", selects)
    return tree


def _form(kind: str) -> str:
    if kind == "HUGEINT" or kind.startswith("DECIMAL"):
        return "digits"
    return "text" if kind == "VARCHAR" else ""


def _dressed(node: exp.Expr, kind: str) -> exp.Expr:
    return {"digits": as_text, "text": as_utf8}.get(_form(kind), lambda same: same)(node)
