"""What a mask may know beside its own column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tauro_nb.security.relations import Scope

if TYPE_CHECKING:
    from tauro_nb.security.keys.ring import KeyRing
    from tauro_nb.security.principal import Principal
    from tauro_nb.security.sandbox import Sandbox

__all__ = ["MaskScope"]


@dataclass(frozen=True, slots=True)
class MaskScope:
    """The table a mask stands in, and for whom.

    Parameters
    ----------
    table, columns
        The virtual table, and its raw columns with their DuckDB types.
    sandbox
        Binds expressions and converts values.
    principal
        Who will see the masked column; None while a policy is only being checked.
    ring
        The keys, which a tree names by their handles.
    names
        What an expression's names may mean; the table alone when not given.
    """

    table: str
    columns: Mapping[str, str]
    sandbox: Sandbox
    principal: Principal | None = None
    ring: KeyRing | None = None
    names: Scope | None = None

    @property
    def scope(self) -> Scope:
        """What an expression's names may mean."""
        return self.names if self.names is not None else Scope(self.table, self.columns, {})
