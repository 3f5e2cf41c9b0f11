"""Random policies, each beside what it must come to: written as SQL by hand, over the raw rows, for plain DuckDB.

A rule is a pair: what the policy says (in the words of DuckDB, MySQL or PostgreSQL), and what an oracle makes of it.
The composition of roles, names, tenants and purposes is written a second time here, from the documents alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tauro_nb.security import FieldSecurityPolicy, Principal, TableSecurityPolicy
from tests.random.tables import TABLES, kind_of

__all__ = ["Case", "cases"]

ROLES = ("clerk", "guest", "lead")
TENANT_COLUMNS = {"cities": "country", "rates": "country", "items": "code", "orders": "code"}
ATTRIBUTES = {"city": "Oslo", "number": 7, "cities": ["Rome", "Lima", "Oslo"], "day": "2023-06-01"}

# (what the policy says, what it means); {c} is the column, quoted as each side likes.
_FILTERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "integer": (
        ("{c} > 5", "{c} > 5"),
        ("`{n}` BETWEEN 0 AND 20", "{c} BETWEEN 0 AND 20"),
        ("{c} IS NULL OR {c} < 20", "{c} IS NULL OR {c} < 20"),
        ("MOD({c}, 3) = 1", "{c} % 3 = 1"),
        ("NOT {c} IN (1, 2, 3)", "NOT {c} IN (1, 2, 3)"),
        ("{c} = {{principal.number}}", "{c} = 7"),
        ("coalesce({c}, 0) <> 0", "coalesce({c}, 0) <> 0"),
    ),
    "decimal": (("{c} >= 0", "{c} >= 0"), ("abs({c}) < 500.5", "abs({c}) < 500.5"), ("{c} <> 0 OR {c} IS NULL",) * 2),
    "double": (("{c} > -250.25",) * 2, ("{c} IS NOT NULL",) * 2, ("round({c}, 0) <= 500",) * 2),
    "string": (
        ("{c} = 'Oslo'",) * 2,
        ("{c} LIKE '%a%'",) * 2,
        ("upper({c}) <> 'OSLO'",) * 2,
        ("`{n}` IN ('Oslo', 'Rome', 'A1', 'late')", "{c} IN ('Oslo', 'Rome', 'A1', 'late')"),
        ("{c} ~ '^[A-M]'", "regexp_matches({c}, '^[A-M]')"),
        ("length({c}) > 3",) * 2,
        ("{c} = '{{principal.city}}'", "{c} = 'Oslo'"),
        ("{c} IN ({{principal.cities}})", "{c} IN ('Rome', 'Lima', 'Oslo')"),
        ("{c} IS NULL OR {c} < 'M'",) * 2,
        ("CONCAT({c}, 'x') <> 'Oslox'", "concat({c}, 'x') <> 'Oslox'"),
    ),
    "date": (
        ("{c} >= DATE '2023-04-01'",) * 2,
        ("{c} > '2023-06-01'::date", "{c} > DATE '2023-06-01'"),
        ("YEAR({c}) = 2023", "year({c}) = 2023"),
        ("{c} >= DATE_SUB(DATE '2023-09-01', INTERVAL 3 MONTH)", "{c} >= DATE '2023-06-01'"),
        ("{c} < {{principal.day}}", "{c} < DATE '2023-06-01'"),
    ),
    "timestamp": (("{c} >= TIMESTAMP '2023-05-01 00:00:00'",) * 2, ("EXTRACT(HOUR FROM {c}) < 12",) * 2),
    "boolean": (("{c}",) * 2, ("NOT {c}",) * 2, ("{c} IS TRUE OR {c} IS NULL",) * 2),
}


@dataclass(frozen=True)
class Rule:
    """A condition in the policy's words, and the same for the oracle."""

    says: str
    means: str


@dataclass(frozen=True)
class Mask:
    """A mask as a policy spells it, what it shows, and how strict it is."""

    spec: Mapping[str, Any]
    shows: str
    rank: int
    when: Rule | None = None

    def over(self, column: str) -> str:
        """What is shown of a column: clear only where the condition is definitely false."""
        masked = self.shows.replace("{c}", column)
        return masked if self.when is None else f"CASE WHEN NOT ({self.when.means}) THEN {column} ELSE {masked} END"


def _mask(name: str, shows: str, rank: int, **options: Any) -> Mask:
    return Mask({"mask": name, **({"mask_options": options} if options else {})}, shows, rank)


_PARTIAL = "CASE WHEN {{c}} IS NULL THEN NULL WHEN length({{c}}) >= {least} THEN {shown} ELSE '{pad}' END"
_REPLACED = "CASE WHEN {c} IS NULL THEN NULL WHEN contains({c}, 'a') THEN replace({c}, 'a', '_') ELSE '***' END"
_STARS = "CASE WHEN {c} IS NULL THEN NULL ELSE '***' END"
_EVERY = (_mask("null", "NULL", 5),)
_NUMBERS = (
    *_EVERY,
    _mask("default", "0", 4),
    _mask("constant", "NULL", 4),
    _mask("round", "round({c}, -1)", 1, digits=-1),
    _mask(
        "bucket", "CASE WHEN {c} >= 100 THEN 100 WHEN {c} >= 10 THEN 10 WHEN {c} >= 0 THEN 0 END", 1, edges=[0, 10, 100]
    ),
)
_MASKS: Mapping[str, tuple[Mask, ...]] = {
    "integer": (
        *_NUMBERS,
        Mask({"mask": "constant", "mask_value": 7}, "7", 4),
        _mask("bucket", "{c} - (({c} % 10) + 10) % 10", 1, size=10),
        _mask("expression", "abs({c}) + 1", 2, sql="abs({c}) + 1"),
    ),
    "decimal": (*_NUMBERS, _mask("expression", "- {c}", 2, sql="-{c}")),
    "double": (*_NUMBERS, _mask("bucket", "floor({c} / 100) * 100", 1, size=100)),
    "string": (
        *_EVERY,
        _mask("default", "''", 4),
        _mask("constant", "'***'", 4),
        Mask({"mask": "constant", "mask_value": "it's"}, "'it''s'", 4),
        _mask("redact", _STARS, 2),
        _mask("first4", _PARTIAL.format(least=5, shown="left({c}, 4) || '****'", pad="****"), 2),
        _mask("last4", _PARTIAL.format(least=5, shown="'****' || right({c}, 4)", pad="****"), 2),
        _mask("partial", _PARTIAL.format(least=4, shown="left({c}, 1) || '#' || right({c}, 2)", pad="#"), 2,
              prefix=1, suffix=2, pad="#"),
        _mask("email", _STARS, 2),
        _mask("phone", "CASE WHEN {c} IS NULL THEN NULL ELSE '****' END", 2),
        _mask("ssn", "CASE WHEN {c} IS NULL THEN NULL ELSE '***-**-****' END", 2),
        _mask("regex", _REPLACED, 2, pattern="a", replacement="_"),
        _mask("expression", "upper(left({c}, 2))", 2, sql="upper(left({c}, 2))"),
        _mask("expression", "coalesce({c}, '?') || '!'", 2, sql="coalesce({c}, '?') || '!'"),
    ),
    "date": (
        *_EVERY,
        _mask("default", "DATE '1970-01-01'", 4),
        *(_mask("date_trunc", f"date_trunc('{each}', {{c}})::DATE", 1, unit=each) for each in ("year", "month")),
        _mask("expression", "({c} + INTERVAL 1 DAY)::DATE", 2, sql="{c} + INTERVAL 1 DAY"),
    ),
    "timestamp": (
        *_EVERY,
        _mask("default", "TIMESTAMP '1970-01-01'", 4),
        *(_mask("date_trunc", f"date_trunc('{unit}', {{c}})", 1, unit=unit) for unit in ("quarter", "day", "hour")),
    ),
    "boolean": (
        *_EVERY,
        _mask("default", "false", 4),
        _mask("constant", "NULL", 4),
        _mask("expression", "NOT {c}", 2, sql="NOT {c}"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A field policy: what the policy object is, and what each principal gets of the column."""

    name: str
    denied: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    level: str = "masked"
    others: Mask | None = None
    roles: Mapping[str, Mask] = field(default_factory=dict)

    def policy(self) -> FieldSecurityPolicy:
        """The policy as the product takes it."""
        raw: dict[str, Any] = {"allowed_roles": list(self.allowed), "denied_roles": list(self.denied)}
        raw["role_masks"] = {role: _spelled(mask, self.name) for role, mask in self.roles.items()}
        if self.level == "restricted":
            raw["access_level"] = "restricted"
        elif self.others is not None:
            raw |= _spelled(self.others, self.name)
        return FieldSecurityPolicy.from_mapping(self.name, raw)

    def shown(self, who: frozenset[str], quoted: str) -> str | None:
        """The oracle's expression for somebody; None when the column is denied."""
        if who & set(self.denied):
            return None
        own = [mask for role, mask in self.roles.items() if role in who]
        if own:
            return max(own, key=lambda mask: mask.rank).over(quoted)
        if who & set(self.allowed):
            return quoted
        if self.level == "restricted":
            return None
        if self.others is not None:
            return self.others.over(quoted)
        return None if self.allowed or self.roles else quoted


def _spelled(mask: Mask, column: str) -> dict[str, Any]:
    spec = {**mask.spec, **({"when": mask.when.says} if mask.when is not None else {})}
    options = spec.get("mask_options", {})
    if "sql" in options:
        spec["mask_options"] = {"sql": options["sql"].replace("{c}", column)}
    return spec


@dataclass(frozen=True)
class Table:
    """One table's policy."""

    name: str
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    tenant_column: str | None = None
    permissive: Mapping[str, Rule | None] = field(default_factory=dict)
    restrictive: Mapping[str, Rule] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()

    def policy(self) -> TableSecurityPolicy:
        """The policy as the product takes it."""
        return TableSecurityPolicy(
            self.name,
            allowed_roles=list(self.allowed),
            denied_roles=list(self.denied),
            purposes=list(self.purposes),
            tenant_column=self.tenant_column,
            row_level_filters={role: rule.says if rule else "" for role, rule in self.permissive.items()},
            restrictive_filters={role: rule.says for role, rule in self.restrictive.items()},
            field_policies={column.name: column.policy() for column in self.columns},
        )

    def seen(self, principal: Principal) -> str | None:
        """What somebody sees, as a query over `raw`; None when the table is closed to them."""
        who = frozenset(principal.identities)
        closed = self.denied and who & set(self.denied)
        closed = closed or (self.allowed and not who & set(self.allowed))
        closed = closed or (self.purposes and principal.purpose not in self.purposes)
        closed = closed or (self.tenant_column and principal.tenant is None)
        matching = [rule for role, rule in self.permissive.items() if role in who]
        if closed or (self.permissive and not matching):
            return None
        conditions = [rule.means for role, rule in self.restrictive.items() if role in who]
        if matching and None not in matching:
            conditions.append(" OR ".join(f"({rule.means})" for rule in matching if rule is not None))
        if self.tenant_column:
            conditions.append(f"\"{self.tenant_column}\" = '{principal.tenant}'")
        ruled = {column.name: column for column in self.columns}
        selects = []
        for name, kind in TABLES[self.name].items():
            shown = ruled[name].shown(who, f'"{name}"') if name in ruled else f'"{name}"'
            if shown is not None:
                selects.append(f'CAST({shown} AS {kind}) AS "{name}"')
        if not selects:
            return None
        where = " AND ".join(f"({condition})" for condition in conditions) or "true"
        return f'SELECT {", ".join(selects)} FROM raw."{self.name}" WHERE {where}'


@dataclass(frozen=True)
class Case:
    """Policies for some tables, and who asks."""

    tables: tuple[Table, ...]
    principal: Principal


@st.composite
def _rules(draw: st.DrawFn, table: str) -> Rule:
    """A condition over one column, or two of them joined."""
    parts = []
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        name = draw(st.sampled_from(sorted(TABLES[table])))
        says, means = draw(st.sampled_from(_FILTERS[kind_of(TABLES[table][name])]))
        parts.append((says.format(c=name, n=name), means.format(c=f'"{name}"', n=name)))
    joint = draw(st.sampled_from((" AND ", " OR ")))
    says, means = (joint.join(f"({part[side]})" for part in parts) for side in (0, 1))
    # No dialect has all of them, and MySQL's length is one of bytes.
    mixed = any(word in says for word in ("~", "::", "length("))
    return Rule(says.replace("`", "") if mixed else says, means)


@st.composite
def _columns(draw: st.DrawFn, table: str, name: str) -> Column:
    masks = st.sampled_from(_MASKS[kind_of(TABLES[table][name])])
    subset = st.lists(st.sampled_from(ROLES), unique=True, max_size=1).map(tuple)
    level = draw(st.sampled_from(("masked",) * 6 + ("restricted", "listed")))
    when = draw(_rules(table)) if draw(st.integers(0, 4)) == 0 else None
    other = draw(masks)
    others = Mask(other.spec, other.shows, other.rank, when) if level == "masked" else None
    roles: dict[str, Mask] = {}
    for role in draw(st.lists(st.sampled_from(ROLES), unique=True, max_size=2)) if draw(st.booleans()) else ():
        mask = draw(masks)
        # Two different masks of one rank that a person can meet are an error when they are registered.
        if all(mask.rank != known.rank for known in roles.values()):
            roles[role] = mask
    denied = draw(subset) if draw(st.integers(0, 5)) == 0 else ()
    return Column(name, denied, draw(subset), level, others, roles)


@st.composite
def _tables(draw: st.DrawFn, name: str) -> Table:
    some = st.lists(st.sampled_from(ROLES), unique=True, max_size=2)
    rare = st.integers(0, 7)
    permissive = {
        role: draw(_rules(name)) if draw(st.integers(0, 4)) else None
        for role in draw(st.lists(st.sampled_from((*ROLES, "ann")), unique=True, max_size=3))
    }
    ruled = draw(st.lists(st.sampled_from(sorted(TABLES[name])), unique=True, max_size=4))
    return Table(
        name,
        allowed=tuple(draw(some)) if draw(rare) == 0 else (),
        denied=tuple(draw(some)[:1]) if draw(rare) == 0 else (),
        purposes=("audit",) if draw(rare) == 0 else (),
        tenant_column=TENANT_COLUMNS.get(name) if draw(rare) == 0 else None,
        permissive=permissive,
        restrictive={role: draw(_rules(name)) for role in draw(some)} if draw(st.integers(0, 2)) == 0 else {},
        columns=tuple(draw(_columns(name, column)) for column in ruled),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Policies of up to five tables, and a principal who holds one to three roles."""
    names = draw(st.lists(st.sampled_from(sorted(TABLES)), unique=True, min_size=1, max_size=5))
    principal = Principal(
        draw(st.sampled_from(("ann", "bob"))),
        frozenset(draw(st.lists(st.sampled_from(ROLES), unique=True, min_size=1, max_size=3))),
        ATTRIBUTES,
        tenant=draw(st.sampled_from((None, "NO", "A1", "IT"))),
        purpose=draw(st.sampled_from((None, "audit", "audit"))),
    )
    return Case(tuple(draw(_tables(name)) for name in names), principal)
