"""What every mask is: a name, a place in the lattice, a form for one value and a form for a whole column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from sqlglot import exp

from tauro_nb.security.masks.options import Option, read_options
from tauro_nb.security.types import data_type, is_text
from tauro_nb.walks import copied

if TYPE_CHECKING:
    from ibis.expr.types import BooleanValue, Column, Value

    from tauro_nb.security.masks.scope import MaskScope

Branches = tuple[Sequence["tuple[BooleanValue, Value | str]"], "Value | str | None"]
"""Conditions with what is shown where they hold, and what is shown of the rest; None is NULL."""

__all__ = ["HIDDEN", "MARK", "Branches", "MaskMark", "Masker", "Rank", "TextMasker", "TypedMasker", "null_of"]

HIDDEN = "***"
"""What stands for a text that is hidden altogether: three stars, whatever its length."""
MARK = "mask"
"""Key of a masking tree's `meta` under which its root says which mask it is."""


class Rank(IntEnum):
    """How much a mask hides: of several on one column, the highest applies."""

    NONE = 0
    COARSE = 1
    PARTIAL = 2
    KEYED = 3
    CONSTANT = 4
    NULL = 5


class Masker(ABC):
    """One way to hide a value.

    A mask has a `name`, hides one Python value with `mask`, and writes itself as SQL with `compile`.

    Parameters
    ----------
    options
        The mask's parameters, by name.

    Attributes
    ----------
    name
        What policies call it.
    rank
        Its place in the lattice of masks.
    joinable
        Whether equal values stay equal and different ones stay different, so that a join on the masked column finds
        what a join on the raw one would.
    reads
        Whether it looks at the value at all; a mask that does not is never sent one by a source.
    personal
        Whether its tree differs from principal to principal.
    warning
        What an administrator must know who chooses it; empty for most.
    parameters
        The options as read.
    """

    name: ClassVar[str]
    rank: ClassVar[Rank]
    joinable: ClassVar[bool] = False
    reads: ClassVar[bool] = True
    personal: ClassVar[bool] = False
    warning: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = MappingProxyType({})

    def __init__(self, **options: Any) -> None:
        self.parameters: Mapping[str, Any] = MappingProxyType(read_options(self.name, self.options, options))
        self._written: dict[tuple[str, str], exp.Expr | None] = {}

    @abstractmethod
    def mask(self, value: Any) -> Any:
        """Hide one value."""

    @abstractmethod
    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Write the mask as a tree of a dialect over a column of this DuckDB type; for a type it cannot keep, NULL."""

    def compile(self, column: str, type: str) -> exp.Expr:
        """Write the mask as a DuckDB tree over a column of this DuckDB type, keeping the type.

        The tree's root says which mask it is, for a source that can answer the mask itself.

        Raises
        ------
        PolicyError
            The mask's parameters do not fit the type.
        """
        tree = self.write(column, type)
        if self.reads:
            tree.meta[MARK] = MaskMark(self, column, type)
        return tree

    @property
    def form(self) -> str:
        """What sources that have proven the mask call it: its name, and the option that writes it differently."""
        return self.name

    def compile_for(self, dialect: str, column: str, type: str) -> exp.Expr | None:
        """Write the mask as a tree of another dialect; None where it has no form there.

        Whether it may be used is the word of the source's capability table: there stands what was compared with DuckDB.
        """
        from ibis.common.exceptions import IbisError

        if not is_text(type):
            return self.write(column, type) if dialect == "duckdb" else None
        key = (dialect, column)
        if key not in self._written:
            try:
                self._written[key] = self.write(column, type, dialect)
            except IbisError:
                self._written[key] = None
        found = self._written[key]
        return None if found is None else copied(found)

    def compile_in(self, column: str, type: str, scope: MaskScope) -> exp.Expr:
        """Write the mask where it needs to know more than its column: the table, the principal, the keys."""
        return self.compile(column, type)

    def relation_names(self) -> frozenset[str]:
        """Tables that it reads besides its own, as written."""
        return frozenset()

    def _key(self) -> tuple[Any, ...]:
        return (type(self), repr(sorted(self.parameters.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masker) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        # Parameters are policy text.
        return f"{type(self).__name__}({'...' if self.parameters else ''})"


@dataclass(frozen=True, slots=True)
class MaskMark:
    """Says of a tree that it is a mask: a source that knows the mask need not read the tree."""

    masker: Masker
    column: str
    type: str

    @property
    def name(self) -> str:
        """The mask's name, as sources that have proven it list it."""
        return self.masker.form

    def compile_for(self, dialect: str) -> exp.Expr:
        """The same mask in the dialect of a source that lists it."""
        found = self.masker.compile_for(dialect, self.column, self.type)
        assert found is not None
        return found

    def __deepcopy__(self, memo: object) -> MaskMark:
        # Trees are copied at every step of the road; what they are marked with does not change.
        return self


class TypedMasker(Masker):
    """A mask written as one Ibis expression; NULL stays NULL, and a type the mask cannot keep becomes NULL."""

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Compile the Ibis expression; over a type the mask does not take, NULL of that type."""
        from tauro_nb.security.masks.compiling import compile_mask, ibis_type

        known = ibis_type(type)
        if known is None or not self.takes(type):
            return null_of(type)
        return compile_mask(lambda value: self.branches(value, type, dialect), column, type, dialect)

    @abstractmethod
    def takes(self, type: str) -> bool:
        """Whether the mask can keep columns of this DuckDB type."""

    @abstractmethod
    def branches(self, column: Column, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions of the column's type: conditions that are not true of NULL, and the rest.

        Whoever calls puts NULL in the place of NULL between the branches and the rest.
        """


class TextMasker(TypedMasker):
    """A mask of texts; NULL stays NULL, and whatever is not a text is hidden altogether."""

    rank = Rank.PARTIAL

    def mask(self, value: Any) -> str | None:
        """Hide one text."""
        return self.mask_text(value) if isinstance(value, str) else None

    def takes(self, type: str) -> bool:
        """Texts only."""
        return is_text(type)

    @abstractmethod
    def mask_text(self, text: str) -> str:
        """Hide one text."""


def null_of(type: str) -> exp.Expr:
    """NULL of a DuckDB type."""
    return exp.cast(exp.Null(), data_type(type))
