"""A compiled policy over a list of rows: the same trees as for a query, over the columns they touch and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from tauro_nb.errors import PolicyError
from tauro_nb.security.encryption import stored_types
from tauro_nb.security.principal import Principal
from tauro_nb.security.reads import Reader
from tauro_nb.security.relations import policy_reads
from tauro_nb.security.rows import Row, RowColumns, Run, in_sandbox, mask_values, maskable_array, matching_rows
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.standing import Compiled, Relations

__all__ = ["RowPolicy"]


@dataclass(frozen=True)
class RowPolicy:
    """One policy, one principal, and rows at hand.

    Parameters
    ----------
    table, types
        The virtual table, and the types of its columns as far as known; others are inferred from the values.
    who
        For whom.
    compiled
        The policy.
    relations
        Looks up the tables that the policy reads besides.
    sandbox
        Runs what concerns the rows alone.
    reader
        Runs what reads other tables; without it such a policy is refused.
    """

    table: str
    types: Mapping[str, str]
    who: Principal
    compiled: Compiled
    relations: Callable[[], Relations]
    sandbox: Sandbox
    reader: Reader | None

    def visible(self, rows: list[Any]) -> list[Any]:
        """The rows that the principal may see.

        Raises
        ------
        AccessDenied
            The filter cannot be evaluated on these values.
        PolicyError
            The filter does not fit the rows, or reads other tables and there is nothing to read them with.
        """
        applying = self.compiled.parsed.conditions.row_templates(self.who)
        if not applying:
            return rows
        names = {name for template in applying for name in template.column_names()}
        arrays, types = RowColumns(rows, self.types, self.sandbox).select(names)
        tree, _ = self.compiled.bind(types, self._reads(), strict=False).row_filter(self.who)
        held = stored_types(types, self.compiled.parsed.stored)
        return rows if tree is None else matching_rows(rows, arrays, held, tree, self._run(tree))

    def mask(self, rows: Sequence[Row], masked: list[dict[str, Any]]) -> None:
        """Put what the principal may see of the rows' values into copies of them, in place.

        Raises
        ------
        AccessDenied
            A mask cannot be evaluated on these values.
        PolicyError
            A mask reads other tables, and there is nothing to read them with.
        """
        source = RowColumns(rows, self.types, self.sandbox)
        for key in source.keys:
            # A key of its own at a time: two spellings of a column are both hidden.
            access = self.compiled.bind({key: "VARCHAR"}, strict=False).access(key, self.who)
            if access == "clear" and key.casefold() not in self.compiled.parsed.stored:
                continue
            holders = [number for number, row in enumerate(rows) if key in row]
            if access == "denied":
                for number in holders:
                    del masked[number][key]
                continue
            values = self._masked_values(source.only(holders), key)
            for number, value in zip(holders, values, strict=True):
                masked[number][key] = value

    def _masked_values(self, source: RowColumns, key: str) -> list[Any]:
        """The values of one key as a principal sees them; conditions see the other columns as they are."""
        parsed = self.compiled.parsed
        others = parsed.conditions.columns_of(parsed.ruling(key, self.who).masks) - {key.casefold()}
        arrays, types = source.select(others)
        own = {key: maskable_array([row.get(key) for row in source.rows])}
        types = {**types, **source.types_of(own)}
        tree = self.compiled.bind(types, self._reads(), strict=False).column(key, self.who).expression
        if tree is None:
            raise PolicyError(f"the mask of `{key}` is missing")
        return mask_values({**arrays, **own}, stored_types(types, parsed.stored), tree, key, self._run(tree))

    def _reads(self) -> Relations:
        if self.reader is None and self.compiled.parsed.relations_for(self.who):
            raise PolicyError(
                f"policy of `{self.table}`: it reads other tables, and there is no data layer to read them from",
                hint="Use the `security` of a VirtualDataLayer.",
            )
        return self.relations()

    def _run(self, tree: exp.Expr) -> Run:
        reader = self.reader
        if reader is None or next(policy_reads(tree), None) is None:
            return in_sandbox(self.sandbox)
        return lambda select, rows: reader.run(self.table, select, rows, self.who)
