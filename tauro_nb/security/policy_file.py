"""Policies as text: the sections of a configuration, or of a file of its own, that say who sees what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from tauro_nb.catalog.documents import read_document
from tauro_nb.catalog.reading import (
    WRONG,
    Parser,
    Site,
    anything,
    as_it_is,
    choice,
    listed,
    mapping_of,
    read_entries,
    read_fields,
    report_same_names,
    text,
)  # fmt: skip
from tauro_nb.errors import TauroError
from tauro_nb.security.policy import TableSecurityPolicy, TagPolicy
from tauro_nb.security.principal import Principal

__all__ = ["PolicyRules", "read_policy_text", "read_rules"]

END: Final = "..."
"""YAML's own mark for the end of a document: a file that was cut short does not have it."""


@dataclass(frozen=True)
class PolicyRules:
    """Policies, and who is who, as somebody wrote them down; `default_access` None says nothing about it."""

    tables: tuple[TableSecurityPolicy, ...] = ()
    tags: tuple[TagPolicy, ...] = ()
    principals: Mapping[str, Principal] = field(default_factory=lambda: MappingProxyType({}))
    default_access: Literal["allow", "deny"] | None = None


def read_rules(found: Mapping[str, Any], place: Site) -> PolicyRules:
    """Read the sections about policies; mistakes go to the site."""
    tables, tags = found.get("security_policies"), found.get("tag_policies")
    report_same_names(tables, place.at("security_policies"))
    report_same_names(tags, place.at("tag_policies"))
    return PolicyRules(
        tuple(read_entries(tables, place.at("security_policies"), _read_policy).values()),
        tuple(read_entries(tags, place.at("tag_policies"), _read_tag_policy).values()),
        MappingProxyType(read_entries(found.get("principals"), place.at("principals"), _read_principal)),
        found.get("default_access"),
    )


def read_policy_text(document: str, site: Site, *, ends: bool = True) -> PolicyRules:
    """Read a file of policies as a whole; mistakes go to the site.

    Parameters
    ----------
    document
        YAML with the keys `security_policies`, `tag_policies`, `principals`, `default_access`.
    site
        Where mistakes go, and which environment `${NAME}` is taken from.
    ends
        The last line must be `...`. Without it, YAML that was cut short is often valid YAML with fewer rules.

    Examples
    --------
    >>> site = Site()
    >>> read_policy_text("security_policies: {c: {allowed_roles: [a]}}", site).tables
    ()
    >>> site.mistakes
    ['the last line is not `...`, so the file may have been cut short; end it with that line']
    """
    if ends and document.rstrip().rsplit("\n", 1)[-1] != END:
        site.report(f"the last line is not `{END}`, so the file may have been cut short; end it with that line")
        return PolicyRules()
    before = len(site.mistakes)
    raw = read_document(document, site)
    found = None if len(site.mistakes) > before else read_fields(raw, site, _SECTIONS)
    return PolicyRules() if found is None else read_rules(found, site)


def _read_policy(name: str, raw: Any, site: Site) -> TableSecurityPolicy | None:
    """One entry, with the environment's variables in place."""
    expanded = mapping_of(anything)(raw, site)
    if expanded is WRONG:
        return None
    return TableSecurityPolicy.from_mapping(name, expanded, mistakes=site.mistakes, path=site.path)


def _read_tag_policy(name: str, raw: Any, site: Site) -> TagPolicy | None:
    """As for tables."""
    expanded = mapping_of(anything)(raw, site)
    if expanded is WRONG:
        return None
    return TagPolicy.from_mapping(name, expanded, mistakes=site.mistakes, path=site.path)


def _read_principal(name: str, raw: Any, site: Site) -> Principal | None:
    """`{roles: [...], attributes: {...}, tenant, purpose}`, or a list of roles, or one role."""
    before = len(site.mistakes)
    given = {"roles": raw} if isinstance(raw, list) else {"roles": [raw]} if isinstance(raw, str) else raw
    found = read_fields({} if given is None else given, site, _PRINCIPAL)
    if found is None or len(site.mistakes) > before:
        return None
    try:
        return Principal(name=name, **{**found, "roles": frozenset(found.get("roles", ()))})
    except TauroError as error:
        site.report(str(error))
    return None


def _access(word: str) -> str:
    folded = word.strip().casefold()
    if folded not in ("allow", "deny"):
        raise ValueError(word)
    return folded


_ACCESS: Final[Parser] = choice(_access, ("allow", "deny"))
_PRINCIPAL: Final[Mapping[str, Parser]] = {
    "roles": listed(text),
    "attributes": mapping_of(anything),
    "tenant": text,
    "purpose": text,
}
# Entry by entry below, so that a mistake in one entry does not hide those of its neighbours.
_SECTIONS: Final[Mapping[str, Parser]] = {
    "security_policies": as_it_is,
    "tag_policies": as_it_is,
    "principals": as_it_is,
    "default_access": _ACCESS,
}
