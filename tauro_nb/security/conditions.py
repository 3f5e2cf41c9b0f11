"""The conditions of a policy, parsed: who may see which rows, and in which rows a mask applies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tauro_nb.errors import PolicyError
from tauro_nb.security.compose import MaskRule
from tauro_nb.security.policy import TableSecurityPolicy
from tauro_nb.security.principal import Principal
from tauro_nb.security.template import FilterTemplate, parse_filter

__all__ = ["Conditions", "Group"]


@dataclass(frozen=True)
class Group:
    """Conditions that apply together, each with its name for error messages; a None is no restriction."""

    kind: str
    templates: Mapping[str, FilterTemplate | None]

    def of(self, principal: Principal) -> list[str]:
        """Roles whose condition applies to a principal."""
        return [role for role in self.templates if principal.matches((role,))]

    def rule(self, roles: Iterable[str]) -> str:
        """Whose conditions apply, in words without their text."""
        listed = list(roles)
        return f"{self.kind}{'s' if len(listed) > 1 else ''} of {', '.join(f'`{role}`' for role in listed)}"


@dataclass(frozen=True)
class Conditions:
    """All conditions of one policy.

    Parameters
    ----------
    permissive
        Row filters; those that apply are OR-ed.
    restrictive
        Row filters; those that apply are AND-ed.
    tenant
        "the row is of the principal's tenant", or None.
    masks
        Text of a mask's condition -> the condition.
    tenant_optional
        Whether `tenant` spares those who have none.
    """

    permissive: Group
    restrictive: Group
    tenant: FilterTemplate | None
    masks: Mapping[str, FilterTemplate]
    tenant_optional: bool = False

    @classmethod
    def of(cls, policy: TableSecurityPolicy, masks: Iterable[tuple[str, MaskRule]] = ()) -> Conditions:
        """Parse them.

        Parameters
        ----------
        policy
            Holds the row filters.
        masks
            (Column, mask) for every mask that somebody could meet.

        Raises
        ------
        PolicyError
            One does not parse.
        """
        table = policy.table_name
        return cls(
            _group("row filter", policy.row_level_filters, table),
            _group("restrictive filter", policy.restrictive_filters, table),
            _tenant(policy),
            {
                mask.when: _condition(mask.when, f"condition of the mask of `{column}` in `{table}`")
                for column, mask in masks
                if mask.when is not None
            },
            policy.tenant_optional,
        )

    def lifting(self, principal: Principal) -> bool:
        """Whether no permissive filter restricts a principal."""
        return not self.permissive.templates or any(
            self.permissive.templates[role] is None for role in self.permissive.of(principal)
        )

    def tenant_of(self, principal: Principal) -> FilterTemplate | None:
        """The condition on the tenant, where it restricts a principal."""
        return None if self.tenant_optional and principal.tenant is None else self.tenant

    def columns_of(self, masks: Iterable[MaskRule]) -> frozenset[str]:
        """Names, in lower case, that may be columns in the conditions of masks."""
        whens = [mask.when for mask in masks if mask.when is not None]
        return frozenset(name for when in whens for name in self.masks[when].column_names())

    def relation_names(self) -> frozenset[str]:
        """Tables, as written, that any of the conditions reads besides their own."""
        groups = (self.permissive.templates, self.restrictive.templates, self.masks)
        found = (template for group in groups for template in group.values() if template is not None)
        return frozenset(name for template in found for name in template.relation_names())

    def row_templates(self, principal: Principal) -> list[FilterTemplate]:
        """All row conditions that restrict a principal, in whatever way."""
        permissive = [] if self.lifting(principal) else self.permissive.of(principal)
        found = [self.permissive.templates[role] for role in permissive]
        found += [self.restrictive.templates[role] for role in self.restrictive.of(principal)]
        return [template for template in (*found, self.tenant_of(principal)) if template is not None]


def _group(kind: str, texts: Mapping[str, str], table: str) -> Group:
    return Group(kind, {role: _filter(text, f"{kind} of `{role}` on `{table}`") for role, text in texts.items()})


def _filter(text: object, what: str) -> FilterTemplate | None:
    if not isinstance(text, str):
        # None could be meant as "nothing may be seen" as well as "everything may".
        raise PolicyError(f"{what}: a filter is a text, not {type(text).__name__}", hint='"" is no restriction.')
    return parse_filter(text, what) if text.strip() else None


def _condition(text: object, what: str) -> FilterTemplate:
    if not isinstance(text, str) or not text.strip():
        hint = "Leave `when` out to mask every row."
        raise PolicyError(f"{what}: a condition is a text that is not empty", hint=hint)
    return parse_filter(text, what)


def _tenant(policy: TableSecurityPolicy) -> FilterTemplate | None:
    column: object = policy.tenant_column
    if column is None:
        return None
    what = f"tenant column of `{policy.table_name}`"
    if not isinstance(column, str) or not column.strip():
        raise PolicyError(f"{what}: it is the name of a column")
    quoted = column.replace('"', '""')
    return parse_filter(f'"{quoted}" = {{tenant}}', what)
