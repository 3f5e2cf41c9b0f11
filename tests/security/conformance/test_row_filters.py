"""C1 to C31: row filters, with subqueries, at every kind of source, against the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tauro_nb.errors import AccessDenied, BindError, PolicyError, TauroError
from tauro_nb.security import AccessLevel, TableSecurityPolicy
from tests.security.conformance.worlds import PLACES, World, open_world

STATEMENTS = [
    "SELECT * FROM people ORDER BY id",
    "SELECT count(*) AS n, count(name) AS named, sum(pay) AS pay FROM people",
    "SELECT id FROM people WHERE badge::INTEGER > 0",
    "SELECT id, 1000 // (pay - 20) AS ratio FROM people",
    "SELECT p.name, o.id FROM people p JOIN orders o ON o.person = p.id",
    "SELECT o.id, p.name FROM orders o LEFT JOIN people p ON p.id = o.person AND p.id <> 3",
    "SELECT dept, count(*) AS n FROM people GROUP BY dept",
    "WITH rights AS (SELECT 'ana' AS who, dept, 9 AS level FROM people) SELECT id FROM people WHERE id = 2 OR id = 1",
    "SELECT rights.id FROM people AS rights WHERE rights.pay >= 20",
    "SELECT id FROM people WHERE EXISTS (SELECT 1 FROM orders o WHERE o.person = people.id)",
    "SELECT a.id FROM people a JOIN people b USING (id) WHERE b.id IN (SELECT max(id) FROM people)",
    "SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM people QUALIFY place <= 2",
    "SELECT * FROM staff",
    "SELECT id FROM people UNION ALL SELECT id FROM orders",
]


@pytest.fixture(scope="module", params=PLACES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(request.param, tmp_path_factory.mktemp("world"), request) as opened:
        yield opened


@pytest.fixture(scope="module")
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world, for what does not depend on the source: where most is pushed to one."""
    with open_world("postgresql", tmp_path_factory.mktemp("here"), request) as opened:
        yield opened


def agree(world: World, row_filter: str, condition: str, statements: list[str] = STATEMENTS, **rules: object) -> None:
    """Under the filter, what ana gets of every statement is what she gets of the rows of `condition`."""
    with world.policy(row_filter, **rules), world.seen(people=f"SELECT * FROM people p WHERE {condition}") as oracle:
        for sql in statements:
            oracle.check(world.ana, sql)


def test_c01_simple_filter(world: World) -> None:
    agree(world, "dept = 'eng'", "dept = 'eng'", STATEMENTS[:6])


def test_c02_null_drops_the_row(world: World) -> None:
    agree(world, "NULL", "FALSE", STATEMENTS[:2])
    agree(world, "pay <> 20", "pay <> 20", STATEMENTS[:2])


def test_c03_several_filters(world: World) -> None:
    agree(world, "id < 4", "id < 4 AND dept = 'eng'", STATEMENTS[:4], restrictive_filters={"analyst": "dept = 'eng'"})


@pytest.mark.parametrize(
    ("row_filter", "condition"),
    [
        (
            "EXISTS (SELECT * FROM rights r WHERE r.who = {principal} AND r.dept = people.dept)",
            "EXISTS (SELECT 1 FROM rights r WHERE r.who = 'ana' AND r.dept = p.dept)",
        ),
        (
            "NOT EXISTS (SELECT 1 FROM rights WHERE who <> {principal} AND rights.dept = people.dept)",
            "NOT EXISTS (SELECT 1 FROM rights r WHERE r.who <> 'ana' AND r.dept = p.dept)",
        ),
        (
            "{principal.level} >= (SELECT min(level) FROM rights r WHERE r.dept = people.dept)",
            "2 >= (SELECT min(level) FROM rights r WHERE r.dept = p.dept)",
        ),
    ],
)
def test_c04_correlated_exists(world: World, row_filter: str, condition: str) -> None:
    agree(world, row_filter, condition, STATEMENTS if row_filter.startswith("EXISTS") else STATEMENTS[:4])


GROUPED = """
    dept IN (SELECT a.dept FROM rights a JOIN rights b ON a.dept = b.dept AND b.who = 'bo'
             GROUP BY a.dept HAVING count(*) >= {principal.level})
"""


@pytest.mark.parametrize(
    ("row_filter", "condition"),
    [
        ("dept IN (SELECT dept FROM rights WHERE who = {principal})", "dept IN ('eng', 'ops')"),
        ("dept NOT IN (SELECT r.dept FROM rights r WHERE who <> {principal})", "dept IN ('eng', 'ops')"),
        ("dept NOT IN (SELECT r.dept FROM rights r WHERE who = {principal})", "FALSE"),
        ("pay > (SELECT avg(level) + 10 FROM shown_rights WHERE who = '{principal}')", "pay > 11.4"),
        (GROUPED, "dept = 'hr'"),
        ("id = 1 OR dept = (SELECT max(dept) FROM rights WHERE level IN {principal.levels})", "id = 1 OR dept = 'ops'"),
    ],
)
def test_c04_uncorrelated_subqueries(world: World, row_filter: str, condition: str) -> None:
    who = world.root.as_principal("ana", attributes={"level": 2, "levels": [2, 3000]})
    with world.policy(row_filter), world.seen(people=f"SELECT * FROM people p WHERE {condition}") as oracle:
        for sql in STATEMENTS[:3]:
            oracle.check(who, sql)


def test_c05_to_c07_views_run_as_their_reader(world: World) -> None:
    """Whoever wrote the view: nobody's access is widened by it, and the administrator's is not narrowed."""
    row_filter = "dept IN (SELECT dept FROM rights WHERE who = {principal})"
    with world.policy(row_filter), world.seen(people="FROM people WHERE dept IN ('eng', 'ops')") as oracle:
        oracle.check(world.ana, "SELECT id, name FROM staff")
        assert len(world.root.query("SELECT * FROM staff")) == 6


def test_c08_filter_on_the_view_itself(world: World) -> None:
    row_filter = "EXISTS (SELECT 1 FROM rights r WHERE r.who = {principal} AND r.dept = staff.dept)"
    with world.policy(row_filter, table="staff"):
        assert sorted(row["id"] for row in world.ana.query("SELECT id FROM staff").rows()) == [1, 3, 4]
        assert len(world.ana.query("SELECT id FROM people")) == 6


def test_c09_table_inside_with(here: World) -> None:
    statements = [
        "WITH c AS (SELECT * FROM people) SELECT count(*) AS n FROM c",
        "WITH RECURSIVE c AS (SELECT id FROM people UNION SELECT id + 10 FROM c WHERE id < 10) SELECT * FROM c",
        "WITH people AS (SELECT * FROM people) SELECT id FROM people",
    ]
    row_filter = "dept IN (SELECT dept FROM rights WHERE who = {principal})"
    agree(here, row_filter, "dept IN ('eng', 'ops')", statements)


def test_c10_names_are_virtual_tables_whatever_the_query_has(here: World) -> None:
    row_filter = "dept IN (SELECT dept FROM RIGHTS WHERE who = {principal})"
    frame = pa.table({"who": ["ana"] * 3, "dept": ["eng", "hr", "ops"], "level": [1, 1, 1]})
    with here.policy(row_filter):
        found = here.ana.query("SELECT id FROM people, (SELECT count(*) FROM rights)", frames={"rights": frame})
        assert sorted(row["id"] for row in found.rows()) == [1, 3, 4]


def test_c11_another_identity_has_its_own_filters(world: World) -> None:
    row_filter = "EXISTS (SELECT 1 FROM rights r WHERE r.dept = people.dept)"
    own = {"analyst": "who = {principal}", "service": "who = {principal}", "admin": ""}
    world.root.security.register_policy(TableSecurityPolicy("rights", row_level_filters=own))
    try:
        for run_as, condition in (
            ("policy_owner", "dept IN ('eng', 'ops', 'hr')"),
            ("invoker", "dept IN ('eng', 'ops')"),
            ("svc", "dept = 'hr'"),
            ("root", "dept IN ('eng', 'ops', 'hr')"),
        ):
            agree(world, row_filter, condition, STATEMENTS[1:2], run_as=run_as)
        with pytest.raises(PolicyError, match="`run_as` is nobody"), world.policy(row_filter, run_as="nobody"):
            pass
    finally:
        world.root.security.remove_policy("rights")


@pytest.mark.parametrize(
    "row_filter",
    [
        "pay > (SELECT avg(pay) FROM people)",
        "EXISTS (SELECT 1 FROM PEOPLE p WHERE p.id = people.id)",
        'EXISTS (SELECT 1 FROM "people" p WHERE p.id = 1)',
        "dept IN (SELECT dept FROM staff)",
        "dept IN (SELECT dept FROM around)",
        "EXISTS (SELECT 1 FROM rights r WHERE r.dept IN (SELECT dept FROM around))",
    ],
    ids=["c12", "c13-case", "c13-quoted", "c13-view", "c13-view-of-two", "c13-nested"],
)
def test_c12_c13_no_policy_reads_its_own_table(here: World, row_filter: str) -> None:
    with pytest.raises(PolicyError, match=r"it reads its own table: people -> .*people"), here.policy(row_filter):
        pass
    assert here.root.security.get_policy("people") is None


def test_c14_nor_in_turn(here: World) -> None:
    with here.policy("id IN (SELECT person FROM orders)"):
        back = here.policy("person IN (SELECT id FROM people)", table="orders")
        with pytest.raises(PolicyError, match="its own table: orders -> people -> orders"), back:
            pass
        assert here.root.security.get_policy("orders") is None
        assert len(here.ana.query("SELECT id FROM people")) == 3


def test_c14_nor_by_a_change_in_place(here: World) -> None:
    with here.policy("id IN (SELECT person FROM orders)"), here.policy("id > 0", table="orders"):
        policy = here.root.security.get_policy("orders")
        assert policy is not None
        policy.row_level_filters["analyst"] = "person IN (SELECT id FROM people)"
        for sql in ("SELECT id FROM people", "SELECT id FROM orders"):
            with pytest.raises(PolicyError, match="does not go together"):
                here.ana.query(sql)
        assert "own table" in str(here.root.check_policies())


def test_c15_the_query_around_is_out_of_sight(here: World) -> None:
    for row_filter in ("orders.person = id", "EXISTS (SELECT 1 FROM rights WHERE orders.person = people.id)"):
        with pytest.raises(PolicyError, match="column"), here.policy(row_filter):
            pass
    with here.policy("EXISTS (SELECT 1 FROM rights r WHERE r.who = {principal} AND r.dept = dept)"):
        # Inside the subquery `dept` is that of `rights`: names are looked up from the inside out.
        assert len(here.ana.query("SELECT p.id FROM people p, LATERAL (SELECT p.id) x")) == 6


@pytest.mark.parametrize(
    "sql",
    [
        "WITH rights AS (SELECT 'ana' AS who, 'hr' AS dept, 1 AS level) SELECT id FROM people",
        "WITH RECURSIVE rights AS (SELECT 'ana' AS who, 'hr' AS dept) SELECT id FROM people, rights",
        "SELECT people.id FROM people, (SELECT 'ana' AS who, 'hr' AS dept, 1 AS level) AS rights",
        "SELECT rights.id FROM people AS rights",
        'SELECT "people~0".id FROM people AS "people~0" WHERE "people~0".id IN (SELECT id FROM orders)',
        "SELECT _.id FROM people AS _ WHERE EXISTS (SELECT 1 FROM people AS _1 WHERE _1.id = _.id)",
        'WITH "~policy" AS (SELECT 1 AS x), "policy_owner" AS (SELECT 2) SELECT id FROM people',
    ],
)
def test_c16_nothing_of_a_query_captures_a_name(here: World, sql: str) -> None:
    row_filter = "EXISTS (SELECT 1 FROM rights r WHERE r.who = {principal} AND r.dept = people.dept)"
    agree(here, row_filter, "dept IN ('eng', 'ops')", [sql])


@pytest.mark.parametrize(
    ("row_filter", "message"),
    [
        ("dept = ", "does not parse"),
        ("dept IN (SELECT dept FROM rights", "does not parse"),
        ("nothing = 1", "no column `nothing`"),
        ("dept IN (SELECT departement FROM rights)", "no column `departement`"),
        ("dept IN (SELECT dept FROM right)", "no table `right`"),
        ("dept IN (SELECT dept FROM rights, rights r2)", "could be any of"),
        ("dept IN (SELECT r.dept FROM rights r, rights r)", "same name"),
        ("pay", "true or false"),
        ("(SELECT max(who) FROM rights)", "true or false"),
        ("dept IN (SELECT level FROM rights)", "types do not fit"),
        ("dept IN (SELECT dept, who FROM rights)", "types do not fit"),
        ("sum(pay) > 1", "uses SUM"),
        ("row_number() OVER () = 1", "uses"),
        ("EXISTS (SELECT row_number() OVER () FROM rights)", "uses"),
        ("GROUPING(dept) = 1", "uses"),
        ("EXISTS (SELECT 1 FROM read_csv('/etc/passwd'))", "uses"),
        ("EXISTS (SELECT 1 FROM '/etc/passwd')", "no table"),
        ("EXISTS (WITH r AS (SELECT 1) SELECT * FROM r)", "form of SELECT"),
        ("dept IN (SELECT dept FROM rights UNION SELECT 'x')", "uses UNION"),
        ("EXISTS (SELECT 1)", "form of SELECT"),
        ("EXISTS (SELECT query('SELECT 1') FROM rights)", "uses QUERY"),
        ("EXISTS (SELECT 1 FROM {principal})", "must stand where a value can stand"),
    ],
    ids=lambda text: text[:24],
)
def test_c17_to_c22_what_is_wrong_is_refused_when_it_is_registered(here: World, row_filter: str, message: str) -> None:
    here.root.query("SELECT * FROM people, rights LIMIT 1")  # the columns are known now
    with pytest.raises(PolicyError, match=message) as caught, here.policy(row_filter):
        pass
    assert "people" in str(caught.value)
    assert len(here.ana.query("SELECT id FROM people")) == 6, "the earlier state stays"


@pytest.mark.parametrize("row_filter", ["nothing = 1", "dept IN (SELECT nothing FROM rights)", "pay"])
def test_c18_what_becomes_wrong_later_closes_the_table(
    row_filter: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_world("sqlite", tmp_path_factory.mktemp("fresh"), request) as fresh, fresh.policy(row_filter):
        # Nobody has asked the source for its columns yet: the policy is bound at first use.
        for sql in ("SELECT id FROM people", "SELECT count(*) FROM people", "SELECT * FROM staff"):
            with pytest.raises(PolicyError):
                fresh.ana.query(sql)
        assert len(fresh.root.query("SELECT id FROM people")) == 6 if row_filter != "nothing = 1" else True


def test_c23_statistics_are_not_shown(world: World) -> None:
    with world.policy("dept IN (SELECT dept FROM rights WHERE who = {principal})"):
        world.root.query("SELECT * FROM people").rows()
        world.root.planner.row_count("people")
        shown = next(table for table in world.ana.catalog().tables if table.name == "people")
        assert (shown.row_filtered, shown.row_count) == (True, None)
        for sql in ("SHOW people", "SUMMARIZE people", "SELECT stats(id) FROM people", "DESCRIBE people"):
            with pytest.raises(TauroError):
                world.ana.query(sql)


def test_c28_c29_a_filter_on_a_column_that_is_closed(world: World) -> None:
    rules = {"fields": {"dept": {"access_level": AccessLevel.RESTRICTED, "allowed_roles": ["admin"]}}}
    row_filter = "dept IN (SELECT dept FROM rights WHERE who = {principal})"
    with world.policy(row_filter, **rules), world.seen(people=_WITHOUT_DEPT) as oracle:
        for sql in ("SELECT * FROM people", "SELECT count(*) AS n FROM people", "SELECT id FROM people WHERE pay > 5"):
            oracle.check(world.ana, sql)
        for sql in ("SELECT dept FROM people", "SELECT id FROM people WHERE dept = 'hr'"):
            assert oracle.check(world.ana, sql).error == AccessDenied.__name__


_WITHOUT_DEPT = "SELECT * EXCLUDE (dept) FROM people WHERE dept IN ('eng', 'ops')"


def test_c31_time_travel_is_no_way_around(here: World) -> None:
    with here.policy("id = 1"):
        for form in (
            "AT (VERSION => 1)",
            "AT (TIMESTAMP => now())",
            "FOR VERSION AS OF 1",
            "FOR SYSTEM_TIME AS OF now()",
        ):
            with pytest.raises((BindError, TauroError)):
                here.ana.query(f"SELECT id FROM people {form}").rows()
