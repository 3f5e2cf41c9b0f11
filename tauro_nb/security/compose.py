"""What several rules about one column come to: deny, then encrypt, then mask, then allow; the strictest mask first.

Pure: nothing here knows SQL, types or values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import Any

from tauro_nb.errors import PolicyError
from tauro_nb.security.decision import Access
from tauro_nb.security.digest import canonical
from tauro_nb.security.levels import AccessLevel
from tauro_nb.security.masks import Masker, choose_mask
from tauro_nb.security.policy import FieldSecurityPolicy
from tauro_nb.security.policy_reading import MASK_READERS, read_values
from tauro_nb.security.principal import EVERYBODY, Principal

__all__ = ["ColumnRule", "MaskRule", "Ruling", "check_ties", "masks_of", "rule_on", "strictest"]

_STRICTNESS: Mapping[Access, int] = MappingProxyType({"clear": 0, "masked": 1, "encrypted": 2, "denied": 3})


@dataclass(frozen=True)
class MaskRule:
    """One mask that applies to some people.

    Parameters
    ----------
    masker
        The mask.
    identity
        Equal for masks that do the same.
    when
        Text of the condition, or None.
    origin
        Where it is from, in words.
    role
        For whom; None for everybody whom nothing else mentions.
    spares
        Whoever holds one of these does not meet it.
    """

    masker: Masker
    identity: str
    when: str | None
    origin: str
    role: str | None
    spares: frozenset[str]


@dataclass(frozen=True)
class Ruling:
    """What rules say of one column to one principal.

    Parameters
    ----------
    access
        What is left of the column.
    says
        Why, in words without the policy's text.
    masks
        Those that apply when `access` is `masked`, strictest first.
    rule
        The field policy that decided, where one did.
    """

    access: Access
    says: str
    masks: tuple[MaskRule, ...] = ()
    rule: FieldSecurityPolicy | None = None


@dataclass(frozen=True)
class ColumnRule:
    """A field policy, and where it comes from: the table's own policy (no origin) or a tag."""

    rule: FieldSecurityPolicy
    origin: str = ""
    role_masks: tuple[MaskRule, ...] = field(default=())

    @classmethod
    def of(cls, rule: FieldSecurityPolicy, origin: str = "") -> ColumnRule:
        """Read the masks of the rule.

        Raises
        ------
        PolicyError
            One of them is wrong.
        """
        denied = frozenset(rule.denied_roles)
        masks = tuple(
            _mask_rule(rule, _role_mask(rule, role, raw), origin, role, denied) for role, raw in rule.role_masks.items()
        )
        return cls(rule, origin, masks)

    def mask_for_others(self) -> MaskRule:
        """The mask for those whom the rule does not mention."""
        rule = self.rule
        spares = frozenset((*rule.allowed_roles, *rule.denied_roles, *rule.role_masks))
        return _mask_rule(rule, rule.__dict__, self.origin, None, spares)


@dataclass(frozen=True, slots=True)
class _Level:
    """What roles that are not mentioned get of a column, and the words for it."""

    applies: Callable[[FieldSecurityPolicy, bool], bool]
    access: Access
    says: str


# The strictest first. Roles listed without saying what the others get: they get nothing.
_LEVELS: tuple[_Level, ...] = (
    _Level(lambda rule, _: rule.access_level is AccessLevel.RESTRICTED, "denied", "restricted to {roles}"),
    _Level(
        lambda rule, all_encrypted: (
            all_encrypted
            or rule.encryption_enabled
            or rule.access_level is AccessLevel.ENCRYPTED
            or rule.encrypted_at == "source"
        ),
        "encrypted",
        "encrypted except for {roles}",
    ),
    _Level(
        lambda rule, _: (
            rule.masking_enabled
            or rule.mask is not None
            or rule.mask_value is not None
            or rule.when is not None
            or bool(rule.mask_options)
            or rule.access_level is AccessLevel.MASKED
        ),
        "masked",
        "masked except for {roles}",
    ),
    _Level(lambda rule, _: bool(rule.allowed_roles) or bool(rule.role_masks), "denied", "allowed for {roles} only"),
)


def rule_on(source: ColumnRule, principal: Principal, *, all_encrypted: bool = False) -> Ruling:
    """What one rule says to one principal.

    Examples
    --------
    >>> rule = ColumnRule.of(FieldSecurityPolicy("ssn", allowed_roles=["hr"], role_masks={"support": {"mask": "ssn"}}))
    >>> [rule_on(rule, Principal(name)).access for name in ("hr", "support", "ana")]
    ['clear', 'masked', 'denied']
    >>> rule_on(rule, Principal("eve", {"hr", "support"})).access
    'masked'
    """
    rule = source.rule
    before = f"{source.origin}: " if source.origin else ""
    if principal.matches(rule.denied_roles):
        return Ruling("denied", f"{before}denied to a role of theirs", rule=rule)
    own = tuple(mask for mask in source.role_masks if principal.matches((mask.role or "",)))
    if own:
        roles = ", ".join(f"`{mask.role}`" for mask in own)
        return Ruling("masked", f"{before}masked for {roles}", own, rule)
    if principal.matches(rule.allowed_roles):
        return Ruling("clear", f"{before}clear for a role it is allowed for", rule=rule)
    level = _level_for_others(rule, all_encrypted)
    if level is None:
        return Ruling("clear", f"{before}unrestricted", rule=rule)
    masks = (source.mask_for_others(),) if level.access == "masked" else ()
    roles = ", ".join(dict.fromkeys((*rule.allowed_roles, *rule.role_masks))) or "nobody"
    return Ruling(level.access, before + level.says.format(roles=roles), masks, rule)


def strictest(rulings: Iterable[Ruling]) -> Ruling:
    """What several rulings come to: the strictest access; of masks, all that apply, the strictest first.

    Examples
    --------
    >>> strictest([Ruling("clear", "a"), Ruling("masked", "b"), Ruling("denied", "c")]).says
    'c'
    """
    found = list(rulings)
    top = max(found, key=lambda ruling: _STRICTNESS[ruling.access])
    peers = [ruling for ruling in found if ruling.access == top.access]
    if top.access == "encrypted":
        # What cannot be searched tells less.
        top = min(peers, key=lambda ruling: ruling.rule is not None and ruling.rule.searchable is not None)
    masks = sorted((mask for ruling in peers for mask in ruling.masks), key=lambda mask: -mask.masker.rank)
    says = "; ".join(dict.fromkeys(ruling.says for ruling in peers)) if top.access == "masked" else top.says
    return Ruling(top.access, says, tuple(masks), top.rule)


def masks_of(sources: Iterable[ColumnRule], *, all_encrypted: bool = False) -> list[MaskRule]:
    """Every mask that somebody could meet."""
    found: list[MaskRule] = []
    for source in sources:
        found.extend(source.role_masks)
        level = _level_for_others(source.rule, all_encrypted)
        if level is not None and level.access == "masked":
            found.append(source.mask_for_others())
    return found


def check_ties(sources: Iterable[ColumnRule], what: str, *, all_encrypted: bool = False) -> None:
    """Refuse rules of which nobody could say which is the strictest.

    Raises
    ------
    PolicyError
        Two different masks of equal rank, or two domains of encryption, could meet in one person.

    Examples
    --------
    >>> both = {"a": {"mask": "email"}, "b": {"mask": "phone"}}
    >>> check_ties([ColumnRule.of(FieldSecurityPolicy("c", role_masks=both))], "column `c`")
    Traceback (most recent call last):
    ...
    tauro_nb.errors.PolicyError: column `c`: the masks `email` and `phone` are equally strict, ...
    """
    listed = list(sources)
    for one, other in combinations(masks_of(listed, all_encrypted=all_encrypted), 2):
        if one.identity != other.identity and one.masker.rank == other.masker.rank and _can_meet(one, other):
            raise PolicyError(
                f"{what}: the masks `{one.masker.name}` and `{other.masker.name}` are equally strict, and one person "
                f"can meet both ({_whose(one)}; {_whose(other)})",
                hint="Use one mask, or make one of them stricter.",
            )
    ciphers = {
        (source.rule.encrypted_at, source.rule.domain)
        for source in listed
        if (level := _level_for_others(source.rule, all_encrypted)) is not None and level.access == "encrypted"
    }
    if len(ciphers) > 1:
        raise PolicyError(f"{what}: its rules name different domains of encryption", hint="Use one domain.")


def _can_meet(one: MaskRule, other: MaskRule) -> bool:
    held = {role for role in (one.role, other.role) if role is not None and role != EVERYBODY}
    spared = one.spares | other.spares
    return EVERYBODY not in spared and held.isdisjoint(spared)


def _whose(mask: MaskRule) -> str:
    return f"{mask.origin or 'field policy'}, {'others' if mask.role is None else f'role `{mask.role}`'}"


def _level_for_others(rule: FieldSecurityPolicy, all_encrypted: bool) -> _Level | None:
    return next((level for level in _LEVELS if level.applies(rule, all_encrypted)), None)


def _role_mask(rule: FieldSecurityPolicy, role: str, raw: object) -> Mapping[str, Any]:
    found: list[str] = []
    values = read_values({"mask": raw} if isinstance(raw, str) else raw, MASK_READERS, f"role_masks.{role}", found)
    if found or not values:
        raise PolicyError(f"field `{rule.field_name}`: {'; '.join(found) or f'role_masks.{role}: say which mask'}")
    return values


def _mask_rule(
    rule: FieldSecurityPolicy, spec: Mapping[str, Any], origin: str, role: str | None, spares: frozenset[str]
) -> MaskRule:
    name, value, options = (spec.get(key) for key in ("mask", "mask_value", "mask_options"))
    masker = choose_mask(rule.field_name, name, value, options or {})
    identity = repr(canonical((masker.name, value, options or {})))
    return MaskRule(masker, identity, spec.get("when"), origin, role, spares)
