"""Virtual tables as a plan meets them, and what all plans of a context share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.cache import PlanCache
from tauro_nb.query.placement.actuals import Actuals
from tauro_nb.query.placement.knowledge import LIFETIME, Knowledge
from tauro_nb.query.trees import copied, quoted_column, type_node
from tauro_nb.security.encryption import stored_types

if TYPE_CHECKING:
    from tauro_nb.catalog.registry import SchemaRegistry
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.query import Query
    from tauro_nb.security.decision import TableDecision
    from tauro_nb.security.enforcer import SecurityEnforcer
    from tauro_nb.sources.base import ColumnFacts, Source
    from tauro_nb.sources.pool import SourcePool

__all__ = ["Physical", "Services", "TableEntry", "cast_relation"]


@dataclass(frozen=True, slots=True)
class Physical:
    """A table's columns as its source has them at a revision, seen through the relation that scans it."""

    revision: str
    relation: str
    facts: Mapping[str, ColumnFacts]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A virtual table as one principal's query meets it.

    `columns` are those a policy speaks of, `held` the same with the types the source has them in: text where it holds
    ciphertext. `relation` scans it in the engine, with the declared types; `view` is its body when it is a view. `keys`
    are those whose tokens a plan may look for.
    """

    table: VirtualTable
    source: Source | None
    view: Query | None
    columns: Mapping[str, str]
    facts: Mapping[str, ColumnFacts]
    relation: exp.Expr
    decision: TableDecision
    stored: frozenset[str] = frozenset()
    keys: frozenset[int] = frozenset()

    @property
    def held(self) -> dict[str, str]:
        """Columns with the types their source has them in."""
        return stored_types(self.columns, self.stored)

    def exact_types(self) -> dict[str, str]:
        """Types a capability table may rely on; the others are unknown to it."""
        known = {name.lower(): fact for name, fact in self.facts.items()}
        return {
            name: kind if known[name.lower()].exact and known[name.lower()].type == kind else "UNKNOWN"
            for name, kind in self.held.items()
            if name.lower() in known
        }


@dataclass(slots=True)
class Services:
    """What all principals of a context share.

    `describe` runs DESCRIBE in the engine for a source's relation; `physical` remembers the answers, `described` which
    sources were ever asked. `plans` were made before, for whoever asked; `actuals` are what their fragments had.
    """

    registry: SchemaRegistry
    pool: SourcePool
    security: SecurityEnforcer
    describe: Callable[[Source, exp.Expr], dict[str, str]]
    refresh: Callable[[Source], None]
    physical: dict[str, Physical] = field(default_factory=dict)
    described: set[int] = field(default_factory=set)
    plans: PlanCache = field(default_factory=PlanCache)
    actuals: Actuals = field(default_factory=lambda: Actuals(LIFETIME))
    knowledge: Knowledge = field(init=False)

    def __post_init__(self) -> None:
        self.knowledge = Knowledge(self.registry)

    def forget(self, tables: tuple[str, ...]) -> None:
        """Drop what is remembered of some tables, after one of them failed."""
        self.plans.forget(tables)
        self.actuals.forget(tables)
        for name in tables:
            self.physical.pop(name, None)
            self.knowledge.forget(name)


def cast_relation(relation: exp.Expr, columns: Mapping[str, str], facts: Mapping[str, ColumnFacts]) -> exp.Expr:
    """The relation with exactly the declared columns and types."""
    actual = {name.lower(): (name, fact.type) for name, fact in facts.items()}
    if list(columns.items()) == [(name, fact.type) for name, fact in facts.items()]:
        return relation
    selects = []
    for name, kind in columns.items():
        physical, given = actual[name.lower()]
        node: exp.Expr = quoted_column(physical)
        if given != kind:
            node = exp.Cast(this=node, to=type_node(kind))
        selects.append(exp.alias_(node, name, quoted=True, copy=False))
    return exp.Subquery(this=exp.Select(expressions=selects).from_(copied(relation)))
