"""The words that policies are written in: levels of access, and operations."""

from __future__ import annotations

from enum import Enum

__all__ = ["AccessLevel", "Operation"]


class AccessLevel(Enum):
    """How a column is protected from roles that are not in its `allowed_roles`."""

    UNRESTRICTED = "unrestricted"
    MASKED = "masked"
    ENCRYPTED = "encrypted"
    RESTRICTED = "restricted"


class Operation(Enum):
    """What is done to a table; virtual tables allow reading (`SELECT`, `EXPORT`) only."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    EXPORT = "export"
