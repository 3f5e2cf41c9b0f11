"""Tokens for a whole column, for whoever writes them into a source."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.errors import CipherError, UsageError
from tauro_nb.security.cipher import FieldSpec
from tauro_nb.security.functions import ENCRYPT
from tauro_nb.security.principal import Principal
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.types import data_type

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.security.enforcer import SecurityEnforcer

__all__ = ["FewValues", "count_risk", "encrypt_column"]

_FEWEST: Final = 10_000
_LARGEST_SHARE: Final = 0.01


class FewValues(UserWarning):
    """A searchable column has so few values, or one so frequent, that counting its tokens tells who is who."""


def count_risk(rows: int, distinct: int, most_frequent: int) -> str | None:
    """What counting equal tokens of a searchable column would tell; None where that is little.

    Where no value comes twice there is nothing to count.

    Parameters
    ----------
    rows
        Rows with a value.
    distinct
        Different values.
    most_frequent
        Rows with the most frequent value.

    Examples
    --------
    >>> count_risk(1_000_000, 50, 40_000)
    'it has 50 different values, one of them in 4.0 % of the rows'
    >>> count_risk(1_000_000, 900_000, 12), count_risk(300, 300, 1)
    (None, None)
    """
    if most_frequent <= 1 or (distinct >= _FEWEST and most_frequent <= _LARGEST_SHARE * rows):
        return None
    return f"it has {distinct:,} different values, one of them in {100 * most_frequent / rows:.1f} % of the rows"


def encrypt_column(
    enforcer: SecurityEnforcer,
    table_name: str,
    column: str,
    values: Sequence[Any] | pa.Array | pa.ChunkedArray,
    *,
    type: str = "VARCHAR",
    tenant: str = "",
    force: bool = False,
) -> pa.Array:
    """The tokens of a column that its source shall hold as ciphertext, by its policy or catalog entry.

    Values are written as DuckDB writes them in the column's type, so that equal ones get equal tokens.

    Parameters
    ----------
    enforcer
        Holds the policies and the keys.
    table_name, column
        A virtual table and its column.
    values
        Plain values; NULL stays NULL.
    type
        DuckDB type of the column, as the catalog declares it.
    tenant
        Whose values they are.
    force
        Encrypt a searchable column of few or very frequent values all the same, with a warning (`FewValues`).

    Raises
    ------
    UsageError
        The column is not encrypted at its source, or is searchable and counting its tokens would tell who is who.
    CipherError
        A value is none of the column's type.
    KeysetError
        There is no key, and none can be made.

    Examples
    --------
    >>> from tauro_nb.security import FieldSecurityPolicy, SecurityEnforcer, TableSecurityPolicy
    >>> enforcer = SecurityEnforcer()
    >>> rule = FieldSecurityPolicy("ssn", encrypted_at="source", searchable="equality", allowed_roles=["hr"])
    >>> enforcer.register_policy(TableSecurityPolicy("people", field_policies={"ssn": rule}))
    >>> tokens = encrypt_column(enforcer, "people", "ssn", ["123-45-6789", None])
    >>> tokens[0].as_py()[:5], tokens[1].as_py()
    ('tnb1.', None)
    """
    ciphers = enforcer.encryptions(table_name, Principal("encryption", tenant=tenant or None))
    if ciphers is None or not ciphers.is_stored(column):
        raise UsageError(f"column `{column}` of `{table_name}` is not encrypted at its source.")
    spec = ciphers.spec(column, type)
    texts, (rows, distinct, most_frequent) = _written(spec, values)
    risk = count_risk(rows, distinct, most_frequent) if spec.searchable else None
    if risk is not None:
        words = f"column `{column}` of `{table_name}` is searchable, and {risk}: counting tokens tells who is who."
        if not force:
            raise UsageError(words, hint="Encrypt it without `searchable`, or accept that with force=True.")
        warnings.warn(words, FewValues, stacklevel=2)
    return enforcer.functions.apply(ENCRYPT, enforcer.keys.handle(spec), texts)


def _written(spec: FieldSpec, values: Any) -> tuple[pa.Array, tuple[int, int, int]]:
    """The values as DuckDB writes them, and rows, different values and rows of the most frequent one among them."""
    import duckdb
    import pyarrow as pa

    try:
        given = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        raise CipherError(f"the values for `{spec.column}` have no common type.", table=spec.table) from None
    value = exp.cast(exp.cast(exp.column("v"), data_type(spec.type)), data_type("VARCHAR"))
    counted = exp.select("count(*) AS n").from_("written").where("v IS NOT NULL").group_by("v")
    with closing(Sandbox()) as sandbox, sandbox.cursor() as cursor:
        cursor.register("given", pa.table({"v": given}))
        try:
            texts = cursor.execute(exp.select(exp.alias_(value, "v")).from_("given").sql("duckdb")).to_arrow_table()
        except duckdb.Error:
            raise CipherError(
                f"a value for `{spec.column}` of `{spec.table}` is no {spec.type}; nothing was encrypted.",
                table=spec.table,
            ) from None
        cursor.register("written", texts)
        totals = exp.select("coalesce(sum(n), 0)", "count(*)", "coalesce(max(n), 0)").from_(counted.subquery("c"))
        rows, distinct, most_frequent = cursor.execute(totals.sql("duckdb")).fetchall()[0]
    return texts.column("v").combine_chunks(), (int(rows), int(distinct), int(most_frequent))
