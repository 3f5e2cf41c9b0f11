"""What will run where: the immutable values that `place` returns and that plans show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from sqlglot import exp

__all__ = ["ExecutionStrategy", "Fragment", "QueryPlan", "RuleFired"]


class ExecutionStrategy(Enum):
    """How a plan gets its rows."""

    DIRECT = "direct"
    CACHE = "cache"
    MATERIALIZED = "materialized"
    STREAM = "stream"
    DISTRIBUTED = "distributed"


@dataclass(frozen=True, slots=True)
class RuleFired:
    """One rewrite that changed the query, with the SQL (virtual names) before and after."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """The part of a query that one source answers.

    Parameters
    ----------
    id
        Name under which the residual reads it (`f0`, `f1`, ...).
    source
        Connection id.
    kind
        `relation`: scanned by the engine through an attached relation; `query`: SQL sent to the source.
    tables
        Virtual tables it reads.
    tree
        DuckDB-dialect tree over raw virtual tables.
    schema
        Output columns and their DuckDB types.
    sql
        What the source is asked, for display.
    predicates
        Conditions the source (or its scan) evaluates, for display.
    estimated_rows, estimated_bytes
        None when nothing is known.
    reason
        Why this much was given to the source, and not more.
    scan
        How the engine reads it (`sources.base.Scan`); None when the engine scans by itself.
    """

    id: str
    source: str
    kind: Literal["relation", "query"]
    tables: tuple[str, ...]
    tree: exp.Query
    schema: Mapping[str, str]
    sql: str = ""
    predicates: tuple[str, ...] = ()
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    reason: str = ""
    scan: Any = field(default=None, repr=False, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the output columns."""
        return tuple(self.schema)


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """A secured, placed query, ready to run.

    `tree` is the statement as typed; `residual` is what the engine runs, over relations and `streams`; `residual_sql` shows it in virtual names.
    """

    sql: str
    tree: exp.Expression = field(repr=False)
    principal: str
    tables: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    fragments: tuple[Fragment, ...]
    residual: exp.Expression
    residual_sql: str
    schema: Mapping[str, str]
    rules: tuple[RuleFired, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict, repr=False)
    streams: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fenced: bool = False
    execution_strategy: ExecutionStrategy = ExecutionStrategy.DIRECT
    estimated_rows: int = 0
    estimated_bytes: int = 0
    estimated_cost: float = 0.0
    plan_ms: float = 0.0
    pushdown_predicates: tuple[Any, ...] = ()

    @property
    def strategy(self) -> ExecutionStrategy:
        """Short for `execution_strategy`."""
        return self.execution_strategy
