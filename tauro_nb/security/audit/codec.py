"""Between `AuditLog`s and the records of the file: one record an event, all tables of a query in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from tauro_nb.security.audit.log import STARTED, AuditLog
from tauro_nb.security.policy import Operation

__all__ = ["ACCESSES", "access_event", "logs_of", "result_event"]

# Attribute of AuditLog -> member of the record. What is empty is left out.
_SHARED: Final = {
    "principal": "principal", "acting_as": "as", "roles": "roles", "tenant": "tenant", "purpose": "purpose",
    "origin": "origin",
    "mode": "mode", "query_id": "query", "parent_id": "parent", "statement": "statement", "fingerprint": "fingerprint",
    "literals": "literals", "params": "params", "backends": "backends", "policy_version": "policies",
    "status": "outcome", "denial_reason": "reason", "error_class": "error", "row_count": "rows",
    "byte_count": "bytes", "duration_ms": "ms",
}  # fmt: skip
_OBJECT: Final = {
    "table_name": "name", "field_names": "columns", "column_roles": "roles", "masked": "masked", "row_filter": "filter",
    "policy_hash": "policy", "policy_columns": "unseen", "base": "base",
}  # fmt: skip
_RESULT: Final = ("status", "denial_reason", "error_class", "row_count", "byte_count", "duration_ms")

ACCESSES: Final = {"query.intent": "query", "access": "access", "deny": "deny"}
"""Events that say what somebody asked for, and what an `AuditLog` calls them."""
_TUPLES: Final = frozenset({"roles", "literals", "backends", "field_names", "policy_columns"})


def access_event(event: str, logs: Sequence[AuditLog]) -> dict[str, Any]:
    """The record of one query: what is common to its tables once, then the tables.

    Examples
    --------
    >>> record = access_event("deny", [AuditLog("ana", "t", status="DENIED", mode="")])
    >>> sorted(record), record["objects"]
    (['event', 'objects', 'operation', 'outcome', 'principal', 'rows', 'time'], [{'name': 't'}])
    """
    first = logs[0]
    return {
        "event": event,
        "time": first.timestamp.isoformat(timespec="microseconds"),
        "operation": first.operation.value,
        **_members(first, _SHARED),
        "objects": [_members(log, _OBJECT) or {"name": ""} for log in logs],
    }


def result_event(log: AuditLog, time: datetime) -> dict[str, Any]:
    """The record of how a query ended."""
    return {
        "event": "query.result",
        "time": time.isoformat(timespec="microseconds"),
        "query": log.query_id,
        "principal": log.principal,
        **_members(log, {name: _SHARED[name] for name in _RESULT}),
    }


def _members(log: AuditLog, names: Mapping[str, str]) -> dict[str, Any]:
    found = ((member, getattr(log, name)) for name, member in names.items())
    # 0 rows is an answer, None is none.
    return {
        member: value
        for member, value in found
        if value is not None and value is not False and value not in ("", (), {})
    }


def logs_of(records: Iterable[Mapping[str, Any]]) -> Iterator[AuditLog]:
    """The accesses among some records, each intent together with its result, in the order they were asked for.

    Examples
    --------
    >>> [log.table_name for log in logs_of([access_event("deny", [AuditLog("ana", "t")])])]
    ['t']
    """
    accesses: dict[object, list[AuditLog]] = {}
    for number, record in enumerate(records):
        event = record.get("event")
        if event == "query.result":
            key: object = record.get("query")
            accesses[key] = [_ended(log, record) for log in accesses.get(key, ())]
        elif event in ACCESSES:
            # A query has one intent; several row lists may share an id.
            key = record.get("query") if event == "query.intent" else number
            accesses[key] = _decoded(record, ACCESSES[str(event)])
    for logs in accesses.values():
        yield from logs


def _decoded(record: Mapping[str, Any], event: str) -> list[AuditLog]:
    shared = AuditLog(
        timestamp=datetime.fromisoformat(record["time"]),
        operation=Operation(record.get("operation", "select")),
        sequence=record.get("seq", 0),
        event=event,
        **{"principal": "", "table_name": "", "row_count": None, "mode": "", **_attributes(record, _SHARED)},
    )
    return [replace(shared, **_attributes(found, _OBJECT)) for found in record.get("objects", ())]


def _ended(log: AuditLog, record: Mapping[str, Any]) -> AuditLog:
    if log.status != STARTED:
        return log
    return replace(log, **_attributes(record, {name: _SHARED[name] for name in _RESULT}))


def _attributes(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(name, record[member]) for name, member in names.items() if member in record}


def _value(name: str, value: Any) -> Any:
    if name in _TUPLES:
        return tuple(value)
    if name == "column_roles":
        return {column: tuple(roles) for column, roles in value.items()}
    return value
