"""Between `AuditLog`s and the records of the file: one record an event, all tables of a query in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from tauro_nb.security.audit.chain import Filled, Fixed, Form, stamp
from tauro_nb.security.audit.log import STARTED, AuditLog
from tauro_nb.security.policy import Operation

__all__ = ["ACCESSES", "Asked", "Asker", "Results", "access_event", "logs_of"]

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
        "time": stamp(first.timestamp),
        "operation": first.operation.value,
        **_members({name: getattr(first, name) for name in _SHARED}, _SHARED),
        "objects": [_members({name: getattr(log, name) for name in _OBJECT}, _OBJECT) or {"name": ""} for log in logs],
    }


class Asker(NamedTuple):
    """Who asks, with whose rights, for whom and what for.

    Parameters
    ----------
    principal
        Who asks.
    roles
        What is held.
    acting_as
        With whose rights, where that is not who asks.
    tenant, purpose
        For whom, and what for.
    """

    principal: str
    roles: AbstractSet[str] = frozenset()
    acting_as: str = ""
    tenant: str | None = None
    purpose: str | None = None

    def attributes(self) -> dict[str, Any]:
        """As attributes of an `AuditLog`.

        >>> sorted(Asker("ana").attributes())
        ['acting_as', 'principal', 'purpose', 'roles', 'tenant']
        """
        return {"principal": self.principal, "acting_as": self.acting_as, **self.claims()}

    def claims(self) -> dict[str, Any]:
        """Those that are no name.

        >>> Asker("ana", frozenset({"b", "a"}), tenant="acme").claims()
        {'roles': ('a', 'b'), 'tenant': 'acme', 'purpose': None}
        """
        return {"roles": tuple(sorted(self.roles)), "tenant": self.tenant, "purpose": self.purpose}


class Asked:
    """What the intents of a query have in common, whoever asks it and however often.

    Examples
    --------
    >>> asked = Asked.of({"t": ["a"]}, {}, statement="SELECT ?")
    >>> event = asked.intent(datetime(2026, 1, 1), "q1", {}, Asker("ana"), Fixed.of({}))
    >>> event.form.fixed["objects"].text, event.form.fixed["principal"], event.values["query"]
    ('[{"columns":["a"],"name":"t"}]', 'ana', 'q1')
    """

    def __init__(self, members: Mapping[str, Fixed]) -> None:
        self._members = members
        # Of the last one who asked: most queries that are asked again are asked by the same.
        self._form: tuple[Asker, Fixed, bool, Form] | None = None

    @classmethod
    def of(
        cls,
        tables: Mapping[str, Iterable[str]],
        objects: Mapping[str, Mapping[str, Any]],
        *,
        operation: Operation = Operation.SELECT,
        **about: Any,
    ) -> Asked:
        """What intents say of a query.

        Parameters
        ----------
        tables
            Each with the columns that are read.
        objects
            Further attributes of `AuditLog` for single tables.
        about
            Those for the whole query.
        """
        parts = (
            {"table_name": name, "field_names": tuple(columns), **objects.get(name, {})}
            for name, columns in tables.items()
        )
        members = {
            "event": "query.intent",
            "operation": operation.value,
            **_members({"mode": "embedded", "status": STARTED, **about}, _SHARED),
            "objects": [_members(part, _OBJECT) or {"name": ""} for part in parts],
        }
        return cls({name: Fixed.of(value) for name, value in members.items()})

    def intent(self, time: datetime, query_id: str, params: Mapping[str, str], asker: Asker, origin: Fixed) -> Filled:
        """The record of one intent.

        Parameters
        ----------
        params
            The parameters of this one, under the audit key.
        origin
            Where it comes from; the same object while that is the same.
        """
        values: dict[str, Any] = {"time": stamp(time), "query": query_id}
        if params:
            values["params"] = params
        known, given = self._form, bool(params)
        if known is None or known[1] is not origin or known[2] is not given or known[0] != asker:
            whence = {"origin": origin} if origin.value else {}
            form = Form({**_members(asker.attributes(), _SHARED), **whence, **self._members}, values)
            known = self._form = asker, origin, given, form
        return Filled(known[3], values)


class Results:
    """Records of how queries ended.

    Examples
    --------
    >>> ended = Results().event("q1", "ana", datetime(2026, 1, 1), {"status": "SUCCESS", "row_count": 0})
    >>> sorted(ended.values)
    ['outcome', 'principal', 'query', 'rows', 'time']
    """

    def __init__(self) -> None:
        # By the members they have, of which there are a handful of sets.
        self._forms: dict[tuple[str, ...], Form] = {}

    def event(self, query_id: str, principal: str, time: datetime, about: Mapping[str, Any]) -> Filled:
        """How one query ended, by attributes of `AuditLog`."""
        values = _members(about, _SHARED)
        values["time"], values["query"], values["principal"] = stamp(time), query_id, principal
        names = tuple(values)
        form = self._forms.get(names)
        if form is None:
            form = self._forms[names] = Form({"event": "query.result"}, names)
        return Filled(form, values)


def _members(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    # 0 rows is an answer, None is none.
    return {names[name]: value for name, value in values.items() if value or (value == 0 and value is not False)}


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
