"""tauro_nb: governed data virtualization inside the notebook.

Names are loaded when they are first used, so that `%load_ext tauro_nb` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"

# Public name -> module it lives in.
_HOMES = {
    "AccessDenied": "errors",
    "AccessLevel": "security.policy",
    "CacheStrategy": "catalog.table",
    "ConfigError": "errors",
    "EmailMasker": "security.masks",
    "EncryptionConfig": "catalog.table",
    "ExecutionStrategy": "query.plan",
    "FederationEngine": "federation",
    "FieldSecurityPolicy": "security.policy",
    "JoinPlan": "joins",
    "Operation": "security.policy",
    "PhoneMasker": "security.masks",
    "Predicate": "query.predicate",
    "PredicateOperator": "query.predicate",
    "Principal": "security.principal",
    "QueryPlan": "query.plan",
    "QueryStatistics": "monitor",
    "Result": "query.result",
    "SSNMasker": "security.masks",
    "SchemaRegistry": "catalog.registry",
    "SecurityEnforcer": "security.enforcer",
    "SourceType": "catalog.table",
    "TableSecurityPolicy": "security.policy",
    "TauroError": "errors",
    "VirtualContext": "context",
    "VirtualDataLayer": "layer",
    "VirtualReader": "readers",
    "VirtualReaderFactory": "readers",
    "VirtualTable": "catalog.table",
    "connect": "interop.dbapi",
    "posture": "oversight.deployment",
}

__all__ = sorted([*_HOMES, "load_ipython_extension", "unload_ipython_extension"])  # noqa: PLE0605 - from one table


def __getattr__(name: str) -> Any:
    if name == "virtualization":
        return importlib.import_module("tauro_nb.virtualization")
    if name not in _HOMES:
        raise AttributeError(f"module 'tauro_nb' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tauro_nb.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext tauro_nb`: register the magics."""
    from tauro_nb.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext tauro_nb`: take everything back that loading added."""
    from tauro_nb.magics import unload

    unload(shell)
