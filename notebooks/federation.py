"""A shop in two places, and two plans side by side: what `03_federation.ipynb` connects to and shows."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pandas as pd
import psycopg
from IPython.display import HTML
from nycflights import start_postgres

from tauro_nb.query.plan import QueryPlan
from tauro_nb.text import size
from tauro_nb.widgets import plan_html

__all__ = ["compared", "prepare", "side_by_side"]

FOLDER = Path(__file__).resolve().parent.parent / ".demo" / "federation"
ORDERS = """
    SELECT i AS order_id, DATE '2024-01-01' + (i * 7919 % 366)::INTEGER AS day,
           'customer ' || (i * 31 % 5000) AS customer, CASE WHEN i % 7 = 0 THEN 'express' ELSE 'normal' END AS delivery
    FROM range(1, 100_001) t(i)
"""
# Written by the server itself: five lines an order.
LINES = """
    CREATE TABLE lines AS
    SELECT i AS line_id, (i + 4) / 5 AS order_id, 1 + i * 37 % 1000 AS product_id, (1 + i % 7)::integer AS quantity,
           ((100 + i * 7 % 9900) * 0.01)::numeric(10, 2) AS price, md5(i::text) AS note
    FROM generate_series(1::bigint, 500000) t(i)
"""
PRODUCTS = """
    CREATE TABLE products AS
    SELECT i AS product_id, 'product ' || i AS name, CASE i % 4 WHEN 0 THEN 'garden' ELSE 'house' END AS section
    FROM generate_series(1::bigint, 1000) t(i)
"""

# Two plans have to fit where one has room.
CSS = """
.pair{display:flex;flex-wrap:wrap;gap:20px}
.pair>div{flex:1 1 560px;min-width:0}
.pair .tauro table.tp-grid :is(td,th){padding:3px 5px;font-size:12px;white-space:normal}
.pair .tauro table.tp-grid td.t-num{white-space:nowrap}
.pair .tauro table.tp-grid td code{font-size:11px}
"""


def prepare(folder: Path = FOLDER) -> None:
    """Make the orders as Parquet, and the rest in a private PostgreSQL that ends with this process.

    The catalog `federation.yaml` finds the server by the environment variable `FEDERATION_POSTGRES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        con.execute(f"COPY ({ORDERS}) TO '{folder / 'orders.parquet'}'")
    uri = start_postgres()
    with psycopg.connect(uri, autocommit=True) as server:
        server.execute(LINES)
        server.execute(PRODUCTS)
        server.execute("CREATE INDEX lines_by_order ON lines (order_id)")
        server.execute("ALTER TABLE products ADD PRIMARY KEY (product_id)")
        # The server looks at every row instead of a random sample, so that its estimates are the same on each run.
        server.execute("SET default_statistics_target = 2000")
        server.execute("VACUUM (ANALYZE)")
    os.environ["FEDERATION_POSTGRES"] = uri


def side_by_side(**plans: QueryPlan) -> HTML:
    """Plans next to each other, each under its name."""
    columns = "".join(f"<div><h4>{name.replace('_', ' ')}</h4>{plan_html(plan)}</div>" for name, plan in plans.items())
    return HTML(f'<style>{CSS}</style><div class="pair">{columns}</div>')


def compared(**plans: QueryPlan) -> pd.DataFrame:
    """What was expected to arrive from servers, and what did; a file that the engine scans is not counted."""
    return pd.DataFrame([_row(name.replace("_", " "), plan) for name, plan in plans.items()])


def _row(name: str, plan: QueryPlan) -> dict[str, object]:
    if plan.measured is None:
        raise ValueError(f"{name} was not measured: take a plan of `analyze`")
    arrived = plan.measured.fragments.values()
    expected = (part.estimated_bytes or 0 for part in plan.fragments if part.id in plan.measured.fragments)
    return {
        "plan": name,
        "expected": size(sum(expected)),
        "keys sent": sum(plan.measured.keys.values()),
        "rows arrived": sum(part.rows for part in arrived),
        "arrived": size(sum(part.bytes for part in arrived)),
        "rows of the answer": plan.measured.rows,
    }
