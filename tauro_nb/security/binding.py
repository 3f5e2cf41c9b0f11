"""Bind a row filter to a table's columns, and put a principal's values into it as typed literals.

Binding happens once per filter and set of columns, on an empty typed row in the sandbox. Putting values in happens per
principal and touches nodes only. A value never takes part in an implicit conversion: it is converted here, to the type
of what it is compared with, and where it does not convert without loss the comparison is NULL: no row passes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlglot import exp

from tauro_nb.errors import AccessDenied, PolicyError
from tauro_nb.security.grammar import COMPARISONS
from tauro_nb.security.masks import constant_text
from tauro_nb.security.principal import Principal
from tauro_nb.security.relations import Scope, empty_relation, policy_reads, qualified, settle_names
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.template import FilterTemplate
from tauro_nb.security.types import UNTYPED, data_type, is_integer, is_number, is_text

__all__ = ["BoundFilter", "bind_filter", "converts"]

_OWN = "raw"
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_NATURAL: tuple[tuple[type, str], ...] = (
    (str, "VARCHAR"),
    (bool, "BOOLEAN"),
    (int, "HUGEINT"),
    (float, "DOUBLE"),
    (Decimal, "DECIMAL(38,10)"),
    (datetime, "TIMESTAMP"),
    (date, "DATE"),
    (time, "TIME"),
    (UUID, "UUID"),
)


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A row filter whose columns and types are known.

    Parameters
    ----------
    tree
        Over unqualified, quoted columns, with markers where the principal goes; the tables of subqueries, and their
        columns, as `relations` writes them.
    slots
        Marker -> attribute (None: the principal's name).
    types
        Marker -> type of what it is compared with.
    sandbox
        Converts values.
    """

    tree: exp.Expr
    slots: Mapping[str, str | None]
    types: Mapping[str, str]
    sandbox: Sandbox

    def for_principal(self, principal: Principal) -> exp.Expr:
        """Return the filter with the principal's values in it.

        Raises
        ------
        AccessDenied
            The principal lacks an attribute that the filter needs.
        """
        tree = exp.paren(self.tree.copy())
        for marker in [node for node in tree.find_all(exp.Column) if node.name in self.slots]:
            value = principal.value_of(self.slots[marker.name])
            _put(marker, value, self.types[marker.name], self.sandbox)
        return tree


def bind_filter(
    template: FilterTemplate, scope: Scope, what: str, sandbox: Sandbox, *, kind: str | None = None
) -> BoundFilter:
    """Resolve names and check types; the first reading of the text that binds counts.

    With `kind` it is no condition but a value (a mask's expression), which becomes a value of that type.

    Raises
    ------
    PolicyError
        No reading binds: an unknown table or column, types that do not fit, or a result that is not true or false.
    """
    complaint: PolicyError | None = None
    for candidate in template.candidates:
        try:
            # The root gets a parent: a column alone is replaced as well.
            tree = settle_names(exp.Paren(this=candidate.copy()), scope, template.slots, what).this
            types = _slot_types(tree, scope, template.slots, what, sandbox)
            (found,) = _describe([_dummy(tree, types, _unforeseen)], scope, what, sandbox)
            if kind is None:
                tree = _condition(tree, found, what)
                _refuse_failing(_dummy(tree, types), scope, what, sandbox)
            else:
                tree = _value_of_kind(tree, found, kind, what)
        except PolicyError as wrong:
            complaint = complaint or wrong
        except RecursionError:
            complaint = complaint or PolicyError(f"{what}: it is nested too deeply")
        else:
            return BoundFilter(tree, template.slots, types, sandbox)
    raise complaint or PolicyError(f"{what}: does not parse")


def _site(marker: exp.Expr) -> exp.Expr:
    """The marker with the parentheses around it."""
    while isinstance(marker.parent, exp.Paren):
        marker = marker.parent
    return marker


def _peer(marker: exp.Expr) -> exp.Expr | None:
    """What a marker is compared with, if it stands in a comparison."""
    site = _site(marker)
    parent = site.parent
    if isinstance(parent, COMPARISONS):
        return parent.expression if parent.this is site else parent.this  # type: ignore[no-any-return]
    if isinstance(parent, exp.In):
        listed = parent.args.get("query") or next(iter(parent.expressions), None)
        return listed if parent.this is site else parent.this
    if isinstance(parent, exp.Between):
        return parent.args["low"] if parent.this is site else parent.this  # type: ignore[no-any-return]
    return None


def _slot_types(
    tree: exp.Expr, scope: Scope, slots: Mapping[str, str | None], what: str, sandbox: Sandbox
) -> dict[str, str]:
    """Ask the binder for the type of each marker's peer; text where there is none."""
    types = dict.fromkeys(slots, "VARCHAR")
    peers: dict[str, exp.Expr] = {}
    for marker in tree.find_all(exp.Column):
        if marker.name not in slots:
            continue
        target = _site(marker).parent
        if isinstance(target, (exp.Cast, exp.TryCast)):
            types[marker.name] = target.to.sql("duckdb")
        elif (peer := _peer(marker)) is not None:
            peers[marker.name] = peer
    beside = list(policy_reads(tree))
    # Peers in subqueries may be aggregates: each is asked for by itself.
    groups = [[marker] for marker in peers] if beside else [list(peers)] if peers else []
    for group in groups:
        found = _describe([_dummy(peers[marker], types) for marker in group], scope, what, sandbox, beside)
        types.update(zip(group, found, strict=True))
    return types


def _condition(tree: exp.Expr, found: str, what: str) -> exp.Expr:
    if isinstance(tree.unnest(), exp.Null):
        return _unknown()
    if found != "BOOLEAN":
        raise PolicyError(f"{what}: a filter must be true or false, this one is {found}")
    return tree


def _value_of_kind(tree: exp.Expr, found: str, kind: str, what: str) -> exp.Expr:
    """A value of a column's type; what cannot be computed, or does not fit, is NULL instead of an error with it."""
    alike = (is_text, is_number, _is_moment)
    # A NULL that nobody typed is an INTEGER for DuckDB.
    fits = found in (kind, UNTYPED) or isinstance(tree.unnest(), exp.Null)
    if not fits and not any(test(found) and test(kind) for test in alike):
        raise PolicyError(f"{what}: the column is {kind}, its mask is {found}")
    # DuckDB tries no subquery; what cannot be computed there is an error, without words about it.
    tried = tree if tree.find(exp.Select) is not None else exp.Try(this=tree)
    return exp.TryCast(this=tried, to=data_type(kind))


def _is_moment(kind: str) -> bool:
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def _null_of(kind: str) -> exp.Expr:
    return exp.cast(exp.Null(), data_type(kind))


def _unforeseen(kind: str) -> exp.Expr:
    """A NULL that DuckDB does not know to be one while it binds: `'a' || NULL` has no type there."""
    return exp.Case().when(exp.Rand() < exp.Literal.number(2), _null_of(kind))


def _dummy(tree: exp.Expr, types: Mapping[str, str], null_of: Callable[[str], exp.Expr] = _null_of) -> exp.Expr:
    """The tree with NULLs of the right type in place of markers."""

    def fill(node: exp.Expr) -> exp.Expr:
        return null_of(types[node.name]) if isinstance(node, exp.Column) and node.name in types else node

    return tree.transform(fill)


def _describe(
    trees: list[exp.Expr], scope: Scope, what: str, sandbox: Sandbox, beside: Sequence[exp.Table] = ()
) -> list[str]:
    """Types of expressions over the table's columns, and over those of the tables `beside`; nothing is run."""
    import duckdb

    with sandbox.cursor() as cursor:
        try:
            cursor.execute("DESCRIBE " + _over_nothing(trees, scope, beside).sql("duckdb"))
            return [found[1] for found in cursor.fetchall()]
        except duckdb.Error:
            # The engine's words quote the policy and the values in it.
            raise PolicyError(f"{what}: its types do not fit, or it uses a function that does not exist") from None


def _refuse_failing(tree: exp.Expr, scope: Scope, what: str, sandbox: Sandbox) -> None:
    """Evaluate a condition for a row of NULLs: a constant that does not get its column's type fails for every row."""
    import duckdb

    select = _over_nothing([tree], scope)
    select.args["from_"].this.this.set("where", None)
    with sandbox.cursor() as cursor:
        try:
            cursor.execute(select.sql("duckdb")).fetchall()
        except duckdb.Error:
            raise PolicyError(
                f"{what}: a constant in it does not convert to the type of what it is compared with"
            ) from None


def _over_nothing(trees: list[exp.Expr], scope: Scope, beside: Sequence[exp.Table] = ()) -> exp.Select:
    """Expressions over a table and the tables `beside`, all of them without a row."""
    wanted = [exp.alias_(exp.paren(qualified(tree, _OWN)), f"x{number}") for number, tree in enumerate(trees)]
    select = exp.select(*wanted).from_(empty_relation(scope.columns, _OWN))
    for table in beside:
        select = select.join(table.copy(), join_type="cross")
    columns = {relation.name: dict(relation.columns) for relation in scope.relations.values()}
    for table in list(policy_reads(select)):
        table.replace(empty_relation(columns[table.name], table.alias))
    return select


def _put(marker: exp.Expr, value: Any, kind: str, sandbox: Sandbox) -> None:
    """Replace one marker by literals of type `kind`, or its comparison by NULL where nothing converts."""
    site = _site(marker)
    parent = site.parent
    values = value if isinstance(value, tuple) else (value,)
    listed = isinstance(parent, exp.In) and parent.this is not site
    if isinstance(value, tuple) and not listed:
        raise AccessDenied("a list of values in a principal's attribute only fits behind IN")
    literals = [literal for item in values if (literal := _literal(item, kind, sandbox)) is not None]
    if isinstance(parent, (exp.Cast, exp.TryCast)):
        # `'{principal}'::INTEGER`: the cast is done, its own comparison must fail as a whole with it.
        site = _site(parent)
        parent = site.parent
    if isinstance(parent, exp.In) and parent.this is not site:
        _put_into_list(parent, site, literals)
    elif literals:
        # Inside a function an untyped literal would take whatever type the function prefers: say it is text.
        loose = isinstance(parent, exp.Func) and not isinstance(parent, exp.Connector)
        site.replace(exp.cast(literals[0], data_type(kind)) if loose else literals[0])
    elif parent is not None and isinstance(parent, (*COMPARISONS, exp.In, exp.Between)):
        parent.replace(_unknown())
    else:
        site.replace(exp.cast(exp.Null(), data_type(kind)))


def _put_into_list(parent: exp.In, site: exp.Expr, literals: list[exp.Expr]) -> None:
    rest: list[exp.Expr] = []
    for item in parent.expressions:
        rest.extend(literals if item is site else [item])
    if rest:
        parent.set("expressions", rest)
    else:
        parent.replace(_unknown())


def _unknown() -> exp.Expr:
    return exp.cast(exp.Null(), exp.DataType.build("BOOLEAN"))


def _literal(value: Any, kind: str, sandbox: Sandbox) -> exp.Expr | None:
    """The value as a literal of DuckDB type `kind`, or None when it does not convert without loss."""
    text = constant_text(value)
    if is_text(kind):
        return exp.Literal.string(text)
    if not converts(value, kind, sandbox):
        return None
    if is_integer(kind) and _PLAIN_NUMBER.fullmatch(text):
        number: exp.Expr = exp.Literal.number(text.lstrip("-"))
        return exp.Neg(this=number) if text.startswith("-") else number
    return exp.cast(exp.Literal.string(text), data_type(kind))


def converts(value: Any, kind: str, sandbox: Sandbox) -> bool:
    """Whether a value is one of DuckDB type `kind`, without loss.

    A cast alone is not enough: it takes the principal "41.6" for the number 42, and " 42" and "042" for it as well,
    so that two people would share one identity. Texts must therefore come back as they were.

    Examples
    --------
    >>> sandbox = Sandbox()
    >>> [converts(text, "INTEGER", sandbox) for text in ("42", "41.6", "042", "4e1", "john.doe")]
    [True, False, False, False, False]
    """
    text = constant_text(value)
    if isinstance(value, str) and is_number(kind) and not _PLAIN_NUMBER.fullmatch(text):
        return False
    natural = next(name for cls, name in _NATURAL if isinstance(value, cls))
    if isinstance(value, str) and is_number(kind):
        natural = "DECIMAL(38,10)"
    elif isinstance(value, str) and kind.upper() == "UUID":
        text = text.lower()
    elif isinstance(value, datetime) and value.tzinfo is not None:
        natural = "TIMESTAMP WITH TIME ZONE"
    return _round_trips(text, kind, natural, sandbox)


def _round_trips(text: str, kind: str, natural: str, sandbox: Sandbox) -> bool:
    """Whether going to `kind` and back to `natural` changes nothing."""
    import duckdb

    given = exp.Placeholder(this="1")
    there = exp.TryCast(this=given, to=data_type(kind))
    back = exp.TryCast(this=there, to=data_type(natural))
    same = exp.EQ(this=back, expression=exp.TryCast(this=given.copy(), to=data_type(natural)))
    with sandbox.cursor() as cursor:
        try:
            row = cursor.execute(exp.select(same).sql("duckdb"), [text]).fetchone()
        except duckdb.Error:
            return False
    return row is not None and row[0] is True
