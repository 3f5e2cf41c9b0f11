"""The catalog without a widget: script-free HTML and plain text."""

from __future__ import annotations

from typing import Final

from tauro_nb.catalog.snapshot import CatalogSnapshot, ColumnSnapshot, SourceSnapshot, TableSnapshot
from tauro_nb.html import Html, badge, details, el, fragment, style, table
from tauro_nb.text import clip, count, one_line, plural, text_table
from tauro_nb.widgets.catalog_data import Group, groups, marks, matches_column, matches_table

__all__ = ["catalog_html", "catalog_text", "column_mark"]

# A saved notebook grows with these; the rest is a search away.
_TABLES: Final = 60
_COLUMNS: Final = 240

STATUS: Final = {"idle": ("○", ""), "connected": ("●", "ok"), "down": ("✕", "bad")}
_COLUMN: Final = {"clear": ("", "", ""), "masked": ("◐", "masked", "warn"), "denied": ("⊘", "denied", "bad")}


def column_mark(column: ColumnSnapshot) -> tuple[str, str, str]:
    """Return (glyph, words, tone) for what the principal gets of a column.

    >>> column_mark(ColumnSnapshot("email", "VARCHAR", "masked", "email"))
    ('◐', 'masked: email', 'warn')
    """
    glyph, words, tone = _COLUMN[column.access]
    return glyph, f"{words}: {column.mask}" if column.mask and column.access == "masked" else words, tone


def _narrow(snapshot: CatalogSnapshot, query: str) -> tuple[Group, ...]:
    if not query.strip():
        return groups(snapshot)
    kept = tuple(
        table
        for table in snapshot.tables
        if matches_table(query, table) or any(matches_column(query, column.name) for column in table.columns)
    )
    found = groups(CatalogSnapshot(snapshot.principal, kept, snapshot.sources))
    return tuple(group for group in found if group.tables)


def _summary(snapshot: CatalogSnapshot, shown: tuple[Group, ...], query: str) -> str:
    tables = sum(len(group.tables) for group in shown)
    if query.strip():
        return f"{tables:,} of {plural(len(snapshot.tables), 'table')} match “{one_line(query)}”"
    return f"{plural(len(shown), 'source')}, {plural(tables, 'table')}"


def _columns(item: TableSnapshot, room: int) -> Html:
    if not item.columns:
        return el("p", "No columns." if item.schema_known else "Columns have not been read yet.", class_="t-dim")
    if room <= 0:
        return el("p", plural(len(item.columns), "column"), class_="t-dim")
    shown, more = item.columns[:room], len(item.columns) - room
    caption = f"… and {plural(more, 'more column')}" if more > 0 else None
    headers = ["column", "type", "for me", "description"][: 4 if any(column.description for column in shown) else 3]
    rows = [(el("code", c.name), el("code", c.type), _mine(c), c.description)[: len(headers)] for c in shown]
    return table(rows, headers, caption=caption)


def _mine(column: ColumnSnapshot) -> Html:
    glyph, words, tone = column_mark(column)
    return badge(glyph, words, tone) if words else el("span", "clear", class_="t-dim")


def _table(item: TableSnapshot, room: int) -> Html:
    summary = fragment(
        el("code", item.name),
        [fragment(" ", badge(glyph, words, tone)) for glyph, words, tone in marks(item)],
        el("span", f" ~{count(item.row_count)} rows", class_="t-dim") if item.row_count is not None else None,
    )
    prose = el("p", item.description) if item.description else None
    tags = el("p", [fragment(badge("#", tag), " ") for tag in item.tags]) if item.tags else None
    reason = el("p", badge("⊘", "denied", "bad"), " ", item.reason) if item.access == "denied" else None
    return details(summary, prose, tags, reason or _columns(item, room), class_="t-item")


def _source(source: SourceSnapshot, tables: int) -> Html:
    glyph, tone = STATUS[source.status]
    return fragment(
        el("b", source.id), " ", badge(glyph, source.status, tone),
        el("span", f" {source.type}, {plural(tables, 'table')}", class_="t-dim"),
    )  # fmt: skip


def catalog_html(snapshot: CatalogSnapshot, query: str = "") -> str:
    """Write the catalog as nested foldable parts: no script, no ids, no times.

    Parameters
    ----------
    snapshot
        What the principal may know.
    query
        Shows only the tables that match.

    Examples
    --------
    >>> "<script" in catalog_html(CatalogSnapshot("<script>"))
    False
    """
    shown = _narrow(snapshot, query)
    parts, tables, columns = [], _TABLES, _COLUMNS
    for source, items in shown:
        listed = items[: max(tables, 0)]
        body = []
        for item in listed:
            body.append(_table(item, columns))
            columns -= len(item.columns)
        tables -= len(listed)
        more = len(items) - len(listed)
        rest = el("p", f"… and {plural(more, 'more table')}: search by name", class_="t-dim t-item") if more else None
        parts.append(details(_source(source, len(items)), body, rest, opened=True))
    head = el(
        "div",
        el("p", "Catalog", class_="t-title"),
        el("span", "as ", el("b", snapshot.principal), class_="t-dim"),
        el("span", _summary(snapshot, shown, query), class_="t-dim"),
        class_="t-head",
    )
    return str(el("div", style(), style(".tauro .t-item{margin-left:18px}"), head, parts, class_="tauro"))


def catalog_text(snapshot: CatalogSnapshot, query: str = "") -> str:
    """Write the catalog as plain text, one table a line.

    >>> print(catalog_text(CatalogSnapshot("ana", (), (SourceSnapshot("crm", "postgresql"),))))
    Catalog as ana: 1 source, 0 tables
    <BLANKLINE>
    ○ crm (postgresql, idle)
    """
    shown = _narrow(snapshot, query)
    parts = [f"Catalog as {one_line(snapshot.principal)}: {_summary(snapshot, shown, query)}"]
    room = _TABLES
    for source, items in shown:
        listed = items[: max(room, 0)]
        room -= len(listed)
        lines = [f"{STATUS[source.status][0]} {one_line(source.id)} ({one_line(source.type)}, {source.status})"]
        if listed:
            grid = text_table([_row(item) for item in listed], ["table", "rows", "columns", "for me"], right=[1, 2])
            lines += [f"  {line}" for line in grid.splitlines()]
        if len(items) > len(listed):
            lines.append(f"  … and {plural(len(items) - len(listed), 'more table')}: search by name")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _row(item: TableSnapshot) -> tuple[str, str, str, str]:
    mine = ", ".join(f"{glyph} {words}" for glyph, words, _ in marks(item))
    if item.access == "denied" and item.reason:
        mine = clip(f"{mine}: {one_line(item.reason)}", 60)
    rows = "" if item.row_count is None else f"~{count(item.row_count)}"
    return item.name, rows, str(len(item.columns)) if item.schema_known else "?", mine
