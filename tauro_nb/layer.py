"""A catalog with its sources, engine and policies, shared by all principals of a context."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tauro_nb.catalog.registry import SchemaRegistry
from tauro_nb.config import CatalogConfig, load_config
from tauro_nb.monitor import QueryMonitor
from tauro_nb.policy_tables import PolicyTables
from tauro_nb.security.audit import AuditTrail
from tauro_nb.security.audit.table import AUDIT_TABLE, audit_policy, audit_table
from tauro_nb.security.enforcer import SecurityEnforcer
from tauro_nb.security.keys import KeyRing
from tauro_nb.security.store import PolicyStore

if TYPE_CHECKING:
    from tauro_nb.engine.duckdb import DuckDBEngine
    from tauro_nb.sources.pool import SourcePool

__all__ = ["Machine", "VirtualDataLayer"]


class VirtualDataLayer:
    """A catalog with its sources and policies, shared by all principals.

    Parameters
    ----------
    config
        A validated configuration; None for an empty catalog that is filled by hand.

    Examples
    --------
    >>> layer = VirtualDataLayer.from_config({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}})
    >>> [table.name for table in layer.schema_registry.list_tables()]
    ['one']
    """

    def __init__(self, config: CatalogConfig | None = None) -> None:
        config = config or load_config(None)
        self.config = config
        self._machine: Machine | None = None
        # Of two that are made at once one would be lost, and its connections with it.
        self._making = threading.Lock()
        self.schema_registry = SchemaRegistry()
        for table in config.tables:
            self.schema_registry.register_table(table)
        self.keys = KeyRing() if config.encryption is None else config.encryption.ring()
        self.audit_trail = AuditTrail(
            config.audit.path, config.audit.on_failure, settings=config.audit.settings, ring=self.keys
        )
        self.security = SecurityEnforcer(
            default_access=config.default_access,
            principals=config.principals,
            trail=self.audit_trail,
            labels=self.schema_registry,
            keys=self.keys,
            definitions=self.schema_registry,
            catalog=PolicyTables(self),
            reader=PolicyTables(self),
            store=None if config.security.policies is None else PolicyStore(config.security.policies),
            barrier=config.security.barrier,
        )
        for tag_policy in config.tag_policies:
            self.security.register_tag_policy(tag_policy)
        for policy in config.policies:
            self.security.register_policy(policy)
        self.schema_registry.add_system_table(audit_table())
        self.security.fix_policy(audit_policy(self.audit_trail.settings.readers))
        self.security.version()  # from here on a change of policies leaves a record
        self.policy_readers: frozenset[str] = frozenset(config.security.policy_readers)
        self.monitor = QueryMonitor()
        self.asked: dict[str, set[tuple[str, str | None]]] = {}
        """Queries in the lineage, and who asked them."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | os.PathLike[str]) -> VirtualDataLayer:
        """Build a layer from a mapping or a YAML file.

        Raises
        ------
        ConfigError
            Every mistake of the configuration at once.
        """
        return cls(load_config(config))

    @property
    def machine(self) -> Machine:
        """Engine and sources, made when the first query needs them."""
        with self._making:
            if self._machine is None:
                self._machine = Machine(self)
            return self._machine

    @property
    def idle(self) -> bool:
        """Whether nothing has been connected yet."""
        return self._machine is None

    def close(self) -> None:
        """Close sources, engine and audit file; may be called twice."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None
        self.audit_trail.close()


class Machine:
    """The moving parts of a layer. Imported late: a catalog can be browsed without an engine."""

    def __init__(self, layer: VirtualDataLayer) -> None:
        from tauro_nb.engine.duckdb import DuckDBEngine
        from tauro_nb.query.tables import Services
        from tauro_nb.sources.pool import SourcePool
        from tauro_nb.sources.system import SystemSource

        self.engine: DuckDBEngine = DuckDBEngine(layer.security.functions, layer.config.engine)
        self.pool: SourcePool = SourcePool(
            layer.config.connections,
            layer.config.base_path,
            {AUDIT_TABLE: SystemSource({AUDIT_TABLE: layer.audit_trail.reader})},
        )
        self.services = Services(
            registry=layer.schema_registry,
            pool=self.pool,
            security=layer.security,
            describe=self.engine.describe,
            refresh=self.engine.refresh,
        )

    def close(self) -> None:
        """Close sources, then engine."""
        self.pool.close()
        self.engine.close()
