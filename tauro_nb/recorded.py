"""What an audit record says of a query: everything that decided, and none of the values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.query.fingerprint import apart, fingerprint, statement_of
from tauro_nb.query.parse import parse
from tauro_nb.query.plain import plain_params
from tauro_nb.query.uses import TableUse, table_uses
from tauro_nb.security.audit import POLICY_ONLY, Asked

if TYPE_CHECKING:
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.security.audit import AuditKeys
    from tauro_nb.security.decision import ColumnDecision, TableDecision

__all__ = ["Recorded", "params_of", "parts_of", "recorded", "shape_of"]

_MOST_LITERALS: Final = 50
"""So many literals are recorded one by one; of a longer list (`IN` over thousands) the rest is recorded as one."""


def shape_of(plan: QueryPlan) -> str:
    """The statement without its values."""
    return _apart(plan)[0]


def _apart(plan: QueryPlan) -> tuple[str, tuple[exp.Expr, ...]]:
    parts: tuple[str, tuple[exp.Expr, ...]] = plan.once("apart", lambda: apart(plan.tree))
    return parts


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is recorded of every run of a plan, whoever asks for it.

    Parameters
    ----------
    asked
        What every intent says; None when nothing of it is recorded.
    used
        Columns, with their tables, that are decrypted or encrypted.
    sent
        Which tables' values may leave for which connection as join keys.
    """

    asked: Asked | None
    used: Sequence[str]
    sent: Sequence[Mapping[str, Any]]


def recorded(plan: QueryPlan, keys: AuditKeys | None) -> Recorded:
    """What is recorded of a plan, worked out once."""
    return Recorded(_asked(plan, keys), _key_uses(plan), _key_flows(plan))


def _asked(plan: QueryPlan, keys: AuditKeys | None) -> Asked | None:
    """The query's shape is in it in clear, its literals under the audit key."""
    columns, objects = objects_of(plan)
    if plan.columns and not columns:
        return None
    statement, literals = _apart(plan)
    return Asked.of(
        # A query that reads no table is one all the same.
        columns or {"": ()},
        objects,
        statement=statement,
        fingerprint=fingerprint(statement),
        policy_version=plan.policy_version,
        backends=tuple(sorted({part.source for part in plan.fragments})),
        literals=() if keys is None else tuple(_hidden(literals, keys)),
    )


def params_of(plan: QueryPlan, keys: AuditKeys | None) -> dict[str, str]:
    """The parameters of one run, under the audit key."""
    return {} if keys is None else {name: _value(keys, value) for name, value in plan.params.items()}


def parts_of(asked: str | exp.Expr | None, params: Any) -> dict[str, Any]:
    """What can be said of a request that was refused: its shape, if it is a query at all."""
    try:
        tree = None if asked is None else parse(asked, plain_params(params)).tree
    except Exception:  # noqa: BLE001 - whatever a request's own objects do: that it was refused is recorded
        return {}
    if tree is None:
        return {}
    statement = statement_of(tree)
    return {"statement": statement, "fingerprint": fingerprint(statement)}


def objects_of(plan: QueryPlan) -> tuple[dict[str, tuple[str, ...]], dict[str, dict[str, Any]]]:
    """Tables that the record names with their columns, and what was decided and done with each.

    A table whose policy asks for denials only to be recorded is left out; one that only a policy reads is in it.
    """
    columns: dict[str, tuple[str, ...]] = {}
    details: dict[str, dict[str, Any]] = {}
    uses = table_uses(plan)
    for use in uses:
        decision: TableDecision = plan.entries[use.table].decision
        if decision.audited:
            columns[use.table] = tuple(use.roles)
            details[use.table] = _object(use, decision)
    asked = {use.table for use in uses}
    for table, read in plan.policy_columns.items():
        if table not in asked:
            columns[table] = ()
            details[table] = {"column_roles": dict.fromkeys(read, POLICY_ONLY), "policy_columns": read}
    return columns, details


def _object(use: TableUse, decision: TableDecision) -> dict[str, Any]:
    found = [decision.columns[name] for name in use.roles]
    return {
        "policy_hash": decision.policy_hash,
        "column_roles": use.roles,
        "masked": {column.name: column.mask or column.access for column in found if column.tree is not None},
        "row_filter": decision.filter_rule or "",
        "policy_columns": tuple(_only_policy(use, decision, found)),
        "base": not use.direct,
    }


def _only_policy(use: TableUse, decision: TableDecision, used: Iterable[ColumnDecision]) -> list[str]:
    """Columns that a filter or a mask reads and the query does not."""
    read = decision.filter_reads.union(*(column.reads for column in used))
    unseen = read - {name.lower() for name in use.roles}
    return sorted(name for name in decision.columns if name.lower() in unseen) if unseen else []


def _key_uses(plan: QueryPlan) -> list[str]:
    """Columns, with their tables, that are decrypted or encrypted for this query."""
    found = []
    for name, columns in plan.columns.items():
        entry = plan.entries[name]
        decided = (entry.decision.columns[column] for column in columns)
        found += [f"{name}.{column.name}" for column in decided if _needs_key(column, entry.stored)]
    return found


def _key_flows(plan: QueryPlan) -> list[dict[str, Any]]:
    """Which tables' values may leave for which connection as join keys: what a plan that runs may send."""
    return [
        {"tables": list(key.tables), "column": key.column, "to": fragment.source, "into": list(fragment.tables)}
        for fragment in plan.fragments
        for key in fragment.keys
    ]


def _needs_key(column: ColumnDecision, stored: frozenset[str]) -> bool:
    held = column.name.lower() in stored
    return (column.access == "encrypted") != held if column.access in ("clear", "encrypted") else held


def _hidden(literals: Sequence[exp.Expr], keys: AuditKeys) -> Iterator[str]:
    for node in literals[:_MOST_LITERALS]:
        yield keys.value("number" if node.is_number else "text", _typed(node))
    if rest := literals[_MOST_LITERALS:]:
        digest = hashlib.sha256("\0".join(map(_typed, rest)).encode(errors="surrogatepass"))
        yield f"{len(rest)} more: {keys.value('list', digest.hexdigest())}"


def _typed(node: exp.Expr) -> str:
    return str(node.this) if isinstance(node.this, str) else node.sql("duckdb")


def _value(keys: AuditKeys, value: Any) -> str:
    """A parameter; one that is equal to a literal of a query is recorded as that is."""
    if isinstance(value, str):
        return keys.value("text", value)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return keys.value("number", str(value))
    return keys.value(type(value).__name__, repr(value))
