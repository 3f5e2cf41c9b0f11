"""What a plan was made from, and whether that is the same now.

A plan from the cache is used only while all of it is: the catalog, the policies and what they decide, the columns at
the sources, the statistics. A source is asked as often as for a new plan, once for all its tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.errors import SourceUnavailable, TauroError
from tauro_nb.query.trees import every
from tauro_nb.security.encryption import searched_keys
from tauro_nb.sources.base import revisions

if TYPE_CHECKING:
    from tauro_nb.catalog.statistics import TableStatistics
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.query.query import Query
    from tauro_nb.query.tables import Physical, Services, TableEntry
    from tauro_nb.security.principal import Principal
    from tauro_nb.sources.base import Source

__all__ = ["KeptPlan", "KeptTable", "holds", "keep"]


@dataclass(frozen=True, slots=True)
class KeptTable:
    """What a plan was made from, of one table; `definition` is a copy: the catalog's own may be changed in place."""

    entry: TableEntry
    definition: VirtualTable
    physical: Physical | None
    statistics: TableStatistics | None


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan without the values it was asked with.

    Parameters
    ----------
    plan
        Its `params` are empty.
    query
        The query as it was before it was placed: with other values of `sent` parameters it is placed anew.
    names
        Parameters that the query uses.
    sent
        Values of parameters that stand in what a source is asked.
    decided
        Values of parameters that decided what the query became on the road: with others it is made anew.
    tables
        All tables, those below views included.
    version
        Of the catalog.
    """

    plan: QueryPlan
    query: Query
    names: tuple[str, ...]
    sent: Mapping[str, Any]
    decided: Mapping[str, Any]
    tables: tuple[KeptTable, ...]
    version: int

    def placed_anew(self, plan: QueryPlan) -> KeptPlan:
        """The same with another plan of the same query."""
        return replace(self, plan=replace(plan, params={}), sent=_sent(plan))


def keep(services: Services, plan: QueryPlan, query: Query, version: int, deciding: Iterable[str]) -> KeptPlan | None:
    """A plan with what it was made from; None when a table was seen to change meanwhile.

    Parameters
    ----------
    query
        The query that was placed.
    version
        Of the catalog, before the plan was begun.
    deciding
        Parameters whose values decided what the query became.
    """
    tables = []
    for name, entry in plan.entries.items():
        physical = None if entry.source is None else services.physical.get(name)
        if entry.source is not None and (physical is None or physical.facts is not entry.facts):
            return None
        definition = services.registry.resolve(name).copy()
        tables.append(KeptTable(entry, definition, physical, services.registry.get_table_statistics(name)))
    bare, walked = replace(plan, params={}), replace(query, params={})
    decided = {name: plan.params[name] for name in deciding}
    return KeptPlan(bare, walked, tuple(plan.params), _sent(plan), decided, tuple(tables), version)


def _sent(plan: QueryPlan) -> dict[str, Any]:
    """Parameters whose values stand in what a source is asked."""
    names = {node.name for part in plan.fragments for node in every(part.tree, exp.Placeholder)}
    return {name: value for name, value in plan.params.items() if name in names}


def holds(kept: KeptPlan, services: Services, principal: Principal) -> bool:
    """Whether everything a plan was made from is the same now.

    Raises
    ------
    SourceUnavailable
        A source does not answer.
    """
    if kept.version != services.registry.version or kept.plan.policy_version != services.security.version():
        return False
    try:
        decided = all(_decided_alike(table, services, principal) for table in kept.tables)
        return decided and _columns_alike(kept, services)
    except SourceUnavailable:
        raise
    except TauroError:
        # Planned anew, the road says what is wrong, and where in the text.
        return False


def _decided_alike(kept: KeptTable, services: Services, principal: Principal) -> bool:
    name, entry, security = kept.entry.table.name, kept.entry, services.security
    return (
        services.registry.resolve(name) == kept.definition
        and services.registry.get_table_statistics(name) == kept.statistics
        and not services.knowledge.is_old(name)
        and security.decide(name, entry.columns, principal).require() == entry.decision
        and security.stored_columns(name) == entry.stored
        # Ciphertext is looked for under every live key.
        and (not entry.stored or searched_keys(entry.decision, security.keys) == entry.keys)
    )


def _columns_alike(kept: KeptPlan, services: Services) -> bool:
    groups: dict[int, tuple[Source, dict[str, Physical], list[VirtualTable]]] = {}
    for part in kept.tables:
        table, source = part.entry.table, part.entry.source
        if source is None or part.physical is None:
            continue
        # Seen to be different in between, and so refreshed: what the engine remembers is no longer this.
        if services.pool.source(table) is not source or services.physical.get(table.name) is not part.physical:
            return False
        _, known, tables = groups.setdefault(id(source), (source, {}, []))
        known[table.name] = part.physical
        tables.append(table)
    return all(_as_known(*group) for group in groups.values())


def _as_known(source: Source, known: Mapping[str, Physical], tables: list[VirtualTable]) -> bool:
    try:
        now = revisions(source, tables)
    except TauroError as error:
        error.table = error.table or tables[0].name
        raise
    return all(physical.revision == now.get(name) for name, physical in known.items())
