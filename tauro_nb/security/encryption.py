"""How the columns of one table are encrypted, and the expressions that seal and open them.

`result`: the source holds plain values, and who has no right gets ciphertext. `source`: the source holds ciphertext,
and who has the right gets plain values, of the type the table declares. A policy always speaks of plain values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from tauro_nb.catalog.table import EncryptionConfig
from tauro_nb.errors import PolicyError
from tauro_nb.security.cipher import FieldSpec
from tauro_nb.security.decision import TableDecision
from tauro_nb.security.functions import CHECK, DECRYPT, ENCRYPT, call
from tauro_nb.security.keys.ring import KeyRing
from tauro_nb.security.policy import FieldSecurityPolicy
from tauro_nb.security.types import UNTYPED, data_type, is_integer, is_text

__all__ = [
    "CIPHERTEXT",
    "Encryptions",
    "Opened",
    "opened_spec",
    "searched_keys",
    "stored_columns",
    "stored_types",
]

CIPHERTEXT: Final = "VARCHAR"
"""The type of ciphertext, at a source and in a result."""
_SEARCHABLE: Final = ("DECIMAL", "BOOLEAN", "DATE", "TIME", "TIMESTAMP", "UUID", "BLOB")
_NOT: Final = ("TIME WITH TIME ZONE", "TIMETZ")


@dataclass(frozen=True)
class Encryptions:
    """The encrypted columns of one table, for principals of one tenant.

    Parameters
    ----------
    table
        The virtual table.
    rules
        Column in lower case -> the field policies about it.
    config
        What the catalog says of the table's encryption.
    ring
        The keys, which stay where they are: expressions name them by handle.
    tenant
        Whose keys.
    """

    table: str
    rules: Mapping[str, Iterable[FieldSecurityPolicy]]
    config: EncryptionConfig | None
    ring: KeyRing
    tenant: str = ""
    stored: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", stored_columns(self.rules, self.config))

    def is_stored(self, column: str) -> bool:
        """Whether the source holds the column as ciphertext."""
        return column.casefold() in self.stored

    def spec(self, column: str, kind: str) -> FieldSpec:
        """What the column's tokens are bound to.

        Raises
        ------
        PolicyError
            It shall be searchable, and its type has values that are equal without looking the same.
        """
        rules = tuple(self.rules.get(column.casefold(), ()))
        listed = self.config is not None and column.casefold() in _folded(self.config.fields)
        searchable = any(rule.searchable for rule in rules) or (
            listed and self.config is not None and self.config.searchable
        )
        domain = next((rule.domain for rule in rules if rule.domain), None)
        key = self.config.key_id if listed and self.config is not None else ""
        plain = CIPHERTEXT if kind == UNTYPED else kind
        if searchable and not _can_be_searched(plain):
            raise PolicyError(
                f"policy of `{self.table}`: `{column}` is {plain}, whose equal values may look different; it cannot be "
                "searched while encrypted"
            )
        return FieldSpec(
            self.table, column, plain, self.tenant, domain or key, searchable=searchable, joined=domain is not None
        )

    def sealed(self, column: str, kind: str) -> exp.Expr:
        """The column's ciphertext: computed, or what the source holds once it is known to be one."""
        handle = self.ring.handle(self.spec(column, kind))
        raw = exp.column(column, quoted=True)
        if self.is_stored(column):
            return call(CHECK, handle, raw)
        return call(ENCRYPT, handle, raw if is_text(kind) else exp.cast(raw, data_type(CIPHERTEXT)))

    def opened(self, column: str, kind: str) -> exp.Expr:
        """The plain value of a column that the source holds as ciphertext, of its declared type."""
        plain = call(DECRYPT, self.ring.handle(self.spec(column, kind)), exp.column(column, quoted=True))
        return plain if is_text(kind) or kind == UNTYPED else exp.cast(plain, data_type(kind))

    def over_stored(self, tree: exp.Expr, columns: Mapping[str, str]) -> exp.Expr:
        """A policy's expression over plain values, as one over what the source holds."""
        if not self.stored:
            return tree

        touched = False

        def open_(node: exp.Expr) -> exp.Expr:
            nonlocal touched
            if isinstance(node, exp.Column) and not node.table and self.is_stored(node.name):
                touched = True
                return self.opened(node.name, columns[node.name])
            return node

        found = tree.transform(open_)
        if touched:
            # No source can answer a mask of what it cannot read.
            found.meta.clear()
        return found


@dataclass(frozen=True, slots=True)
class Opened:
    """A column that is decrypted: where its ciphertext is, and what its tokens are bound to."""

    column: exp.Column
    spec: FieldSpec


def opened_spec(tree: exp.Expr | None, ring: KeyRing) -> Opened | None:
    """What an expression decrypts, when it does nothing else: the inverse of `Encryptions.opened`.

    >>> spec, ring = FieldSpec("people", "ssn", "BIGINT"), KeyRing()
    >>> found = opened_spec(Encryptions("people", {}, None, ring).opened("ssn", "BIGINT"), ring)
    >>> found.column.name, found.spec == spec
    ('ssn', True)
    """
    inner = tree.this if isinstance(tree, exp.Cast) else tree
    if not isinstance(inner, exp.Anonymous) or inner.name.casefold() != DECRYPT:
        return None
    handle, column = inner.expressions
    spec = ring.job(handle.name)
    return Opened(column, spec) if isinstance(spec, FieldSpec) and isinstance(column, exp.Column) else None


def searched_keys(decision: TableDecision, ring: KeyRing) -> frozenset[int]:
    """The ids of the keys that still open the columns a principal may search: values have a token under each."""
    trees = (column.tree for column in decision.columns.values() if column.access == "clear")
    found = [opened for tree in trees if (opened := opened_spec(tree, ring)) is not None]
    return frozenset(key.id for opened in found if opened.spec.searchable for key in ring.live(opened.spec.slot))


def stored_columns(
    rules: Mapping[str, Iterable[FieldSecurityPolicy]], config: EncryptionConfig | None
) -> frozenset[str]:
    """Columns, in lower case, that a source holds as ciphertext: the catalog says so, or a field policy.

    >>> sorted(stored_columns({}, EncryptionConfig(key_id="k", fields=("Ssn",))))
    ['ssn']
    """
    listed = _folded(config.fields) if config is not None and config.enabled else frozenset()
    return listed | {name for name, own in rules.items() if any(rule.encrypted_at == "source" for rule in own)}


def stored_types(columns: Mapping[str, str], stored: Collection[str]) -> dict[str, str]:
    """The types of columns as their source holds them.

    >>> stored_types({"id": "BIGINT", "ssn": "BIGINT"}, {"ssn"})
    {'id': 'BIGINT', 'ssn': 'VARCHAR'}
    """
    return {name: CIPHERTEXT if name.casefold() in stored else kind for name, kind in columns.items()}


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _can_be_searched(kind: str) -> bool:
    """Whether equal values of a type have equal texts: not 0.0 and -0.0, not one month and 30 days."""
    upper = kind.upper()
    if upper.endswith("]") or upper.startswith(_NOT):
        return False
    return is_text(kind) or is_integer(kind) or upper.startswith(_SEARCHABLE)
