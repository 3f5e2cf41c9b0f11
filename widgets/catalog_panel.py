"""The catalog panel: search, tree, details, and what the policy does to me."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from tauro_nb.catalog.snapshot import CatalogSnapshot
from tauro_nb.text import one_line, plural, visible
from tauro_nb.widgets.catalog_data import details, find, groups, payload
from tauro_nb.widgets.catalog_static import catalog_html, catalog_text
from tauro_nb.widgets.panel import Panel, script, sheet

__all__ = ["CatalogPanel"]


class CatalogPanel(Panel):
    """Browse the catalog as one principal sees it.

    Parameters
    ----------
    snapshot
        What to show.
    refresh
        Returns a newer snapshot; the panel then has a button for it.

    Attributes
    ----------
    selected
        `table` or `table.column`; set it to select from Python, observe it to follow the user.
    query
        The text in the search box.

    Examples
    --------
    >>> from tauro_nb.catalog.snapshot import TableSnapshot
    >>> panel = CatalogPanel(CatalogSnapshot("ana", (TableSnapshot("orders", "sql", "duckdb", "shop"),)))
    >>> panel
    <CatalogPanel as ana: 1 source, 1 table>
    >>> panel.search("ordr")
    ['orders']
    """

    _esm = script("catalog.js")
    _css = sheet("catalog.css")

    selected = traitlets.Unicode("").tag(sync=True)
    query = traitlets.Unicode("").tag(sync=True)
    _data = traitlets.Dict().tag(sync=True)
    _notice = traitlets.Unicode("").tag(sync=True)
    _refreshable = traitlets.Bool(False).tag(sync=True)

    def __init__(self, snapshot: CatalogSnapshot, refresh: Callable[[], CatalogSnapshot] | None = None) -> None:
        self._snapshot = snapshot
        self._refresh = refresh
        super().__init__(_data=payload(snapshot), _refreshable=refresh is not None)
        self.on_msg(self._answer)

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The catalog that is shown now."""
        return self._snapshot

    def search(self, query: str) -> list[str]:
        """Type into the search box; return the names that match, tables first, the best first."""
        self.query = visible(query)
        return find(query, self._snapshot)

    def refresh(self) -> None:
        """Show a newer snapshot; a selection that is gone is dropped. Without a `refresh` callable, nothing happens."""
        if self._refresh is None:
            return
        self._snapshot = self._refresh()
        self._data = payload(self._snapshot)
        if self.selected and not self._exists(self.selected):
            self.selected = ""
        self._notice = ""

    def _exists(self, name: str) -> bool:
        return any(
            name == visible(table.name) or name in {visible(f"{table.name}.{c.name}") for c in table.columns}
            for table in self._snapshot.tables
        )

    def _answer(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Serve the front end: `refresh`, or the `details` of one table (its place in `_data["tables"]`)."""
        if content.get("kind") == "refresh":
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001  the panel is the only place where the user can see it
                self._notice = f"Not refreshed: {one_line(error)}"
        elif content.get("kind") == "details":
            tables = [table for group in groups(self._snapshot) for table in group.tables]
            place = content.get("table")
            if isinstance(place, int) and 0 <= place < len(tables):
                self.send({"kind": "details", "table": place, "details": details(tables[place])})

    def to_html(self) -> str:
        """Write the catalog as HTML without a script; a search narrows it."""
        return catalog_html(self._snapshot, self.query)

    def to_text(self) -> str:
        """Write the catalog as plain text; a search narrows it."""
        return catalog_text(self._snapshot, self.query)

    def __repr__(self) -> str:
        sources, tables = len(groups(self._snapshot)), len(self._snapshot.tables)
        who = one_line(self._snapshot.principal)
        return f"<CatalogPanel as {who}: {plural(sources, 'source')}, {plural(tables, 'table')}>"
