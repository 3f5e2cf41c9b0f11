"""A policy compiled as it was at one moment, and what row lists need besides."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from tauro_nb.errors import AccessDenied, CipherError, KeysetError, PolicyError, TauroError
from tauro_nb.security.audit import AuditTrail
from tauro_nb.security.audited import asker_of
from tauro_nb.security.compiled import BoundPolicy, ParsedPolicy
from tauro_nb.security.decision import TableDecision
from tauro_nb.security.policy import Operation, TableSecurityPolicy, TagPolicy
from tauro_nb.security.principal import Principal
from tauro_nb.security.relations import Relation
from tauro_nb.security.sandbox import Sandbox

__all__ = ["Compiled", "Refusals", "Relations", "denial_of", "own_copy"]

Relations = Mapping[str, Relation]
"""Name as a policy writes it, in lower case -> the table."""
_MOST_DECISIONS: Final = 4096
_MOST_SHAPES: Final = 256


class Compiled:
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
        """The policy for one set of columns, and what it reads besides."""
        return BoundPolicy(self.parsed, columns, self._sandbox, strict=strict, relations=relations or {})

    def decide(
        self,
        table: str,
        columns: Mapping[str, str],
        principal: Principal,
        operation: Operation,
        relations: Relations,
    ) -> TableDecision:
        """Decide for one principal; what was decided for the same shape and person is remembered."""
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


Policy = TypeVar("Policy", TableSecurityPolicy, TagPolicy)


def own_copy(policy: Policy | None, *, stored: bool) -> Policy | None:
    """A policy of the program is its own object; one from the store changes in the store only."""
    return copy.deepcopy(policy) if stored else policy


def denial_of(error: TauroError) -> str:
    """What a record of a refusal says of its reason: words that are about whoever asked, of any other error the class.

    >>> denial_of(AccessDenied("no role of `ana` may read `t`")), denial_of(PolicyError("a rule names `secret`"))
    ('no role of `ana` may read `t`', 'PolicyError')
    """
    return str(error) if isinstance(error, AccessDenied) else type(error).__name__


class Refusals:
    """Records a refusal that happens in its body, and lets it pass."""

    def __init__(self, trail: AuditTrail, table: str, who: Principal, policy_hash: str) -> None:
        self._trail, self._table, self._who, self._policy_hash = trail, table, who, policy_hash

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (AccessDenied, CipherError, KeysetError, PolicyError)):
            self._trail.denied(
                self._who.name,
                self._table,
                denial_of(error),
                policy_hash=self._policy_hash,
                **asker_of(self._who).claims(),
            )
