"""Which table an error is about, and what it may say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tauro_nb.errors import (
    AccessDenied,
    CatalogError,
    ExecutionError,
    PolicyError,
    QueryCancelled,
    SourceError,
    SourceUnavailable,
    TauroError,
)

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable
    from tauro_nb.query.plan import QueryPlan

__all__ = ["about", "reading_for", "running"]


@contextmanager
def reading_for(table: str) -> Iterator[None]:
    """Errors from reading for the policy of a table name that table alone: what a policy reads is the policy's."""
    try:
        yield
    except QueryCancelled:
        raise
    except AccessDenied:
        raise AccessDenied(f"the policy of `{table}` reads what it may not read here.", table=table) from None
    except (SourceError, CatalogError):
        raise SourceUnavailable(f"what the policy of `{table}` reads is not available.", table=table) from None
    except TauroError:
        raise PolicyError(f"the policy of `{table}` cannot be applied.", table=table) from None


@contextmanager
def about(table: VirtualTable) -> Iterator[None]:
    """Errors from inside say which table failed: the audit trail files them there."""
    try:
        yield
    except TauroError as error:
        error.table = error.table or table.name
        raise


@contextmanager
def running(plan: QueryPlan) -> Iterator[None]:
    """Errors of a run name no connection that is read for a policy's sake alone."""
    try:
        yield
    except (ExecutionError, SourceError) as error:
        named = {part.source for part in plan.fragments if not part.policy}
        hidden = {part.source for part in plan.fragments if part.policy} - named
        if not any(f"`{name}`" in str(error) for name in hidden):
            raise
        failure = type(error)("what a policy reads is not available; nothing was returned.", sql=error.sql)
    else:
        return
    raise failure
