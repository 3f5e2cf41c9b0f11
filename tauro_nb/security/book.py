"""All policies in force, as one value that is replaced in one step: those of the program, and those of a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from tauro_nb.errors import PolicyError, TauroError, nearest
from tauro_nb.security.digest import content_hash
from tauro_nb.security.policy import TableSecurityPolicy, TagPolicy
from tauro_nb.security.policy_file import PolicyRules
from tauro_nb.security.principal import Principal
from tauro_nb.security.store import PolicyStore, StoredRules

__all__ = ["UNUSABLE", "Book", "Edition", "PolicyBook"]

UNUSABLE: Final = "unusable"
"""The version of policies that cannot be used."""
Access = Literal["allow", "deny"]


@dataclass(frozen=True)
class Book:
    """Everything in force at one moment.

    Parameters
    ----------
    tables, tags
        Policies by the name of their table or tag, in lower case.
    principals
        Who is declared.
    default_access
        For tables without a policy.
    stored
        Tables whose policy is the store's.
    retired
        Tables whose last policy was taken away while this process ran: closed until one names them again.
    closed
        Why nothing may be read at all; empty when the store is right, or there is none.
    mistakes
        What is wrong with the store.
    """

    tables: Mapping[str, TableSecurityPolicy] = field(default_factory=dict)
    tags: Mapping[str, TagPolicy] = field(default_factory=dict)
    principals: Mapping[str, Principal] = field(default_factory=dict)
    default_access: Access = "allow"
    stored: frozenset[str] = frozenset()
    retired: frozenset[str] = frozenset()
    closed: str = ""
    mistakes: tuple[str, ...] = ()

    def closes(self, table: str) -> str:
        """Why a table is closed, whatever a policy of its own would say; empty when it is not."""
        if self.closed:
            return self.closed
        gone = table.casefold() in self.retired
        return f"the policy of `{table}` was taken away, and nothing says since who may read it" if gone else ""

    def digests(self) -> dict[str, str]:
        """What each part says, by its name."""
        found = {f"table {name}": policy.content_hash for name, policy in self.tables.items()}
        found |= {f"tag {name}": policy.content_hash for name, policy in self.tags.items()}
        found |= {f"principal {who.name}": content_hash(_plain(who)) for who in self.principals.values()}
        found["default_access"] = self.default_access
        return found | {f"table {name}": "retired" for name in self.retired}


def _plain(who: Principal) -> tuple[Any, ...]:
    return (sorted(who.roles), sorted((name, repr(value)) for name, value in who.attributes.items()), *who.key[3:])


@dataclass(frozen=True, slots=True)
class Edition:
    """A book and its version: a content hash, equal for equal rules in whatever order and file they stand."""

    book: Book
    version: str
    digests: Mapping[str, str]
    own: tuple[Any, ...] = ()

    def differs(self, other: Edition) -> list[str]:
        """Names of the parts that are not the same in another edition."""
        names = {**self.digests, **other.digests}
        return sorted(name for name in names if self.digests.get(name) != other.digests.get(name))


class PolicyBook:
    """Keeps the book: takes policies in, looks at the store, and names the version.

    Parameters
    ----------
    default_access
        Where the store says nothing about it.
    principals
        Those the program declares.
    store
        Read before every decision; None without one.
    check
        Raises where the policies of a book do not go together.
    governed
        Tables, in lower case, that a book has any rule about.
    known
        Names of the catalog's tables.
    """

    def __init__(
        self,
        default_access: Access,
        principals: Mapping[str, Principal],
        store: PolicyStore | None,
        check: Callable[[Book], None],
        governed: Callable[[Book], frozenset[str]],
        known: Callable[[], list[str]],
    ) -> None:
        self.store = store
        self._default, self._principals = default_access, principals
        self._check, self._governed, self._known = check, governed, known
        self._lock = threading.RLock()
        self._tables: dict[str, TableSecurityPolicy] = {}
        self._tags: dict[str, TagPolicy] = {}
        self._taken: StoredRules | None = None
        self._book = Book(principals=principals, default_access=default_access)
        self._edition: Edition | None = None

    # --- what is in force

    def now(self) -> Book:
        """The book as it is now; the store's files are looked at, and read where they changed."""
        if self.store is None:
            return self._book
        stored = self.store.current()
        if stored is not self._taken:
            with self._lock:
                # Looked at again: another thread may have found something newer meanwhile, and this must not undo it.
                stored = self.store.current()
                if stored is not self._taken:
                    self._adopt(stored)
        return self._book

    def _adopt(self, stored: StoredRules) -> None:
        """Put into force what the store says now, in one step, or close everything."""
        before = self._book
        ruled = frozenset() if self._taken is None else before.retired | self._governed(before)
        mistakes = list(stored.mistakes) or self._conflicts(stored.rules)
        book = self._made(stored.rules)
        if not mistakes:
            try:
                self._check(book)
            except TauroError as wrong:
                mistakes = [str(wrong)]
        if mistakes:
            self._book = self._unusable(tuple(mistakes), ruled)
        else:
            self._book = replace(book, retired=ruled - self._governed(book))
        self._taken = stored

    def _made(self, rules: PolicyRules) -> Book:
        stored = {policy.table_name.casefold(): policy for policy in rules.tables}
        return Book(
            MappingProxyType({**self._tables, **stored}),
            MappingProxyType({**self._tags, **{tag.tag.casefold(): tag for tag in rules.tags}}),
            {**self._principals, **rules.principals} if rules.principals else self._principals,
            rules.default_access or self._default,
            frozenset(stored),
        )

    def _unusable(self, mistakes: tuple[str, ...], ruled: frozenset[str]) -> Book:
        name = "" if self.store is None else self.store.name
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        why = (
            f"the policies in `{name}` cannot be used ({count}), and until they can nothing may be read; "
            "`posture()` lists what to mend for whoever may read policies"
        )
        return replace(self._made(PolicyRules()), retired=ruled, closed=why, mistakes=mistakes)

    def _conflicts(self, rules: PolicyRules) -> list[str]:
        """What the program and the store both speak of, and names that can only be misspelt."""
        name = "" if self.store is None else self.store.name
        twice = [policy.table_name for policy in rules.tables if policy.table_name.casefold() in self._tables]
        both = [f"the policy of `{table}`" for table in twice]
        both += [f"the policy of the tag `{tag.tag}`" for tag in rules.tags if tag.tag.casefold() in self._tags]
        both += [f"the principal `{who}`" for who in rules.principals if who in self._principals]
        found = [f"{name}: {what} is in the configuration, too; keep one" for what in both]
        tables = {table.casefold(): table for table in self._known()}
        ruled = {policy.table_name.casefold() for policy in rules.tables}
        for policy in rules.tables:
            free = [table for key, table in tables.items() if key not in ruled]
            hint = nearest(policy.table_name, free) if policy.table_name.casefold() not in tables else ""
            if hint:
                found.append(f"{name}: there is no table `{policy.table_name}`.{hint}")
        return found

    def is_stored_tag(self, tag: str) -> bool:
        """Whether the policy of a tag, in lower case, is the store's."""
        return tag in self.now().tags and tag not in self._tags

    # --- changes by the program

    def put_table(self, policy: TableSecurityPolicy) -> None:
        """Put a policy in force in place of an earlier one for the same table.

        Raises
        ------
        PolicyError
            The table's policy is the store's.
        """
        with self._lock:
            self._refuse_stored(policy.table_name.casefold() in self.now().stored, f"`{policy.table_name}`")
            self._tables[policy.table_name.casefold()] = policy
            self._again()

    def put_tag(self, policy: TagPolicy) -> None:
        """As `put_table`, for a tag."""
        key = policy.tag.casefold()
        with self._lock:
            self._refuse_stored(self.is_stored_tag(key), f"the tag `{policy.tag}`")
            self._tags[key] = policy
            self._again()

    def drop_table(self, name: str) -> bool:
        """Take a policy away; whether there was one.

        Raises
        ------
        PolicyError
            It is the store's.
        """
        with self._lock:
            self._refuse_stored(name.casefold() in self.now().stored, f"`{name}`")
            found = self._tables.pop(name.casefold(), None) is not None
            self._again()
        return found

    def drop_tag(self, name: str) -> bool:
        """As `drop_table`, for a tag."""
        key = name.casefold()
        with self._lock:
            self._refuse_stored(self.is_stored_tag(key), f"the tag `{name}`")
            found = self._tags.pop(key, None) is not None
            self._again()
        return found

    def _refuse_stored(self, is_stored: bool, what: str) -> None:
        if is_stored and self.store is not None:
            raise PolicyError(f"the policy of {what} is in `{self.store.name}`.", hint="Change it there.")

    def _again(self) -> None:
        """Make the book anew after a change by the program."""
        if self._taken is None:
            self._book = self._made(PolicyRules())
        else:
            self._adopt(self._taken)

    # --- its version

    def edition(self) -> Edition:
        """What is in force now, with its version: the same object as long as that is the same."""
        book = self.now()
        # Policies of the program are its own objects, and may be changed in place.
        own = (
            *(policy.signature() for policy in tuple(self._tables.values())),
            *(policy.signature() for policy in tuple(self._tags.values())),
        )
        known = self._edition
        if known is not None and known.book is book and known.own == own:
            return known
        digests = book.digests()
        version = UNUSABLE if book.closed else content_hash(digests)
        self._edition = Edition(book, version, MappingProxyType(digests), own)
        return self._edition
