"""Values, names and trees of classes of one's own: what is judged and what is written must be one and the same."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from tauro_nb import FederationEngine, Predicate, QueryPlan, VirtualContext, VirtualReaderFactory
from tauro_nb.errors import AccessDenied, TauroError, UsageError
from tests.security.redteam.sites import Site
from tests.security.redteam.staff import VISIBLE_EMP
from tests.security.redteam.trial import Reach, canaries, said_by

KINDS = ("sqlite", "duckdb", "parquet", pytest.param("postgresql", marks=pytest.mark.postgres))
HIDDEN = " OR ssn LIKE '666-13%'"
"""What would find every employee, if a source were asked it below the masks."""


class Sly(str):
    """A text that is one thing to whoever looks at it, and another once it is written into SQL."""

    __slots__ = ("written",)
    written: str

    @classmethod
    def of(cls, seen: str, written: str) -> Sly:
        """Seen as one text, written as another."""
        text = cls(seen)
        text.written = written
        return text

    def __str__(self) -> str:
        return self

    def __format__(self, _: str) -> str:
        return self.written

    def replace(self, *_: Any) -> str:
        return self.written

    translate = replace


class _Magnitude:
    def __str__(self) -> str:
        return Sly.of("5", f"5{HIDDEN}")


class SlyInt(int):
    def __abs__(self) -> Any:
        return _Magnitude()


class SlyFloat(float):
    def __repr__(self) -> str:
        return Sly.of("5", f"5){HIDDEN}")


class SlyDecimal(decimal.Decimal):
    def __format__(self, *_: Any) -> str:
        return Sly.of("5", f"5{HIDDEN}")


class SlyDate(dt.date):
    def isoformat(self) -> str:
        return Sly.of("2024-01-06", f"2024-01-06'{HIDDEN} OR 'a' = '")


class SlyMoment(dt.datetime):
    def isoformat(self, *_: Any) -> str:
        return Sly.of("2024-01-01 05:00:00", f"2024-01-01'{HIDDEN} OR 'a' = '")


NOTE = Sly.of("35", f"35'{HIDDEN} OR 'a' = '")
VALUES: dict[str, Any] = {
    "note": NOTE,
    "code": SlyInt(5),
    "id": SlyFloat(5),
    "big": SlyDecimal(5000),
    "day": SlyDate(2024, 1, 6),
    "seen": SlyMoment(2024, 1, 1, 5),
}
FIVE = [row["id"] for row in VISIBLE_EMP if row["id"] == 5]


class Changing(Mapping[str, Any]):
    """Parameters that are others each time somebody looks."""

    def __init__(self) -> None:
        self.looks = 0

    def __getitem__(self, name: str) -> Any:
        self.looks += 1
        return [None, 5, "x", NOTE][self.looks % 4]

    def __iter__(self) -> Iterator[str]:
        return iter(["n"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", VALUES)
def test_r40_values_of_classes_of_ones_own_are_values(
    site_of: Callable[[str], Site], reach: Reach, kind: str, column: str
) -> None:
    """A source was asked `note = '35' OR ssn LIKE ...`, below the mask and beside the row filter."""
    analyst, value = site_of(kind).analyst, VALUES[column]
    text = f"SELECT id FROM emp WHERE {column} = "
    engine = FederationEngine(analyst)
    asked: tuple[Callable[[], list[dict[str, Any]]], ...] = (
        lambda: analyst.query(f"{text}:n AND id > 0", {"n": value}).rows(),
        lambda: analyst.query(f"{text}? AND id > 0", [value]).rows(),
        lambda: list(engine.execute_query(engine.plan_query("emp", [Predicate(column, "=", value)], ["id"]))[0]),
        lambda: list(engine.execute_query(engine.plan_query("emp", [Predicate(column, "IN", [value])], ["id"]))[0]),
    )
    assert [[row["id"] for row in ask()] for ask in asked] == [FIVE] * len(asked)
    reach("sql", "holds")


@pytest.mark.parametrize("kind", KINDS)
def test_r40_parameters_are_looked_at_once(site_of: Callable[[str], Site], reach: Reach, kind: str) -> None:
    given = Changing()
    rows = site_of(kind).analyst.query("SELECT id FROM emp WHERE code = :n AND id > 0", given).rows()
    assert ([row["id"] for row in rows], given.looks) == (FIVE, 1)
    reach("sql", "holds")


LITERALS: dict[str, Callable[[], exp.Expr]] = {
    "number": lambda: exp.Literal(this=f"5{HIDDEN}", is_string=False),
    "sly number": lambda: exp.Literal(this=Sly.of("5", f"5{HIDDEN}"), is_string=False),
    "sly text": lambda: exp.Literal(this=NOTE, is_string=True),
    "variable": lambda: exp.Var(this=f"'35'{HIDDEN}"),
    "sly variable": lambda: exp.Var(this=Sly.of("note", f"'35'{HIDDEN}")),
    "name": lambda: exp.Column(this=exp.Identifier(this=Sly.of("note", f"'35'{HIDDEN}"), quoted=False)),
    "table of a name": lambda: exp.Column(
        this=exp.Identifier(this="gem", quoted=False), table=exp.Var(this="(SELECT v FROM vault AS v LIMIT 1)")
    ),
    "below a literal": lambda: exp.Literal(this=exp.column("secret"), is_string=False),
    "no node that is known": type("Own", (exp.Expression,), {}),
    "note": lambda: _noted(exp.column("secret")),
}


def _noted(node: exp.Expr) -> exp.Expr:
    node.meta.update(policy=True, columns=frozenset({"secret"}), mask="null", parameter="n")
    return node


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", LITERALS)
def test_r33_trees_say_what_their_text_says(site_of: Callable[[str], Site], reach: Reach, kind: str, how: str) -> None:
    """Hidden employees were found by the SQL that a literal of a tree became at the source."""
    analyst = site_of(kind).analyst
    for column in ("note", "code"):
        tree = sqlglot.parse_one(f"SELECT id, ssn FROM emp WHERE {column} = 5 AND id > 0", dialect="duckdb")
        tree.args["where"].find(exp.EQ).set("expression", LITERALS[how]())
        rows: list[dict[str, Any]] = []
        said = ""
        try:
            rows = analyst.query_parts(tree).rows()
        except TauroError as error:
            said = said_by(error)
        assert canaries(f"{rows} {said}", "666-13") == []
        assert {row["id"] for row in rows} <= {row["id"] for row in VISIBLE_EMP}
    reach("sql", "holds")


@pytest.mark.parametrize("limit", ["5", 5.0, object(), [5], exp.Literal.number(5), exp.Var(this="5"), -1])
def test_r21_a_limit_is_a_number(site_of: Callable[[str], Site], reach: Reach, limit: Any) -> None:
    analyst = site_of("duckdb").analyst
    for ask in (analyst.query, analyst.plan, analyst.analyze):
        with pytest.raises(UsageError, match="limit is"):
            ask("SELECT id FROM emp", limit=limit)
    reach("sql", "refused")


def test_r36_no_table_that_is_handed_out_is_the_catalogs(site_of: Callable[[str], Site], reach: Reach) -> None:
    """The table of a reader could be pointed at another one of the source, which was then read under its policy."""
    analyst = site_of("duckdb").analyst
    factory = VirtualReaderFactory(analyst)
    before = analyst.query("SELECT * FROM orders ORDER BY id").rows()
    seen = factory.create_reader("orders").table
    assert (seen.table_name, seen.path, seen.query) == (None, None, None)
    for table in (seen, analyst.sight.resolve("orders"), analyst.planner.entry("orders").table):
        table.table_name, table.schema = "phys_vault", {"id": "BIGINT", "gem": "VARCHAR"}
        assert analyst.query("SELECT * FROM orders ORDER BY id").rows() == before
    with pytest.raises(AccessDenied):
        factory.create_reader("vault")
    with pytest.raises(UsageError, match="not the table given"):
        factory.create_reader(seen)
    reach("sql", "refused")


class Believed:
    """A seal of one's own around a plan made by hand."""

    def __init__(self, plan: QueryPlan) -> None:
        self._plan = plan

    def is_of(self, _: object) -> bool:
        return True

    def open(self) -> QueryPlan:
        return self._plan


def test_r33_no_other_seal_is_believed(site_of: Callable[[str], Site], reach: Reach) -> None:
    analyst = site_of("duckdb").analyst
    tree = sqlglot.parse_one('SELECT max(name) AS m FROM "source at".main.phys_emp', dialect="duckdb")
    made = QueryPlan("", tree, "ana", (), {}, (), tree, tree, {"m": "VARCHAR"})
    sealed = dataclasses.replace(analyst.plan("SELECT id FROM emp"), _whole=Believed(made))
    alike: Any = type("Alike", (), {"_whole": Believed(made)})()
    for plan in (sealed, alike, None, "SELECT 1"):
        with pytest.raises(UsageError, match="not made by this catalog"):
            analyst.run(plan)
    reach("sql", "refused")


def test_r40_what_is_refused_is_recorded_whatever_it_was_asked_with(
    site_of: Callable[[str], Site], reach: Reach
) -> None:
    analyst: VirtualContext = site_of("duckdb").analyst

    class Bursting(Changing):
        def __getitem__(self, name: str) -> Any:
            if self.looks:
                raise RuntimeError("no record of this")
            return super().__getitem__(name)

    before = len(analyst.audit_logs())
    with pytest.raises(AccessDenied):
        analyst.query("SELECT gem FROM vault WHERE id = :n", Bursting())
    assert len(analyst.audit_logs()) == before + 1
    reach("sql", "refused")


def test_r40_frames_are_arrow(site_of: Callable[[str], Site], reach: Reach) -> None:
    """Whatever gives Arrow is read once, before anything is planned; all else, and what has no name, is refused."""
    analyst, table = site_of("duckdb").analyst, pa.table({"id": [2, 5]})

    class Other:
        looks = 0

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            self.looks += 1
            return pa.table({"id": [2, 5] if self.looks == 1 else ["x", "y"]}).__arrow_c_stream__(requested_schema)

    for frame in (table, table.to_batches()[0], Other()):
        assert analyst.query("SELECT emp.id FROM emp JOIN f USING (id)", frames={"f": frame}).rows() == [{"id": 5}]
    for name, frame in (("f", "emp"), ("f", [{"id": 1}]), ("f", None), ("", table), (5, table)):
        with pytest.raises(UsageError, match="frame"):
            analyst.query("SELECT * FROM f", frames={name: frame})
    reach("sql", "holds")
