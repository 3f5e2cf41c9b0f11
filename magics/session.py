"""The catalogs a notebook is connected to, by alias, and whose eyes it looks through."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import UsageError, nearest

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.query.plan import QueryPlan

__all__ = ["DEFAULT", "Connection", "Session"]

DEFAULT = "default"
_CURE = "Run `%vconnect catalog.yaml` first; `%vconnect?` shows the other ways."


@dataclass
class Connection:
    """One connected catalog; `owned` says whether it is ours to close."""

    alias: str
    context: VirtualContext
    owned: bool
    _plans: dict[Any, QueryPlan] = field(default_factory=dict)
    _views: dict[Any, VirtualContext] = field(default_factory=dict)

    def seen_by(self, principal: str | None) -> VirtualContext:
        """The context, or the same catalog seen by somebody else."""
        if principal is None:
            return self.context
        if principal not in self._views:
            self._views[principal] = self.context.as_principal(principal)
        return self._views[principal]

    def become(self, principal: str) -> None:
        """Look through somebody else's eyes from now on."""
        self.context = self.seen_by(principal)

    def keep_plan(self, ctx: VirtualContext, plan: QueryPlan) -> None:
        """Remember the plan of the last query; a plan is for the eyes of its principal."""
        self._plans[ctx.principal.key] = plan

    def last_plan(self, ctx: VirtualContext) -> QueryPlan | None:
        """The plan of this principal's last query, if there was one."""
        return self._plans.get(ctx.principal.key)

    def close(self) -> None:
        """Close the catalog if `%vconnect` opened it."""
        if self.owned:
            self.context.close()


class Session:
    """Connections by alias; one of them is current.

    Parameters
    ----------
    whence
        Says where requests come from, for their audit records.

    Examples
    --------
    >>> session = Session()
    >>> session.get()
    Traceback (most recent call last):
        ...
    tauro_nb.errors.UsageError: no catalog is connected. Run `%vconnect catalog.yaml` first; ...
    """

    def __init__(self, whence: Callable[[], Mapping[str, str]] = dict) -> None:
        self._whence = whence
        self.connections: dict[str, Connection] = {}
        self.current: str | None = None

    def get(self, alias: str | None = None) -> Connection:
        """The connection of that name, or the current one.

        Raises
        ------
        UsageError
            There is none; says how to get one.
        """
        name = alias if alias is not None else self.current
        if name is None:
            raise UsageError("no catalog is connected.", hint=_CURE)
        if name not in self.connections:
            known = ", ".join(f"`{known}`" for known in self.connections) or "none"
            raise UsageError(f"no connection `{name}`.{nearest(name, self.connections)}", hint=f"Connected: {known}.")
        return self.connections[name]

    def context(self, alias: str | None = None, principal: str | None = None) -> VirtualContext:
        """The context to ask."""
        return self.get(alias).seen_by(principal)

    def open(self, catalog: Any, alias: str | None = None, principal: str | None = None) -> Connection:
        """Connect a configuration (mapping or path) or a context, and make it the current one.

        Raises
        ------
        ConfigError
            Every mistake of the configuration at once; the connection that was there stays.
        """
        from tauro_nb.context import VirtualContext

        if isinstance(catalog, VirtualContext):
            context, owned = catalog if principal is None else catalog.as_principal(principal), False
        elif isinstance(catalog, (Mapping, str, os.PathLike)):
            context, owned = VirtualContext(catalog, principal), True
        else:
            kind = type(catalog).__name__
            raise UsageError(f"a {kind} is no catalog.", hint="Give a path, a mapping or a VirtualContext.")
        name = alias or DEFAULT
        if name in self.connections:
            self.close(name)
        context.layer.audit_trail.whence = self._whence
        self.connections[name] = Connection(name, context, owned)
        self.current = name
        return self.connections[name]

    def use(self, alias: str) -> Connection:
        """Make a connection the current one."""
        connection = self.get(alias)
        self.current = alias
        return connection

    def close(self, alias: str | None = None) -> None:
        """Close one connection, or all."""
        for name in [alias] if alias is not None else list(self.connections):
            self.get(name).close()
            del self.connections[name]
            if self.current == name:
                self.current = next(reversed(self.connections), None)
