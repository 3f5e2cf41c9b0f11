"""Views over views, over sources of different kinds."""
# ruff: noqa: E501 - one query a line

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import AccessDenied, BindError, UnboundParameter, UnknownTable, UnsupportedStatement


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "people.csv").write_text("id,name,city\n1,Ana,Quito\n2,Bob,Lima\n3,Cleo,Quito\n")
    (tmp_path / "sales.json").write_text("\n".join(f'{{"person": {i % 3 + 1}, "amount": {i}}}' for i in range(9)))
    return {"people": {"path": str(tmp_path / "people.csv")}, "sales": {"path": str(tmp_path / "sales.json")}}


@pytest.fixture
def ctx(files: dict[str, Any]) -> Iterator[VirtualContext]:
    views = {
        "totals": {"query": "SELECT person, sum(amount) AS total FROM sales GROUP BY person"},
        "ranking": {"query": "SELECT p.name, p.city, t.total FROM totals t JOIN people p ON p.id = t.person"},
        "best": {
            "query": "WITH r AS (SELECT * FROM ranking) SELECT name FROM r WHERE total>{{least}} AND city = '{{ city }}'",
            "parameters": {"least": 0, "city": "Quito"},
        },
    }
    with VirtualContext({"virtual_tables": {**files, **views}}) as context:
        yield context


def test_views_over_views_over_files(ctx: VirtualContext) -> None:
    rows = ctx.query("SELECT name, total FROM ranking ORDER BY name").rows()
    assert [(row["name"], row["total"]) for row in rows] == [("Ana", 9), ("Bob", 12), ("Cleo", 15)]
    assert set(ctx.lineage("best").upstream("best", 3)) == {"people", "ranking", "sales", "totals"}


def test_parameters_of_views(ctx: VirtualContext) -> None:
    def names(**params: Any) -> list[str]:
        return [row["name"] for row in ctx.query("SELECT name FROM best ORDER BY name", params or None).rows()]

    assert names() == ["Ana", "Cleo"]
    assert names(least=10) == ["Cleo"]
    assert names(city="Lima") == ["Bob"]
    assert names(city="Lima' OR '1'='1") == []
    assert ctx.query("SELECT name FROM best WHERE name <> :city ORDER BY 1", {"city": "Quito"}).rows()


def test_two_views_may_use_one_parameter_name() -> None:
    views = {
        "a": {"query": "SELECT {{ x }} AS v", "parameters": {"x": 1}},
        "b": {"query": "SELECT a.v, {{ x }} AS w FROM a", "parameters": {"x": 2}},
    }
    with VirtualContext({"virtual_tables": views}) as ctx:
        assert ctx.query("SELECT * FROM b").rows() == [{"v": 1, "w": 2}]
        assert ctx.query("SELECT *, :y AS y FROM b", {"y": 3}).rows() == [{"v": 1, "w": 2, "y": 3}]


def test_a_circle_is_refused_with_its_chain() -> None:
    views = {"a": {"query": "SELECT * FROM b"}, "b": {"query": "SELECT * FROM c"}, "c": {"query": "SELECT * FROM a"}}
    with VirtualContext({"virtual_tables": views}) as ctx:
        for name in views:
            with pytest.raises(BindError, match="a -> b -> c -> a" if name == "a" else "refers to itself"):
                ctx.query(f"SELECT * FROM {name}")
        assert {log.status for log in ctx.audit_logs()} == {"FAILED"}


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("SELECT nmae FROM people", BindError, r"view `v`: unknown column `nmae`\. Did you mean `name`\?"),
        ("SELECT {{ x }} AS x", UnboundParameter, "`v` needs a value for `x`"),
        ("DELETE FROM people", UnsupportedStatement, "view `v`: DELETE"),
        ("SELECT * FROM read_csv('/etc/passwd')", BindError, "view `v`: table function `read_csv`"),
    ],
)
def test_a_wrong_view_is_told_by_name(files: dict[str, Any], query: str, error: type[Exception], message: str) -> None:
    with (
        VirtualContext({"virtual_tables": {**files, "v": {"query": query}}}) as ctx,
        pytest.raises(error, match=message),
    ):
        ctx.query("SELECT * FROM v")


def test_policies_below_a_view_hold(files: dict[str, Any]) -> None:
    config = {
        "virtual_tables": {**files, "v": {"query": "SELECT name, city FROM people"}, "w": {"query": "SELECT * FROM v"}},
        "security_policies": {
            "people": {
                "row_level_filters": {"analyst": "city = 'Quito'", "admin": ""},
                "field_policies": {"name": {"masking_enabled": True, "mask": "null", "allowed_roles": ["admin"]}},
            },
            "v": {"allowed_roles": ["analyst", "admin"]},
        },
    }
    with VirtualContext(config) as ctx:
        assert len(ctx.query("SELECT * FROM w").rows()) == 3
        assert ctx.as_principal("analyst").query("SELECT * FROM w").rows() == [{"name": None, "city": "Quito"}] * 2
        with pytest.raises(AccessDenied):
            ctx.as_principal("intern").query("SELECT * FROM w")


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        (
            "SELECT id, name FROM people WHERE city <> 'hush'",
            AccessDenied,
            "`v` reads of `people` what is denied to `ana`",
        ),
        (
            "SELECT amount FROM sales WHERE 'hush' <> ''",
            AccessDenied,
            "`v` is a view of a table that is closed to `ana`",
        ),
        (
            "SELECT a FROM inner_view WHERE 'hush' <> ''",
            AccessDenied,
            "`v` is a view of a table that is closed to `ana`",
        ),
        ("SELECT * FROM gone WHERE x = 'hush'", UnknownTable, "view `v`: There is no table `gone`."),
    ],
)
def test_an_error_below_a_view_shows_neither_its_text_nor_what_is_closed(
    files: dict[str, Any], query: str, error: type[Exception], message: str
) -> None:
    config = {
        "virtual_tables": {**files, "v": {"query": query}, "inner_view": {"query": "SELECT amount AS a FROM sales"}},
        "security_policies": {
            "people": {"field_policies": {"name": {"access_level": "restricted", "allowed_roles": ["admin"]}}},
            "sales": {"allowed_roles": ["admin"]},
        },
    }
    with VirtualContext(config) as ctx:
        ana = ctx.as_principal("ana")
        for ask in ("SELECT * FROM v", "SELECT count(*) FROM (FROM v) AS w"):
            with pytest.raises(error) as caught:
                ana.query(ask)
            assert str(caught.value) == message
            shown = "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]
            assert not any(word in shown for word in ("hush", "sales", "amount", "`name`"))
        records = ana.audit_logs()
        assert {record.table_name for record in records} <= {"v", ""}
        assert not any("sales" in record.denial_reason for record in records)
