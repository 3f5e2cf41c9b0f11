"""The plan panel: the steps as a grid one can walk, and the SQL that each source gets."""

from __future__ import annotations

import traitlets

from tauro_nb.query.plan import QueryPlan
from tauro_nb.text import plural, visible
from tauro_nb.widgets.panel import Panel, script, sheet
from tauro_nb.widgets.plan_static import CSS, plan_html, plan_text

__all__ = ["PlanView"]


class PlanView(Panel):
    """Show what will run where, and why.

    Parameters
    ----------
    plan
        A secured, placed query.

    Attributes
    ----------
    selected
        `residual` or a fragment's id; empty when nothing is selected.
    """

    _esm = script("plan.js")
    _css = sheet("plan.css") + CSS

    selected = traitlets.Unicode("").tag(sync=True)
    _page = traitlets.Unicode("").tag(sync=True)

    def __init__(self, plan: QueryPlan) -> None:
        self._plan = plan
        super().__init__(_page=plan_html(plan))

    @property
    def plan(self) -> QueryPlan:
        """The plan that is shown."""
        return self._plan

    def to_html(self) -> str:
        """Write the plan as HTML without a script."""
        return plan_html(self._plan)

    def to_text(self) -> str:
        """Write the plan as plain text."""
        return plan_text(self._plan)

    def __repr__(self) -> str:
        sources = len({part.source for part in self._plan.fragments})
        parts = plural(len(self._plan.fragments), "fragment")
        return f"<PlanView as {visible(self._plan.principal)}: {parts}, {plural(sources, 'source')}>"
