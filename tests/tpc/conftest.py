"""TPC data once per session; each split loaded once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.tpc import sources
from tests.tpc.data import make_tpcds, make_tpch, tpc_connection
from tests.tpc.sources import Sources

# A release run sets these to 1: then all but one of the TPC-DS answers have rows.
TPCH_SCALE = float(os.environ.get("TAURO_TPCH_SF", "0.1"))
TPCDS_SCALE = float(os.environ.get("TAURO_TPCDS_SF", "0.1"))


@pytest.fixture(scope="session")
def tpc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tpc")


@pytest.fixture(scope="session")
def tpch_paths(tpc_folder: Path) -> dict[str, Path]:
    return make_tpch(tpc_folder / "tpch", TPCH_SCALE)


@pytest.fixture(scope="session")
def plain_tpch(tpc_folder: Path, tpch_paths: dict[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Plain DuckDB with the data in its own tables: what every answer is measured by."""
    with tpc_connection(tpc_folder / "extensions") as con:
        _create(con, tpch_paths)
        yield con


@pytest.fixture(scope="session")
def tpch_split(tpc_folder: Path, tpch_paths: dict[str, Path], postgres_uri: str) -> Sources:
    return Sources(tpc_folder / "split", tpch_paths, sources.TPCH_SPLIT, postgres_uri, "tpch_split").load()


@pytest.fixture(scope="session")
def tpch_rotated(tpc_folder: Path, tpch_paths: dict[str, Path], postgres_uri: str) -> Sources:
    return Sources(tpc_folder / "rotated", tpch_paths, sources.TPCH_ROTATED, postgres_uri, "tpch_rotated").load()


@pytest.fixture(scope="session")
def tpch_all_postgres(tpc_folder: Path, tpch_paths: dict[str, Path], postgres_uri: str) -> Sources:
    return Sources(tpc_folder / "all_pg", tpch_paths, sources.TPCH_ALL_POSTGRES, postgres_uri, "tpch").load()


@pytest.fixture(scope="session")
def plain_tpcds(tpc_folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with tpc_connection(tpc_folder / "extensions") as con:
        _create(con, make_tpcds(con, tpc_folder / "tpcds", TPCDS_SCALE))
        yield con


@pytest.fixture(scope="session")
def tpcds_mix(tpc_folder: Path, plain_tpcds: duckdb.DuckDBPyConnection) -> Sources:
    paths = make_tpcds(plain_tpcds, tpc_folder / "tpcds", TPCDS_SCALE)
    return Sources(tpc_folder / "tpcds_mix", paths, sources.TPCDS_MIX).load()


def _create(con: duckdb.DuckDBPyConnection, paths: dict[str, Path]) -> None:
    for name, path in paths.items():
        con.execute(f"CREATE TABLE {name} AS FROM '{path}'")
