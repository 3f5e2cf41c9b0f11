"""Panels: catalog, lineage, plan. Each is a widget, script-free HTML, and plain text.

Names load on first use: `import tauro_nb.widgets` costs nothing, and the `*_html` and `*_text` functions never
import a widget library.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tauro_nb.widgets.catalog_panel import CatalogPanel
    from tauro_nb.widgets.catalog_static import catalog_html, catalog_text
    from tauro_nb.widgets.lineage_panel import LineageGraphPanel
    from tauro_nb.widgets.lineage_static import lineage_html, lineage_text
    from tauro_nb.widgets.plan_panel import PlanView
    from tauro_nb.widgets.plan_static import plan_html, plan_text

__all__ = [
    "CatalogPanel",
    "LineageGraphPanel",
    "PlanView",
    "catalog_html",
    "catalog_text",
    "lineage_html",
    "lineage_text",
    "plan_html",
    "plan_text",
]

_HOME: Final = MappingProxyType(
    {
        "CatalogPanel": "catalog_panel",
        "LineageGraphPanel": "lineage_panel",
        "PlanView": "plan_panel",
        "catalog_html": "catalog_static",
        "catalog_text": "catalog_static",
        "lineage_html": "lineage_static",
        "lineage_text": "lineage_static",
        "plan_html": "plan_static",
        "plan_text": "plan_static",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"tauro_nb.widgets.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
