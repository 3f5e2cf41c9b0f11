"""What the panels share: three forms of one thing, and the front-end files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget

from tauro_nb.html import THEME

__all__ = ["Panel", "asset", "script", "sheet"]


def asset(name: str) -> str:
    """Read a file that ships beside this one."""
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")


def script(name: str) -> str:
    """Return a panel's module: the shared helpers, then its own code. No bundler, one string."""
    return asset("dom.js") + asset(name)


def sheet(*names: str) -> str:
    """Return the theme and a panel's own styles."""
    return THEME + "".join(asset(name) for name in ("base.css", *names))


class Panel(anywidget.AnyWidget):
    """A widget that is also script-free HTML and plain text, for wherever there is no kernel."""

    def to_html(self) -> str:
        """Write the panel as HTML without a script; equal panels give equal text."""
        raise NotImplementedError

    def to_text(self) -> str:
        """Write the panel as plain text; equal panels give equal text."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        # Front ends take the first they can show: live widget, then HTML, then text. Nbval compares the last two.
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if live is not None else ({}, {})
        return {**data, "text/html": self.to_html(), "text/plain": self.to_text()}, metadata
