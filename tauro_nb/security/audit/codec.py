"""Between `AuditLog`s and the records of the file: one record an event, all tables of a query in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from tauro_nb.security.audit.chain import Fixed
from tauro_nb.security.audit.log import STARTED, AuditLog
from tauro_nb.security.policy import Operation

__all__ = ["ACCESSES", "access_event", "asked_members", "intent_event", "logs_of", "result_event"]

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
        **_members({name: getattr(first, name) for name in _SHARED}, _SHARED),
        "objects": [_members({name: getattr(log, name) for name in _OBJECT}, _OBJECT) or {"name": ""} for log in logs],
    }


def asked_members(
    tables: Mapping[str, Iterable[str]],
    objects: Mapping[str, Mapping[str, Any]],
    *,
    operation: Operation = Operation.SELECT,
    **about: Any,
) -> dict[str, Fixed]:
    """What the intents of a query have in common, whoever asks it and however often.

    Parameters
    ----------
    tables
        Each with the columns that are read.
    objects
        Further attributes of `AuditLog` for single tables.
    about
        Those for the whole query.

    Examples
    --------
    >>> asked_members({"t": ["a"]}, {}, statement="SELECT ?")["objects"].text
    '[{"columns":["a"],"name":"t"}]'
    """
    parts = (
        {"table_name": name, "field_names": tuple(columns), **objects.get(name, {})} for name, columns in tables.items()
    )
    members = {
        "event": "query.intent",
        "operation": operation.value,
        **_members({"mode": "embedded", "status": STARTED, **about}, _SHARED),
        "objects": [_members(part, _OBJECT) or {"name": ""} for part in parts],
    }
    return {name: Fixed.of(value) for name, value in members.items()}


def intent_event(asked: Mapping[str, Fixed], time: datetime, **about: Any) -> dict[str, Any]:
    """The record of one intent: what all intents of the query say, and attributes of `AuditLog` for this one."""
    return {"time": time.isoformat(timespec="microseconds"), **_members(about, _SHARED), **asked}


def result_event(query_id: str, principal: str, time: datetime, **about: Any) -> dict[str, Any]:
    """The record of how a query ended, by attributes of `AuditLog`."""
    return {
        "event": "query.result",
        "time": time.isoformat(timespec="microseconds"),
        "query": query_id,
        "principal": principal,
        **_members(about, _SHARED),
    }


def _members(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    # 0 rows is an answer, None is none.
    return {
        names[name]: value
        for name, value in values.items()
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
