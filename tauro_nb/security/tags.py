"""Tags: which columns of a table the policies of tags rule, and which nobody has classified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tauro_nb.security.compose import ColumnRule
from tauro_nb.security.digest import content_hash
from tauro_nb.security.policy import TagPolicy

__all__ = ["Labels", "TagCatalog", "TagGuard", "guard_signature", "make_guard"]

Labels = tuple[Sequence[str], Mapping[str, Sequence[str]]]
"""The tags of a table, and those of its columns."""


class TagCatalog(Protocol):
    """Where the tags of tables are kept."""

    def labels(self, name: str) -> Labels | None:
        """Tags of a table and of its columns; None when there is no such table."""
        ...

    def names(self) -> Iterable[str]:
        """All tables."""
        ...


@dataclass(frozen=True)
class TagGuard:
    """What tags with a policy say of one table.

    Parameters
    ----------
    closed
        The table carries such a tag: columns that nobody classified are denied.
    classified
        Columns with an entry in `column_tags`, an empty one too; in lower case.
    rules
        Column in lower case -> the rules of its tags.
    names
        Column in lower case -> as it is written.
    content_hash
        A digest of all of this.
    """

    closed: bool
    classified: frozenset[str]
    rules: Mapping[str, tuple[ColumnRule, ...]]
    names: Mapping[str, str]
    content_hash: str


def guard_signature(labels: Labels, policies: Mapping[str, TagPolicy]) -> tuple[Any, ...] | None:
    """What `make_guard` makes a guard from, as a value; None where no tag of the table has a policy.

    A tag without a policy is a label and guards nothing.
    """
    tags, column_tags = labels
    columns = tuple((name, tuple(items)) for name, items in tuple(column_tags.items()))
    carried = {tag.casefold() for tag in tags} | {tag.casefold() for _, items in columns for tag in items}
    used = tuple((tag, policies[tag].signature()) for tag in sorted(carried) if tag in policies)
    return (tuple(tags), columns, used) if used else None


def make_guard(labels: Labels, policies: Mapping[str, TagPolicy]) -> TagGuard:
    """Bring the tags of a table and the policies of tags together.

    Raises
    ------
    PolicyError
        The mask of one of them is wrong.

    Examples
    --------
    >>> guard = make_guard((["pii"], {"id": [], "Email": ["PII"]}), {"pii": TagPolicy("pii", mask="null")})
    >>> guard.closed, sorted(guard.classified), list(guard.rules)
    (True, ['email', 'id'], ['email'])
    """
    tags, column_tags = labels
    rules: dict[str, tuple[ColumnRule, ...]] = {}
    for column, items in column_tags.items():
        ruled = dict.fromkeys(tag.casefold() for tag in items if tag.casefold() in policies)
        if ruled:
            rules[column.casefold()] = tuple(
                ColumnRule.of(policies[tag].rule_for(column), f"tag `{policies[tag].tag}`") for tag in ruled
            )
    closed = any(tag.casefold() in policies for tag in tags)
    digest = [closed, sorted(column.casefold() for column in column_tags)]
    digest += [(column, [source.rule for source in found]) for column, found in sorted(rules.items())]
    return TagGuard(
        closed,
        frozenset(column.casefold() for column in column_tags),
        rules,
        {column.casefold(): column for column in column_tags},
        content_hash(digest),
    )
