"""Plans for people who may not read policies: one marker stands where a policy says something.

`secure` marks what it writes into a tree; here, and nowhere else, marked nodes are replaced for display. What a panel,
a magic or `print(plan)` shows is written from the redacted tree, so no door can forget to redact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlglot import exp

from tauro_nb.query.measured import Measured
from tauro_nb.query.names import FRAGMENT, MARKER, RAW, leaf_kind
from tauro_nb.query.plan import Fragment, QueryPlan, RuleFired
from tauro_nb.query.trees import POLICY, VIEW, conjuncts, every

if TYPE_CHECKING:
    from tauro_nb.security.decision import TableDecision

__all__ = [
    "MARKER", "below_policy", "is_policy", "mark_column", "mark_policy", "mark_view", "shown_decision", "shown_plan",
    "without_policy",
]  # fmt: skip

_TEXT: Final = "text"
_COLUMN: Final = "column"
_WHY: Final = "as far as the policy on it allows"

Tree = TypeVar("Tree", bound=exp.Expr)


def mark_policy(tree: Tree) -> Tree:
    """Mark a policy's expression: its root, and the conjuncts into which a condition may be taken apart.

    >>> import sqlglot
    >>> is_policy(mark_policy(sqlglot.parse_one("a = 1 AND b = 2")).expression)
    True
    """
    nodes: tuple[exp.Expr, ...] = (tree, *conjuncts(tree))
    for node in nodes:
        node.meta[POLICY] = _TEXT
        node.unnest().meta[POLICY] = _TEXT
    return tree


def mark_column(select: Tree) -> Tree:
    """Mark an output column that is read for the policy's sake only; it is left out of what is shown."""
    select.meta[POLICY] = _COLUMN
    return select


def mark_view(tree: exp.Expr, *, like: exp.Expr | None = None) -> None:
    """Mark the literals of a view's text on which a policy stands, in place: what the policy hides may be among them.

    With `like`, only where that tree, which this one is made of, has such literals.
    """
    if like is not None and not any(_of_view(literal) for literal in every(like, exp.Literal)):
        return
    for literal in every(tree, exp.Literal):
        if not isinstance(literal.parent, exp.DataTypeParam):
            literal.meta[VIEW] = True


def _of_view(literal: exp.Expr) -> bool:
    return VIEW in (literal._meta or ())  # noqa: SLF001 - `meta` makes a dictionary


def is_policy(node: exp.Expr) -> bool:
    """Whether a node was written by a policy."""
    return POLICY in (node._meta or ()) or POLICY in (node.unnest()._meta or ())  # noqa: SLF001 - `meta` makes a dict


def below_policy(node: exp.Expr | None) -> bool:
    """Whether a node stands inside what a policy wrote."""
    while node is not None:
        if is_policy(node):
            return True
        node = node.parent
    return False


def without_policy(tree: exp.Expr) -> exp.Expr:
    """A copy of a secured tree in which one marker for each relation stands for its policy.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT a FROM t WHERE x = 'secret' AND a > 1 LIMIT 9")
    >>> _ = mark_policy(tree.args["where"].this.this), mark_policy(tree.args["limit"].expression)
    >>> without_policy(tree).sql()
    'SELECT a FROM t WHERE [REDACTED] AND a > 1'
    """
    root = exp.Paren(this=tree.copy())
    for select in list(root.find_all(exp.Select)):
        if not below_policy(select):
            _hide_in(select)
    for node in [node for node in root.walk() if node is not root and is_policy(node)]:
        if not below_policy(node.parent):
            node.replace(_marker())
    for literal in [literal for literal in every(root, exp.Literal) if _of_view(literal)]:
        # A literal still, for some functions are written by what their literals say.
        literal.replace(exp.Literal.number(MARKER))
    hidden: exp.Expr = root.this
    return hidden


def _hide_in(select: exp.Select) -> None:
    limit = select.args.get("limit")
    where = select.args.get("where")
    parts = list(conjuncts(where.this)) if where is not None else []
    own = [part for part in parts if not is_policy(part)]
    hidden = len(own) < len(parts)
    if isinstance(limit, exp.Limit) and is_policy(limit.expression):
        select.set("limit", None)
        hidden = True
    for item in list(select.expressions):
        if (item._meta or {}).get(POLICY) == _COLUMN:  # noqa: SLF001 - `meta` makes a dictionary
            item.pop()
        elif isinstance(item, exp.Alias) and is_policy(item.this):
            hidden = True
            item.set("this", exp.column(item.args["alias"].copy()))
    if not select.expressions:
        select.append("expressions", exp.Literal.number(1))
    if hidden:
        select.set("where", exp.Where(this=exp.and_(_marker(), *own, copy=False)))


def _marker() -> exp.Column:
    # A column, because that is a condition; a name of its own kind, because that is written without quotes.
    return exp.Column(this=exp.Var(this=MARKER))


def shown_decision(decision: TableDecision) -> TableDecision:
    """A decision as it is handed to somebody who may not read policies: what they get, without what the policy says.

    Columns that are denied are left out; a marker stands for each condition and mask.
    """
    columns = {
        name: column if column.tree is None else replace(column, tree=_marker())
        for name, column in decision.columns.items()
        if column.access != "denied"
    }
    rows = None if decision.filter_tree is None else _marker()
    return replace(decision, columns=columns, filter_tree=rows, policy_hash="")


def shown_plan(plan: QueryPlan) -> QueryPlan:
    """The plan as it is handed to somebody who may not read policies.

    Nothing in it depends on what a policy says, only on where one stands: no condition, mask, barrier, table or column
    that only the policy reads, no estimate of what is left of a filtered table, no physical name. What is joined at a
    source is shown as `outline` says: it goes by how much tables hold, and hidden rows count in that.
    """
    policed = any(_policed(plan.entries, name) for name in plan.entries)
    plan = plan if plan.outline is None else plan.outline(plan)
    open_ = {fragment.id: fragment for fragment in plan.fragments if not fragment.policy}
    names = {old: f"f{number}" for number, old in enumerate(open_)}
    shown = _renamed(without_policy(plan.shown), names)
    fragments = tuple(_shown_fragment(part, names[part.id], plan) for part in open_.values())
    # Whether a join sends keys goes by how many rows are expected, and so by what a policy leaves of any table.
    if policed:
        fragments = tuple(replace(part, keys=()) for part in fragments)
    rows = [part.estimated_rows or 0 for part in fragments]
    return replace(
        plan,
        tree=plan.tree.copy(),
        roles={},
        fragments=fragments,
        residual=shown,
        shown=shown,
        steps=() if policed else tuple(replace(step, tree=step.shown) for step in plan.steps),
        journal=tuple(_shown_rule(rule) for rule in plan.journal),
        streams={},
        sources={},
        entries={},
        policy_columns={},
        checks=(),
        policy_version="",
        estimated_rows=max(rows, default=0) if policed else plan.estimated_rows,
        estimated_bytes=sum(part.estimated_bytes or 0 for part in fragments),
        estimated_cost=float(sum(rows)) if policed else plan.estimated_cost,
        measured=_shown_figures(plan, names, policed=policed),
        outline=None,
        _notes={},
    )


def _shown_figures(plan: QueryPlan, names: dict[str, str], *, policed: bool) -> Measured | None:
    """Figures of parts only where no policy stands anywhere: what one part moved may go by what another found."""
    if plan.measured is None or policed:
        return plan.measured and plan.measured.without_parts()
    parts = {names[old]: traffic for old, traffic in plan.measured.fragments.items() if old in names}
    return replace(plan.measured, fragments=parts)


def _shown_fragment(part: Fragment, name: str, plan: QueryPlan) -> Fragment:
    tree = without_policy(part.tree)
    assert isinstance(tree, exp.Query)
    policed = any(_policed(plan.entries, table) for table in part.tables)
    kept = {select.alias_or_name for select in tree.selects}
    return replace(
        part,
        id=name,
        # Which of the two it is depends on how many rows the source expects the policy to leave.
        kind=_usual_kind(plan.entries, part) if policed else part.kind,
        tables=tuple(dict.fromkeys(table.name for table in tree.find_all(exp.Table) if leaf_kind(table) == RAW)),
        tree=tree,
        schema={column: kind for column, kind in part.schema.items() if column in kept},
        estimated_rows=None if policed else part.estimated_rows,
        estimated_bytes=None if policed else part.estimated_bytes,
        estimated_by="" if policed else part.estimated_by,
        expected_rows=None,
        stored_rows=0.0,
        reason=_WHY if policed else part.reason,
        scan=None,
        keyed=None,
        unkeyed=None,
    )


def _policed(entries: Any, table: str) -> bool:
    entry = entries.get(table)
    return entry is None or entry.decision.needs_barrier


def _usual_kind(entries: Any, part: Fragment) -> Any:
    asked = any(getattr(entries[table].source, "capability", None) for table in part.tables if table in entries)
    return "query" if asked else "relation"


def _shown_rule(rule: RuleFired) -> RuleFired:
    return replace(rule, before_tree=without_policy(rule.before_tree), after_tree=without_policy(rule.after_tree))


def _renamed(tree: exp.Expr, names: dict[str, str]) -> exp.Expr:
    """The tree with its fragments under other names: a gap in the numbers would tell of one that is not shown."""
    tables: Iterable[exp.Table] = (table for table in tree.find_all(exp.Table) if leaf_kind(table) == FRAGMENT)
    for table in list(tables):
        table.set("this", exp.to_identifier(names[table.name], quoted=True))
    return tree
