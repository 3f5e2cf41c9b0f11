"""The same decision over a list of dicts: filters and masks run as SQL over the columns they touch, no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlglot import exp

from tauro_nb.errors import AccessDenied, PolicyError, UsageError
from tauro_nb.security.relations import qualified
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.types import UNTYPED, data_type

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RAW_ROWS", "Row", "RowColumns", "Run", "in_sandbox", "mask_values", "matching_rows"]

Row = Mapping[str, Any]
RAW_ROWS = "raw"
_TYPED = "typed"
_NUMBER = "__row_number__"


class RowColumns:
    """Reads columns out of rows whose keys may differ from row to row.

    Parameters
    ----------
    rows
        The rows.
    types
        Known DuckDB types of the table's columns; others are inferred from the values.
    sandbox
        Tells DuckDB's name of an inferred type.
    """

    def __init__(self, rows: Sequence[Row], types: Mapping[str, str], sandbox: Sandbox) -> None:
        self.rows = rows
        self._types = {name.casefold(): kind for name, kind in types.items()}
        self._sandbox = sandbox
        self.keys = _distinct_keys(rows)

    def only(self, numbers: Iterable[int]) -> RowColumns:
        """The same, of some of the rows."""
        return RowColumns([self.rows[number] for number in numbers], self._types, self._sandbox)

    def select(self, names: Iterable[str]) -> tuple[dict[str, pa.Array], dict[str, str]]:
        """Columns by name in any case, as Arrow and with their DuckDB types; a key that a row lacks is NULL.

        Raises
        ------
        PolicyError
            The values of a column have no common type, or one row holds the column in two spellings.
        """
        wanted = set(names)
        spellings: dict[str, list[str]] = {}
        for key in self.keys:
            if key.casefold() in wanted:
                spellings.setdefault(key.casefold(), []).append(key)
        arrays: dict[str, pa.Array] = {}
        for keys in spellings.values():
            values = self._values(keys)
            array = arrow_array(values)
            if array is None:
                raise PolicyError(f"the values of `{keys[0]}` have no common type, so no row filter can judge them")
            arrays[keys[0]] = array
        return arrays, self.types_of(arrays)

    def types_of(self, arrays: Mapping[str, pa.Array]) -> dict[str, str]:
        """The known DuckDB type of each column, else the one that Arrow's type becomes."""
        import pyarrow as pa

        if not arrays:
            return {}
        with self._sandbox.cursor() as cursor:
            cursor.register("raw", pa.table(dict(arrays)))
            found = {row[0]: row[1] for row in cursor.execute("DESCRIBE raw").fetchall()}
        inferred = {name: UNTYPED if pa.types.is_null(arrays[name].type) else kind for name, kind in found.items()}
        return {name: self._types.get(name.casefold(), kind) for name, kind in inferred.items()}

    def _values(self, keys: Sequence[str]) -> list[Any]:
        if len(keys) == 1:
            (key,) = keys
            return [row.get(key) for row in self.rows]
        values = []
        for row in self.rows:
            present = [key for key in keys if key in row]
            if len(present) > 1:
                raise PolicyError(f"a row has {' and '.join(f'`{key}`' for key in present)}: one column, two values")
            values.append(row[present[0]] if present else None)
        return values


Run = Callable[[exp.Select, "pa.Table"], list[tuple[Any, ...]]]
"""Answers a SELECT over a relation `raw`, which it is given."""


def in_sandbox(sandbox: Sandbox) -> Run:
    """Run over the rows alone, in a private engine that has nothing else."""

    def run(select: exp.Select, rows: pa.Table) -> list[tuple[Any, ...]]:
        import duckdb

        with sandbox.cursor() as cursor:
            cursor.register(RAW_ROWS, rows)
            try:
                return cursor.execute(select.sql("duckdb")).fetchall()
            except duckdb.Error as error:
                refused = AccessDenied("the policy cannot be evaluated on these rows")
                raise sandbox.failure(error) or refused from None

    return run


def matching_rows(
    rows: Sequence[Row], arrays: Mapping[str, pa.Array], types: Mapping[str, str], tree: exp.Expr, run: Run
) -> list[Row]:
    """The rows for which the filter is true, in their order, as the very same objects.

    Raises
    ------
    AccessDenied
        The filter cannot be evaluated on these values.
    """
    query = _over(arrays, types).where(qualified(tree, _TYPED), copy=False)
    # Threads may hand results back in any order.
    return [rows[number] for number in sorted(row[0] for row in run(query, _numbered(arrays, len(rows))))]


def mask_values(
    arrays: Mapping[str, pa.Array], types: Mapping[str, str], tree: exp.Expr, column: str, run: Run
) -> list[Any]:
    """Run the mask of a column, over that column and those that its condition reads.

    Raises
    ------
    AccessDenied
        The mask cannot be evaluated on these values.
    """
    query = _over(arrays, types).select(exp.alias_(qualified(tree, _TYPED), "masked"), copy=False)
    found = run(query, _numbered(arrays, len(arrays[column])))
    return [value for _, value in sorted(found, key=lambda pair: pair[0])]


def _over(arrays: Mapping[str, pa.Array], types: Mapping[str, str]) -> exp.Select:
    """SELECT of the rows' numbers over the rows with their types."""
    number = exp.column(_NUMBER, quoted=True)
    columns = [_typed(name, types[name]) for name in arrays]
    typed = exp.select(number, *columns).from_(exp.to_table(RAW_ROWS)).subquery(_TYPED)
    return exp.select(exp.column(_NUMBER, table=_TYPED, quoted=True)).from_(typed)


def _numbered(arrays: Mapping[str, pa.Array], count: int) -> pa.Table:
    import pyarrow as pa

    return pa.table({**arrays, _NUMBER: pa.array(range(count), type=pa.int64())})


def arrow_array(values: Sequence[Any]) -> pa.Array | None:
    """Values as Arrow, or None when they have no common type."""
    import pyarrow as pa

    plain = [str(value) if isinstance(value, UUID) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        return None


def maskable_array(values: Sequence[Any]) -> pa.Array:
    """Values as Arrow whatever they are: without a common type, as texts; where even that fails, as NULLs."""
    array = arrow_array(values)
    if array is None:
        array = arrow_array([None if value is None else str(value) for value in values])
    return array if array is not None else arrow_array([None] * len(values))


def _typed(name: str, kind: str) -> exp.Expr:
    untyped = kind == UNTYPED
    value = exp.Null() if untyped else exp.TryCast(this=exp.column(name, quoted=True), to=data_type(kind))
    return exp.alias_(value, name, quoted=True)


def _distinct_keys(rows: Sequence[Row]) -> list[str]:
    seen: dict[str, None] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise UsageError(f"rows are dicts, not {type(row).__name__}")
        seen.update(dict.fromkeys(row))
    if not all(isinstance(key, str) for key in seen):
        raise UsageError("the keys of rows are column names")
    return list(seen)
