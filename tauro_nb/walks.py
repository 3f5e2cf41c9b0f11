"""Walking and copying trees: most of what planning does, so that both are written for speed."""

from __future__ import annotations

import functools
from typing import Final, TypeVar

from sqlglot import exp

__all__ = ["copied", "every"]

Tree = TypeVar("Tree", bound=exp.Expr)

_CHILDLESS: Final[frozenset[type]] = frozenset({exp.Identifier, exp.Literal, exp.Boolean, exp.Null})
"""What a tree has most of, and nothing below it."""
_VALUES: Final[frozenset[type]] = frozenset({str, bool, int, float, type(None)})
"""What stands in a tree and is no node."""


@functools.cache
def _passed_over(kinds: tuple[type[exp.Expr], ...]) -> tuple[frozenset[type], type[exp.Expr] | None]:
    """What a search for these kinds need not look at, and what it need not look into where that has but a name."""
    sought = {kind for kind in _CHILDLESS if issubclass(kind, kinds)}
    return _VALUES | (_CHILDLESS - sought), None if sought else exp.Column


def every(tree: exp.Expr, *kinds: type[Tree]) -> list[Tree]:
    """What `tree.find_all(*kinds)` gives, in its order, in a third of the time.

    >>> import sqlglot
    >>> [column.name for column in every(sqlglot.parse_one("SELECT a FROM t WHERE b = c"), exp.Column)]
    ['a', 'b', 'c']
    >>> [node.name for node in every(sqlglot.parse_one("SELECT 1 AS a WHERE TRUE"), exp.Literal, exp.Identifier)]
    ['1', 'a']
    """
    passed_over, flat = _passed_over(kinds)
    found: list[Tree] = []
    nodes = [tree]
    # The list grows while it is read: the children of each level come behind it.
    for node in nodes:
        if isinstance(node, kinds):
            found.append(node)
        if node.__class__ is flat and node.args.get("this").__class__ is exp.Identifier:
            continue
        for value in node.args.values():
            kind = value.__class__
            if kind in passed_over:
                continue
            if kind is list:
                nodes += [item for item in value if item.__class__ not in passed_over and isinstance(item, exp.Expr)]
            elif isinstance(value, exp.Expr):
                nodes.append(value)
    return found


def copied(tree: Tree) -> Tree:
    """What `tree.copy()` gives, in a third of the time: types and what nodes note are shared, not copied in depth."""
    root = tree.__class__()
    stack: list[tuple[exp.Expr, exp.Expr]] = [(tree, root)]
    while stack:
        node, twin = stack.pop()
        # Of nodes that are made without their `__init__`, every slot is filled here and below.
        twin.comments = node.comments and list(node.comments)
        twin._type = node._type  # noqa: SLF001 - the property would build one
        twin._meta = node._meta and dict(node._meta)  # noqa: SLF001 - the property makes a dictionary
        twin._hash = None  # noqa: SLF001
        args = twin.args = node.args.copy()
        for key, value in args.items():
            kind = value.__class__
            if kind in _VALUES:
                continue
            if kind is list:
                args[key] = items = value.copy()
                for index, item in enumerate(items):
                    if isinstance(item, exp.Expr):
                        items[index] = child = item.__class__.__new__(item.__class__)
                        child.parent, child.arg_key, child.index = twin, key, index
                        stack.append((item, child))
            elif isinstance(value, exp.Expr):
                args[key] = child = kind.__new__(kind)
                child.parent, child.arg_key, child.index = twin, key, None
                stack.append((value, child))
    return root
