"""Virtual tables: what a name in the catalog stands for."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from tauro_nb.catalog.connectors import CONNECTORS, canonical_connector, connector_for_path, connector_names
from tauro_nb.catalog.enums import CacheStrategy, SourceType
from tauro_nb.catalog.reading import (
    WRONG,
    Parser,
    Site,
    anything,
    as_it_is,
    choice,
    escaped,
    flag,
    integer,
    kind_of,
    listed,
    mapping_of,
    read_fields,
    text,
)  # fmt: skip
from tauro_nb.catalog.redact import plain, redact
from tauro_nb.catalog.type_text import normalize
from tauro_nb.errors import ConfigError, nearest

__all__ = ["CacheStrategy", "EncryptionConfig", "SourceType", "VirtualTable", "read_table"]


@dataclass(frozen=True, slots=True)
class EncryptionConfig:
    """Which columns a source holds as ciphertext; names a key, never holds one.

    Parameters
    ----------
    enabled
        False: the listed columns are plain values after all.
    algorithm
        `AES-256-GCM`, or `AES-SIV` where equal values have equal ciphertexts and can be searched.
    key_id
        The keys' domain in the keyset; each column has keys of its own when not given.
    fields
        The columns.

    Examples
    --------
    >>> EncryptionConfig(algorithm="AES-SIV", fields=("ssn",)).searchable
    True
    """

    enabled: bool = True
    algorithm: str = "AES-256-GCM"
    key_id: str = ""
    fields: tuple[str, ...] = ()

    @property
    def searchable(self) -> bool:
        """Whether equal values have equal ciphertexts."""
        return self.algorithm.upper().startswith("AES-SIV")


@dataclass
class VirtualTable:
    """A table that a person can name, wherever its rows are.

    Parameters
    ----------
    name
        Unique in the catalog, whatever the case.
    source_type
        Family of the source; follows from `connector_type` when not given. None for views.
    connector_type
        Type of the source: `postgresql`, `sqlite`, `parquet`, ...; `view` for a query over other virtual tables.
    connection_id
        Which connection leads there.
    query
        SQL in place of a table: the source's SQL, or for a view, SQL over virtual tables. `{{ name }}` is a parameter.
    table_name
        The table's name at the source.
    path
        File, folder or glob.
    schema
        Column to type, in table order; types are kept in DuckDB's spelling. Empty: the source tells.
    partitions
        Columns that the files are partitioned by.
    source_tables
        Names this table is made from, for lineage.
    transformation
        How it is made from them, in words.
    cache_strategy, cache_ttl_seconds
        When results may be reused, and for how long.
    encryption_config
        Which columns the source holds as ciphertext, with which key.
    access_control
        Operation -> the roles (or names) that may. `select` closes the table to everybody else, whatever its policy
        says; `insert`, `update` and `delete` are not possible for anybody.
    description, tags
        For people; tags also classify (`pii`).
    required_filters
        Columns of which every query must compare one with constants; without any the table is read whole.
    column_tags
        Column -> its tags; an empty list says that the column was looked at and needs none.
    parameters
        Values that the query's `{{ name }}` take when a request gives none.
    options
        What the connector needs to know besides (the delimiter of a CSV).

    Raises
    ------
    ConfigError
        Listing everything that is wrong with the values.

    Examples
    --------
    >>> table = VirtualTable("customers", connector_type="postgres", connection_id="crm", schema={"id": "int"})
    >>> table.connector_type, table.source_type.name, table.schema
    ('postgresql', 'DATABASE', {'id': 'INTEGER'})
    >>> VirtualTable("top", query="SELECT * FROM customers LIMIT 10").is_view
    True
    """

    name: str
    source_type: SourceType | None = None
    connector_type: str = ""
    connection_id: str = ""
    query: str | None = None
    table_name: str | None = None
    path: str | None = None
    schema: dict[str, str] = field(default_factory=dict)
    partitions: list[str] = field(default_factory=list)
    source_tables: list[str] = field(default_factory=list)
    transformation: str | None = None
    cache_strategy: CacheStrategy = CacheStrategy.SMART
    cache_ttl_seconds: int = 3600
    encryption_config: EncryptionConfig | None = None
    access_control: dict[str, list[str]] = field(default_factory=dict)
    description: str = ""
    tags: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    column_tags: dict[str, list[str]] = field(default_factory=dict)
    required_filters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        site = Site()
        for key, value in self._given():
            meant = _PYTHON_FIELDS[key](value, site.at(key))
            if meant is not WRONG:
                setattr(self, key, meant)
        check_name(self.name, site.at("name"))
        if site.mistakes:
            raise ConfigError(site.mistakes, origin="virtual table")
        self._infer()

    def _given(self) -> Iterator[tuple[str, Any]]:
        """Values that are there, with enums as a configuration would write them."""
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name in _PYTHON_FIELDS and value is not None:
                yield item.name, value.value if isinstance(value, (SourceType, CacheStrategy)) else value

    def _infer(self) -> None:
        """Fill in what the other fields imply."""
        if not self.connector_type and self.path:
            self.connector_type = connector_for_path(self.path)
        if not self.connector_type and self.query and not self.connection_id and not self.path:
            self.connector_type = "view"
        if self.source_type is None and self.connector_type in CONNECTORS:
            self.source_type = CONNECTORS[self.connector_type].source_type

    @property
    def is_view(self) -> bool:
        """Whether it is a query over other virtual tables, not something at a source."""
        return self.connector_type == "view"

    @classmethod
    def from_mapping(
        cls, name: str, mapping: Mapping[str, Any], *, path: str = "", env: Mapping[str, str] | None = None
    ) -> VirtualTable:
        """Read a table as a configuration writes it: `connection`, `table` and lower-case enums are fine.

        Parameters
        ----------
        name
            Name of the table.
        mapping
            The keys below the name.
        path
            Where the mapping is in its file, for messages.
        env
            Values of `${NAME}`; the process environment by default.

        Raises
        ------
        ConfigError
            Listing every mistake.

        Examples
        --------
        >>> VirtualTable.from_mapping("c", {"connection": "crm", "table": "clients"}).table_name
        'clients'
        """
        site = Site(path or show_path(name), os.environ if env is None else env)
        table = read_table(name, mapping, site)
        if table is None:
            raise ConfigError(site.mistakes, origin="virtual table")
        return table

    def to_mapping(self, *, secrets: bool = False) -> dict[str, Any]:
        """The table as a configuration writes it, defaults left out; secrets are masked unless asked for.

        >>> VirtualTable("c", connector_type="csv", path="c.csv", options={"token": "t"}).to_mapping()
        {'source_type': 'filesystem', 'connector_type': 'csv', 'path': 'c.csv', 'options': {'token': '***'}}
        """
        out: dict[str, Any] = {}
        for item in dataclasses.fields(self)[1:]:
            value = getattr(self, item.name)
            if value not in (None, item.default) and value not in ("", [], {}):
                value = dataclasses.asdict(value) if isinstance(value, EncryptionConfig) else value
                hide = not secrets and item.name in _MAY_HOLD_SECRETS
                out[item.name] = escaped(plain(redact(value) if hide else value))
        return out

    def copy(self) -> VirtualTable:
        """A table of its own, which shares nothing that can change."""
        twin = copy.copy(self)
        twin.__dict__.update({key: _fresh(value) for key, value in self.__dict__.items()})
        return twin

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in self.to_mapping().items())
        return f"VirtualTable(name={self.name!r}{', ' if shown else ''}{shown})"


# Schema and tags are left as they are: a column called `token` is no secret.
_MAY_HOLD_SECRETS: Final = frozenset({"query", "path", "transformation", "description", "parameters", "options"})
_TABLE_ALIASES: Final = MappingProxyType({"connection": "connection_id", "table": "table_name", "columns": "schema"})


def _fresh(value: Any) -> Any:
    """Copy the lists and mappings of a value; what they hold at last is not ours to copy."""
    if isinstance(value, dict):
        return {key: _fresh(item) for key, item in value.items()}
    return [_fresh(item) for item in value] if isinstance(value, list) else value


def check_name(name: object, site: Site) -> bool:
    """Report a name that could not be written in SQL or told apart on a screen."""
    if not isinstance(name, str):
        site.report(f"a table's name is text, not {kind_of(name)}")
        return False
    if not name or name != name.strip() or not name.isprintable():
        site.report("a table's name is not empty, has no space at its ends and no invisible characters")
        return False
    return True


def show_path(name: object) -> str:
    """The place of a table that was not read from a file."""
    return Site("virtual_tables").at(name).path


def read_schema(raw: Any, site: Site) -> Any:
    """Column to type, types in DuckDB's spelling."""
    found = mapping_of(read_type)(raw, site)
    if found is WRONG:
        return WRONG
    seen: dict[str, str] = {}
    for column in found:
        if not column:
            return site.report("a column has no name")
        if column.casefold() in seen:
            return site.report(f"the columns `{seen[column.casefold()]}` and `{column}` are the same name")
        seen[column.casefold()] = column
    return found


def read_type(raw: Any, site: Site) -> Any:
    """One type, in DuckDB's spelling."""
    expanded = text(raw, site)
    if expanded is WRONG:
        return WRONG
    try:
        return normalize(expanded)
    except ValueError as error:
        return site.report(str(error) if "${" not in raw else "this is not a type")


def read_connector(raw: Any, site: Site) -> Any:
    """A type of source that the catalog has heard of."""
    return choice(_known_connector, connector_names())(raw, site)


def _known_connector(name: str) -> str:
    canonical = canonical_connector(name)
    if canonical not in CONNECTORS and canonical != "view":
        raise ValueError(name)
    return canonical


def read_access(raw: Any, site: Site) -> Any:
    """Roles by operation; a word that nothing looks at would close nothing."""
    before = len(site.mistakes)
    found = mapping_of(listed(text))(raw, site)
    for word in found if found is not WRONG else ():
        choice(_operation, _OPERATIONS)(word, site.at(word))
    return WRONG if len(site.mistakes) > before else found


def _operation(word: str) -> str:
    if word.casefold() not in _OPERATIONS:
        raise ValueError(word)
    return word


_OPERATIONS: Final = ("select", "insert", "update", "delete")


def read_encryption(raw: Any, site: Site) -> Any:
    """The keys of `EncryptionConfig`."""
    if isinstance(raw, EncryptionConfig):
        raw = dataclasses.asdict(raw)
    before = len(site.mistakes)
    found = read_fields(raw, site, _ENCRYPTION_FIELDS)
    if found is None or len(site.mistakes) > before:
        return WRONG
    return EncryptionConfig(**found | {"fields": tuple(found.get("fields", ()))})


_ALGORITHMS: Final = MappingProxyType(
    {"AES-256-GCM": "AES-256-GCM", "AES-GCM": "AES-256-GCM", "AES-SIV": "AES-SIV", "AES-256-SIV": "AES-SIV"}
)


def _known(algorithm: str) -> str:
    if algorithm.upper() not in _ALGORITHMS:
        raise ValueError(algorithm)
    return algorithm.upper()


_ENCRYPTION_FIELDS: Final[Mapping[str, Parser]] = MappingProxyType(
    {
        "enabled": flag,
        "algorithm": choice(lambda word: _ALGORITHMS[_known(word)], ("AES-256-GCM", "AES-SIV")),
        "key_id": text,
        "fields": listed(text),
    }
)
_TABLE_FIELDS: Final[Mapping[str, Parser]] = MappingProxyType(
    {
        "source_type": choice(SourceType, [member.value for member in SourceType]),
        "connector_type": read_connector,
        "connection_id": text,
        "query": text,
        "table_name": text,
        "path": text,
        "schema": read_schema,
        "partitions": listed(text),
        "source_tables": listed(text),
        "transformation": text,
        "cache_strategy": choice(CacheStrategy, [member.value for member in CacheStrategy]),
        "cache_ttl_seconds": integer(0),
        "encryption_config": read_encryption,
        "access_control": read_access,
        "description": text,
        "tags": listed(text),
        "parameters": mapping_of(anything),
        "options": mapping_of(anything),
        "column_tags": mapping_of(listed(text)),
        "required_filters": listed(text),
    }
)
# In Python a table may name a connector of one's own, and hold values that YAML cannot write.
_PYTHON_FIELDS: Final[Mapping[str, Parser]] = MappingProxyType(
    {
        **_TABLE_FIELDS,
        "connector_type": lambda raw, site: canonical_connector(raw) if isinstance(raw, str) else text(raw, site),
        "path": lambda raw, site: text(os.fspath(raw) if isinstance(raw, os.PathLike) else raw, site),
        "parameters": mapping_of(as_it_is),
        "options": mapping_of(as_it_is),
    }
)


def read_table(name: object, raw: Any, site: Site) -> VirtualTable | None:
    """Read one table; None when there is any mistake, which the site then has."""
    before = len(site.mistakes)
    check_name(name, site)
    found = read_fields(raw, site, _TABLE_FIELDS, _TABLE_ALIASES)
    if found is not None:
        _check_together(found, site)
    return None if found is None or len(site.mistakes) > before else VirtualTable(str(name), **found)


def _check_together(found: Mapping[str, Any], site: Site) -> None:
    """What single fields cannot tell: a table needs one place to come from."""
    given = [key for key in ("query", "table_name", "path") if found.get(key)]
    ways = "`table` (or `query`) for a database, `path` for files, or `query` alone for a view"
    if not given and not found.get("connector_type"):
        site.report(f"says nothing of where its rows are: give {ways}")
    if "query" in given and "table_name" in given:
        site.report("has both `query` and `table_name`; keep one")
    config, schema = found.get("encryption_config"), found.get("schema")
    for column in config.fields if config and schema else ():
        if schema and column.casefold() not in {name.casefold() for name in schema}:
            site.at("encryption_config").report(f"the table declares no column `{column}`.{nearest(column, schema)}")
    for column in found.get("required_filters") or () if schema else ():
        if schema and column.casefold() not in {name.casefold() for name in schema}:
            site.at("required_filters").report(f"the table declares no column `{column}`.{nearest(column, schema)}")
    if found.get("connector_type") == "view" and "query" not in given:
        site.report("a view needs its `query`")
