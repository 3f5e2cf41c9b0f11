"""What policies read besides their own tables: looked up for a decision, and never in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tauro_nb.errors import PolicyError, nearest
from tauro_nb.security.relations import INVOKER, OWNER, Catalog, Relation

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from tauro_nb.security.policy import TableSecurityPolicy
    from tauro_nb.security.principal import Principal

__all__ = ["ColumnsOf", "Reader", "relations_of", "require_no_circle", "require_reader"]

ColumnsOf = Callable[[str], Mapping[str, str]]
"""Virtual table -> its columns, as whoever it is read as has them."""


class Reader(Protocol):
    """Reads tables for policies over row lists."""

    def columns_for(self, table: str, principal: Principal, run_as: str) -> ColumnsOf:
        """How to look up columns of tables that the policy of `table` reads for a principal."""
        ...

    def run(self, table: str, select: exp.Select, rows: pa.Table, principal: Principal) -> list[tuple[Any, ...]]:
        """The answer of a SELECT over `raw`, which are the rows, and over tables that the policy of `table` reads."""
        ...


def require_reader(policy: TableSecurityPolicy, principals: Iterable[str]) -> None:
    """Refuse a policy that is run as somebody whom nobody declared.

    Raises
    ------
    PolicyError
        `run_as` is none of the two words, and no declared principal.
    """
    known = (OWNER, INVOKER, *principals)
    if policy.run_as not in known:
        near = nearest(policy.run_as, known)
        raise PolicyError(f"policy of `{policy.table_name}`: `run_as` is nobody who is declared.{near}")


def relations_of(
    names: Iterable[str], catalog: Catalog, columns_of: ColumnsOf, *, required_by: str = ""
) -> dict[str, Relation]:
    """Look up the tables that a policy names; one that is not there is left out, or refused.

    Parameters
    ----------
    names
        As the policy writes them.
    catalog, columns_of
        Where they are found, and their columns.
    required_by
        The policy's table, to have a name that is not found refused.

    Raises
    ------
    PolicyError
        There is no such table.

    Examples
    --------
    >>> from tauro_nb.security.relations import NoCatalog
    >>> catalog = NoCatalog({"Ent": {"who": "VARCHAR"}})
    >>> relations_of(["ent"], catalog, catalog.columns)
    {'ent': Relation(name='Ent', columns=(('who', 'VARCHAR'),))}
    """
    found = {written: catalog.find(written) for written in sorted(names)}
    missing = next((written for written, name in found.items() if name is None), None)
    if required_by and missing is not None:
        raise PolicyError(f"policy of `{required_by}`: there is no table `{missing}`")
    return {
        written.casefold(): Relation(name, tuple(columns_of(name).items()))
        for written, name in found.items()
        if name is not None
    }


def require_no_circle(
    table: str, names: Iterable[str], catalog: Catalog, policy_reads: Callable[[str], Iterable[str]]
) -> None:
    """Refuse a policy that reads its own table, by whatever way round.

    Parameters
    ----------
    table
        The policy's table.
    names
        What its policy reads.
    policy_reads
        Table -> what its policy reads.

    Raises
    ------
    PolicyError
        Views and policies lead back to the table; the message names them.

    Examples
    --------
    >>> from tauro_nb.security.relations import NoCatalog
    >>> require_no_circle("a", ["b"], NoCatalog(), {"b": ["c"], "c": ["A"]}.__getitem__)
    Traceback (most recent call last):
    ...
    tauro_nb.errors.PolicyError: policy of `a`: it reads its own table: a -> b -> c -> A
    ...
    """
    seen: set[str] = set()
    ways: list[tuple[str, tuple[str, ...]]] = [(name, (table,)) for name in names]
    while ways:
        written, way = ways.pop()
        name = catalog.find(written) or written
        if name.casefold() == table.casefold():
            raise PolicyError(
                f"policy of `{table}`: it reads its own table: {' -> '.join((*way, name))}",
                hint="Let the subquery read a table that neither this policy nor a view of it leads back from.",
            )
        if name.casefold() not in seen:
            seen.add(name.casefold())
            ways += [(below, (*way, name)) for below in (*catalog.reads(name), *policy_reads(name))]
