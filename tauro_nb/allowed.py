"""A plan runs only as long as the policies allow what it was made for: checked before it starts and between batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tauro_nb.query.blame import running

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.engine.duckdb import Execution
    from tauro_nb.query.plan import QueryPlan

__all__ = ["WhileAllowed"]


class WhileAllowed:
    """An execution that stops with an error once its plan does not hold any more.

    Parameters
    ----------
    plan
        The plan; its `policy_version` says when it was made.
    start
        Runs it.
    version
        The version of the policies now, changes in place aside.
    hashes_of
        The hash of all that rules each of some tables now, changes in place and tags included.
    require
        Raises unless the plan still holds; asked only when the version, or the hash of one of its tables, is another.

    Raises
    ------
    TauroError
        The policies changed since the plan was made, and what they say of its tables, too.
    """

    def __init__(
        self,
        plan: QueryPlan,
        start: Callable[[QueryPlan], Execution],
        version: Callable[[], str],
        hashes_of: Callable[[Iterable[str]], dict[str, str]],
        require: Callable[[QueryPlan], None],
    ) -> None:
        self._plan, self._version, self._hashes_of, self._require = plan, version, hashes_of, require
        self._seen = plan.policy_version
        self._hashes = {name: decision.policy_hash for name, decision in plan.decisions.items()}
        self._check()
        with running(plan):
            self._execution = start(plan)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the result."""
        return self._execution.schema

    @property
    def shipped(self) -> Mapping[str, int]:
        """Join keys that were sent to sources, by mark of their filter."""
        return self._execution.shipped

    @property
    def counted(self) -> Mapping[str, int]:
        """Rows of the fragments that were read to their end."""
        return self._execution.counted

    def _check(self) -> None:
        now = self._version()
        hashes = self._hashes_of(self._hashes)
        if now != self._seen or hashes != self._hashes:
            self._require(self._plan)
            self._seen, self._hashes = now, hashes

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            with running(self._plan):
                for batch in self._execution:
                    self._check()
                    yield batch
        finally:
            self._execution.close()

    def close(self) -> None:
        """Stop, and let go of everything; may be called twice."""
        self._execution.close()
