"""Where a MySQL or MariaDB server is, for the two clients that talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.errors import UsageError

__all__ = ["Address"]

# Options by which either client is told how to encrypt; the second name is PyMySQL's.
_TLS = {"ssl_ca": "ssl_ca", "ssl_cert": "ssl_cert", "ssl_key": "ssl_key"}
_PORT = 3306
_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Server, database and user of a connection. Its text is never shown: it holds the password.

    Examples
    --------
    >>> spec = ConnectionSpec("crm", "mysql", {"uri": "mariadb://ana:p%40ss@db:3307/crm", "user": "bob"})
    >>> address = Address.of(spec)
    >>> address.user, address.port, address.database
    ('bob', 3307, 'crm')
    """

    host: str
    port: int
    user: str
    password: str
    database: str
    socket: str
    tls: Mapping[str, str]
    timeout: int

    @classmethod
    def of(cls, connection: ConnectionSpec) -> Address:
        """Read the `uri`; options beside it win.

        Raises
        ------
        UsageError
            The uri or the port is none.
        """
        given = {key: value for key, value in connection.options.items() if value is not None}
        try:
            options = {**_from_uri(str(given.pop("uri", "") or "")), **given}
            port, timeout = int(options.get("port") or _PORT), int(options.get("connect_timeout") or _TIMEOUT)
        except ValueError:
            raise UsageError(f"connection `{connection.id}`: `uri` is not a MySQL address.") from None
        tls = {key: str(options[key]) for key in ("ssl_mode", *_TLS) if options.get(key)}
        text = {key: str(options.get(key) or "") for key in ("host", "user", "password", "database", "socket")}
        return cls(
            text["host"] or "127.0.0.1", port, text["user"], text["password"], text["database"], text["socket"], tls,
            timeout,
        )  # fmt: skip

    def for_scanner(self) -> str:
        """What DuckDB's scanner attaches."""
        options = dict(self.tls) | ({"socket": self.socket} if self.socket else {})
        tail = "&".join(f"{key}={quote(value, safe='')}" for key, value in options.items())
        user = ":".join(quote(part, safe="") for part in (self.user, self.password) if part)
        return f"mysql://{user}@{self.host}:{self.port}/{quote(self.database, safe='')}{'?' if tail else ''}{tail}"

    def for_driver(self) -> dict[str, Any]:
        """What PyMySQL connects with."""
        place = {"unix_socket": self.socket} if self.socket else {"host": self.host, "port": self.port}
        tls: dict[str, Any] = {name: self.tls[key] for key, name in _TLS.items() if key in self.tls}
        mode = self.tls.get("ssl_mode", "").lower()
        if mode == "disabled":
            tls["ssl_disabled"] = True
        elif mode:
            tls["ssl"] = {"check_hostname": mode == "verify_identity", "verify_mode": mode.startswith("verify")}
        account = {"user": self.user or None, "password": self.password, "database": self.database or None}
        return {**place, **account, **tls, "connect_timeout": self.timeout, "charset": "utf8mb4"}


def _from_uri(uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    found = {
        "host": unquote(parts.hostname or ""),
        "port": parts.port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.lstrip("/")),
    }
    return {**found, **dict(parse_qsl(parts.query))}
