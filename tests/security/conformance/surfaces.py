"""What the tests of secrecy share: a policed table, and every form in which something of it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.core.formatters import DisplayFormatter
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.magics import show
from tauro_nb.widgets import PlanView, plan_html

LOW, HIGH = "4711", "8813"
"""Two bounds of the same policy; whichever holds, nobody may read it."""
CONSTANT = "mask-constant-5150"

Place = tuple[dict[str, Any], dict[str, Any]]
"""Connections, and the definition of the table `people` in one of them."""


def config(place: Place, bound: str | None, mask: str = CONSTANT) -> dict[str, Any]:
    """A catalog whose analysts see some rows of `people`, and a constant for its e-mail addresses."""
    connections, table = place
    people = dict(table)
    if "path" not in people:
        name = "secrecy.people" if people["connector_type"] == "postgresql" else "people"
        people |= {"connection": "at", "table": name}
    orders = {"query": "SELECT i AS id, i AS person, i * 2 AS amount FROM range(20) t(i)"}
    joined = "people p JOIN orders o ON o.person = p.id"
    spending = {"query": f"SELECT p.name, sum(o.amount) AS total FROM {joined} GROUP BY 1"}
    policies = {
        "people": {
            "row_level_filters": {"admin": "", "analyst": f"salary < {bound} OR department = 'Board {bound}'"},
            "field_policies": {
                "email": {"masking_enabled": True, "mask": "constant", "mask_value": mask, "allowed_roles": ["admin"]}
            },
        }
    }
    return {
        "connections": connections,
        "virtual_tables": {"people": people, "orders": orders, "spending": spending},
        "security_policies": policies if bound else {},
    }


def surfaces(ctx: VirtualContext, sql: str) -> dict[str, str]:
    """Every form in which a plan is shown."""
    plan = ctx.plan(sql)
    panel = PlanView(plan)
    dry = show.dry_run(plan, ctx.catalog())
    return {
        "text": str(plan),
        "repr": repr(plan),
        "html": plan_html(plan),
        "panel": panel.to_html() + panel.to_text() + repr(panel) + panel._page,
        "dry run": dry.text + dry.html,
        "rules": "\n".join(f"{rule.name}\n{rule.before}\n{rule.after}" for rule in plan.rules),
        "fragments": "\n".join(f"{part!r} {part.sql} {part.predicates}" for part in plan.fragments),
        "residual": plan.residual_sql,
        "result": str(ctx.query(sql).plan),
        "rich": str(DisplayFormatter().format(ctx.query(sql).plan)),
    }


def secrets(text: str) -> list[str]:
    """The parts of the policy that stand in a text."""
    return [word for word in (LOW, HIGH, CONSTANT, "other-constant", "salary", "Board", str(2**62)) if word in text]


def leaves(value: Any, seen: set[int] | None = None, depth: int = 0) -> Iterator[str]:
    """Everything that public attributes, items and reprs of a value lead to, as text."""
    seen = set() if seen is None else seen
    if id(value) in seen or depth > 8 or isinstance(value, type) or callable(value):
        return
    seen.add(id(value))
    if isinstance(value, exp.Expr):
        yield value.sql("duckdb")
        yield repr(value)
        return
    if isinstance(value, (str, int, float, bytes, bool)) or value is None:
        # A measured time holds any digits.
        yield "" if isinstance(value, float) else str(value)
        return
    yield re.sub(r"0x[0-9a-f]+", "", repr(value))  # and so does an address
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(key, seen, depth + 1)
            yield from leaves(item, seen, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from leaves(item, seen, depth + 1)
    else:
        for name in dir(value):
            if not name.startswith("_"):
                yield from leaves(getattr(value, name), seen, depth + 1)
