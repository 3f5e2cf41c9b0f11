"""A small company to try things on: a CRM, a warehouse, an event log and reference files, and who may see what.

``python -m tauro_nb.demo build [FOLDER]`` writes the data and a ``catalog.yaml`` (default folder: ``.demo``). The data
is made up, the same on every machine, and looks like the real thing: customers have names, e-mail addresses, phone and
social security numbers. None can belong to a person: addresses end in ``example.com``/``.org``, phone numbers are
555-01xx, and social security numbers are from the range that is never issued.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import shutil
import sqlite3
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["build", "main"]

CUSTOMERS, TICKETS, ORDERS, PRODUCTS = 2_000, 3_000, 20_000, 120
EVENT_DAYS, EVENTS_PER_DAY = 30, 1_000
FIRST_DAY = date(2024, 1, 1)
STAMP = ".built"

# code, name, region, currency, weight
COUNTRIES = (
    ("BR", "Brazil", "South", "BRL", 9),
    ("CA", "Canada", "West", "CAD", 6),
    ("DE", "Germany", "North", "EUR", 14),
    ("ES", "Spain", "South", "EUR", 10),
    ("FR", "France", "West", "EUR", 11),
    ("GB", "United Kingdom", "North", "GBP", 12),
    ("IN", "India", "East", "INR", 9),
    ("JP", "Japan", "East", "JPY", 8),
    ("PL", "Poland", "East", "PLN", 5),
    ("SE", "Sweden", "North", "SEK", 4),
    ("US", "United States", "West", "USD", 20),
    ("ZA", "South Africa", "South", "ZAR", 3),
)
DOLLARS = {
    "BRL": "0.2010", "CAD": "0.7410", "EUR": "1.0850", "GBP": "1.2710", "INR": "0.0120", "JPY": "0.0067",
    "PLN": "0.2500", "SEK": "0.0960", "USD": "1.0000", "ZAR": "0.0530",
}  # fmt: skip
FIRST_NAMES = (
    "Ada Agnieszka Akira Amara Ana Arjun Astrid Ben Björn Carlos Chloé Daniel Diego Elena Emma Farid Fatima Felipe "
    "Grace Hana Hugo Ines Ivan Jack João Jun Kaito Karin Lara Liam Lin Łukasz Maja Marta Mateo Mei Mia Nadia Noah "
    "Nora Olga Omar Paula Priya Ravi Rosa Sakura Samuel Sofía Thabo Tom Uma Valentina Wei Yuki Zanele Zoë"
).split()
LAST_NAMES = (
    "Abe Almeida Andersson Bauer Brown Castro Chen Costa Das Díaz Dubois Fischer García Gupta Hughes Ito Jansson "
    "Johnson Kapoor Khumalo Kim Kowalski Lambert Lee López Martin Mbeki Meyer Moreau Müller Nakamura Nguyen Novak "
    "Nowak Oliveira O'Brien Patel Petit Rossi Ruiz Sato Schmidt Silva Smith Souza Suzuki Tanaka Taylor Torres "
    "Wagner Walker Watanabe Williams Wilson Wójcik Zieliński Zulu"
).split()
DEPARTMENTS = ("Sales", "Partners", "Online")
MANAGERS = {"North": "nils", "South": "rita", "East": "emi", "West": "wade"}
CATEGORIES = {"Bikes": (300, 2_400), "Parts": (8, 260), "Clothing": (15, 190), "Care": (4, 40)}
ADJECTIVES = "Alpine Basic Coastal Dusk Ember Fjord Granite Harbor Iris Juniper".split()
NOUNS = {
    "Bikes": ("Commuter", "Gravel", "Racer"),
    "Parts": ("Chain", "Saddle", "Wheel"),
    "Clothing": ("Gloves", "Jacket", "Jersey"),
    "Care": ("Cleaner", "Grease", "Polish"),
}
SUBJECTS = ("Late delivery", "Wrong size", "Refund", "Invoice question", "Broken on arrival", "Change of address")
PAGES = ("/", "/bikes", "/parts", "/clothing", "/care", "/basket", "/checkout", "/account")
KINDS = ("view", "search", "add_to_basket", "purchase")

Row = tuple[Any, ...]


def build(folder: str | os.PathLike[str] = ".demo", *, force: bool = False) -> Path:
    """Write the demo data and its catalog; nothing is done when they are there already.

    Parameters
    ----------
    folder
        Where to; made if missing.
    force
        Write again, also over changes made by hand.

    Returns
    -------
    Path
        The ``catalog.yaml``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     build(folder).name
    'catalog.yaml'
    """
    target = Path(folder)
    stamp, catalog, version = target / STAMP, target / "catalog.yaml", _version()
    if not force and stamp.is_file() and stamp.read_text() == version:
        return catalog
    target.mkdir(parents=True, exist_ok=True)
    # Made aside and moved into place: an interrupted build leaves nothing half-written, and no open file is cut short.
    aside = Path(tempfile.mkdtemp(prefix=".building-", dir=target))
    try:
        _write(aside)
        for path in sorted(aside.iterdir()):
            _move(path, target / path.name)
        stamp.write_text(version)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return catalog


def _version() -> str:
    """Changes whenever this file or the catalog template does."""
    sources = Path(__file__).read_bytes() + _template().encode()
    return hashlib.sha256(sources).hexdigest()


def _template() -> str:
    return files("tauro_nb").joinpath("demo_catalog.yaml").read_text(encoding="utf-8")


def _move(path: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    path.replace(target)


def _write(folder: Path) -> None:
    customers = list(_customers(Random(1)))
    _write_crm(folder / "crm.sqlite", customers, list(_tickets(Random(2))))
    products = list(_products(Random(3)))
    orders, items = _orders(Random(4), customers, products)
    _write_warehouse(folder / "warehouse.duckdb", orders, items, products)
    _write_events(folder / "events", Random(5))
    _write_reference(folder / "reference", Random(6))
    (folder / "catalog.yaml").write_text(_template(), encoding="utf-8")


# -- the CRM: SQLite ---------------------------------------------------------------------------------------------------


def _customers(random: Random) -> Iterator[Row]:
    weights = [country[4] for country in COUNTRIES]
    for number in range(1, CUSTOMERS + 1):
        first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
        code, _, region, _, _ = random.choices(COUNTRIES, weights)[0]
        host = random.choice(("example.com", "example.org"))
        # Some people give neither: masks have to leave NULL alone.
        email = None if random.random() < 0.01 else f"{_ascii(first)}.{_ascii(last)}{number}@{host}"
        phone = None if random.random() < 0.03 else f"+1-{random.randint(201, 989)}-555-01{random.randint(0, 99):02}"
        ssn = f"9{random.randint(0, 99):02}-{random.randint(1, 49):02}-{random.randint(0, 9_999):04}"
        signed_up = FIRST_DAY - timedelta(days=random.randint(1, 1_500))
        yield (
            number, f"{first} {last}", email, phone, ssn, random.choices(DEPARTMENTS, (5, 2, 3))[0], region, code,
            MANAGERS[region], round(random.lognormvariate(8, 0.8), -2), signed_up.isoformat(),
        )  # fmt: skip


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("Ł", "L").replace("ł", "l")).encode("ascii", "ignore").decode()
    return "".join(letter for letter in plain.lower() if letter.isalpha())


def _tickets(random: Random) -> Iterator[Row]:
    for number in range(1, TICKETS + 1):
        opened = datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(minutes=random.randint(0, 259_200))
        yield (
            number, random.randint(1, CUSTOMERS), opened.isoformat(sep=" "), random.choice(SUBJECTS),
            random.choices((1, 2, 3), (1, 3, 6))[0], random.choices(("open", "waiting", "closed"), (2, 1, 7))[0],
            random.choice(("sam", "sue")),
        )  # fmt: skip


def _write_crm(path: Path, customers: Iterable[Row], tickets: Iterable[Row]) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE customers (customer_id BIGINT PRIMARY KEY, name TEXT NOT NULL, email TEXT, phone TEXT,"
            " ssn TEXT, department TEXT, region TEXT, country TEXT, manager TEXT, credit_limit DOUBLE,"
            " signup_date DATE)"
        )
        connection.executemany(f"INSERT INTO customers VALUES ({_marks(11)})", customers)
        connection.execute(
            "CREATE TABLE tickets (ticket_id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL REFERENCES customers,"
            " opened_at TIMESTAMP, subject TEXT, severity BIGINT, status TEXT, assignee TEXT)"
        )
        connection.executemany(f"INSERT INTO tickets VALUES ({_marks(7)})", tickets)
        connection.execute("CREATE INDEX tickets_customer ON tickets (customer_id)")
    connection.close()


def _marks(count: int) -> str:
    return ", ".join("?" * count)


# -- the warehouse: DuckDB ---------------------------------------------------------------------------------------------


def _products(random: Random) -> Iterator[Row]:
    for number in range(1, PRODUCTS + 1):
        category = list(CATEGORIES)[number % len(CATEGORIES)]
        low, high = CATEGORIES[category]
        price = Decimal(random.randint(low * 100, high * 100)) / 100
        name = f"{random.choice(ADJECTIVES)} {random.choice(NOUNS[category])} {number}"
        yield number, name, category, price, (price * random.randint(40, 75) / 100).quantize(Decimal("0.01"))


def _orders(random: Random, customers: Sequence[Row], products: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Orders and their items; a fifth of the customers place most of the orders."""
    currencies = {code: currency for code, _, _, currency, _ in COUNTRIES}
    regulars = random.sample(range(CUSTOMERS), CUSTOMERS // 5)
    start = datetime.combine(FIRST_DAY, datetime.min.time())
    moments = sorted(random.randint(0, 15_638_400) for _ in range(ORDERS))
    orders: list[Row] = []
    items: list[Row] = []
    for number, seconds in enumerate(moments, start=1):
        customer = customers[random.choice(regulars) if random.random() < 0.7 else random.randrange(CUSTOMERS)]
        currency, total = currencies[customer[7]], Decimal("0.00")
        for line in range(1, random.choices((1, 2, 3, 4), (4, 3, 2, 1))[0] + 1):
            product = products[random.randrange(PRODUCTS)]
            quantity = random.choices((1, 2, 3), (7, 2, 1))[0]
            price = (product[3] / Decimal(DOLLARS[currency])).quantize(total)
            items.append((number, line, product[0], quantity, price))
            total += quantity * price
        status = random.choices(("delivered", "shipped", "returned", "cancelled"), (16, 2, 1, 1))[0]
        orders.append((number, customer[0], start + timedelta(seconds=seconds), status, currency, total))
    return orders, items


def _write_warehouse(path: Path, orders: Sequence[Row], items: Sequence[Row], products: Sequence[Row]) -> None:
    money = pa.decimal128(12, 2)
    tables = {
        "orders": _arrow(
            orders, order_id=pa.int64(), customer_id=pa.int64(), ordered_at=pa.timestamp("us"), status=pa.string(),
            currency=pa.string(), total=money,
        ),
        "order_items": _arrow(
            items, order_id=pa.int64(), line=pa.int32(), product_id=pa.int64(), quantity=pa.int32(), unit_price=money,
        ),
        "products": _arrow(
            products, product_id=pa.int64(), name=pa.string(), category=pa.string(), price=money, cost=money,
        ),
    }  # fmt: skip
    with duckdb.connect(path) as connection:
        for name, table in tables.items():
            connection.register("made", table)
            connection.execute(f"CREATE TABLE {name} AS FROM made")
            connection.unregister("made")


def _arrow(rows: Sequence[Row], **types: pa.DataType) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(
        [pa.array(column, type_) for column, type_ in zip(columns, types.values(), strict=True)], list(types)
    )


# -- the event log: Parquet, one folder a day --------------------------------------------------------------------------


def _write_events(folder: Path, random: Random) -> None:
    number = 0
    for day in range(EVENT_DAYS):
        today = date(2024, 5, 1) + timedelta(days=day)
        midnight = datetime.combine(today, datetime.min.time())
        rows: list[Row] = []
        for second in sorted(random.randint(0, 86_399) for _ in range(EVENTS_PER_DAY)):
            number += 1
            kind = random.choices(KINDS, (70, 15, 10, 5))[0]
            who = None if random.random() < 0.2 else random.randint(1, CUSTOMERS)
            rows.append((number, midnight + timedelta(seconds=second), who, kind, random.choice(PAGES)))
        table = _arrow(
            rows, event_id=pa.int64(), at=pa.timestamp("us"), customer_id=pa.int64(), kind=pa.string(), page=pa.string()
        )
        partition = folder / f"date={today.isoformat()}"
        partition.mkdir(parents=True)
        pq.write_table(table, partition / "part-0.parquet")


# -- reference data: CSV -----------------------------------------------------------------------------------------------


def _write_reference(folder: Path, random: Random) -> None:
    folder.mkdir()
    _write_csv(folder / "countries.csv", ("code", "name", "region", "currency"), (row[:4] for row in COUNTRIES))
    rates = (
        (currency, (date(2024, month, 1)).isoformat(), f"{float(rate) * random.uniform(0.97, 1.03):.5f}")
        for currency, rate in sorted(DOLLARS.items())
        for month in range(1, 7)
    )
    _write_csv(folder / "fx.csv", ("currency", "valid_from", "usd"), rates)


def _write_csv(path: Path, header: Row, rows: Iterable[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# -- command line ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m tauro_nb.demo``."""
    parser = argparse.ArgumentParser(prog="python -m tauro_nb.demo", description="A demo catalog to try tauro_nb on.")
    commands = parser.add_subparsers(required=True)
    builder = commands.add_parser("build", help="write the demo data and its catalog")
    builder.add_argument("folder", nargs="?", default=".demo", help="where to (default: %(default)s)")
    builder.add_argument("--force", action="store_true", help="write again, also over changes made by hand")
    builder.set_defaults(run=_run_build)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _run_build(options: argparse.Namespace) -> int:
    print(f"demo catalog: {build(options.folder, force=options.force)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
