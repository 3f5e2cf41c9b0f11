"""Small tables full of trouble: NULLs, duplicates, unicode, extremes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["ODD_TABLES", "TABLES", "Columns", "kind_of", "make_tables", "placed_words"]

Columns = dict[str, str]

TABLES: dict[str, Columns] = {
    "people": {
        "id": "INTEGER", "name": "VARCHAR", "city": "VARCHAR", "born": "DATE",
        "balance": "DECIMAL(12,2)", "vip": "BOOLEAN", "score": "DOUBLE",
    },
    "orders": {
        "id": "INTEGER", "person_id": "INTEGER", "code": "VARCHAR", "qty": "INTEGER",
        "price": "DECIMAL(10,2)", "placed": "TIMESTAMP", "note": "VARCHAR",
    },
    "items": {"code": "VARCHAR", "label": "VARCHAR", "weight": "DOUBLE", "cost": "DECIMAL(9,3)", "added": "DATE"},
    "visits": {"person_id": "INTEGER", "city": "VARCHAR", "day": "DATE", "seconds": "BIGINT", "paid": "BOOLEAN"},
    "cities": {"city": "VARCHAR", "country": "VARCHAR", "population": "BIGINT", "area": "DECIMAL(12,2)"},
    "rates": {"country": "VARCHAR", "rate": "DECIMAL(6,4)", "since": "DATE", "grade": "INTEGER"},
    "links": {"person_id": "INTEGER", "other_id": "INTEGER"},
}  # fmt: skip

ODD_TABLES: dict[str, Columns] = {
    "oddities": {
        "id": "INTEGER",
        "Mixed Case": "VARCHAR",
        "select": "DECIMAL(10,2)",
        "per.cent": "DATE",
        "à b": "BIGINT",
    }
}
"""Names that must be quoted, and kept as they are on the way to a source."""

_ROWS = {
    "people": 60,
    "orders": 150,
    "items": 25,
    "visits": 120,
    "cities": 14,
    "rates": 20,
    "links": 80,
    "oddities": 50,
}

_NAMES = (
    "Ana",
    "ana",
    "Åsa",
    "Zoë",
    "ZOË",
    "Bob",
    "bob ",
    " Bob",
    "Ümit",
    "Straße",
    "STRASSE",
    "日本",
    "a_b",
    "a%b",
    "é",
)
_CITIES = ("Oslo", "oslo", "Łódź", "Porto", "Rome", "São Paulo", "Lima", "Bern", "A", "Z")
_COUNTRIES = ("NO", "PL", "PT", "IT", "BR", "PE", "CH")
_CODES = ("A1", "a1", "B2", "C3", "D4", "E5", "F-6", "F_6", "G%7")
_NOTES = ("", " ", "late", "LATE", "50% off", "it's", 'say "hi"', "back\\slash", "x" * 40, "naïve", "10", "9")

_WORDS = {"name": _NAMES, "city": _CITIES, "country": _COUNTRIES, "code": _CODES, "note": _NOTES, "label": _NOTES}


def kind_of(type_text: str) -> str:
    """The generator's notion of a type."""
    return "decimal" if type_text.startswith("DECIMAL") else _KINDS[type_text]


_KINDS = {
    "INTEGER": "integer",
    "BIGINT": "integer",
    "VARCHAR": "string",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "BOOLEAN": "boolean",
    "DOUBLE": "double",
}


def placed_words(column: str) -> tuple[str, ...]:
    """The strings that a column may hold: literals are drawn from them, so that predicates hit."""
    return _WORDS.get(column, _NOTES)


def make_tables(folder: Path, seed: int, tables: Mapping[str, Columns] = TABLES) -> dict[str, Path]:
    """One Parquet file a table; the same seed makes the same rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    paths: dict[str, Path] = {}
    for name, columns in tables.items():
        rows = [_row(rng, columns) for _ in range(_ROWS[name])]
        rows += rng.sample(rows, k=len(rows) // 6)  # whole duplicates
        paths[name] = folder / f"{name}.parquet"
        _write(paths[name], columns, rows)
    return paths


def _row(rng: random.Random, columns: Columns) -> dict[str, Any]:
    return {name: None if rng.random() < 0.12 else _value(rng, name, kind) for name, kind in columns.items()}


def _value(rng: random.Random, name: str, kind: str) -> Any:
    if kind == "VARCHAR":
        # An empty string and a NULL look the same in a CSV file; `note` and `label` never live in one.
        return rng.choice(placed_words(name))
    return _VALUES[kind_of(kind)](rng, kind)


def _decimal(rng: random.Random, kind: str) -> Decimal:
    scale = int(kind.rstrip(")").split(",")[1])
    units = rng.choice((0, 1, -1, 5, 10**5 - 1, rng.randint(-(10**5), 10**5), rng.randint(-99, 99)))
    return Decimal(units).scaleb(-scale)


def _integer(rng: random.Random, kind: str) -> int:
    if kind == "BIGINT":
        return rng.choice((0, 1, 2**31, -(2**31) - 1, rng.randint(-50, 5000)))
    return rng.choice((0, -1, rng.randint(1, 40), rng.randint(1, 40), rng.randint(1, 40)))


def _date(rng: random.Random, _kind: str) -> date:
    return rng.choice((date(2000, 2, 29), date(1969, 12, 31), date(2023, 1, 1) + timedelta(days=rng.randint(0, 400))))


def _timestamp(rng: random.Random, _kind: str) -> datetime:
    moment = datetime(2023, 1, 1) + timedelta(minutes=rng.randint(0, 600_000))  # noqa: DTZ001
    return rng.choice((moment, moment.replace(hour=0, minute=0), moment + timedelta(microseconds=123_456)))


def _double(rng: random.Random, _kind: str) -> float:
    # Quarters of small numbers: every sum of them is exact, so the order of summation cannot show.
    return rng.randint(-4000, 4000) / 4


def _boolean(rng: random.Random, _kind: str) -> bool:
    return rng.random() < 0.5


_VALUES: dict[str, Callable[[random.Random, str], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "date": _date,
    "timestamp": _timestamp,
    "double": _double,
    "boolean": _boolean,
}


def _write(path: Path, columns: Columns, rows: list[dict[str, Any]]) -> None:
    with duckdb.connect() as con:
        empty = con.execute("SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items()))
        schema: pa.Schema = empty.to_arrow_table().schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
