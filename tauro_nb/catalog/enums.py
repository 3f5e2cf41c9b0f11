"""The choices that a virtual table makes; text in any case means its member."""

from __future__ import annotations

from enum import Enum

__all__ = ["CacheStrategy", "SourceType"]


class _Choice(Enum):
    """An enum whose members are found by value or name, whatever the case: `SourceType("DATABASE")`."""

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        folded = value.casefold().replace("-", "_") if isinstance(value, str) else None
        return next((member for member in cls if member.value == folded), None)


class SourceType(_Choice):
    """The family of systems that a table's data lives in.

    >>> SourceType("Data_Warehouse")
    <SourceType.DATA_WAREHOUSE: 'data_warehouse'>
    """

    DATABASE = "database"
    FILESYSTEM = "filesystem"
    API = "api"
    STREAM = "stream"
    DATA_WAREHOUSE = "data_warehouse"


class CacheStrategy(_Choice):
    """When results that read a table may come from a cache.

    >>> CacheStrategy("NEVER")
    <CacheStrategy.NEVER: 'never'>
    """

    NEVER = "never"
    ALWAYS = "always"
    SMART = "smart"
    PERIODIC = "periodic"
    MATERIALIZED = "materialized"
