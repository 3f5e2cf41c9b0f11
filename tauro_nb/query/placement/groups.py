"""Which relations of one source cost less asked for together, or aggregated there, than one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from tauro_nb.query.placement.alike import pair_of
from tauro_nb.query.placement.cost import LOOKUPS, WORKED_ROW, Rates, asked, scanned
from tauro_nb.query.placement.early import Early, Reads, early
from tauro_nb.query.placement.estimate import Estimator, is_decimal
from tauro_nb.query.trees import every, owner_of

if TYPE_CHECKING:
    from tauro_nb.sources.base import Source

__all__ = ["Group", "RatesOf", "Site", "Weigher"]

_JOIN_WORK: Final = 0.25e-6
"""Seconds that a source needs for a row that it joins."""
_LIGHTER: Final = 0.7
"""What moves so much less may take a little longer here: other links are slower than this one."""
_SLOWER: Final = 1.2
_DEPTH: Final = 3
"""Over so many joins a restriction is followed."""
_FEW: Final = 0.7
"""Keys that are a larger part of a column's values are not sent."""
_CONSTANTS: Final = 100.0
_MANY: Final = 50_000.0
"""Rows of a relation whose keys are better sent than joined there, and of what it leaves rows out of."""
_PARTIAL_BYTES: Final = 18.0
"""On the wire, of a partial result."""

RatesOf = Callable[["Source"], Rates]
Site = Callable[[exp.Expr], "Source | None"]


@dataclass(frozen=True)
class Group:
    """Relations of one source that are asked for together; `conditions` speak of nothing else."""

    aliases: tuple[str, ...]
    source: Source
    conditions: tuple[exp.Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class _Price:
    seconds: float
    volume: float

    def is_better(self, other: _Price) -> bool:
        lighter = self.volume < other.volume * _LIGHTER and self.seconds < other.seconds * _SLOWER
        return self.seconds < other.seconds or lighter

    def __add__(self, other: _Price) -> _Price:
        return _Price(self.seconds + other.seconds, self.volume + other.volume)


@dataclass(frozen=True, slots=True)
class _Share:
    """The part of a relation's rows that meet a partner, and the keys that say which."""

    left: float = 1.0
    keys: float = 0.0
    partner: str = ""


@dataclass(frozen=True)
class Weigher:
    """Compares what groups of relations of a SELECT cost apart and together.

    Parameters
    ----------
    parts
        Conditions that hold of every row of the joins, those that follow from others last (`implied`).
    """

    select: exp.Select
    around: Mapping[str, exp.Expr]
    parts: tuple[exp.Expr, ...]
    implied: tuple[exp.EQ, ...]
    estimator: Estimator
    rates: RatesOf
    _partners: dict[str, list[tuple[exp.Column, exp.Column]]] = field(default_factory=dict, repr=False)
    _prices: dict[tuple[str, ...], _Price] = field(default_factory=dict, repr=False)
    _gains: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[float, Group] | None] = field(
        default_factory=dict, repr=False
    )
    _shares: dict[tuple[str, frozenset[str], int], _Share] = field(default_factory=dict, repr=False)

    @cached_property
    def reads(self) -> Reads:
        """What the SELECT aggregates and reads: it is not changed while it is weighed."""
        return Reads.of(self.select)

    def __post_init__(self) -> None:
        for left, right in filter(None, map(pair_of, (*self.parts, *self.implied))):
            for own, other in ((left, right), (right, left)):
                if owner_of(other) in self.around:
                    self._partners.setdefault(owner_of(own), []).append((own, other))

    def best(self, groups: list[Group]) -> tuple[Group, Group, Group] | None:
        """The two groups that gain most when they are asked for together."""
        found = []
        for left, right in itertools.combinations(groups, 2):
            key = (left.aliases, right.aliases)
            if key not in self._gains:
                self._gains[key] = self._gain(left, right)
            if (gained := self._gains[key]) is not None:
                found.append((gained[0], left, right, gained[1]))
        return max(found, key=lambda one: one[0])[1:] if found else None

    def _gain(self, left: Group, right: Group) -> tuple[float, Group] | None:
        """How many times less moves when two groups are asked for together, and that group; None if it is no gain."""
        merged = self._merged(left, right) if left.source is right.source else None
        if merged is None or self._guesses(left, right, merged) or self._guesses(right, left, merged):
            return None
        apart, together = self._price(left) + self._price(right), self._price(merged)
        return (apart.volume / max(together.volume, 1.0), merged) if together.is_better(apart) else None

    def early(self, groups: list[Group], is_answered: Callable[[Group, Early], bool]) -> tuple[Group, Early] | None:
        """The group that is better aggregated at its source, if there is one; the lightest for what it was."""
        found = []
        for group in groups:
            whole, before = self._partial(group), self._plain(group)
            if whole is not None and whole[1].is_better(before) and is_answered(group, whole[0]):
                found.append((before.volume - whole[1].volume, group, whole[0]))
        return max(found, key=lambda one: one[0])[1:] if found else None

    def _merged(self, left: Group, right: Group) -> Group | None:
        """The two as one, if an equality that the source decides alike joins them."""
        inside = {*left.aliases, *right.aliases}
        capability = left.source.capability
        assert capability is not None
        own, joined = [], False
        for part in self.parts:
            used = _used(part)
            if not used or not used <= inside or every(part, exp.Query) or capability.refusal(part) is not None:
                continue
            own.append(part)
            joined = joined or (isinstance(part.unnest(), exp.EQ) and _crosses(used, left, right))
        if not joined:
            follows = [pair for pair in self.implied if _used(pair) <= inside and _crosses(_used(pair), left, right)]
            own += [pair for pair in follows if capability.refusal(pair) is None][:1]
            joined = bool(own) and own[-1] in follows
        return Group((*left.aliases, *right.aliases), left.source, tuple(own)) if joined else None

    def _guesses(self, small: Group, large: Group, merged: Group) -> bool:
        """Whether a group does nothing but leave out rows of a much larger one by a few keys, and one more is joined.

        Of keys that it is sent a server knows how many there are; what several joins leave it guesses, and with too
        small a guess it looks up a large table row by row.
        """
        if len(merged.aliases) < 3 or self._rows(small) > _CONSTANTS or self._rows(large) < _MANY:
            return False
        own = {id(column) for part in merged.conditions for column in every(part, exp.Column)}
        read = (column for column in self.reads.columns if owner_of(column) in small.aliases)
        return all(id(column) in own for column in read)

    def _price(self, group: Group) -> _Price:
        if group.aliases not in self._prices:
            plain, partial = self._plain(group), self._partial(group)
            better = partial is not None and partial[1].is_better(plain)
            self._prices[group.aliases] = partial[1] if partial is not None and better else plain
        return self._prices[group.aliases]

    def _plain(self, group: Group) -> _Price:
        """All rows, or those that keys of other relations leave."""
        rates, rows, width = self.rates(group.source), self._rows(group), self._width(group)
        share, keys = self._sent(group)
        work = self._work(group)
        keyed = _Price(asked(rates, rows * share, width, keys) + work, rows * share * width + keys * 8)
        if len(group.aliases) > 1:
            return keyed
        whole = _Price(scanned(rates, rows, width), rows * width)
        return min(whole, keyed, key=lambda price: price.seconds)

    def _partial(self, group: Group) -> tuple[Early, _Price] | None:
        found = early(self.reads, group.aliases, group.conditions)
        capability = group.source.capability
        assert capability is not None
        if found is None or any(capability.refusal(unit) is not None for unit in found.units):
            return None
        share, keys = self._sent(group)
        rows = self._rows(group) * share
        groups = min(self._combinations(group, found.keys), rows)
        width = self._bytes(found.keys) + _PARTIAL_BYTES * len(found.units)
        seconds = asked(self.rates(group.source), groups, width, keys) + self._work(group) + rows * WORKED_ROW
        return found, _Price(seconds, groups * width + keys * 8)

    def _combinations(self, group: Group, keys: tuple[exp.Column, ...]) -> float:
        """How many combinations of columns there are at most: of one relation never more than it has rows."""
        of: dict[str, float] = {}
        homes = [self._homes(group, key) for key in keys]
        counted = Counter(alias for home in homes for alias in home)
        for home in homes:
            # Of columns that are equal the one counts that lies beside most others.
            alias = max(home, key=lambda name: counted[name])
            of[alias] = of.get(alias, 1.0) * self.estimator.distinct_of(home[alias], self.around)
        rows = {alias: self.estimator.rows(self.around[alias]) * self._share(alias, frozenset(group.aliases)).left
                for alias in of}  # fmt: skip
        return math.prod(min(number, max(rows[alias], 1.0)) for alias, number in of.items())

    def _homes(self, group: Group, key: exp.Column) -> dict[str, exp.Column]:
        """A column, and those of the group that are equal to it, by alias."""
        homes = {owner_of(key): key}
        for left, right in filter(None, map(pair_of, group.conditions)):
            if key in (left, right):
                other = right if left == key else left
                homes.setdefault(owner_of(other), other)
        return homes

    def _work(self, group: Group) -> float:
        """Seconds that the source needs to join."""
        if len(group.aliases) < 2:
            return 0.0
        # The source begins with the join that leaves least: its relations reduce each other, too.
        taken = [self.estimator.rows(self.around[alias]) * self._share(alias, frozenset({alias})).left
                 for alias in group.aliases]  # fmt: skip
        joined = self._rows(group) * self._sent(group)[0]
        # From the smaller side an index may lead to its few partners.
        rows = min(sum(taken), LOOKUPS * (min(taken) + joined))
        if self._misleads(group):
            rows += LOOKUPS * joined
        return rows * _JOIN_WORK

    def _misleads(self, group: Group) -> bool:
        """Whether two relations are joined by several columns and others follow.

        Planners take such columns for independent, expect a handful of rows, and look up the next relation row by row.
        """
        crossing = Counter(frozenset((owner_of(left), owner_of(right)))
                           for left, right in filter(None, map(pair_of, group.conditions)))  # fmt: skip
        return len(group.aliases) > 2 and max(crossing.values(), default=0) > 1

    def _rows(self, group: Group) -> float:
        rows = 1.0
        for alias in group.aliases:
            rows *= self.estimator.rows(self.around[alias])
        return max(rows * self.estimator.kept(group.conditions, self.around), 1.0)

    def _sent(self, group: Group) -> tuple[float, float]:
        """The part of the rows that keys of other relations leave, and how many keys that takes, as far as they pay."""
        best: dict[str, _Share] = {}
        for share in (self._share(alias, frozenset(group.aliases)) for alias in group.aliases):
            # Two columns that are equal lose the same rows to one partner.
            best[share.partner] = min(share, best.get(share.partner, share), key=lambda one: one.left)
        rates = self.rates(group.source)
        left, keys = 1.0, 0.0
        each = self._rows(group) * (rates.row + self._width(group) / rates.bandwidth)
        for share in sorted(best.values(), key=lambda one: one.keys):
            if share.keys * rates.key < each * left * (1.0 - share.left):
                left, keys = left * share.left, keys + share.keys
        return left, keys

    def _share(self, alias: str, without: frozenset[str], depth: int = _DEPTH) -> _Share:
        """What the best partner of a relation among those not in `without` leaves of its rows."""
        if (alias, without, depth) not in self._shares:
            self._shares[alias, without, depth] = self._find_share(alias, without, depth)
        return self._shares[alias, without, depth]

    def _find_share(self, alias: str, without: frozenset[str], depth: int) -> _Share:
        best = _Share()
        for own, other in self._partners.get(alias, ()):
            partner = owner_of(other)
            if partner in without or depth == 0:
                continue
            relation = self.around[partner]
            left = self._share(partner, without | {alias}, depth - 1).left
            keys = min(self.estimator.distinct(relation, other.name), self.estimator.rows(relation) * left)
            share = keys / self.estimator.distinct(self.around[alias], own.name)
            if share < min(best.left, _FEW):
                best = _Share(share, keys, partner)
        return best

    def _width(self, group: Group) -> float:
        """Bytes of the columns that are needed outside of the group."""
        inside = {id(column) for part in group.conditions for column in every(part, exp.Column)}
        return self._bytes(
            column for column in self.reads.columns if owner_of(column) in group.aliases and id(column) not in inside
        )

    def _bytes(self, columns: Iterator[exp.Column] | tuple[exp.Column, ...]) -> float:
        read = {(owner_of(column), column.name): column for column in columns}
        return sum(
            self.estimator.width(self.around[alias], {name: "DECIMAL" if is_decimal(column) else ""})
            for (alias, name), column in read.items()
        )


def _used(part: exp.Expr) -> set[str]:
    return {owner_of(column) for column in every(part, exp.Column)}


def _crosses(used: set[str], left: Group, right: Group) -> bool:
    return bool(used & set(left.aliases)) and bool(used & set(right.aliases))
