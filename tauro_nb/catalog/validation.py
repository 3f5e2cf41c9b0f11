"""Check what a catalog declares against what a source has, and two columns against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tauro_nb.catalog.compatibility import comparable, compatible
from tauro_nb.errors import nearest

__all__ = ["JoinCheck", "check_join", "check_schema"]


def check_schema(
    table_name: str, declared: Mapping[str, str], actual: Mapping[str, str], *, untyped_source: bool = False
) -> list[str]:
    """Say what is wrong with a declared schema, one sentence a mistake; an empty list when nothing is.

    Columns that the source has and the declaration does not are fine: they are not part of the virtual table.

    Parameters
    ----------
    table_name
        The virtual table.
    declared, actual
        Column to type: what the catalog says, what the source has.
    untyped_source
        Whether the source has no types of its own (CSV, JSON, SQLite).

    Examples
    --------
    >>> check_schema("customers", {"id": "DATE", "emial": "VARCHAR"}, {"id": "INTEGER", "email": "VARCHAR"})
    ['customers.id is declared as DATE, the source has INTEGER', \
'customers.emial is declared, the source has no such column. Did you mean `email`?']
    """
    has = {name.casefold(): type_ for name, type_ in actual.items()}
    mistakes: list[str] = []
    for column, wanted in declared.items():
        found = has.get(column.casefold())
        if found is None:
            hint = nearest(column, actual)
            missing = f"{table_name}.{column} is declared, the source has no such column"
            mistakes.append(f"{missing}.{hint}" if hint else missing)
        elif not compatible(wanted, found, untyped_source=untyped_source):
            mistakes.append(f"{table_name}.{column} is declared as {wanted}, the source has {found}")
    return mistakes


@dataclass(frozen=True, slots=True)
class JoinCheck:
    """Whether two columns can be joined; `compatible` is None where a schema is not declared.

    True in a condition unless the columns are known not to fit.
    """

    compatible: bool | None
    reason: str
    left_type: str | None = None
    right_type: str | None = None

    def __bool__(self) -> bool:
        return self.compatible is not False


def check_join(left: str, left_type: str | None, right: str, right_type: str | None) -> JoinCheck:
    """Compare two columns by their types.

    >>> check_join("customers.id", "INTEGER", "orders.customer", "VARCHAR").reason
    'customers.id is INTEGER, orders.customer is VARCHAR: cast one of them'
    """
    if left_type is None or right_type is None:
        unknown = " and ".join(name for name, type_ in ((left, left_type), (right, right_type)) if type_ is None)
        reason = f"no schema is declared for {unknown}: the source tells when a query is bound"
        return JoinCheck(None, reason, left_type, right_type)
    fits = comparable(left_type, right_type)
    advice = "" if fits else ": cast one of them"
    return JoinCheck(fits, f"{left} is {left_type}, {right} is {right_type}{advice}", left_type, right_type)
