"""Reports: titled tables that are text, HTML and a pandas frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tauro_nb.html import Html, el, fragment, style
from tauro_nb.html import table as html_table
from tauro_nb.text import one_line, text_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Report", "Sheet", "page"]

_WIDEST = 110


def page(title: str, note: str, *children: object) -> str:
    """An HTML page of the project's: a title, a note behind it, and what is below.

    >>> page("Audit", "no records").endswith('class="t-dim">no records</span></div></div>')
    True
    """
    head = el("div", el("p", title, class_="t-title"), el("span", note, class_="t-dim"), class_="t-head")
    return str(el("div", style(), head, *children, class_="tauro"))


@dataclass(frozen=True)
class Sheet:
    """A table with a title and sentences above it.

    Parameters
    ----------
    title, note
        What it is, and in what state.
    headers, rows
        The table; without rows it is left out.
    lead
        Sentences above the table.
    right
        Positions of numbers.
    badges
        (Position, text of the cell) -> a badge for HTML; what is not in it is text.

    Examples
    --------
    >>> print(Sheet("Roles", "of ana", ("role",), (("analyst",),)).text)
    Roles: of ana
    <BLANKLINE>
    role
    -------
    analyst
    """

    title: str
    note: str
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    lead: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    badges: dict[tuple[int, str], Html] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """As plain text."""
        lines = [f"{self.title}: {self.note}" if self.note else self.title, *map(one_line, self.lead)]
        if self.rows:
            lines += ["", text_table(self.rows, self.headers, right=self.right, limit=_WIDEST)]
        return "\n".join(lines)

    @property
    def body(self) -> Html:
        """As HTML, without the title."""
        rows = [
            tuple(self.badges.get((position, str(cell)), cell) for position, cell in enumerate(row))
            for row in self.rows
        ]
        table = html_table(rows, self.headers, numeric=self.right, null="", max_chars=400) if rows else None
        return fragment([el("p", sentence) for sentence in self.lead], table)

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas frame."""
        import pandas as pd

        return pd.DataFrame([list(row) for row in self.rows], columns=list(self.headers))


class Report:
    """Something to look at that is made of sheets; the first one is its frame."""

    def sheets(self) -> Sequence[Sheet]:
        """The tables, the most important one first."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n\n".join(sheet.text for sheet in self.sheets())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        first, *rest = self.sheets()
        below: Iterable[Html] = (
            fragment(el("p", sheet.title, class_="t-title"), el("p", sheet.note, class_="t-dim"), sheet.body)
            for sheet in rest
        )
        return page(first.title, first.note, first.body, *below)

    def to_pandas(self) -> pd.DataFrame:
        """The first table as a pandas frame."""
        return self.sheets()[0].to_pandas()
