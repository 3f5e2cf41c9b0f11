"""Connections: how to get at a source. Their secrets are for connectors only; nothing here shows them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tauro_nb.catalog.connectors import CONNECTORS, ConnectorType, canonical_connector, connector_names
from tauro_nb.catalog.reading import WRONG, Parser, Site, anything, kind_of, mapping_of, read_fields
from tauro_nb.catalog.redact import plain, redact
from tauro_nb.catalog.table import read_connector
from tauro_nb.errors import ConfigError, nearest

__all__ = ["ConnectionSpec", "connection_from_environment", "environment_name", "read_connection"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
# These live in a file, so that their uri is only another way to write its path.
_LOCAL: Final = frozenset({"sqlite", "duckdb", "files"})


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """How to get at one source.

    Parameters
    ----------
    id
        What tables call it.
    type
        Canonical type: `postgresql`, `sqlite`, ...
    options
        For the connector: `uri`, or `host`, `port`, `user`, `password`, ...; `path` for files. Never shown unmasked.

    Examples
    --------
    >>> ConnectionSpec("crm", "postgresql", {"uri": "postgresql://ana:s3cr3t@db/crm", "password": "x"})
    ConnectionSpec(id='crm', type='postgresql', options={'uri': 'postgresql://ana:***@db/crm', 'password': '***'})
    """

    id: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_uri(cls, connection_id: str, uri: str) -> ConnectionSpec:
        """A connection from nothing but its uri; the scheme tells the type.

        Raises
        ------
        ConfigError
            If the scheme is missing or unknown. The uri itself is not in the message.

        Examples
        --------
        >>> ConnectionSpec.from_uri("crm", "sqlite:///crm.db")
        ConnectionSpec(id='crm', type='sqlite', options={'path': 'crm.db'})
        """
        site = Site(f"connections.{connection_id}")
        spec = read_connection(connection_id, uri, site)
        if spec is None:
            raise ConfigError(site.mistakes, origin="connection")
        return spec

    def redacted(self) -> dict[str, Any]:
        """The options as people may see them."""
        return dict(plain(redact(self.options)))

    def __repr__(self) -> str:
        return f"ConnectionSpec(id={self.id!r}, type={self.type!r}, options={self.redacted()!r})"


def environment_name(connection_id: str) -> str:
    """The environment variable that holds the uri of a connection which no configuration declares.

    >>> environment_name("prod-db")
    'TAURO_CONNECTION_PROD_DB'
    """
    return "TAURO_CONNECTION_" + re.sub(r"[^A-Z0-9]", "_", connection_id.upper())


def connection_from_environment(connection_id: str, env: Mapping[str, str] | None = None) -> ConnectionSpec | None:
    """The connection that the environment gives, or None.

    >>> connection_from_environment("crm", {"TAURO_CONNECTION_CRM": "duckdb:///w.duckdb"})
    ConnectionSpec(id='crm', type='duckdb', options={'path': 'w.duckdb'})
    """
    uri = (os.environ if env is None else env).get(environment_name(connection_id))
    return ConnectionSpec.from_uri(connection_id, uri) if uri else None


def read_connection(connection_id: str, raw: Any, site: Site) -> ConnectionSpec | None:
    """Read one connection, written as a mapping or as a uri; None when there is any mistake."""
    before = len(site.mistakes)
    spec = _from_uri(connection_id, raw, site) if isinstance(raw, str) else _from_mapping(connection_id, raw, site)
    return None if len(site.mistakes) > before else spec


def _from_uri(connection_id: str, raw: str, site: Site) -> ConnectionSpec | None:
    uri = site.expand(raw)
    if uri is WRONG:
        return None
    connector = _connector_of(uri, site)
    return None if connector is None else ConnectionSpec(connection_id, connector, _local_path(connector, {"uri": uri}))


def _connector_of(uri: str, site: Site) -> str | None:
    """The type that a uri's scheme tells."""
    found = _SCHEME.match(uri)
    if found is None:
        site.report("a connection written as text is a uri, such as postgresql://user@host/database")
        return None
    scheme = found[1].partition("+")[0]
    connector = canonical_connector(scheme)
    if connector not in CONNECTORS:
        site.report(f"no source is known by the scheme of this uri.{nearest(scheme, connector_names())}")
        return None
    return connector


def _from_mapping(connection_id: str, raw: Any, site: Site) -> ConnectionSpec | None:
    if not isinstance(raw, Mapping):
        site.report(f"expected a mapping or a uri, got {kind_of(raw)}")
        return None
    type_ = _type_of(raw, site)
    if type_ is None:
        return None
    connector = CONNECTORS[type_]
    found = read_fields(raw, site, _fields(connector, raw)) or {}
    found.pop("type", None)
    options = {**found.pop("options", {}), **found}
    if connector.requires:
        _check_way(connector, {**raw, **options}, site)
    return ConnectionSpec(connection_id, type_, _local_path(type_, options))


def _check_way(connector: ConnectorType, options: Mapping[Any, Any], site: Site) -> None:
    """A connection says where it leads, and its uri fits its type."""
    if not any(options.get(key) for key in connector.requires):
        site.report(f"a {connector.name} connection needs `{'` or `'.join(connector.requires[:2])}`")
    uri = options.get("uri")
    scheme = uri.partition(":")[0].partition("+")[0] if isinstance(uri, str) and "${" not in uri else connector.name
    if canonical_connector(scheme) != connector.name:
        site.at("uri").report(f"the scheme does not fit the type `{connector.name}`")


def _type_of(raw: Mapping[Any, Any], site: Site) -> str | None:
    """The canonical type: given, or told by the uri."""
    if raw.get("type") is not None:
        found = read_connector(raw["type"], site.at("type"))
        if found == "view":
            found = site.at("type").report("a view needs no connection")
        return None if found is WRONG else str(found)
    if isinstance(raw.get("uri"), str):
        uri = site.at("uri").expand(raw["uri"])
        return None if uri is WRONG else _connector_of(uri, site.at("uri"))
    near = next((hint for key in raw if isinstance(key, str) and (hint := nearest(key, ["type"]))), "")
    site.report(f"says no `type`.{near}")
    return None


def _fields(connector: ConnectorType, raw: Mapping[Any, Any]) -> Mapping[str, Parser]:
    """Keys that the type knows; any key, where no connector says which it reads."""
    keys = connector.options or tuple(key for key in raw if isinstance(key, str))
    return {"type": anything, **dict.fromkeys(keys, anything), "options": mapping_of(anything)}


def _local_path(connector: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the uri of a local file turned into its path: `sqlite:///x` is relative, `sqlite:////x` is not."""
    uri = options.get("uri")
    if connector not in _LOCAL or not isinstance(uri, str):
        return dict(options)
    rest = {key: value for key, value in options.items() if key != "uri"}
    try:
        parts = urlsplit(uri)
    except ValueError:
        return rest
    path = unquote(parts.path)
    local = path if connector == "files" else path.removeprefix("/")
    return {"path": unquote(parts.netloc) + local or ":memory:", **rest}
