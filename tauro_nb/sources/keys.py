"""Join keys on their way to a source: which may go, and how each dialect is asked for rows that have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlglot import exp

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "KeyForm",
    "array_of",
    "compared_alike",
    "json_array",
    "key_condition",
    "key_family",
    "key_list",
    "put_keys",
    "shares",
]

_GROUPS: Final = (frozenset({"integer", "unsigned", "decimal"}), frozenset({"date", "timestamp"}), frozenset({"text"}))
"""Families of types whose values are compared as they are. Of a number and a text DuckDB converts the text; another
engine may convert the number, or refuse."""

_LARGEST_TEXT: Final = 16_000_000
"""Characters of all keys together that are still sent."""

Writer = Callable[[str, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How one dialect is asked for the rows whose column has one of many values.

    Parameters
    ----------
    families
        Families of types (`capability.family`) whose equality there leaves out no row that is equal in DuckDB.
    write
        Given the family and the values as text: the condition, from behind the column on.
    most
        More keys are not sent: the source would take longer to read them than to hand over its rows.
    """

    families: frozenset[str]
    write: Writer
    most: int


def key_condition(column: exp.Expr, mark: str) -> exp.In:
    """The condition that stands in a fragment until its keys are known.

    >>> key_condition(exp.column("id"), "keys0").sql("postgres")
    'id IN (keys0)'
    """
    return exp.In(this=column, expressions=[exp.Var(this=mark)])


def put_keys(sql: str, keys: Mapping[str, pa.Array | None], form: KeyForm) -> str | None:
    """SQL with the keys in the place of their marks; None when one cannot be written so that it means the same.

    Parameters
    ----------
    keys
        Values by mark, without NULL; None for a mark whose keys are too many: only NULL is left out then.

    Examples
    --------
    >>> import pyarrow as pa
    >>> form = KeyForm(frozenset({"integer"}), key_list, 10)
    >>> put_keys("SELECT 1 FROM t WHERE id IN (k0)", {"k0": pa.array([3, 5])}, form)
    'SELECT 1 FROM t WHERE id IN (3, 5)'
    """
    for mark, values in keys.items():
        place = f"IN ({mark})"
        if sql.count(mark) != 1 or place not in sql:
            return None
        condition = "IS NOT NULL" if values is None else _condition(values, form)
        if condition is None:
            return None
        sql = sql.replace(place, condition)
    return sql


def _condition(values: pa.Array, form: KeyForm) -> str | None:
    kind = key_family(values.type)
    if kind not in form.families:
        return None
    texts = _texts(values, kind)
    if texts is None or sum(map(len, texts)) > _LARGEST_TEXT:
        return None
    return form.write(kind, texts)


def key_family(kind: pa.DataType) -> str:
    """The family of an Arrow type; `other` when keys of it are never sent.

    >>> import pyarrow as pa
    >>> key_family(pa.int32()), key_family(pa.float64())
    ('integer', 'other')
    """
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return "other" if pa.types.is_uint64(kind) else "integer"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None and kind.unit == "us" else "other"
    tests = {"decimal": pa.types.is_decimal, "date": pa.types.is_date32, "text": pa.types.is_string}
    return next((name for name, fits in tests.items() if fits(kind)), "other")


def _texts(values: pa.Array, kind: str) -> list[str] | None:
    """The values written out; None when there is one that not every engine reads alike."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind in ("date", "timestamp"):
        years = pc.year(values)
        if len(values) and (pc.min(years).as_py() < 1 or pc.max(years).as_py() > 9999):
            return None
    texts = [str(text) for text in pc.cast(values, pa.string()).to_pylist()]
    if kind == "text":
        # No server stores it, so that no row can have such a key.
        texts = [text for text in texts if "\x00" not in text]
        return texts if all(text.isascii() for text in texts) else None
    return texts


def compared_alike(one: str, other: str) -> bool:
    """Whether every engine means the same by the equality of values of two families.

    >>> compared_alike("integer", "decimal"), compared_alike("integer", "text")
    (True, False)
    """
    return any({one, other} <= group for group in _GROUPS)


def shares(values: pa.Array, most: int) -> list[pa.Array]:
    """The keys in as many runs of about one length; neighbours, which a table may keep together, stay in one.

    >>> import pyarrow as pa
    >>> [part.to_pylist() for part in shares(pa.array([5, 1, 3]), 2)]
    [[1, 3], [5]]
    """
    import pyarrow.compute as pc

    each = -(-len(values) // max(most, 1))
    ordered = values.take(pc.sort_indices(values))
    return [ordered.slice(start, each) for start in range(0, len(ordered), max(each, 1))]


_POSTGRES: Final = {
    "integer": "bigint", "decimal": "numeric", "date": "date", "timestamp": "timestamp", "text": "text",
}  # fmt: skip


def array_of(kind: str, texts: Sequence[str]) -> str:
    """PostgreSQL: one array, which the server sorts, searches an index by, or hashes.

    >>> array_of("integer", ["3", "5"])
    "= ANY('{3,5}'::bigint[])"
    """
    if kind == "text":
        texts = ['"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''") + '"' for text in texts]
    elif kind == "timestamp":
        texts = [f'"{text}"' for text in texts]
    inside = ",".join(texts)
    # A backslash needs no doubling: standard_conforming_strings is on wherever we connect.
    return f"= ANY('{{{inside}}}'::{_POSTGRES[kind]}[])"


def key_list(kind: str, texts: Sequence[str]) -> str:
    """Numbers in a list.

    >>> key_list("integer", [])
    'IN (NULL)'
    """
    del kind
    return f"IN ({', '.join(texts) or 'NULL'})"


def json_array(kind: str, texts: Sequence[str]) -> str:
    r"""SQLite: one JSON text, which it reads as a table.

    >>> json_array("text", ["it's"])
    'IN (SELECT value FROM json_each(\'["it\'\'s"]\'))'
    """
    inside = json.dumps(list(texts)) if kind == "text" else f"[{','.join(texts)}]"
    quoted = inside.replace("'", "''")
    return f"IN (SELECT value FROM json_each('{quoted}'))"
