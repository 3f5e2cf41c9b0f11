"""The policy model: rules for tables, columns and tags, as plain values that a YAML file can hold."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tauro_nb.errors import PolicyError
from tauro_nb.security.digest import content_hash, frozen
from tauro_nb.security.levels import AccessLevel, Operation
from tauro_nb.security.policy_reading import (
    FIELD_READERS,
    TABLE_READERS,
    TAG_READERS,
    as_read,
    read_values,
    report,
    report_empty_list,
)  # fmt: skip

__all__ = ["AccessLevel", "FieldSecurityPolicy", "Operation", "TableSecurityPolicy", "TagPolicy"]


@dataclass
class FieldSecurityPolicy:
    """The rule for one column. Wherever a role may stand, so may a principal's name, or `"*"` for everybody.

    Who asks meets the first of these that mentions one of their roles: `denied_roles` (nothing), `role_masks` (that
    mask), `allowed_roles` (the column clear). Everybody else gets the strictest of what is asked for: denied
    (`RESTRICTED`, or `allowed_roles` alone), encrypted (`ENCRYPTED`, `encryption_enabled`), masked (`MASKED`,
    `masking_enabled`, `mask`), clear (nothing asked for).

    Parameters
    ----------
    field_name
        The column.
    access_level
        See `AccessLevel`.
    masking_enabled
        Mask for roles that are not allowed.
    mask
        Name of the mask; chosen by the column's name when not given.
    mask_value
        The value of the `constant` mask.
    encryption_enabled
        Encrypted for roles that are not allowed.
    allowed_roles
        Roles that see the column clear.
    mask_options
        Parameters of the mask.
    when
        A condition over the table's columns: only rows where it is definitely false stay clear; NULL is masked.
    role_masks
        Role -> `{mask, mask_value, mask_options, when}`. Of several that match, the strictest counts, and they count
        even for somebody who holds an allowed role as well.
    denied_roles
        Roles that never see the column, whatever else they hold.
    encrypted_at
        `result`: the source holds plain values, who has no right gets ciphertext. `source`: the source holds
        ciphertext, who has the right gets plain values.
    searchable
        `equality`: equal values have equal ciphertexts, so that they can be compared and joined.
    domain
        Columns of one domain share a key and can be joined.

    Examples
    --------
    >>> FieldSecurityPolicy("email", masking_enabled=True, allowed_roles=["admin"]).access_level
    <AccessLevel.UNRESTRICTED: 'unrestricted'>
    """

    field_name: str
    access_level: AccessLevel = AccessLevel.UNRESTRICTED
    masking_enabled: bool = False
    mask: str | None = None
    mask_value: Any = None
    encryption_enabled: bool = False
    allowed_roles: list[str] = field(default_factory=list)
    mask_options: dict[str, Any] = field(default_factory=dict, kw_only=True)
    when: str | None = field(default=None, kw_only=True)
    role_masks: dict[str, dict[str, Any]] = field(default_factory=dict, kw_only=True)
    denied_roles: list[str] = field(default_factory=list, kw_only=True)
    encrypted_at: Literal["result", "source"] = field(default="result", kw_only=True)
    searchable: Literal["equality"] | None = field(default=None, kw_only=True)
    domain: str | None = field(default=None, kw_only=True)

    def signature(self) -> tuple[Any, ...]:
        """Everything that decides, as a value that can be compared and hashed."""
        return (self.field_name, *_rule_signature(self))

    @classmethod
    def from_mapping(
        cls, field_name: str, raw: Any, *, mistakes: list[str] | None = None, path: str | None = None
    ) -> FieldSecurityPolicy:
        """Read one entry of `field_policies`; see `TableSecurityPolicy.from_mapping`."""
        found: list[str] = []
        values = read_values(raw, FIELD_READERS, path or field_name, found)
        report_empty_list(values, path or field_name, found)
        values.pop("field_name", None)
        policy = cls(field_name, **values)
        report(found, mistakes)
        return policy


@dataclass
class TagPolicy:
    """The rule for every column that carries a tag; its parameters are those of `FieldSecurityPolicy`.

    It stands beside a column's own field policy, and the stricter of the two counts: a table's owner can add to a tag's
    rule and never take from it. Columns of a table that itself carries the tag are denied until they are classified.

    Parameters
    ----------
    tag
        The tag, in any case.

    Examples
    --------
    >>> TagPolicy("pii", mask="redact", allowed_roles=["steward"]).rule_for("email").mask
    'redact'
    """

    tag: str
    access_level: AccessLevel = AccessLevel.UNRESTRICTED
    masking_enabled: bool = False
    mask: str | None = None
    mask_value: Any = None
    encryption_enabled: bool = False
    allowed_roles: list[str] = field(default_factory=list)
    mask_options: dict[str, Any] = field(default_factory=dict, kw_only=True)
    when: str | None = field(default=None, kw_only=True)
    role_masks: dict[str, dict[str, Any]] = field(default_factory=dict, kw_only=True)
    denied_roles: list[str] = field(default_factory=list, kw_only=True)
    encrypted_at: Literal["result", "source"] = field(default="result", kw_only=True)
    searchable: Literal["equality"] | None = field(default=None, kw_only=True)
    domain: str | None = field(default=None, kw_only=True)

    def rule_for(self, column: str) -> FieldSecurityPolicy:
        """The field policy that the tag gives a column."""
        return FieldSecurityPolicy(column, **{item.name: getattr(self, item.name) for item in fields(self)[1:]})

    def signature(self) -> tuple[Any, ...]:
        """Everything that decides, as a value that can be compared and hashed."""
        return (self.tag, *_rule_signature(self))

    @property
    def content_hash(self) -> str:
        """A digest of the rule: equal for equal rules, in any order of writing."""
        return content_hash(self)

    def settled(self) -> TagPolicy:
        """A copy of its own, checked as a file would be; see `TableSecurityPolicy.settled`."""
        own = copy.deepcopy(self)
        as_read(own, TAG_READERS, f"policy of the tag `{self.tag}`")
        return own

    @classmethod
    def from_mapping(
        cls, tag: str, raw: Any, *, mistakes: list[str] | None = None, path: str | None = None
    ) -> TagPolicy:
        """Read one entry of the `tag_policies` section; see `TableSecurityPolicy.from_mapping`."""
        found: list[str] = []
        values = read_values(raw, TAG_READERS, path or f"tag_policies.{tag}", found)
        report_empty_list(values, path or f"tag_policies.{tag}", found)
        values.pop("tag", None)
        policy = cls(tag, **values)
        report(found, mistakes)
        return policy


@dataclass
class TableSecurityPolicy:
    """The rules for one table. Wherever a role may stand, so may a principal's name, or `"*"` for everybody.

    Parameters
    ----------
    table_name
        The virtual table, in any case.
    allowed_roles
        Roles that may read it; empty: everybody (in a file a list that is written has somebody in it).
    row_level_filters
        Role -> SQL condition; `""` is no restriction. Several that match are OR-ed. When there are filters and none
        matches, nothing may be read. `{principal}`, `{principal.attribute}`, `{tenant}` and `{purpose}` are values.
    field_policies
        Column -> rule.
    audit_all_access
        Record every access, not only denials.
    requires_encryption
        Every column is treated as encrypted: clear only for roles that the column's own field policy allows, and for
        nobody where the column has no field policy.
    restrictive_filters
        Role -> SQL condition. All that match are AND-ed to whatever the other filters let through.
    denied_roles
        Roles that may not read it, whatever else they hold.
    purposes
        The principal's purpose must be one of these; empty: any, or none.
    tenant_column
        Only rows of the principal's own tenant; a principal without a tenant may not read it.
    tenant_optional
        A principal without a tenant may read it after all: the rows of every tenant.
    run_as
        How subqueries of conditions read their tables: as `policy_owner` (raw), as the `invoker`, or as a declared
        principal.
    barrier
        `strict`: no predicate of the user is evaluated before the policy, whatever is configured for other tables.

    Examples
    --------
    >>> policy = TableSecurityPolicy("customers", row_level_filters={"analyst": "department = 'Sales'"})
    >>> before = policy.content_hash
    >>> policy.field_policies["ssn"] = FieldSecurityPolicy("ssn", masking_enabled=True)
    >>> policy.content_hash == before
    False
    """

    table_name: str
    allowed_roles: list[str] = field(default_factory=list)
    row_level_filters: dict[str, str] = field(default_factory=dict)
    field_policies: dict[str, FieldSecurityPolicy] = field(default_factory=dict)
    audit_all_access: bool = True
    requires_encryption: bool = False
    restrictive_filters: dict[str, str] = field(default_factory=dict, kw_only=True)
    denied_roles: list[str] = field(default_factory=list, kw_only=True)
    purposes: list[str] = field(default_factory=list, kw_only=True)
    tenant_column: str | None = field(default=None, kw_only=True)
    tenant_optional: bool = field(default=False, kw_only=True)
    run_as: str = field(default="policy_owner", kw_only=True)
    barrier: Literal["leakproof", "strict"] = field(default="leakproof", kw_only=True)

    def signature(self) -> tuple[Any, ...]:
        """Everything that decides, as a value that can be compared and hashed."""
        return (
            self.table_name,
            tuple(self.allowed_roles),
            tuple(self.row_level_filters.items()),
            # The inner tuple is taken in one step, so that another thread may add a rule meanwhile.
            tuple((name, rule.signature()) for name, rule in tuple(self.field_policies.items())),
            self.audit_all_access,
            self.requires_encryption,
            tuple(self.restrictive_filters.items()),
            tuple(self.denied_roles),
            tuple(self.purposes),
            self.tenant_column,
            self.tenant_optional,
            self.run_as,
            self.barrier,
        )

    @property
    def content_hash(self) -> str:
        """A digest of the rules: equal for equal rules, in any order of writing."""
        return content_hash(self)

    def settled(self) -> TableSecurityPolicy:
        """A copy of its own, checked as a file would be.

        Raises
        ------
        PolicyError
            A value has a type that nothing in a policy has.

        Examples
        --------
        >>> TableSecurityPolicy("pay", allowed_roles="hr").settled().allowed_roles
        ['hr']
        """
        own, what = copy.deepcopy(self), f"policy of `{self.table_name}`"
        as_read(own, TABLE_READERS, what)
        for column, rule in own.field_policies.items():
            if not isinstance(rule, FieldSecurityPolicy):
                raise PolicyError(f"{what}: `{column}` needs a FieldSecurityPolicy, not {type(rule).__name__}")
            as_read(rule, FIELD_READERS, f"{what}, column `{column}`")
        return own

    @classmethod
    def from_mapping(
        cls, table_name: str, raw: Any, *, mistakes: list[str] | None = None, path: str | None = None
    ) -> TableSecurityPolicy:
        """Read one entry of the `security_policies` section.

        Parameters
        ----------
        table_name
            The key of the entry.
        raw
            Its value.
        mistakes
            Mistakes are appended here, each with its path; without it they are raised together.
        path
            Where the entry stands; default `security_policies.<table_name>`.

        Examples
        --------
        >>> raw = {"allowed_roles": ["admin"], "field_policies": {"ssn": {"access_level": "restricted"}}}
        >>> TableSecurityPolicy.from_mapping("customers", raw).field_policies["ssn"].access_level.name
        'RESTRICTED'
        >>> TableSecurityPolicy.from_mapping("customers", {"allowed_rolls": []})
        Traceback (most recent call last):
        ...
        tauro_nb.errors.ConfigError: security policy: 1 mistake
          - security_policies.customers.allowed_rolls: unknown key. Did you mean `allowed_roles`?
        """
        found: list[str] = []
        where = path or f"security_policies.{table_name}"
        values = read_values(raw, TABLE_READERS, where, found)
        values.pop("table_name", None)
        columns = values.pop("field_policies", {})
        policy = cls(table_name, **values)
        for name, rule in columns.items():
            policy.field_policies[name] = FieldSecurityPolicy.from_mapping(
                name, rule, mistakes=found, path=f"{where}.field_policies.{name}"
            )
        report(found, mistakes)
        return policy


def _rule_signature(rule: FieldSecurityPolicy | TagPolicy) -> tuple[Any, ...]:
    value = rule.mask_value
    return (
        rule.access_level,
        rule.masking_enabled,
        rule.mask,
        # repr keeps 1 and True apart.
        None if value is None else repr(value),
        rule.encryption_enabled,
        tuple(rule.allowed_roles),
        frozen(rule.mask_options),
        rule.when,
        frozen(rule.role_masks),
        tuple(rule.denied_roles),
        rule.encrypted_at,
        rule.searchable,
        rule.domain,
    )


assert set(TABLE_READERS) == {item.name for item in fields(TableSecurityPolicy)}
assert set(FIELD_READERS) == {item.name for item in fields(FieldSecurityPolicy)}
assert set(TAG_READERS) == {item.name for item in fields(TagPolicy)}
