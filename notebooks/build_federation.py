"""Write `03_federation.ipynb` without outputs; `make notebooks` runs it and stores them."""

from __future__ import annotations

from cells import ANSWER, CODE, TEXT, write

CELLS: tuple[tuple[str, str], ...] = (
    (
        TEXT,
        """\
# One join, two ways

A shop keeps its orders in a **Parquet** file and their half a million lines in **PostgreSQL**. What did it sell on one
day? Somebody has to bring the two together, and what moves between them decides how long that takes. The first cell
makes the data and starts a private PostgreSQL; it takes a few seconds.""",
    ),
    (CODE, "from federation import compared, prepare, side_by_side\n\nprepare()"),
    (CODE, "%load_ext tauro_nb"),
    (CODE, "%vconnect federation.yaml"),
    (
        CODE,
        """\
%%vquery -o sold
SELECT o.delivery, count(*) AS lines, sum(l.quantity * l.price) AS revenue
FROM orders AS o
JOIN lines AS l ON l.order_id = o.order_id
WHERE o.day = DATE '2024-11-28'
GROUP BY o.delivery
ORDER BY o.delivery""",
    ),
    (ANSWER, "sold.to_pandas()"),
    (
        TEXT,
        """\
## Side by side

The naive plan asks PostgreSQL for all lines and throws away what has no partner. The **bind join** reads the orders of
the day first (`r0`), and asks PostgreSQL for the lines of those orders alone: their keys travel there as one array,
and an index finds the lines.

`analyze` runs a query, drops its rows and puts what it measured beside what was estimated. Estimates are those before
keys leave anything out.""",
    ),
    (
        CODE,
        """\
from tauro_nb import VirtualContext

context = VirtualContext("federation.yaml")
question = '''
    SELECT o.delivery, count(*) AS lines, sum(l.quantity * l.price) AS revenue
    FROM orders AS o JOIN lines AS l ON l.order_id = o.order_id
    WHERE o.day = DATE '2024-11-28'
    GROUP BY o.delivery
    ORDER BY o.delivery
'''
naive = context.analyze(question, pushdown=False)
bound = context.analyze(question)
side_by_side(naive=naive, bind_join=bound)""",
    ),
    (
        TEXT,
        """\
## What moved

Bytes as Arrow holds them. The answer is the same. Had the condition left most of the orders, no key would have been
sent: an array of most keys saves nothing.""",
    ),
    (ANSWER, "compared(naive=naive, bind_join=bound)"),
    (
        TEXT,
        """\
## Why something stays

A plan says of each part what the source is asked, and why not more. PostgreSQL divides decimals to other digits than
DuckDB does, so that this condition stays in the engine, and the other one goes to the server.""",
    ),
    (
        CODE,
        "%%vplan\nSELECT line_id, price\nFROM lines\nWHERE quantity > 6 AND price / 3 > 33",
    ),
    (TEXT, "## Checked"),
    (
        CODE,
        """\
def arrived(plan, what):
    return sum(getattr(part, what) for part in plan.measured.fragments.values())


plain = context.run(context.plan(question, pushdown=False)).rows()
assert plain == sold.rows() == context.query(question).rows()
assert not naive.steps and arrived(naive, "rows") == 500_000
assert bound.steps and sum(bound.measured.keys.values()) == 273
assert arrived(bound, "rows") == 1_365 == sum(row["lines"] for row in plain)
assert arrived(bound, "bytes") < arrived(naive, "bytes") / 100""",
    ),
)


if __name__ == "__main__":
    write("03_federation.ipynb", CELLS)
