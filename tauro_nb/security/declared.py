"""What the catalog itself says of a table's protection, beside its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tauro_nb.catalog.table import EncryptionConfig

__all__ = ["NOTHING_DECLARED", "Declared", "Definition", "Definitions"]


class Definition(Protocol):
    """The part of a virtual table that is read here."""

    @property
    def encryption_config(self) -> EncryptionConfig | None:
        """Which columns the source holds as ciphertext."""

    @property
    def access_control(self) -> Mapping[str, list[str]]:
        """Roles by operation."""


class Definitions(Protocol):
    """Where virtual tables are looked up."""

    def get_table(self, name: str) -> Definition | None:
        """The table's definition."""


@dataclass(frozen=True)
class Declared:
    """What a table's definition asks for at one moment.

    Parameters
    ----------
    encryption
        Which columns the source holds as ciphertext; None when there are none.
    access
        Operation in lower case -> the roles that may; an operation that is not named is for the policy to say.

    Examples
    --------
    >>> bool(Declared()), bool(Declared(access=(("select", ("hr",)),)))
    (False, True)
    """

    encryption: EncryptionConfig | None = None
    access: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __bool__(self) -> bool:
        return self.encryption is not None or bool(self.access)

    @classmethod
    def of(cls, definitions: Definitions | None, table_name: str) -> Declared:
        """Look a table up; one that is not there declares nothing."""
        found = None if definitions is None else definitions.get_table(table_name)
        if found is None:
            return cls()
        config = found.encryption_config
        used = config if config is not None and config.enabled and config.fields else None
        return cls(used, tuple((word.casefold(), tuple(roles)) for word, roles in found.access_control.items()))

    def roles_for(self, operation: str) -> tuple[str, ...] | None:
        """Who may do it; None where nothing is said."""
        return dict(self.access).get(operation)


NOTHING_DECLARED: Final = Declared()
