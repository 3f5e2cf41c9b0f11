"""Which types of source there are: their names, aliases, families and options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tauro_nb.catalog.enums import SourceType

__all__ = ["CONNECTORS", "FILE_FORMATS", "ConnectorType", "canonical_connector", "connector_for_path"]

_LIBPQ: Final = (
    "uri host hostaddr port database dbname user username password passfile service sslmode sslcert sslkey sslrootcert "
    "sslpassword connect_timeout read_timeout application_name keepalives target_session_attrs schema pool_size "
    "pool_timeout statement_timeout"
)
_MYSQL: Final = (
    "uri host port database user password socket ssl_mode ssl_ca ssl_cert ssl_key connect_timeout read_timeout "
    "pool_size pool_timeout"
)


@dataclass(frozen=True, slots=True)
class ConnectorType:
    """One type of source.

    Parameters
    ----------
    name
        Canonical name.
    source_type
        The family it belongs to.
    aliases
        Other names it goes by; also as schemes of a uri.
    suffixes
        Endings of file names that mean it.
    options
        Keys that its connection knows; empty: not checked, no connector reads them yet.
    requires
        A connection gives at least one of these keys.
    """

    name: str
    source_type: SourceType
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @property
    def implemented(self) -> bool:
        """Whether a connector of this type exists, so that its options are known."""
        return bool(self.options)


def _family(source_type: SourceType, names: str) -> tuple[ConnectorType, ...]:
    """Types that register and appear in the catalog, and that no connector reads yet; aliases follow a `=`."""
    split = (name.partition("=") for name in names.split())
    return tuple(ConnectorType(name, source_type, tuple(filter(None, rest.split(",")))) for name, _, rest in split)


_ALL: Final = (
    ConnectorType(
        "postgresql",
        SourceType.DATABASE,
        aliases=("postgres", "pg"),
        options=tuple(_LIBPQ.split()),
        requires=("uri", "host", "hostaddr", "service"),
    ),
    ConnectorType(
        "mysql",
        SourceType.DATABASE,
        aliases=("mariadb",),
        options=tuple(_MYSQL.split()),
        requires=("uri", "host", "socket"),
    ),
    ConnectorType(
        "sqlite",
        SourceType.DATABASE,
        aliases=("sqlite3",),
        options=("path", "uri", "read_only"),
        requires=("path", "uri"),
    ),
    ConnectorType(
        "duckdb", SourceType.DATABASE, options=("path", "uri", "read_only", "schema"), requires=("path", "uri")
    ),
    ConnectorType("files", SourceType.FILESYSTEM, ("file", "filesystem", "local"), requires=("path", "uri")),
    ConnectorType("parquet", SourceType.FILESYSTEM, suffixes=(".parquet", ".pq")),
    ConnectorType("csv", SourceType.FILESYSTEM, ("tsv",), (".csv", ".tsv", ".csv.gz", ".tsv.gz")),
    ConnectorType(
        "json", SourceType.FILESYSTEM, ("jsonl", "ndjson"), (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz")
    ),
    *_family(SourceType.DATABASE, "oracle sqlserver=mssql,sql_server clickhouse mongodb cassandra"),
    *_family(SourceType.DATABASE, "trino=presto"),
    *_family(SourceType.DATA_WAREHOUSE, "snowflake bigquery redshift databricks synapse athena"),
    *_family(SourceType.FILESYSTEM, "s3=aws_s3,s3a gcs=gs azure=adls,abfs,abfss,az hdfs"),
    *_family(SourceType.FILESYSTEM, "delta=delta_lake iceberg orc avro excel"),
    *_family(SourceType.API, "rest=api,http,https,rest_api webhook graphql odata"),
    *_family(SourceType.STREAM, "kafka kinesis pulsar rabbitmq eventhubs pubsub"),
)

CONNECTORS: Final = MappingProxyType({connector.name: connector for connector in _ALL})
FILE_FORMATS: Final = frozenset({"parquet", "csv", "json"})
_BY_ANY_NAME: Final = MappingProxyType({name: c.name for c in _ALL for name in (c.name, *c.aliases)} | {"view": "view"})


def canonical_connector(name: str) -> str:
    """Return the canonical name of a type of source; a name that nobody knows comes back in lower case.

    >>> canonical_connector("Postgres"), canonical_connector("MariaDB"), canonical_connector("mine")
    ('postgresql', 'mysql', 'mine')
    """
    folded = name.strip().casefold().replace("-", "_")
    return _BY_ANY_NAME.get(folded, folded)


def connector_names() -> Iterable[str]:
    """Every name and alias, for suggestions."""
    return _BY_ANY_NAME


def connector_for_path(path: str) -> str:
    """Return the file format that a path's ending tells, or an empty string.

    >>> connector_for_path("events/*/*.parquet"), connector_for_path("data/iso.CSV.gz"), connector_for_path("events/")
    ('parquet', 'csv', '')
    """
    folded = path.casefold()
    return next((name for name in sorted(FILE_FORMATS) if folded.endswith(CONNECTORS[name].suffixes)), "")
