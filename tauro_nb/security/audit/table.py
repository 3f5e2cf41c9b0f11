"""The log as a table: one row for each table of an access, with how it ended; one row for every other event."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.catalog.snapshot import SYSTEM
from tauro_nb.catalog.table import VirtualTable
from tauro_nb.security.audit.codec import ACCESSES
from tauro_nb.security.policy import TableSecurityPolicy
from tauro_nb.security.principal import EVERYBODY

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AUDIT_COLUMNS", "AUDIT_TABLE", "audit_policy", "audit_reader", "audit_table"]

AUDIT_TABLE: Final = "tauro.audit"

_BATCH_ROWS: Final = 8_192
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_ENDING: Final = ("outcome", "reason", "error", "rows", "bytes", "ms")

Getter = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


def _of(member: str) -> Getter:
    return lambda record, _: record.get(member)


def _object(member: str) -> Getter:
    return lambda _, part: part.get(member)


def _role(role: str) -> Getter:
    return lambda _, part: [name for name, roles in part.get("roles", _NOTHING).items() if role in roles]


def _origin(member: str) -> Getter:
    return lambda record, _: record.get("origin", _NOTHING).get(member)


def _json(member: str) -> Getter:
    return lambda record, _: json.dumps(record[member], sort_keys=True) if record.get(member) else None


def _masked(_: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    return [f"{column}: {mask}" for column, mask in part.get("masked", _NOTHING).items()]


def _event(record: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    name = str(record["event"])
    return ACCESSES.get(name, name)


# Column -> (DuckDB type, where its value is).
_COLUMNS: Final[Mapping[str, tuple[str, Getter]]] = MappingProxyType({
    "sequence": ("BIGINT", _of("seq")),
    "recorded_at": ("TIMESTAMP WITH TIME ZONE", _of("time")),
    "event": ("VARCHAR", _event),
    "status": ("VARCHAR", _of("outcome")),
    "reason": ("VARCHAR", _of("reason")),
    "error_class": ("VARCHAR", _of("error")),
    "principal": ("VARCHAR", _of("principal")),
    "acting_as": ("VARCHAR", _of("as")),
    "roles": ("VARCHAR[]", _of("roles")),
    "tenant": ("VARCHAR", _of("tenant")),
    "purpose": ("VARCHAR", _of("purpose")),
    "query_id": ("VARCHAR", _of("query")),
    "parent_id": ("VARCHAR", _of("parent")),
    "operation": ("VARCHAR", _of("operation")),
    "table_name": ("VARCHAR", _object("name")),
    "below_view": ("BOOLEAN", _object("base")),
    "field_names": ("VARCHAR[]", _object("columns")),
    "projected": ("VARCHAR[]", _role("projected")),
    "filtered": ("VARCHAR[]", _role("filtered")),
    "joined": ("VARCHAR[]", _role("joined")),
    "masked": ("VARCHAR[]", _masked),
    "row_filter": ("VARCHAR", _object("filter")),
    "policy_columns": ("VARCHAR[]", _object("unseen")),
    "policy_hash": ("VARCHAR", _object("policy")),
    "policy_version": ("VARCHAR", _of("policies")),
    "row_count": ("BIGINT", _of("rows")),
    "byte_count": ("BIGINT", _of("bytes")),
    "duration_ms": ("DOUBLE", _of("ms")),
    "fingerprint": ("VARCHAR", _of("fingerprint")),
    "statement": ("VARCHAR", _of("statement")),
    "literals": ("VARCHAR[]", _of("literals")),
    "params": ("VARCHAR", _json("params")),
    "backends": ("VARCHAR[]", _of("backends")),
    "mode": ("VARCHAR", _of("mode")),
    "session": ("VARCHAR", _origin("session")),
    "host": ("VARCHAR", _origin("host")),
    "notebook": ("VARCHAR", _origin("notebook")),
    "cell": ("VARCHAR", _origin("cell")),
    "facts": ("VARCHAR", _json("facts")),
})  # fmt: skip

AUDIT_COLUMNS: Final[Mapping[str, str]] = MappingProxyType({name: kind for name, (kind, _) in _COLUMNS.items()})
"""Columns of `tauro.audit` with their DuckDB types."""


def audit_table() -> VirtualTable:
    """`tauro.audit` as a virtual table."""
    about = "Who asked for what, which rules applied, and what came of it."
    return VirtualTable(AUDIT_TABLE, connector_type=SYSTEM, schema=dict(AUDIT_COLUMNS), description=about)


def audit_policy(readers: Sequence[str]) -> TableSecurityPolicy:
    """For those who hold one of these roles; whoever has a tenant sees that tenant's records only."""
    return TableSecurityPolicy(
        # Nobody at all where nobody is named: an empty list would mean everybody.
        AUDIT_TABLE, allowed_roles=list(readers), denied_roles=[] if readers else [EVERYBODY],
        tenant_column="tenant", tenant_optional=True,
    )  # fmt: skip


def audit_reader(records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pa.RecordBatchReader:
    """Some columns of the log as a stream; nothing but queries that still run is held in memory.

    Parameters
    ----------
    records
        As they are in the log, in its order.
    columns
        Names from `AUDIT_COLUMNS`.

    Examples
    --------
    >>> deny = {"event": "deny", "seq": 1, "principal": "ana", "outcome": "DENIED", "objects": [{"name": "payroll"}]}
    >>> audit_reader([deny], ["principal", "table_name", "status"]).read_all().to_pylist()
    [{'principal': 'ana', 'table_name': 'payroll', 'status': 'DENIED'}]
    """
    import pyarrow as pa

    getters = [_COLUMNS[name][1] for name in columns]
    schema = pa.schema([(name, _arrow_type(AUDIT_COLUMNS[name])) for name in columns])
    rows = _rows(records)

    def batches() -> Iterator[pa.RecordBatch]:
        while part := list(islice(rows, _BATCH_ROWS)):
            values = ([getter(*row) for row in part] for getter in getters)
            arrays = [_array(column, field.type) for column, field in zip(values, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _rows(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(Record, one object of it); an intent waits for the result of its query, and comes with it."""
    running: dict[str, Mapping[str, Any]] = {}
    for record in records:
        event = record.get("event")
        if event == "query.intent":
            running[record.get("query", "")] = record
        elif event == "query.result":
            asked = running.pop(record.get("query", ""), None)
            if asked is not None:
                ended = {**asked, **{name: record[name] for name in _ENDING if name in record}}
                yield from ((ended, part) for part in ended.get("objects", ()))
        elif event is not None:
            yield from ((record, part) for part in record.get("objects", (_NOTHING,)))
    for asked in running.values():
        yield from ((asked, part) for part in asked.get("objects", ()))


def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    return {
        "BIGINT": pa.int64(),
        "BOOLEAN": pa.bool_(),
        "DOUBLE": pa.float64(),
        "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
        "VARCHAR": pa.string(),
        "VARCHAR[]": pa.list_(pa.string()),
    }[kind]


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
