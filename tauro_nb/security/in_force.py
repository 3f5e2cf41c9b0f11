"""The policies in force: kept, checked, compiled, and known by their hashes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from tauro_nb.errors import PolicyError, UsageError
from tauro_nb.security.audit import AuditTrail
from tauro_nb.security.audited import AuditedAccess
from tauro_nb.security.book import Book, Edition, PolicyBook
from tauro_nb.security.compiled import ParsedPolicy
from tauro_nb.security.decision import Barrier
from tauro_nb.security.declared import Declared, Definitions
from tauro_nb.security.encryption import Encryptions
from tauro_nb.security.functions import EngineFunctions
from tauro_nb.security.keys import KeyRing
from tauro_nb.security.policy import TableSecurityPolicy, TagPolicy
from tauro_nb.security.principal import Principal
from tauro_nb.security.reads import ColumnsOf, Reader, relations_of, require_no_circle, require_reader
from tauro_nb.security.relations import OWNER, Catalog, NoCatalog, Tables
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.standing import Compiled, Relations, own_copy
from tauro_nb.security.store import PolicyStore
from tauro_nb.security.tags import Labels, TagCatalog, guard_signature, make_guard

__all__ = ["PoliciesInForce"]


class PoliciesInForce(AuditedAccess):
    """The part of an enforcer that keeps policies; its parameters are those of `SecurityEnforcer`."""

    def __init__(
        self,
        default_access: Literal["allow", "deny"] = "allow",
        principals: Mapping[str, Principal] | None = None,
        trail: AuditTrail | None = None,
        tables: Tables | None = None,
        labels: TagCatalog | None = None,
        keys: KeyRing | None = None,
        definitions: Definitions | None = None,
        store: PolicyStore | None = None,
        barrier: Barrier = "leakproof",
        catalog: Catalog | None = None,
        reader: Reader | None = None,
    ) -> None:
        if default_access not in ("allow", "deny"):
            raise UsageError(f"`default_access` is `allow` or `deny`, not {default_access!r}")
        self.trail = trail if trail is not None else AuditTrail()
        self._catalog: Catalog = NoCatalog(tables) if catalog is None else catalog
        self._reader = reader
        self._labels = labels
        self._definitions = definitions
        self._barrier: Barrier = barrier
        self.keys = keys if keys is not None else KeyRing()
        self.functions = EngineFunctions(self.keys)
        self._sandbox = Sandbox(self.functions)
        self._lock = threading.Lock()
        self._books = PolicyBook(
            default_access,
            principals if principals is not None else {},
            store,
            check=self._check_book,
            governed=self._governed,
            known=lambda: list(self._labels.names()) if self._labels is not None else [],
        )
        self._compiled: dict[str, Compiled] = {}
        self._announced: Edition | None = None
        self._system: dict[str, Compiled] = {}

    def fix_policy(self, policy: TableSecurityPolicy) -> None:
        """Put the policy of a system table in force, for good: nobody replaces or removes it.

        It is bound when the table is first read: every context has it, few read it, and no user wrote it.
        """
        self._system[policy.table_name.casefold()] = self._compile(policy.table_name, policy, {})

    def _require_free(self, table_name: str) -> None:
        if table_name.casefold() in self._system:
            raise PolicyError(f"the policy of `{table_name}` is part of the system; it cannot be changed")

    @property
    def book(self) -> Book:
        """All policies in force at this moment."""
        return self._books.now()

    @property
    def default_access(self) -> Literal["allow", "deny"]:
        """What a table without a policy means."""
        return self.book.default_access

    @property
    def principals(self) -> Mapping[str, Principal]:
        """Declared principals by name."""
        return self.book.principals

    def version(self, *, thorough: bool = True) -> str:
        """The content hash of all policies in force; a change since it was last asked for leaves an audit record.

        Parameters
        ----------
        thorough
            Look into every policy of the program, too, whose objects can be changed in place. That takes some 15 us
            each, a look at the store's files some 5 us in all.

        Raises
        ------
        AuditUnavailable
            The change could not be recorded.
        """
        known = self._announced
        if not thorough and known is not None and known.book is self.book:
            return known.version
        edition = self._books.edition()
        if edition is not self._announced:
            with self._lock:
                before = self._announced
                if before is not None and before.version != edition.version:
                    self._note_change(before, edition)
                self._announced = edition
        return edition.version

    def _note_change(self, before: Edition, after: Edition) -> None:
        store = self._books.store
        self.trail.note(
            "policy.change",
            "",
            old=before.version,
            new=after.version,
            changed=before.differs(after),
            store=None if store is None else store.name,
            mistakes=len(after.book.mistakes),
        )

    def register_policy(self, policy: TableSecurityPolicy) -> None:
        """Put a policy in force, in place of an earlier one for the same table, in one step.

        Raises
        ------
        PolicyError
            The policy is wrong, and the earlier one stays in force; or it is for the store to say.
        """
        if not isinstance(policy, TableSecurityPolicy):
            raise UsageError(f"a TableSecurityPolicy is needed, not {type(policy).__name__}")
        self._require_free(policy.table_name)
        book, key = self.book, policy.table_name.casefold()
        compiled = self._check(policy.table_name, replace(book, tables={**book.tables, key: policy}))
        with self._lock:
            self._books.put_table(policy)
            self._compiled[key] = compiled

    def register_tag_policy(self, policy: TagPolicy) -> None:
        """Put the policy of a tag in force, in place of an earlier one for the same tag, in one step.

        Raises
        ------
        PolicyError
            The policy is wrong, or does not go together with that of a table; the earlier one stays in force.
        """
        if not isinstance(policy, TagPolicy):
            raise UsageError(f"a TagPolicy is needed, not {type(policy).__name__}")
        key = policy.tag.casefold()
        book = self.book
        self._check_book(replace(book, tags={**book.tags, key: policy}))
        self._books.put_tag(policy)

    def get_tag_policy(self, tag: str) -> TagPolicy | None:
        """The policy of a tag; changing it takes effect with the next decision."""
        return own_copy(self.book.tags.get(tag.casefold()), stored=self._books.is_stored_tag(tag.casefold()))

    def remove_tag_policy(self, tag: str) -> bool:
        """Take the policy of a tag away; the tag is a label then. Returns whether there was one."""
        return self._books.drop_tag(tag)

    def check_tables(self) -> None:
        """Check the policy of every table in the catalog with the tags it carries now.

        Raises
        ------
        PolicyError
            Rules of one table do not go together, or do not fit its columns.
        """
        self._check_book(self.book)

    def _check_book(self, book: Book) -> None:
        """Check the policies of tags, of the catalog's tables, and of the store."""
        tags = {tag: policy.settled() for tag, policy in book.tags.items()}
        for tag in tags:
            make_guard(([tag], {"column": [tag]}), tags)
        names = {key: book.tables[key].table_name for key in book.stored}
        names |= {name.casefold(): name for name in (self._labels.names() if self._labels is not None else ())}
        for key, name in names.items():
            policy = book.tables.get(key)
            if policy is not None or self._guard_signature(name, book.tags) is not None:
                self._check(name, book)

    def _governed(self, book: Book) -> frozenset[str]:
        """Tables, in lower case, that some policy rules."""
        names = self._labels.names() if self._labels is not None else ()
        tagged = (name.casefold() for name in names if self._guard_signature(name, book.tags) is not None)
        return frozenset((*book.tables, *tagged))

    def _compile(
        self, table_name: str, policy: TableSecurityPolicy | None, tag_policies: Mapping[str, TagPolicy]
    ) -> Compiled:
        """Parse a policy with the tags of its table."""
        # Copies: the administrator's objects may change while a decision is made.
        raw, tags = copy.deepcopy(policy), copy.deepcopy(dict(tag_policies))
        own = TableSecurityPolicy(table_name) if raw is None else raw.settled()
        settled = {tag: found.settled() for tag, found in tags.items()}
        labels = self._labels_of(table_name, tags)
        guarded = None if labels is None else guard_signature(labels, tags)
        guard = None if labels is None or guarded is None else make_guard(labels, settled)
        declared = Declared.of(self._definitions, table_name)
        signature = (None if raw is None else raw.signature(), guarded, declared)
        return Compiled(ParsedPolicy(own, guard, declared, self._barrier), signature, self._sandbox)

    def _check(self, table_name: str, book: Book) -> Compiled:
        """Parse the policy of a table, and bind it where the columns are known."""
        compiled = self._compile(table_name, book.tables.get(table_name.casefold()), book.tags)
        require_reader(compiled.policy, book.principals)
        names = compiled.parsed.relation_names
        self._require_no_circle(table_name, names, book)
        relations = relations_of(names, self._catalog, self._catalog.columns, required_by=table_name)
        columns = self._catalog.columns(table_name)
        if columns:
            compiled.bind(columns, relations, strict=True).bind_all()
        return compiled

    def _require_no_circle(self, table_name: str, names: frozenset[str], book: Book) -> None:
        def policy_reads(table: str) -> frozenset[str]:
            compiled = self._current(table, book)
            return frozenset() if compiled is None else compiled.parsed.relation_names

        if names:
            require_no_circle(table_name, names, self._catalog, policy_reads)

    def _relations(
        self, table_name: str, compiled: Compiled, principal: Principal, columns_of: ColumnsOf | None
    ) -> Relations:
        """The tables that are read for what applies to a principal."""
        names = compiled.parsed.relations_for(principal)
        self._require_no_circle(table_name, names, self.book)
        return relations_of(names, self._catalog, columns_of or self._catalog.columns)

    def _labels_of(self, table_name: str, tag_policies: Mapping[str, TagPolicy]) -> Labels | None:
        return self._labels.labels(table_name) if tag_policies and self._labels is not None else None

    def stored_columns(self, table_name: str) -> frozenset[str]:
        """Columns, in lower case, that the table's source holds as ciphertext."""
        compiled = self._current(table_name)
        return frozenset() if compiled is None else compiled.parsed.stored

    def encryptions(self, table_name: str, principal: Principal | None = None) -> Encryptions | None:
        """How the columns of a table are encrypted, with whose keys; None where nothing is said of it."""
        compiled = self._current(table_name)
        return None if compiled is None else compiled.bind({}, strict=False).encryptions(principal)

    def _guard_signature(self, table_name: str, tag_policies: Mapping[str, TagPolicy]) -> tuple[Any, ...] | None:
        labels = self._labels_of(table_name, tag_policies)
        return None if labels is None else guard_signature(labels, tag_policies)

    def get_policy(self, table_name: str) -> TableSecurityPolicy | None:
        """The policy in force; changing it takes effect with the next decision. Of one from the store, a copy."""
        book, key = self.book, table_name.casefold()
        return own_copy(book.tables.get(key), stored=key in book.stored)

    def remove_policy(self, table_name: str) -> bool:
        """Take a policy away; afterwards `default_access` decides, or, where there is a store, nobody may read.

        Returns whether there was one.
        """
        self._require_free(table_name)
        with self._lock:
            self._compiled.pop(table_name.casefold(), None)
            return self._books.drop_table(table_name)

    def policy_hashes(self, tables: Iterable[str]) -> dict[str, str]:
        """The hash of all that rules each table now, changes in place and tags included: `TableDecision.policy_hash`.

        Raises
        ------
        PolicyError
            One of the policies is wrong.
        """
        book = self.book
        return {name: self._hash_of(self._current(name, book)) for name in tables}

    def _hash_of(self, compiled: Compiled | None) -> str:
        return compiled.policy_hash if compiled is not None else f"default:{self.default_access}"

    def run_as(self, table_name: str) -> str:
        """As whom the policy of a table reads other tables."""
        compiled = self._current(table_name)
        return OWNER if compiled is None else compiled.policy.run_as

    @property
    def store(self) -> PolicyStore | None:
        """Where policies are kept in files, if they are."""
        return self._books.store

    def rules_of(self, table_name: str) -> Compiled | None:
        """The rules about a table as they are in force, tags included; None where there are none.

        Raises
        ------
        PolicyError
            They do not go together.
        """
        return self._current(table_name)

    def require_readable(self, table_name: str) -> None:
        """Refuse a policy that leads back to its own table, or that reads as somebody whom nobody declares any more.

        Raises
        ------
        PolicyError
            Says which.
        """
        compiled, book = self._current(table_name), self.book
        if compiled is not None:
            require_reader(compiled.policy, book.principals)
            self._require_no_circle(table_name, compiled.parsed.relation_names, book)

    def tables_without_rules(self) -> list[str]:
        """Tables of the catalog that no policy speaks of."""
        ruled = self._governed(self.book)
        return [
            name
            for name in (self._labels.names() if self._labels is not None else ())
            if name.casefold() not in ruled and Declared.of(self._definitions, name).roles_for("select") is None
        ]

    def close(self) -> None:
        """Close the audit file and the private engine; both open again when needed."""
        self.trail.close()
        self._sandbox.close()

    def _current(self, table_name: str, book: Book | None = None) -> Compiled | None:
        """The compiled policy, compiled anew when the policy, the tags or their policies have changed since."""
        book = book or self.book
        key = table_name.casefold()
        if key in self._system:
            return self._system[key]
        policy, compiled = book.tables.get(key), self._compiled.get(key)
        own = None if policy is None else policy.signature()
        guarded = self._guard_signature(table_name, book.tags)
        declared = Declared.of(self._definitions, table_name)
        if policy is None and ((guarded is None and not declared) or book.default_access != "allow"):
            return None
        if compiled is None or compiled.signature != (own, guarded, declared):
            compiled = self._compile(table_name, policy, book.tags)
            with self._lock:
                if self.book is book:
                    self._compiled[key] = compiled
        return compiled
