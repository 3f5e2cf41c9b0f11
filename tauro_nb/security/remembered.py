"""A policy as it was at one moment, and the decisions that were made by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tauro_nb.security.compiled import BoundPolicy, ParsedPolicy
from tauro_nb.security.decision import TableDecision
from tauro_nb.security.policy import Operation
from tauro_nb.security.principal import Principal
from tauro_nb.security.relations import Relation
from tauro_nb.security.sandbox import Sandbox

__all__ = ["CompiledPolicy", "Relations"]

Relations = Mapping[str, Relation]
"""Name as a policy writes it, in lower case -> the table."""
_MOST_DECISIONS = 4096
_MOST_SHAPES = 256


class CompiledPolicy:
    """A policy and the tags of its table as they were at one moment, and what was worked out for them."""

    def __init__(self, parsed: ParsedPolicy, signature: tuple[Any, ...], sandbox: Sandbox) -> None:
        self.signature = signature
        self.parsed = parsed
        self.policy = parsed.policy
        self.policy_hash = parsed.policy_hash
        self._sandbox = sandbox
        self._shapes: dict[tuple[Any, ...], BoundPolicy] = {}
        self._decisions: dict[tuple[Any, ...], TableDecision] = {}

    def bind(self, columns: Mapping[str, str], relations: Relations | None = None, *, strict: bool) -> BoundPolicy:
        """Meet a table with these columns, and what the policy reads besides; not remembered."""
        return BoundPolicy(self.parsed, columns, self._sandbox, strict=strict, relations=relations or {})

    def decide(
        self,
        table: str,
        columns: Mapping[str, str],
        principal: Principal,
        operation: Operation,
        relations: Relations,
    ) -> TableDecision:
        """Decide for a principal; equal questions get the same answer.

        Raises
        ------
        PolicyError
            The policy does not fit the columns.
        """
        shape = (tuple(columns.items()), frozenset(relations.items()))
        key = (table, shape, principal.key, operation)
        decision = self._decisions.get(key)
        if decision is None:
            bound = self._shapes.get(shape)
            if bound is None:
                if len(self._shapes) >= _MOST_SHAPES:
                    self._shapes.clear()
                bound = self._shapes[shape] = self.bind(columns, relations, strict=True)
            decision = bound.decide(table, principal, operation)
            if len(self._decisions) >= _MOST_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = decision
        return decision
