"""How the suite sets up the two backends it judges."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis.backends.duckdb.tests.conftest as duckdb_conftest
import sqlglot as sg
from ibis.backends.duckdb.tests.conftest import TestConf as DuckDBConf

from tauro_nb.interop.ibis import Backend
from tests.ibis_suite.data import FOLDER, Prepared

__all__ = ["CONFIGURATIONS"]

# No geospatial tables, and no extensions from the network.
duckdb_conftest.SANDBOXED = True


class DuckDBReference(DuckDBConf):  # type: ignore[misc] # Ibis publishes its tests without types
    """DuckDB's own configuration, with TPC data of our scale factors."""

    def _load_tpc(self, *, suite: str, scale_factor: str) -> None:
        connection, schema = self.connection, f"tpc{suite}"
        connection.create_database(schema, force=True)
        for path in (self.data_dir / schema / "parquet").glob("*.parquet"):
            connection.create_table(path.stem, connection.read_parquet(path), database=schema)

    @classmethod
    def name(cls) -> str:
        return "duckdb"


class Judged(Backend):
    """Our backend under DuckDB's name: the suite keeps markers, snapshots and expected values by name."""

    name = "duckdb"


class TauroConf(DuckDBConf):  # type: ignore[misc] # Ibis publishes its tests without types
    """Ours: nothing to load, everything is in its sources already."""

    deps = ()

    def preload(self) -> None:
        pass

    @property
    def ddl_script(self) -> Iterator[str]:
        return iter(())

    def _load_data(self, **_: Any) -> None:
        pass

    def _load_tpc(self, *, suite: str, scale_factor: str) -> None:
        pass

    @classmethod
    def name(cls) -> str:
        return "duckdb"

    @staticmethod
    def connect(**_: Any) -> Backend:
        backend = Judged()
        backend.do_connect(json.loads(Prepared(Path(os.environ[FOLDER])).catalog.read_text(encoding="utf-8")))
        return backend

    def _transform_tpc_sql(self, parsed: Any, *, suite: str, leaves: frozenset[str]) -> Any:
        def dotted(node: sg.exp.Expression) -> sg.exp.Expression:
            if isinstance(node, sg.exp.Table) and node.name in leaves:
                node.set("db", sg.to_identifier(f"tpc{suite}"))
            return node

        return parsed.transform(dotted)


CONFIGURATIONS = {"tauro": (TauroConf, Judged), "duckdb": (DuckDBReference, None)}
"""By the name of a backend: the suite's configuration of it, and its class when it is not the wheel's own."""
