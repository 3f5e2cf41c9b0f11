"""From a YAML file or a dict to a validated catalog configuration; one error lists every mistake.

Keys (all of them optional, perhaps under one key `virtualization`)::

    connections:        id -> {type, uri | path | host ..., options} or just a uri
    virtual_tables:     name -> what `VirtualTable.from_mapping` reads
    security_policies:  table -> what `TableSecurityPolicy.from_mapping` reads
    tag_policies:       tag -> what `TagPolicy.from_mapping` reads
    principals:         name -> {roles: [...], attributes: {...}, tenant, purpose} or just the roles
    security:           {barrier, policy_readers, simulators, default_principal, policies, list_denied}
    default_access:     allow | deny, for tables without a policy; deny when there is a file of policies
    audit:              {path, on_failure, readers, checkpoints, checkpoint_every, checkpoint_seconds, rotate_bytes,
                        retention_days, key}
    encryption:         {keyset, kek: {env | passphrase | keyring | command}, create}
    limits:             {max_bytes: 500MB, connections: {id: 100MB}}, what one query may move
    engine:             {memory_limit: 2GB, temp_directory}
    enabled:            false leaves the catalog empty

Every text may hold `${NAME}` or `${NAME:-default}`; `$${` stands for `${`. What the environment holds is never shown.

A table may name a connection that is not declared: the environment can give it until the moment it is used
(`TAURO_CONNECTION_<ID>`). It is a mistake only where it looks like the misspelt name of a declared one.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tauro_nb.catalog.connections import ConnectionSpec, environment_name, read_connection
from tauro_nb.catalog.connectors import CONNECTORS, FILE_FORMATS
from tauro_nb.catalog.documents import read_document
from tauro_nb.catalog.reading import (
    WRONG,
    Parser,
    Site,
    as_it_is,
    choice,
    entries,
    flag,
    integer,
    listed,
    mapping_of,
    read_entries,
    read_fields,
    report_same_names,
    text,
)  # fmt: skip
from tauro_nb.catalog.snapshot import SYSTEM
from tauro_nb.catalog.table import VirtualTable, read_table
from tauro_nb.engine.settings import EngineSettings
from tauro_nb.errors import ConfigError, nearest
from tauro_nb.query.limits import Limits
from tauro_nb.text import parsed_size

if TYPE_CHECKING:
    from tauro_nb.security.audit import AuditSettings
    from tauro_nb.security.keys.settings import EncryptionSettings
    from tauro_nb.security.policy import TableSecurityPolicy, TagPolicy
    from tauro_nb.security.policy_file import PolicyRules
    from tauro_nb.security.principal import Principal

__all__ = ["AuditConfig", "CatalogConfig", "ConnectionSpec", "SecurityConfig", "load_config"]

Access = Literal["allow", "deny"]
_WRAPPER: Final = "virtualization"


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """Where the audit trail goes, and what happens when it cannot be written.

    `path` None keeps it in memory. `on_failure` is `fail_operation` (no record, no query) or `continue`. `settings` are
    those of the log, None for the usual ones.
    """

    path: Path | None = None
    on_failure: Literal["fail_operation", "continue"] = "fail_operation"
    settings: AuditSettings | None = None


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """How policies are kept and enforced, whatever they say.

    `barrier` is `leakproof` (predicates that cannot leak pass below the policy) or `strict` (none does).
    `policy_readers` are the roles that may read the text of policies, `simulators` those that besides them may ask with
    somebody else's rights. `default_principal` is who asks when nobody is named: `admin`, or `nobody` where there is a
    file of policies. `policies` is that file or folder, read again whenever it changes (`security/store.py`).
    With `list_denied` people find the names of tables and columns that are closed to them in the catalog, marked as
    denied; without it nothing shows that they exist.
    """

    barrier: Literal["leakproof", "strict"] = "leakproof"
    policy_readers: tuple[str, ...] = ("admin",)
    default_principal: str = "admin"
    simulators: tuple[str, ...] = ()
    policies: Path | None = None
    list_denied: bool = False


@dataclass(frozen=True)
class CatalogConfig:
    """A configuration without mistakes; its secrets are in `connections`, whose repr hides them."""

    connections: dict[str, ConnectionSpec] = field(default_factory=dict)
    tables: tuple[VirtualTable, ...] = ()
    policies: tuple[TableSecurityPolicy, ...] = ()
    tag_policies: tuple[TagPolicy, ...] = ()
    principals: dict[str, Principal] = field(default_factory=dict)
    default_access: Access = "allow"
    audit: AuditConfig = field(default_factory=AuditConfig)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    encryption: EncryptionSettings | None = None
    limits: Limits = field(default_factory=Limits)
    engine: EngineSettings = field(default_factory=EngineSettings)
    base_path: Path = field(default_factory=Path.cwd)
    enabled: bool = True


def load_config(
    source: Mapping[str, Any] | str | os.PathLike[str] | None, *, env: Mapping[str, str] | None = None
) -> CatalogConfig:
    """Read a configuration.

    Parameters
    ----------
    source
        A mapping, the path of a YAML or JSON file, or None for an empty catalog. Relative paths in it start at the
        file's folder, or at the working directory for a mapping.
    env
        Values of `${NAME}`; the process environment by default.

    Raises
    ------
    ConfigError
        With every mistake and its place. Nothing else is raised, whatever the input.

    Examples
    --------
    >>> config = load_config({"virtual_tables": {"c": {"connection": "crm", "table": "customers"}}})
    >>> config.tables[0].connection_id
    'crm'
    >>> load_config({"virtual_tables": {"c": {"path": "c.csv", "cache_stragety": "smart"}}})
    Traceback (most recent call last):
    ...
    tauro_nb.errors.ConfigError: configuration: 1 mistake
      - virtual_tables.c.cache_stragety: unknown key. Did you mean `cache_strategy`?
    """
    site = Site("", os.environ if env is None else env)
    origin, base, raw = "configuration", Path.cwd(), source
    if isinstance(source, (str, os.PathLike)):
        origin, base, raw = _read_file(source, site)
    config = None if site.mistakes and raw is None else _read_config(raw, base, site)
    if config is None or site.mistakes:
        raise ConfigError(site.mistakes, origin=origin)
    return config


def _read_file(source: str | os.PathLike[str], site: Site) -> tuple[str, Path, Any]:
    """Name for messages, folder and content of a file."""
    name: Any = os.fspath(source)  # bytes, from a strange PathLike
    if not isinstance(name, str) or not name.isprintable() or "://" in name:
        site.report("expected a mapping or the path of a file; of YAML text, pass what `yaml.safe_load` returns")
        return "configuration", Path.cwd(), None
    path = Path(name)
    try:
        path = path.expanduser()
        base, document = path.resolve().parent, path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        site.report("the file is not UTF-8 text")
    except FileNotFoundError:
        beside = [found.name for found in path.parent.glob("*.y*ml")]
        site.report(f"there is no such file.{nearest(path.name, beside)}")
    except OSError as error:
        site.report(f"the file cannot be read: {error.strerror or type(error).__name__}")
    except (RuntimeError, ValueError):
        site.report("this is not the path of a file")
    else:
        return path.name, base, read_document(document, site)
    return path.name, Path.cwd(), None


def _read_config(raw: Any, base: Path, site: Site) -> CatalogConfig | None:
    body, place = _unwrap({} if raw is None else raw, site)
    found = read_fields(body, place, _SECTIONS)
    if found is None:
        return None
    connections = read_entries(found.get("connections"), place.at("connections"), read_connection)
    connections = {name: _rooted(spec, base) for name, spec in connections.items()}
    tables = read_entries(found.get("virtual_tables"), place.at("virtual_tables"), read_table)
    report_same_names(found.get("virtual_tables"), place.at("virtual_tables"))
    for name in tables:
        if name.casefold().startswith(f"{SYSTEM}."):
            place.at("virtual_tables").at(name).report(f"names that begin with `{SYSTEM}.` are the system's own")
    _report_lost_policies(found, tables, place.at("security_policies"))
    for name, table in tables.items():
        declared = dict(entries(found.get("connections")))
        _check_connection(table, connections, declared, place.at("virtual_tables").at(name))
    audit = found.get("audit", AuditConfig())
    security = found.get("security", SecurityConfig())
    enabled = found.get("enabled", True)
    rules = _read_rules(found, place)
    return CatalogConfig(
        connections=connections,
        tables=tuple(_located(table, connections, base) for table in tables.values()) if enabled else (),
        policies=rules.tables,
        tag_policies=rules.tags,
        principals=dict(rules.principals),
        default_access=rules.default_access or ("allow" if security.policies is None else "deny"),
        audit=_placed(audit, base),
        security=replace(security, policies=_absolute(security.policies, base)),
        encryption=_rooted_keys(found.get("encryption"), base),
        limits=found.get("limits", Limits()),
        engine=_placed_engine(found.get("engine", EngineSettings()), base),
        base_path=base,
        enabled=enabled,
    )


def _unwrap(raw: Any, site: Site) -> tuple[Any, Site]:
    """Step into `virtualization:`. What stands beside it belongs to others, unless it is one of our keys."""
    if not isinstance(raw, Mapping) or _WRAPPER not in raw:
        return raw, site
    for key in raw:
        if key in _SECTIONS:
            site.at(key).report(f"stands beside `{_WRAPPER}`; move it below")
    return ({} if raw[_WRAPPER] is None else raw[_WRAPPER]), site.at(_WRAPPER)


def _report_lost_policies(found: Mapping[str, Any], tables: Mapping[str, VirtualTable], site: Site) -> None:
    """Report policies that protect nothing: a misspelt name would leave the real table or column open."""
    declared = {name.casefold(): name for name, _ in entries(found.get("virtual_tables"))}
    for name, raw in entries(found.get("security_policies")):
        if declared and name.casefold() not in declared:
            site.at(name).report(f"no virtual table of this name is declared.{nearest(name, declared.values())}")
        table = tables.get(declared.get(name.casefold(), ""))
        columns = {column.casefold() for column in table.schema} if table is not None else set()
        for column, _ in entries(raw.get("field_policies") if isinstance(raw, Mapping) else None):
            if table is not None and columns and column.casefold() not in columns:
                hint = nearest(column, table.schema)
                site.at(name).at("field_policies").at(column).report(f"the table declares no such column.{hint}")


def _check_connection(
    table: VirtualTable, connections: Mapping[str, ConnectionSpec], declared: Iterable[str], site: Site
) -> None:
    """Report a connection that cannot be meant: missing where one is needed, of another type, or misspelt."""
    known = CONNECTORS.get(table.connector_type)
    wanted = table.connection_id
    spec = connections.get(wanted)
    if not wanted:
        if known is not None and known.implemented and not (known.name in _OWN_FILE and table.path):
            site.report(f"a {known.name} table needs its `connection`")
    elif spec is not None:
        _check_type(table, spec, site)
    elif wanted not in set(declared) and environment_name(wanted) not in (site.env or {}):
        hint = nearest(wanted, connections)
        if hint and (known is None or known.implemented):
            site.at("connection_id").report(
                f"no such connection is declared.{hint} Or set `{environment_name(wanted)}` to its uri."
            )


def _check_type(table: VirtualTable, spec: ConnectionSpec, site: Site) -> None:
    """A table of one database cannot be reached through a connection to another."""
    mine, theirs = CONNECTORS.get(table.connector_type), CONNECTORS[spec.type]
    if mine is not None and mine.implemented and theirs.implemented and mine is not theirs:
        site.at("connector_type").report(f"is {mine.name}, but the connection `{spec.id}` is {spec.type}")


def _read_rules(found: Mapping[str, Any], place: Site) -> PolicyRules:
    """Let the security room read its own sections."""
    from tauro_nb.security.policy_file import read_rules  # what asks for nothing of it need not load it

    return read_rules(found, place)


_OWN_FILE: Final = frozenset({"sqlite", "duckdb"})


def _located(table: VirtualTable, connections: Mapping[str, ConnectionSpec], base: Path) -> VirtualTable:
    """Infer the connector from the connection, and make a local path absolute."""
    spec = connections.get(table.connection_id)
    if spec is not None and not table.connector_type:
        table.connector_type = spec.type
        table.source_type = table.source_type or CONNECTORS[spec.type].source_type
    local = table.connector_type in {*FILE_FORMATS, *_OWN_FILE, "files", "delta", ""}
    if table.path and local and (spec is None or spec.type == "files"):
        folder = Path(str(spec.options.get("path", base))) if spec is not None else base
        # The path of files is a pattern, that of a database is a name.
        table.path = _absolute_text(table.path, folder, pattern=table.connector_type not in _OWN_FILE)
    return table


def _rooted(spec: ConnectionSpec, base: Path) -> ConnectionSpec:
    """Make the path of a local connection absolute."""
    path = spec.options.get("path")
    if spec.type not in {*_OWN_FILE, "files"} or not isinstance(path, str):
        return spec
    return ConnectionSpec(spec.id, spec.type, {**spec.options, "path": _absolute_text(path, base)})


def _absolute(path: Path | None, base: Path) -> Path | None:
    return None if path is None else Path(_absolute_text(str(path), base))


def _absolute_text(path: str, base: Path, *, pattern: bool = False) -> str:
    """Join to the folder, with care: a uri stays, `:memory:` stays, a glob in the folder's own name is no glob."""
    if "://" in path or path.startswith(":"):
        return path
    if path.startswith("~"):
        with contextlib.suppress(RuntimeError):  # `~nobody`: then it is the name of a file
            path = str(Path(path).expanduser()) + _ending(path)
    if Path(path).is_absolute():
        return path
    folder = glob.escape(str(base)) if pattern and not (base / path).is_dir() else str(base)
    return os.path.normpath(f"{folder}{os.sep}{path}") + _ending(path)


def _ending(path: str) -> str:
    """A slash at the end says that the path is a folder; joining would lose it."""
    return os.sep if path.endswith("/") else ""


def _read_audit(raw: Any, site: Site) -> Any:
    before = len(site.mistakes)
    found = read_fields(raw, site, _AUDIT)
    if found is None or len(site.mistakes) > before:
        return WRONG
    path, on_failure = found.pop("path", ""), found.pop("on_failure", "fail_operation")
    return AuditConfig(Path(path) if path else None, on_failure, _audit_settings(found) if found else None)


def _audit_settings(found: Mapping[str, Any]) -> AuditSettings:
    from tauro_nb.security.audit import AuditSettings

    readers = tuple(found["readers"]) if "readers" in found else AuditSettings().readers
    paths = {name: Path(found[name]) for name in ("checkpoints", "key") if name in found}
    return AuditSettings(**{**found, **paths, "readers": readers})


def _placed(audit: AuditConfig, base: Path) -> AuditConfig:
    """The paths of an audit log, absolute."""
    settings = audit.settings
    if settings is not None:
        checkpoints, key = _absolute(settings.checkpoints, base), _absolute(settings.key, base)
        settings = replace(settings, checkpoints=checkpoints, key=key)
    return AuditConfig(_absolute(audit.path, base), audit.on_failure, settings)


def _read_security(raw: Any, site: Site) -> Any:
    before = len(site.mistakes)
    found = read_fields(raw, site, _SECURITY)
    if found is None or len(site.mistakes) > before:
        return WRONG
    roles: dict[str, Any] = {name: tuple(found[name]) for name in ("policy_readers", "simulators") if name in found}
    policies: dict[str, Any] = {"policies": Path(found["policies"])} if found.get("policies") else {}
    # Who keeps policies in files means them: there nobody is an administrator by saying nothing.
    implied: dict[str, Any] = {"default_principal": "nobody"} if policies else {}
    values: dict[str, Any] = {**implied, **found, **roles, **policies}
    return SecurityConfig(**values)


def _size(raw: Any, site: Site) -> Any:
    """A number of bytes."""
    expanded = text(raw, site) if isinstance(raw, str) else raw
    found = None if expanded is WRONG else parsed_size(expanded)
    return site.report("expected a size, such as 500MB") if found is None and expanded is not WRONG else found or WRONG


def _read_limits(raw: Any, site: Site) -> Any:
    before = len(site.mistakes)
    found = read_fields(raw, site, {"max_bytes": _size, "connections": mapping_of(_size)})
    return WRONG if found is None or len(site.mistakes) > before else Limits(**found)


def _read_engine(raw: Any, site: Site) -> Any:
    before = len(site.mistakes)
    found = read_fields(raw, site, {"memory_limit": _size, "temp_directory": text})
    if found is None or len(site.mistakes) > before:
        return WRONG
    folder = found.get("temp_directory")
    return EngineSettings(found.get("memory_limit"), Path(folder) if folder else None)


def _placed_engine(settings: EngineSettings, base: Path) -> EngineSettings:
    return replace(settings, temp_directory=_absolute(settings.temp_directory, base))


def _read_keys(raw: Any, site: Site) -> Any:
    """Let the security room read its own section."""
    from tauro_nb.security.keys.settings import read_encryption_settings  # most catalogs encrypt nothing

    return read_encryption_settings(raw, site)


def _rooted_keys(settings: EncryptionSettings | None, base: Path) -> EncryptionSettings | None:
    return None if settings is None else replace(settings, keyset=_absolute(settings.keyset, base))


def _one_of(*words: str) -> Parser:
    def meaning(word: str) -> str:
        folded = word.strip().casefold()
        if folded not in words:
            raise ValueError(word)
        return folded

    return choice(meaning, words)


_SECURITY: Final[Mapping[str, Parser]] = {
    "barrier": _one_of("leakproof", "strict"),
    "policy_readers": listed(text),
    "simulators": listed(text),
    "default_principal": text,
    "policies": text,
    "list_denied": flag,
}
_AUDIT: Final[Mapping[str, Parser]] = {
    "path": text,
    "on_failure": _one_of("fail_operation", "continue"),
    "readers": listed(text),
    "checkpoints": text,
    "checkpoint_every": integer(1),
    "checkpoint_seconds": integer(0),
    "rotate_bytes": integer(4096),
    "retention_days": integer(1),
    "key": text,
}
# Entry by entry below, so that a mistake in one entry does not hide those of its neighbours.
_SECTIONS: Final[Mapping[str, Parser]] = {
    "enabled": flag,
    "connections": as_it_is,
    "virtual_tables": as_it_is,
    "security_policies": as_it_is,
    "tag_policies": as_it_is,
    "principals": as_it_is,
    "security": _read_security,
    "default_access": _one_of("allow", "deny"),
    "audit": _read_audit,
    "encryption": _read_keys,
    "limits": _read_limits,
    "engine": _read_engine,
}
