"""Where the tables live: files, databases, and the catalog that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.mariadb import MariaDBServer
from tests.tpc.loaders import Columns, describe, load_duckdb, load_mariadb, load_postgres, load_sqlite

__all__ = ["TPCDS_MIX", "TPCH_ALL_POSTGRES", "TPCH_ROTATED", "TPCH_SPLIT", "Placement", "Sources"]

Placement = Mapping[str, str]

_CONNECTION = {"postgresql": "pg", "mysql": "my", "mysql.other": "my", "sqlite": "lite", "duckdb": "duck"}

TPCH_SPLIT: Placement = {
    "customer": "postgresql",
    "orders": "postgresql",
    "nation": "postgresql",
    "supplier": "sqlite",
    "partsupp": "sqlite",
    "region": "sqlite",
    "lineitem": "parquet",
    "part": "duckdb",
}

TPCH_ROTATED: Placement = {
    "lineitem": "postgresql",
    "part": "postgresql",
    "customer": "sqlite",
    "nation": "sqlite",
    "orders": "duckdb",
    "supplier": "duckdb",
    "partsupp": "parquet",
    "region": "csv",
}

TPCH_ALL_POSTGRES: Placement = dict.fromkeys(TPCH_SPLIT, "postgresql")

_TPCDS_IN_DUCKDB = (
    "call_center catalog_returns customer_address customer_demographics date_dim inventory promotion reason store "
    "store_returns web_page web_site"
).split()

TPCDS_MIX: Placement = {**dict.fromkeys(_TPCDS_IN_DUCKDB, "duckdb"), "income_band": "csv"}


@dataclass
class Sources:
    """One folder of Parquet files, and the databases that some of its tables are loaded into.

    Parameters
    ----------
    folder
        Where the databases and text files are made.
    paths
        The Parquet file of each table: the one truth.
    placement
        `postgresql`, `mysql`, `sqlite`, `duckdb`, `csv`, `json` or (the default) `parquet` for each table;
        `mysql.other` is another database of the same server, over the same connection.
    postgres_uri, schema
        A server and a schema to load into; needed only if `placement` says so.
    sqlite_collations
        For (table, column), the collation that SQLite is told to compare it with.
    mariadb, mariadb_collations
        The same for MariaDB, whose databases are named after the schema.
    columns
        Filled by `load`: the schemas that the catalog declares.
    """

    folder: Path
    paths: Mapping[str, Path]
    placement: Placement
    postgres_uri: str = ""
    schema: str = "public"
    sqlite_collations: Mapping[tuple[str, str], str] = field(default_factory=dict)
    mariadb: MariaDBServer | None = None
    mariadb_collations: Mapping[tuple[str, str], str] = field(default_factory=dict)
    columns: dict[str, Columns] = field(default_factory=dict)

    def load(self, keys: Mapping[str, list[list[str]]] | None = None) -> Sources:
        """Fill the databases; gives back itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as con:
            self.columns = {name: describe(con, f"'{path}'") for name, path in self.paths.items()}
            for name in self._placed("csv"):
                con.execute(f"COPY (FROM '{self.paths[name]}') TO '{self._file(name)}' (HEADER)")
            for name in self._placed("json"):
                con.execute(f"COPY (FROM '{self.paths[name]}') TO '{self._file(name)}'")
        if self._placed("postgresql"):
            load_postgres(self.postgres_uri, self._placed("postgresql"), schema=self.schema, keys=keys)
        for kind, database in self._databases().items():
            if self._placed(kind) and self.mariadb is not None:
                load_mariadb(self.mariadb, database, self._placed(kind), collations=self.mariadb_collations)
        if self._placed("sqlite"):
            load_sqlite(self.folder / "tables.sqlite", self._placed("sqlite"), collations=self.sqlite_collations)
        if self._placed("duckdb"):
            load_duckdb(self.folder / "tables.duckdb", self._placed("duckdb"))
        return self

    def _databases(self) -> dict[str, str]:
        return {"mysql": self.schema, "mysql.other": f"{self.schema}_other"}

    def _kind(self, name: str) -> str:
        return self.placement.get(name, "parquet")

    def _placed(self, kind: str) -> dict[str, Path]:
        return {name: path for name, path in self.paths.items() if self._kind(name) == kind}

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.{self._kind(name)}"

    def config(self) -> dict[str, Any]:
        """The catalog, as a person would write it in YAML."""
        connections: dict[str, dict[str, str]] = {
            "pg": {"type": "postgresql", "uri": self.postgres_uri},
            "lite": {"type": "sqlite", "path": str(self.folder / "tables.sqlite")},
            "duck": {"type": "duckdb", "path": str(self.folder / "tables.duckdb")},
        }
        if self.mariadb is not None:
            connections["my"] = {"type": "mysql", "uri": self.mariadb.uri(self.schema)}
        used = {_CONNECTION.get(self._kind(name)) for name in self.paths}
        return {
            "connections": {name: spec for name, spec in connections.items() if name in used},
            "virtual_tables": {name: self._table(name) for name in self.paths},
        }

    def _table(self, name: str) -> dict[str, Any]:
        kind = self._kind(name)
        if kind not in _CONNECTION:
            path = self.paths[name] if kind == "parquet" else self._file(name)
            entry = {"source_type": "filesystem", "connector_type": kind, "path": str(path)}
            return entry if kind == "parquet" else {**entry, "schema": dict(self.columns[name])}
        schema = self._databases().get(kind, self.schema if kind == "postgresql" else "public")
        return {
            "source_type": "database",
            "connector_type": kind.partition(".")[0],
            "connection": _CONNECTION[kind],
            "table": name if schema == "public" else f"{schema}.{name}",
            "schema": dict(self.columns[name]),
        }
