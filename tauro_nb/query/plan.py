"""What will run where: the immutable values that `place` returns and that plans show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlglot import exp

from tauro_nb.errors import UsageError
from tauro_nb.query.measured import Measured
from tauro_nb.query.names import FRAGMENT, display_sql, leaf_kind
from tauro_nb.query.plain import plain_frames
from tauro_nb.query.trees import BARRIER, conjuncts, cuts_below_join, scanning_twice
from tauro_nb.query.uses import Roles

if TYPE_CHECKING:
    from tauro_nb.query.query import Query

__all__ = [
    "ASKED",
    "SEEN",
    "ExecutionStrategy",
    "Fragment",
    "KeyFilter",
    "QueryPlan",
    "RuleFired",
    "Sealed",
    "Step",
    "Walk",
    "made_by",
    "own",
    "sealed",
    "whole",
    "whole_fragment",
]


_STATISTICS: Final = frozenset({"statistics_propagation"})
# Both send what they found among visible rows to the scan, through any LIMIT.
_DYNAMIC_FILTERS: Final = frozenset({"join_filter_pushdown", "top_n"})


SEEN: Final = "an earlier run"
ASKED: Final = "the source's planner"
"""What an estimate rests on, where that is not the statistics of a source."""


class ExecutionStrategy(Enum):
    """How a plan gets its rows."""

    DIRECT = "direct"
    CACHE = "cache"
    MATERIALIZED = "materialized"
    STREAM = "stream"
    DISTRIBUTED = "distributed"


@dataclass(frozen=True)
class RuleFired:
    """One step of the road over the tree before and after; SQL is written only when somebody looks."""

    name: str
    before_tree: exp.Expr = field(repr=False)
    after_tree: exp.Expr = field(repr=False)

    @cached_property
    def before(self) -> str:
        """SQL (virtual names) the step was given."""
        return display_sql(self.before_tree)

    @cached_property
    def after(self) -> str:
        """SQL (virtual names) it made of it."""
        return display_sql(self.after_tree)


@dataclass(frozen=True, slots=True)
class Walk:
    """Both ends of the road that a query took, so that the steps between need not be kept.

    Parameters
    ----------
    asked
        The query as it was parsed, without the values of its parameters.
    secured
        The tree that was placed: whoever walks again must arrive at the same.
    """

    asked: Query
    secured: exp.Expr


class Sealed:
    """A box around a plan that runs: nothing of it shows, whatever looks at the box.

    It keeps a shown plan free of policy text wherever people and libraries look (attributes, repr, copies, pickles),
    and says in which catalog the plan took the road. It is no lock: Python code in the same process can open it.
    """

    __slots__ = ("_maker", "_plan")

    def __init__(self, plan: QueryPlan, maker: object) -> None:
        self._plan = plan
        self._maker = maker

    def open(self) -> QueryPlan:
        """What is inside."""
        return self._plan

    def is_of(self, maker: object) -> bool:
        """Whether the plan was made there."""
        return self._maker is maker

    def __repr__(self) -> str:
        return "<sealed>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Sealed:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a plan cannot be pickled")


@dataclass(frozen=True)
class KeyFilter:
    """Keys of a relation that runs first, which the source of a fragment is asked to answer for alone.

    The join itself stays in the engine: these keys only leave out what would find no partner.

    Parameters
    ----------
    step, column
        The step whose rows the keys are taken from, and their column there.
    target, family
        The fragment's column, and the family of its type (`sources.capability.family`); keys of another are not sent.
    mark
        What stands for the keys until they are known.
    tables
        Virtual tables whose data leaves with the keys.
    most
        With more different keys all rows are asked for.
    estimated_keys
        How many are expected.
    """

    step: str
    column: str
    target: str
    family: str
    mark: str
    tables: tuple[str, ...]
    most: int
    estimated_keys: int | None = None


@dataclass(frozen=True)
class Step:
    """A part of a query that runs before the rest, into a table of the engine's, and is not run again.

    Parameters
    ----------
    id
        Name of that table (`r0`, `r1`, ...).
    tree
        What fills it, over real relations and fragments.
    shown
        The same in virtual names.
    tables
        Virtual tables it reads.
    estimated_rows
        None when nothing is known.
    """

    id: str
    tree: exp.Expr = field(repr=False)
    shown: exp.Expr = field(repr=False)
    tables: tuple[str, ...]
    estimated_rows: int | None = None

    @cached_property
    def sql(self) -> str:
        """What runs, in virtual names."""
        return display_sql(self.shown)


def _never(sql: str) -> None:
    del sql


@dataclass(frozen=True)
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
        Output columns and their DuckDB types; the types are not worked out for what the engine scans.
    estimated_rows, estimated_bytes
        Of its answer, before keys are sent; None when nothing is known, or a row filter hides some of it.
    estimated_by
        What says so: statistics of a source, or `ASKED`, or `SEEN`; empty where nothing is estimated.
    expected_rows
        What was planned with, whatever hides rows; it is not shown.
    stored_rows
        All rows of the tables that it reads; not shown either.
    reason
        Why this much was given to the source, and not more.
    sealed
        The engine's optimizer must not push conditions of its own into the answer.
    policy
        Read for a policy's sake only, such as the table of a subquery in a row filter.
    scan
        How the engine reads it (`sources.base.Scan`); None when the engine scans by itself.
    keys
        Filters whose values come from steps.
    keyed
        How the engine reads it once their keys are known (`sources.base.Keyed`).
    unkeyed
        The relation to read when they cannot be sent.
    inexact
        Columns of its tables, in lower case, that the source compares unlike the engine.
    seen
        While it is placed: how many rows the source's own SQL had when it ran before, for the same principal.
    """

    id: str
    source: str
    kind: Literal["relation", "query"]
    tables: tuple[str, ...]
    tree: exp.Query = field(repr=False)
    schema: Mapping[str, str]
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    estimated_by: str = ""
    expected_rows: float | None = field(default=None, repr=False, compare=False)
    stored_rows: float = field(default=0.0, repr=False, compare=False)
    reason: str = ""
    sealed: bool = False
    policy: bool = False
    scan: Any = field(default=None, repr=False, compare=False)
    keys: tuple[KeyFilter, ...] = ()
    keyed: Any = field(default=None, repr=False, compare=False)
    unkeyed: exp.Expr | None = field(default=None, repr=False, compare=False)
    inexact: frozenset[str] = field(default=frozenset(), repr=False)
    seen: Callable[[str], int | None] = field(default=_never, repr=False, compare=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the output columns."""
        return tuple(self.schema)

    @cached_property
    def sql(self) -> str:
        """What the source is asked: its own SQL, or the scan in DuckDB's with virtual names."""
        return str(self.scan.sql) if self.scan is not None else display_sql(self.tree)

    @cached_property
    def predicates(self) -> tuple[str, ...]:
        """Conditions the source, or the scan, evaluates."""
        where = self.tree.args.get("where")
        return tuple(display_sql(part) for part in conjuncts(where.this)) if where is not None else ()


@dataclass(frozen=True)
class QueryPlan:
    """A secured, placed query, ready to run.

    `tree` is the statement as typed, `shown` what the engine does with the fragments in virtual names,
    `residual` the same over real relations and `streams`; `steps` run before it, in order. `sources` are read by it;
    `entries` are all tables as they were found and decided: it runs only while that holds, and while the `checks` of
    what policies read pass. `policy_columns` are tables and columns that policies read. Behind a barrier (`fenced`)
    DuckDB must not reason from the minimum and maximum of hidden rows; behind a `strict` one it must not filter by what
    a join or a sort found either.

    `estimated_rows` are those of the answer, `estimated_bytes` what sources send before keys leave any of it out,
    `estimated_cost` the seconds that takes at the usual rates.

    The steps in its `journal` are not kept with a plan, but walked again once it is handed out (`walk`, until then).
    `roles` is what the query does with the columns of the tables that it names.

    `policy_version` is the content hash of all policies it was made under; `cached` says that it was made before, and
    found to hold still; `measured` are the figures of a run, if it was measured.

    A query that was asked for with `Predicate`s says which of them the sources apply (`pushdown_predicates`) and
    which are left to the engine (`residual_predicates`), and its `limit`.

    Whoever may not read policies is handed a plan without their text (`query/secrecy.py`): its trees say what the
    principal asked, and what runs is sealed inside. Where a policy stands on a table, `outline` places the query for
    display as if nothing were known of what such tables hold.
    """

    sql: str
    tree: exp.Expr = field(repr=False)
    principal: str
    tables: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    fragments: tuple[Fragment, ...]
    residual: exp.Expr = field(repr=False)
    shown: exp.Expr = field(repr=False)
    schema: Mapping[str, str]
    steps: tuple[Step, ...] = ()
    roles: Roles = field(default_factory=dict, repr=False)
    walk: Walk | None = field(default=None, repr=False, compare=False)
    journal: tuple[RuleFired, ...] = field(default=(), repr=False)
    params: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict, repr=False)
    streams: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sources: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fenced: bool = False
    strict: bool = False
    execution_strategy: ExecutionStrategy = ExecutionStrategy.DIRECT
    estimated_rows: int = 0
    estimated_bytes: int = 0
    estimated_cost: float = 0.0
    plan_ms: float = field(default=0.0, repr=False)
    cached: bool = field(default=False, repr=False, compare=False)
    measured: Measured | None = field(default=None, repr=False, compare=False)
    pushdown_predicates: tuple[Any, ...] = ()
    residual_predicates: tuple[Any, ...] = ()
    limit: int | None = None
    policy_version: str = field(default="", repr=False)
    entries: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    policy_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    checks: tuple[Callable[[], None], ...] = field(default=(), repr=False, compare=False)
    outline: Callable[[QueryPlan], QueryPlan] | None = field(default=None, repr=False, compare=False)
    _whole: Sealed | None = field(default=None, repr=False, compare=False)
    _notes: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, work: Callable[[], Any]) -> Any:
        """What `work` gives, worked out once for this plan, and for the same plan with other parameters."""
        if name not in self._notes:
            self._notes[name] = work()
        return self._notes[name]

    @cached_property
    def switched_off(self) -> frozenset[str]:
        """DuckDB's optimizers without which the engine must run this plan."""
        off = set(_STATISTICS) if self.fenced else set()
        off |= _DYNAMIC_FILTERS if self.strict else set()
        trees = (self.residual, *(step.tree for step in self.steps))
        off |= {"join_filter_pushdown"} if any(map(cuts_below_join, trees)) else set()
        scans = [part.scan for part in self.fragments if part.scan is not None]
        once = any(scan.stream is not None or not scan.copyable for scan in scans)
        return frozenset(off.union(*map(scanning_twice, trees)) if once else off)

    @property
    def policed(self) -> bool:
        """Whether a row filter or mask of any table decided what is read, so that its figures tell of hidden rows."""
        found: bool = self.once("policed", lambda: any(found.needs_barrier for found in self.decisions.values()))
        return found

    @property
    def decisions(self) -> dict[str, Any]:
        """What was decided for each table, those below views included."""
        return {name: entry.decision for name, entry in self.entries.items()}

    @property
    def strategy(self) -> ExecutionStrategy:
        """Short for `execution_strategy`."""
        return self.execution_strategy

    def __str__(self) -> str:
        from tauro_nb.query.explain import plan_text

        return plan_text(self)

    @cached_property
    def residual_sql(self) -> str:
        """What the engine does, in virtual names."""
        return display_sql(self.shown, pretty=True)

    @cached_property
    def rules(self) -> tuple[RuleFired, ...]:
        """The steps that changed the query."""
        return tuple(rule for rule in self.journal if rule.before != rule.after)


def own(plan: QueryPlan) -> QueryPlan:
    """The plan over trees of its own, to hand out: a plan may be kept, and whoever has a tree can change it."""
    fragments = tuple(
        replace(part, tree=part.tree.copy(), unkeyed=part.unkeyed and part.unkeyed.copy()) for part in plan.fragments
    )
    steps = tuple(replace(step, tree=step.tree.copy(), shown=step.shown.copy()) for step in plan.steps)
    tree, residual, shown = plan.tree.copy(), plan.residual.copy(), plan.shown.copy()
    return replace(plan, tree=tree, residual=residual, shown=shown, fragments=fragments, steps=steps)


def whole(plan: QueryPlan) -> QueryPlan:
    """The plan that runs, given that or the one that is shown of it."""
    box = plan._whole  # noqa: SLF001 - here and in `made_by` it is opened, nowhere else
    return plan if box is None else box.open()


def sealed(shown: QueryPlan, plan: QueryPlan, maker: object) -> QueryPlan:
    """A plan to hand out, with the one that runs sealed inside; `maker` is the catalog that made it."""
    return replace(shown, _whole=Sealed(plan, maker))


def made_by(maker: object, plan: object, frames: Mapping[str, Any] | None = None) -> QueryPlan:
    """The plan that runs of one that was handed out, whatever became of that since.

    A plan is an object that anybody can make, or change: what did not take the road of this catalog does not run.

    Raises
    ------
    UsageError
        It was not made by this catalog, or for frames with other columns than those given.
    """
    # Of a plan of one's own class, and of a seal of one's own, nothing is believed.
    box = plan._whole if isinstance(plan, QueryPlan) else None  # noqa: SLF001 - see `whole`
    if type(box) is not Sealed or not box.is_of(maker):
        raise UsageError("this plan was not made by this catalog.", hint="Plan again, with `ctx.plan`.")
    made = box.open()
    if frames is None:
        return made
    frames = plain_frames(frames)
    if {name: frame.schema for name, frame in frames.items()} != {name: f.schema for name, f in made.frames.items()}:
        raise UsageError("this plan was made for frames with other columns.", hint="Plan again.")
    return replace(made, frames=frames)


def whole_fragment(tree: exp.Expr) -> str | None:
    """The fragment whose rows a tree has, no more and no fewer; None when it has others.

    >>> import sqlglot
    >>> sql = 'SELECT {} FROM (SELECT a FROM "~fragment"."f0") AS t'
    >>> [whole_fragment(sqlglot.parse_one(sql.format(what))) for what in ("t.a", "t.a * 2 AS b", "max(t.a)")]
    ['f0', None, None]
    """
    while True:
        if isinstance(tree, exp.Subquery) and not any(tree.args.get(name) for name in _CHANGING):
            tree = tree.this
        elif isinstance(tree, exp.Select) and _passes_on(tree):
            tree = tree.args["from_"].this
        else:
            return tree.name if leaf_kind(tree) == FRAGMENT else None


_CHANGING: Final = (
    "joins", "laterals", "where", "group", "having", "distinct", "qualify", "limit", "offset", "with_", "pivots",
    "sample",
)  # fmt: skip


def _passes_on(select: exp.Select) -> bool:
    """Whether a SELECT has the rows of what it reads: of expressions some, as `unnest`, make other rows."""
    limit = select.args.get("limit")
    endless = limit is not None and isinstance(limit.expression, exp.Literal) and limit.expression.name == BARRIER
    changing = (name for name in _CHANGING if not (endless and name == "limit"))
    if select.args.get("from_") is None or any(select.args.get(name) for name in changing):
        return False
    return all(_is_plain(item.unalias()) for item in select.expressions)


def _is_plain(item: exp.Expr) -> bool:
    return isinstance(item.this if isinstance(item, exp.Cast) else item, (exp.Column, exp.Star))
