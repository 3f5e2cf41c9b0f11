"""What was decided for one principal on one table: the values the road rewrites a leaf with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from tauro_nb.errors import AccessDenied
from tauro_nb.security.principal import Principal
from tauro_nb.security.relations import own_columns
from tauro_nb.walks import copied

__all__ = ["Access", "Barrier", "ColumnDecision", "TableDecision"]

Access = Literal["clear", "masked", "encrypted", "denied"]
Barrier = Literal["leakproof", "strict"]
"""Which predicates of the user pass below a policy: those that cannot fail, or none."""


def _columns_in(tree: exp.Expr | None) -> frozenset[str]:
    return frozenset(column.name.lower() for column in own_columns(tree)) if tree is not None else frozenset()


@dataclass(frozen=True, slots=True)
class ColumnDecision:
    """What the principal gets of one column.

    Parameters
    ----------
    name, type
        The column as the raw table has it; a mask keeps the type.
    access
        `clear`, `masked`, `encrypted` or `denied`.
    mask
        The mask's name when masked.
    tree
        The expression that masks, encrypts or decrypts (DuckDB dialect), over unqualified, quoted raw columns. Shared
        between callers: read it through `expression`, which gives each caller its own copy.
    rule
        Which rule decided, in words, without the policy's text.
    shown_type
        The type that the principal sees: `type`, except for ciphertext.
    reads
        Names, in lower case, of the columns that the expression reads.
    """

    name: str
    type: str
    access: Access
    mask: str | None = None
    tree: exp.Expr | None = None
    rule: str = ""
    shown_type: str = ""
    reads: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", _columns_in(self.tree))
        if not self.shown_type:
            object.__setattr__(self, "shown_type", self.type)

    @property
    def expression(self) -> exp.Expr | None:
        """A fresh copy of the expression, or None when the column is shown as it is or not at all."""
        return None if self.tree is None else copied(self.tree)


@dataclass(frozen=True, slots=True)
class TableDecision:
    """What the principal gets of one table.

    Parameters
    ----------
    table, principal
        Who asked for what.
    allowed
        False: nothing may be read, `reason` says why, every column is denied and the row filter is FALSE.
    reason
        Why not allowed; empty otherwise.
    columns
        One decision per column, in the table's order.
    filter_tree
        The row filter; shared, read it through `row_filter`.
    policy_hash
        Content hash of the policy (`default:allow`, `default:deny` without one), for cache keys.
    filter_rule
        Whose filters apply, in words, without the policy's text.
    audited
        False when the policy asks for denials only to be recorded.
    barrier
        `leakproof` or `strict`; means nothing where no barrier is needed.
    """

    table: str
    principal: Principal
    allowed: bool
    reason: str
    columns: Mapping[str, ColumnDecision]
    filter_tree: exp.Expr | None
    policy_hash: str
    filter_rule: str | None = None
    audited: bool = True
    barrier: Barrier = "leakproof"

    filter_reads: frozenset[str] = field(init=False, repr=False, compare=False)
    """Names, in lower case, of the columns that the row filter reads."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "filter_reads", _columns_in(self.filter_tree))

    @property
    def row_filter(self) -> exp.Expr | None:
        """A fresh copy of the row filter, or None when every row is visible."""
        return None if self.filter_tree is None else copied(self.filter_tree)

    @property
    def visible_columns(self) -> tuple[str, ...]:
        """All columns but the denied ones, in the table's order."""
        return tuple(name for name, column in self.columns.items() if column.access != "denied")

    @property
    def needs_barrier(self) -> bool:
        """Whether predicates of the user could meet values that the user may not see."""
        return self.filter_tree is not None or any(column.tree is not None for column in self.columns.values())

    @property
    def is_strict(self) -> bool:
        """Whether a barrier is needed that lets no predicate of the user through."""
        return self.barrier == "strict" and self.needs_barrier

    def require(self) -> TableDecision:
        """Return itself, or raise the refusal.

        Raises
        ------
        AccessDenied
            The principal may not read the table.
        """
        if not self.allowed:
            raise AccessDenied(self.reason, table=self.table)
        return self
