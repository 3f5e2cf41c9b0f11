"""Make the TPC data sets from pip packages alone; nothing is downloaded at run time."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import duckdb

__all__ = ["TPCDS_TABLES", "TPCH_TABLES", "extension_file", "make_tpcds", "make_tpch", "queries", "tpc_connection"]

TPCH_TABLES = ("region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem")

TPCDS_TABLES = (
    "call_center",
    "catalog_page",
    "catalog_returns",
    "catalog_sales",
    "customer",
    "customer_address",
    "customer_demographics",
    "date_dim",
    "household_demographics",
    "income_band",
    "inventory",
    "item",
    "promotion",
    "reason",
    "ship_mode",
    "store",
    "store_returns",
    "store_sales",
    "time_dim",
    "warehouse",
    "web_page",
    "web_returns",
    "web_sales",
    "web_site",
)


def tpc_connection(extension_directory: Path) -> duckdb.DuckDBPyConnection:
    """A plain DuckDB with the `tpch` and `tpcds` extensions from their wheels, in a private directory."""
    con = duckdb.connect(config={"extension_directory": str(extension_directory)})
    con.execute("SET enable_progress_bar = false")
    for name in ("tpch", "tpcds"):
        con.execute(f"INSTALL '{extension_file(name)}'")
        con.execute(f"LOAD {name}")
    return con


def extension_file(name: str) -> Path:
    """Where the wheel `duckdb-extension-<name>` keeps its binary for this DuckDB."""
    packages = Path(sysconfig.get_paths()["platlib"])
    version = f"v{duckdb.__version__}"
    found = packages / f"duckdb_extension_{name}" / "extensions" / version / f"{name}.duckdb_extension"
    if not found.exists():
        raise FileNotFoundError(f"pip install duckdb-extension-{name}=={duckdb.__version__} (looked for {found})")
    return found


def make_tpch(folder: Path, scale_factor: float) -> dict[str, Path]:
    """The eight TPC-H tables as one Parquet file each; files that are there already are kept."""
    paths = {name: folder / f"{name}.parquet" for name in TPCH_TABLES}
    if all(path.exists() for path in paths.values()):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    command = Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "-s", f"{scale_factor:g}", "--output-dir", str(folder), "--overwrite", "--quiet"]
    subprocess.run([str(command), *arguments], check=True)
    return paths


def make_tpcds(con: duckdb.DuckDBPyConnection, folder: Path, scale_factor: float) -> dict[str, Path]:
    """The 24 TPC-DS tables as one Parquet file each; files that are there already are kept."""
    paths = {name: folder / f"{name}.parquet" for name in TPCDS_TABLES}
    if all(path.exists() for path in paths.values()):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    con.execute("CREATE SCHEMA dsdgen_out")
    con.execute(f"CALL dsdgen(sf = {scale_factor:g}, schema = 'dsdgen_out')")
    for name, path in paths.items():
        con.execute(f"COPY (FROM dsdgen_out.{name}) TO '{path}' (FORMAT parquet)")
    con.execute("DROP SCHEMA dsdgen_out CASCADE")
    return paths


def queries(con: duckdb.DuckDBPyConnection, benchmark: str) -> dict[int, str]:
    """The query texts that DuckDB's own extension carries: `tpch` has 22, `tpcds` has 99."""
    rows = con.execute(f"SELECT query_nr, query FROM {benchmark}_queries() ORDER BY ALL").fetchall()
    return {number: text.strip().rstrip(";") for number, text in rows}
