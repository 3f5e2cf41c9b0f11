"""What the magics show that is no panel: connections, one table, audit records, a dry run. As text and as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tauro_nb.catalog.snapshot import SYSTEM
from tauro_nb.html import Html, badge, code, el
from tauro_nb.html import table as html_table
from tauro_nb.report import page
from tauro_nb.text import count, one_line, plural, size, text_table

if TYPE_CHECKING:
    from tauro_nb.browse import TableDescription
    from tauro_nb.catalog.snapshot import CatalogSnapshot, ColumnSnapshot, TableSnapshot
    from tauro_nb.magics.session import Session
    from tauro_nb.query.plan import QueryPlan
    from tauro_nb.security.audit import AuditLog

__all__ = ["Shown", "audit", "connected", "connections", "described", "dry_run", "note"]


@dataclass(frozen=True)
class Shown:
    """Something to look at; `value` is what it was made from."""

    text: str
    html: str
    value: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def note(text: str) -> Shown:
    """One sentence."""
    return Shown(text, str(el("div", text)))


def _grid(title: str, note: str, rows: Sequence[Sequence[object]], headers: Sequence[str], **looks: Any) -> Shown:
    """A titled table, as text and as HTML; `right` are the positions of numbers, `value` what it shows."""
    right = looks.get("right", ())
    text = f"{title}: {note}" if note else title
    if rows:
        text += "\n\n" + text_table(rows, headers, right=right)
    table = html_table(rows, headers, numeric=right, null="") if rows else None
    return Shown(text, page(title, note, table), looks.get("value"))


def connections(session: Session) -> Shown:
    """Every connection; the current one is marked."""
    rows = []
    for alias, connection in session.connections.items():
        catalog = connection.context.catalog()
        mark = "current" if alias == session.current else ""
        rows.append((alias, catalog.principal, len(_own(catalog)), mark))
    note = plural(len(rows), "catalog") if rows else "none; run `%vconnect catalog.yaml`"
    return _grid("Connections", note, rows, ["alias", "as", "tables", ""], right=[2], value=dict(session.connections))


def connected(alias: str, catalog: CatalogSnapshot) -> str:
    """One line about a new connection."""
    tables = _own(catalog)
    sources = {table.connection_id or table.connector_type for table in tables if table.source_type != "VIEW"}
    closed = sum(table.access == "denied" for table in tables)
    denied = f" ({closed} denied)" if closed else ""
    found = f"{plural(len(tables), 'table')}{denied} from {plural(len(sources), 'source')}"
    return f"Connected `{alias}` as {one_line(catalog.principal)}: {found}."


def _own(catalog: CatalogSnapshot) -> list[TableSnapshot]:
    """The tables of the catalog, without those of the system."""
    return [table for table in catalog.tables if table.connector_type != SYSTEM]


def _for_me(column: ColumnSnapshot) -> str:
    return f"masked ({column.mask})" if column.access == "masked" and column.mask else column.access


def described(description: TableDescription, principal: str) -> Shown:
    """One table: what it is, its columns as this principal sees them, where it stands."""
    table = description.table
    facts = [
        ("for me", "rows filtered" if table.row_filtered else "all rows"),
        ("source", " ".join(filter(None, (table.connector_type or "view", table.connection_id)))),
        ("tags", ", ".join(table.tags)),
        ("made from", ", ".join(description.upstream)),
        ("used by", ", ".join(name for name in description.downstream if not name.startswith("query "))),
    ]
    facts = [(name, one_line(value)) for name, value in facts if value]
    rows = [(column.name, column.type, _for_me(column), column.description) for column in table.columns]
    headers = ["column", "type", "for me", "description"]
    if not any(row[3] for row in rows):
        rows, headers = [row[:3] for row in rows], headers[:3]  # type: ignore[misc]  # a column less
    lines = [f"{table.name} as {one_line(principal)}", *([one_line(table.description)] if table.description else [])]
    text = "\n".join([*lines, *(f"{name}: {value}" for name, value in facts)]) + "\n\n" + text_table(rows, headers)
    cells = [(code(name), code(kind), _badge(mine), *rest) for name, kind, mine, *rest in rows]
    prose = [
        el("p", table.description) if table.description else None,
        el("p", [[" · " if index else "", el("span", f"{name} ", class_="t-dim"), value]
                 for index, (name, value) in enumerate(facts)]),
    ]  # fmt: skip
    return Shown(text, page(table.name, f"as {principal}", prose, html_table(cells, headers)), description)


def _badge(access: str) -> Html:
    """What is clear needs no badge."""
    if access == "clear":
        return el("span", access, class_="t-dim")
    return badge("⊘", access, "bad") if access == "denied" else badge("◐", access, "warn")


def audit(logs: Iterable[AuditLog], *, verbose: bool = False) -> Shown:
    """Audit records; when and how long only when asked for, so that a notebook shows the same every time."""
    shown = list(logs)
    headers = ["principal", "table", "columns", "rows", "status", "reason"]
    rows: list[tuple[object, ...]] = [
        (log.principal, log.table_name, ", ".join(log.field_names), log.row_count, log.status, log.denial_reason)
        for log in shown
    ]
    if verbose:
        headers += ["at (UTC)", "ms", "query"]
        rows = [(*row, *_moment(log)) for row, log in zip(rows, shown, strict=True)]
    return _grid("Audit", plural(len(shown), "record"), rows, headers, right=[3], value=shown)


def _moment(log: AuditLog) -> tuple[object, ...]:
    took = None if log.duration_ms is None else round(log.duration_ms)
    return f"{log.timestamp:%Y-%m-%d %H:%M:%S}", took, log.query_id[:8]


def dry_run(plan: QueryPlan, catalog: CatalogSnapshot) -> Shown:
    """What would be asked of whom, and which policies would hold."""
    rows = [
        (part.source, ", ".join(part.tables), count(part.estimated_rows), size(part.estimated_bytes), part.sql)
        for part in plan.fragments
    ]
    policies = [line for table in catalog.tables for line in _policies(table, plan.columns.get(table.name))]
    note = f"valid for {one_line(plan.principal)}; nothing ran"
    base = _grid("Dry run", note, rows, ["source", "tables", "rows", "bytes", "asked"], right=[2, 3], value=plan)
    if not policies:
        return base
    text = "\n".join([base.text, "", "policies", *(f"  {line}" for line in policies)])
    listed = el("p", "Policies"), el("ul", [el("li", line) for line in policies])
    return Shown(text, base.html.removesuffix("</div>") + "".join(map(str, listed)) + "</div>", plan)


def _policies(table: TableSnapshot, used: Sequence[str] | None) -> Iterator[str]:
    """What the policy of a table does to a query that uses some of its columns."""
    if used is None:
        return
    masked = [column.name for column in table.columns if column.access == "masked" and column.name in used]
    held = ["rows filtered"] * table.row_filtered + [f"masked: {', '.join(masked)}"] * bool(masked)
    if held:
        yield f"{table.name}: {'; '.join(held)}"
