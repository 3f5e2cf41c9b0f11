"""Tables that change at their sources, and the same rows in plain DuckDB, which says what is right."""

from __future__ import annotations

import os
import random
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.mariadb import MariaDBServer

Row = tuple[int, int | None, str | None]
COLUMNS = "id, k, v"


def literals(rows: Sequence[Row]) -> str:
    """Rows as every dialect here takes them; at least one."""
    texts = [f"({i}, {'NULL' if k is None else k}, {'NULL' if v is None else repr(v)})" for i, k, v in rows]
    return ", ".join(texts)


class Store(ABC):
    """One table `t` (id, k, v) at one kind of source; `rows` are those that it has now."""

    kind: str
    text = "VARCHAR(40)"

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.next = 0

    @abstractmethod
    def run(self, *statements: str) -> None:
        """Run SQL at the source, past the product."""

    @abstractmethod
    def connection(self) -> dict[str, Any] | None:
        """The product's connection to it."""

    def table(self) -> dict[str, Any]:
        """The product's virtual table."""
        return {"connector_type": self.kind, "connection": self.kind, "table": "t"}

    def create(self) -> None:
        """Make the table, or make it again."""
        self.rows = []
        self.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id BIGINT PRIMARY KEY, k BIGINT, v {self.text})")

    def insert(self, rows: Sequence[Row]) -> None:
        self.run(f"INSERT INTO t ({COLUMNS}) VALUES {literals(rows)}")
        self.rows += rows

    def update(self, old: int | None, new: int) -> None:
        self.run(
            f"UPDATE t SET k = {new} WHERE k = {old}" if old is not None else f"UPDATE t SET k = {new} WHERE k IS NULL"
        )
        self.rows = [(i, new if k == old else k, v) for i, k, v in self.rows]

    def delete(self, below: int) -> None:
        self.run(f"DELETE FROM t WHERE id < {below}")
        self.rows = [row for row in self.rows if row[0] >= below]

    def count(self) -> None:
        """Let the source count its rows, as its keeper does now and then."""
        self.run("ANALYZE")

    def change(self, rng: random.Random) -> str:
        """Change something; says what."""
        what = rng.choices(["insert", "bulk", "update", "delete", "again", "count", "same"], [5, 1, 4, 2, 1, 1, 2])[0]
        if what in ("insert", "bulk"):
            number = rng.randrange(1, 6) if what == "insert" else rng.randrange(1500, 4000)
            self.insert([self._row(rng) for _ in range(number)])
        elif what == "update":
            self.update(rng.choice([None, *range(12)]), rng.randrange(12))
        elif what == "delete":
            self.delete(rng.randrange(self.next + 1))
        elif what == "again":
            self.create()
            self.insert([self._row(rng) for _ in range(rng.randrange(1, 30))])
        elif what == "count":
            self.count()
        return what

    def _row(self, rng: random.Random) -> Row:
        self.next += 1
        return self.next, rng.choice([None, *range(12)]), rng.choice([None, "a", "b", "ab", ""])


class Postgres(Store):
    kind = "postgresql"
    text = "text"

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri

    def run(self, *statements: str) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def connection(self) -> dict[str, Any]:
        return {"type": self.kind, "uri": self._uri}


class MariaDB(Store):
    kind = "mysql"

    def __init__(self, server: MariaDBServer, uri: str) -> None:
        super().__init__()
        self._server, self._uri = server, uri

    def run(self, *statements: str) -> None:
        for statement in statements:
            self._server.execute(statement.replace("ANALYZE", "ANALYZE TABLE t"), self._uri.rpartition("/")[2])

    def connection(self) -> dict[str, Any]:
        return {"type": self.kind, "uri": self._uri}


class SQLite(Store):
    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / "t.sqlite"

    def run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def connection(self) -> dict[str, Any]:
        return {"type": self.kind, "path": str(self._path)}


class Replaced(Store):
    """A file that a newer one takes the place of, with every change."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def run(self, *statements: str) -> None:
        raise NotImplementedError(statements)

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write all rows to a new file."""

    def _replace(self) -> None:
        other = self.path.with_suffix(".new")
        other.unlink(missing_ok=True)
        self.write(other)
        os.replace(other, self.path)  # noqa: PTH105 - the one that also is atomic

    def create(self) -> None:
        self.rows = []
        self._replace()

    def insert(self, rows: Sequence[Row]) -> None:
        self.rows += rows
        self._replace()

    def update(self, old: int | None, new: int) -> None:
        self.rows = [(i, new if k == old else k, v) for i, k, v in self.rows]
        self._replace()

    def delete(self, below: int) -> None:
        self.rows = [row for row in self.rows if row[0] >= below]
        self._replace()

    def count(self) -> None:
        self._replace()

    def fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put all rows into `t`."""
        connection.execute("CREATE TABLE t (id BIGINT, k BIGINT, v VARCHAR)")
        if self.rows:
            connection.execute(f"INSERT INTO t VALUES {literals(self.rows)}")


class Parquet(Replaced):
    kind = "parquet"

    def write(self, path: Path) -> None:
        with duckdb.connect() as connection:
            self.fill(connection)
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")

    def connection(self) -> None:
        return None

    def table(self) -> dict[str, Any]:
        return {"connector_type": "parquet", "path": str(self.path)}


class DuckDB(Replaced):
    kind = "duckdb"

    def write(self, path: Path) -> None:
        with duckdb.connect(str(path)) as connection:
            self.fill(connection)

    def connection(self) -> dict[str, Any]:
        return {"type": self.kind, "path": str(self.path)}
