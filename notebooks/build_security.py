"""Write `02_security.ipynb` without outputs; `make notebooks` runs it and stores them."""

from __future__ import annotations

from cells import ANSWER, CODE, FAILS, TEXT, write

CELLS: tuple[tuple[str, str], ...] = (
    (
        TEXT,
        """\
# Who sees what, and who can tell

The demo company again, under stricter rules ([security.yaml](security.yaml)): nothing is open unless a policy opens it,
personal data is tagged, social security numbers are encrypted, and every request is recorded. Three people ask the same
questions, and an auditor reads what they did.""",
    ),
    (CODE, 'from tauro_nb.demo import build\n\n_ = build("../.demo")'),
    (CODE, "%load_ext tauro_nb"),
    (CODE, "%vconnect security.yaml --principal ana"),
    (
        TEXT,
        """\
## The same query, three people

Ana is an analyst: customers of the Sales department, e-mail addresses masked. Sam is in support: his region, personal
data redacted. Stella is the data steward. The social security number is ciphertext for all but her: equal for equal
numbers, so that it can be counted and joined, and different in every process, because no keyset is configured here.""",
    ),
    (
        ANSWER,
        """\
%%vquery
SELECT customer_id, name, email, phone, department, region
FROM customers
ORDER BY customer_id
LIMIT 3""",
    ),
    (
        ANSWER,
        """\
%%vquery --principal sam
SELECT customer_id, name, email, phone, department, region
FROM customers
ORDER BY customer_id
LIMIT 3""",
    ),
    (
        ANSWER,
        """\
%%vquery --principal stella
SELECT customer_id, name, email, ssn, department, region
FROM customers
ORDER BY customer_id
LIMIT 3""",
    ),
    (
        ANSWER,
        """\
%%vquery
SELECT count(*) AS customers, count(DISTINCT ssn) AS numbers, min(left(ssn, 5)) AS starts_with,
       min(length(ssn)) AS length
FROM customers""",
    ),
    (
        TEXT,
        """\
## Why

`%vaccess` says which rule decides on a table, its rows and each column. What the policies say is for those who may read
policies: Stella, here.""",
    ),
    (CODE, "%vaccess customers"),
    (
        CODE,
        """\
from tauro_nb import VirtualContext

stella = VirtualContext("security.yaml", principal="stella")
stella.explain_access("sam", "customers")""",
    ),
    (
        TEXT,
        """\
Stella can also see through the eyes of others: the same query with the rights of each, side by side. It is recorded as
hers.""",
    ),
    (
        CODE,
        """\
stella.simulate(
    "SELECT region, count(*) AS customers, min(email) AS first FROM customers GROUP BY region ORDER BY region",
    ["ana", "sam", "stella"],
)""",
    ),
    (TEXT, "## What is refused\n\nA closed column, a closed table, and what only looks like a way around:"),
    (FAILS, "%%vquery\nSELECT name, credit_limit\nFROM customers"),
    (FAILS, "%%vquery --principal sam\nSELECT count(*) FROM orders"),
    (FAILS, "%%vquery\nSELECT * FROM read_text('security.yaml')"),
    (
        TEXT,
        """\
An error is no peephole: it says what kind of thing went wrong, and shows no value of any row, not even of Ana's
own.""",
    ),
    (FAILS, "%%vquery\nSELECT count(*)\nFROM customers\nWHERE CAST(name AS INTEGER) > 0"),
    (
        TEXT,
        """\
Nor does it happen because of a hidden row. This would divide by zero for every customer outside of Sales; it meets only
those that the policy left.""",
    ),
    (
        ANSWER,
        """\
%%vquery
SELECT count(*) AS found
FROM customers
WHERE 1 / CASE WHEN department = 'Sales' THEN 1 ELSE 0 END = 1""",
    ),
    (
        TEXT,
        """\
The plan shows Ana her own conditions. Where a policy stands, it shows that, and not what it says.""",
    ),
    (CODE, "%vplan SELECT name FROM customers WHERE country = 'DE'"),
    (
        TEXT,
        """\
## Who asked for what

Otto audits. The trail is a table that only auditors see; reading it leaves a record, too.""",
    ),
    (
        ANSWER,
        """\
%%vquery --principal otto
SELECT principal, event, status, table_name, masked, row_count, reason
FROM tauro.audit
WHERE event IN ('query', 'deny') AND table_name <> 'tauro.audit'
ORDER BY sequence""",
    ),
    (FAILS, "%%vquery\nSELECT * FROM tauro.audit"),
    (TEXT, "## What this deployment does not protect\n\nThe honest list, from the live configuration."),
    (CODE, "%vposture"),
    (TEXT, "## Checked"),
    (
        CODE,
        """\
ana, sam = (stella.as_principal(name) for name in ("ana", "sam"))
count = "SELECT count(*) AS n FROM customers"
assert ana.query(count).rows() == stella.query(count + " WHERE department = 'Sales'").rows()
assert sam.query(count).rows() == stella.query(count + " WHERE region = 'South'").rows()
assert ana.query("SELECT count(*) AS n FROM customers WHERE ssn = '983-25-3439'").rows() == [{"n": 0}]
assert stella.query("SELECT count(*) AS n FROM customers WHERE ssn = '983-25-3439'").rows() == [{"n": 1}]
assert "tauro.audit" not in {table.name for table in ana.catalog().tables}
assert [table.name for table in VirtualContext("security.yaml").catalog().tables] == []
assert stella.as_principal("otto").verify_audit().ok""",
    ),
)

if __name__ == "__main__":
    write("02_security.ipynb", CELLS)
