"""Proposals for tags: from the names of columns, and from values that whoever asks may see. Nothing is ever applied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from tauro_nb.errors import UsageError
from tauro_nb.query.predicate import select_tree
from tauro_nb.report import Report, Sheet
from tauro_nb.security.detectors import DETECTORS, Detector, by_name
from tauro_nb.security.types import is_integer, is_text
from tauro_nb.text import count, plural

if TYPE_CHECKING:
    import pyarrow as pa

    from tauro_nb.context import VirtualContext

__all__ = ["Classification", "Proposal", "classify"]


@dataclass(frozen=True)
class Proposal:
    """What was found out about one column.

    Parameters
    ----------
    column, type
        The column.
    tags
        Tags it carries already; None where nobody has classified it.
    proposed
        Tags to add; empty where nothing was found.
    kinds
        What it seems to hold.
    because
        What speaks for it: its name, or how many of how many values.
    values
        How many values were looked at; None where whoever asks does not see them as they are.
    """

    column: str
    type: str
    tags: tuple[str, ...] | None
    proposed: tuple[str, ...]
    kinds: tuple[str, ...]
    because: tuple[str, ...]
    values: int | None


@dataclass(frozen=True, repr=False)
class Classification(Report):
    """Proposals for one table. It shows counts and kinds, never a value; `to_yaml()` is for a person to read and keep.

    Parameters
    ----------
    table, asked_by
        Of what, and whose eyes saw the values.
    rows
        How many rows were looked at: the first ones.
    closed
        Columns that nobody classified are denied, because the table's own tags have a policy.
    proposals
        One entry a column.
    """

    table: str
    asked_by: str
    rows: int
    closed: bool
    proposals: tuple[Proposal, ...]

    def sheets(self) -> Sequence[Sheet]:
        """All columns."""
        found = sum(bool(proposal.proposed) for proposal in self.proposals)
        unseen = [proposal.column for proposal in self.proposals if proposal.values is None]
        lead = ["Nothing is applied: keep what is right in `column_tags` of the table."]
        if unseen:
            lead.append(f"Judged by name only, as their values are hidden from {self.asked_by}: {', '.join(unseen)}.")
        if self.closed:
            lead.append("Columns without an entry in `column_tags` are denied here; an empty list is an entry.")
        rows = tuple(
            (
                one.column,
                one.type,
                "not classified" if one.tags is None else ", ".join(one.tags),
                ", ".join(one.proposed),
                "; ".join(one.because),
                one.values,
            )
            for one in self.proposals
        )
        headers = ("column", "type", "tags", "proposed", "because", "values")
        note = f"{plural(found, 'proposal')} from {plural(self.rows, 'row')}, as {self.asked_by}"
        return (Sheet(self.table, note, headers, rows, tuple(lead), right=(5,)),)

    def to_yaml(self) -> str:
        """The proposals as they would stand in a catalog; columns without a finding are comments."""
        lines = ["virtual_tables:", f"  {_key(self.table)}:", "    column_tags:"]
        for one in self.proposals:
            tags = list(dict.fromkeys((*(one.tags or ()), *one.proposed)))
            line = f"{_key(one.column)}: [{', '.join(map(_key, tags))}]"
            why = "; ".join(one.because) if one.proposed else "nothing found"
            settled = one.proposed or one.tags is not None
            lines.append(f"      {line}  # {why}" if settled else f"      # {line}  # {why}")
        return "\n".join(lines) + "\n"


def _key(text: str) -> str:
    """A text as it stands in YAML, quoted where it must be."""
    return str(yaml.safe_dump(text, allow_unicode=True, width=10_000)).removesuffix("...\n").rstrip("\n")


def classify(ctx: VirtualContext, name: str, sample: int) -> Classification:
    """Look at the first rows of a table as the context's principal, and propose tags."""
    if sample < 0:
        raise UsageError(f"a sample of {sample} rows is none.", hint="Give 0 to judge by names only.")
    entry = ctx._entry(name)  # noqa: SLF001 - a part of the context
    table, decision = entry.table, entry.decision
    listed = [column for column in entry.columns if decision.columns[column].access != "denied" or ctx.reads_policies]
    clear = [column for column in listed if decision.columns[column].access == "clear"]
    rows = _sample(ctx, table.name, clear, sample) if clear and sample else None
    tags = {column.casefold(): tuple(found) for column, found in table.column_tags.items()}
    found = {column: _found(column, entry.columns[column], _values(rows, clear, column)) for column in listed}
    about_people = any(not detector.weak for detectors, _ in found.values() for detector in detectors)
    guarded = ctx.security.rules_of(table.name)
    return Classification(
        table.name,
        ctx.principal.name,
        0 if rows is None else rows.num_rows,
        guarded is not None and guarded.parsed.guard is not None and guarded.parsed.guard.closed,
        tuple(
            _proposal(column, entry.columns[column], tags.get(column.casefold()), *found[column], weak=about_people,
                      values=_count(rows, clear, column))
            for column in listed
        ),
    )  # fmt: skip


def _sample(ctx: VirtualContext, table: str, columns: Sequence[str], sample: int) -> pa.Table:
    return ctx.query_parts(select_tree(table, (), columns, sample)).to_arrow()


def _values(rows: pa.Table | None, clear: Sequence[str], column: str) -> list[str]:
    if rows is None or column not in clear:
        return []
    return [str(value).strip() for value in rows.column(clear.index(column)).to_pylist() if value is not None]


def _count(rows: pa.Table | None, clear: Sequence[str], column: str) -> int | None:
    return None if column not in clear else len(_values(rows, clear, column))


def _found(column: str, kind: str, values: Sequence[str]) -> tuple[list[Detector], list[str]]:
    """What speaks for what, by the name and by the values."""
    named = by_name(column)
    detectors = [named] if named is not None else []
    because = [f"{named.kind}: its name"] if named is not None else []
    for detector in DETECTORS:
        if detector.matches is None or not (is_text(kind) or (detector.numbers and is_integer(kind))):
            continue
        matched = sum(map(detector.matches, values))
        if matched and matched >= detector.share * len(values):
            because.append(f"{detector.kind}: {count(matched)} of {plural(len(values), 'value')}")
            detectors.append(detector)
    return detectors, because


def _proposal(
    column: str,
    kind: str,
    tags: tuple[str, ...] | None,
    detectors: Iterable[Detector],
    because: Sequence[str],
    *,
    weak: bool,
    values: int | None,
) -> Proposal:
    counted = [detector for detector in detectors if weak or not detector.weak]
    carried = {tag.casefold() for tag in tags or ()}
    proposed = dict.fromkeys(tag for detector in counted for tag in detector.tags if tag not in carried)
    kinds = tuple(dict.fromkeys(detector.kind for detector in counted))
    return Proposal(column, kind, tags, tuple(proposed), kinds, tuple(because) if counted else (), values)
