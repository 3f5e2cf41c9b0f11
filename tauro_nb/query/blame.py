"""Which table an error is about, and what it may say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tauro_nb.errors import (
    AccessDenied,
    CatalogError,
    PolicyError,
    QueryCancelled,
    SourceError,
    SourceUnavailable,
    TauroError,
)

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable

__all__ = ["about", "reading_for"]


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
