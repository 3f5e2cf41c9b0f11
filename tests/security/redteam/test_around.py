"""R30 to R34: doors around the rewriting."""

from __future__ import annotations

import dataclasses
import gc
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pytest
import sqlglot
from ibis.common.exceptions import IbisError
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError, UnknownTable, UsageError
from tauro_nb.interop.ibis import Backend
from tauro_nb.query.plan import QueryPlan
from tests.security.redteam.sites import Site
from tests.security.redteam.staff import VISIBLE_EMP
from tests.security.redteam.trial import Gate, Reach, canaries, said_by

pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning")
# Ibis 12 asks pandas 3.1 for an option that is on its way out.


def test_r30_functions_that_read(gate: Gate) -> None:
    folder = gate.visit.site.folder
    gate.refuses(
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('/etc/passwd')",
        f"SELECT * FROM read_parquet('{folder}/phys_emp.parquet')",
        f"SELECT * FROM '{folder}/phys_emp.parquet'",
        f"SELECT * FROM parquet_scan('{folder}/phys_emp.parquet')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_ndjson_objects('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'emp.csv'",
        "SELECT * FROM found",
        "SELECT * FROM catalog",
        "SELECT * FROM query('SELECT * FROM emp')",
        "SELECT * FROM query_table('emp')",
        "SELECT * FROM query_table(['emp'])",
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "SELECT json_serialize_sql('SELECT 1')",
        "SELECT * FROM sql_auto_complete('SEL')",
        "SELECT * FROM postgres_query('at', 'SELECT 1')",
        "SELECT * FROM postgres_scan('', 'public', 'phys_emp')",
        "SELECT * FROM mysql_query('at', 'SELECT 1')",
        f"SELECT * FROM sqlite_scan('{folder}/at.sqlite', 'phys_emp')",
        "SELECT * FROM iceberg_scan('x')",
        "SELECT * FROM delta_scan('x')",
        "SELECT * FROM 'http://127.0.0.1:1/x.csv'",
        "SELECT * FROM 's3://canary/x.parquet'",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM python_map_function(1)",
        "SELECT * FROM emp, LATERAL read_text(note)",
        "SELECT (SELECT content FROM read_text('/etc/passwd')) AS c",
        "SELECT * FROM test_all_types()",
        "SELECT * FROM duckdb_functions()",
        "SELECT * FROM which_secret('x', 's3')",
    )


def test_r31_statements_and_functions_that_change_or_show_the_engine(gate: Gate) -> None:
    gate.refuses(
        "COPY emp TO 'x.csv'",
        "COPY (SELECT * FROM emp) TO 'x.parquet'",
        "EXPORT DATABASE 'x'",
        "ATTACH 'x.duckdb'",
        "ATTACH ':memory:' AS m",
        "ATTACH 'postgresql://x' AS p (TYPE postgres)",
        "DETACH at",
        "INSTALL spatial",
        "LOAD spatial",
        "PRAGMA database_list",
        "PRAGMA show_tables",
        "SET enable_external_access = true",
        "RESET threads",
        "SET disabled_optimizers = ''",
        "CALL enable_logging()",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM duckdb_logs",
        "CREATE SECRET x (TYPE s3)",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_databases()",
        "SELECT * FROM duckdb_extensions()",
        "SELECT current_setting('threads')",
        "SELECT getvariable('x')",
        "SELECT current_query()",
        "SELECT current_database()",
        "SELECT current_schemas(true)",
        "SELECT pg_get_viewdef(1)",
        "SELECT nextval('s')",
        "SELECT txid_current()",
        "SELECT setseed(0.5)",
        "CHECKPOINT",
        "SELECT * FROM checkpoint()",
        "SELECT * FROM force_checkpoint()",
        "SELECT write_log('x')",
        "SELECT tauro_decrypt('x', ssn) FROM emp",
        "SELECT tauro_hmac('x', ssn) FROM emp",
    )


@pytest.fixture
def con(site_of: Callable[[str], Site]) -> Backend:
    return site_of("duckdb").analyst.ibis()


def _ids(expression: Any) -> list[int]:
    return sorted(expression.to_pyarrow().to_pylist()) if expression.ndim == 1 else []


OWN = sorted(row["id"] for row in VISIBLE_EMP)
SEARCHES: dict[str, Callable[[Any], Any]] = {
    "filter": lambda t: t.filter(t.ssn == "666-13-0003"),
    "like": lambda t: t.filter(t.ssn.like("666%")),
    "regexp": lambda t: t.filter(t.email.re_search("^canary")),
    "isin": lambda t: t.filter(t.name.isin(["UMBRA 2"])),
    "semi join": lambda t: t.semi_join(ibis.memtable({"ssn": [f"666-13-{n:04d}" for n in range(25)]}), "ssn"),
    "join": lambda t: t.join(ibis.memtable({"id": [2, 4, 6]}), "id"),
    "hidden": lambda t: t.filter(t.grade == 747_747),
    "order": lambda t: t.filter(t.dept != "Sales").order_by("salary").limit(1),
    "table sql": lambda t: t.alias("emp").sql("SELECT * FROM emp WHERE ssn LIKE '666%'"),
    "union": lambda t: t.union(t).filter(t.union(t).card.contains("canary")),
}


@pytest.mark.parametrize("how", SEARCHES)
def test_r32_expressions_search_the_mask(con: Backend, reach: Reach, how: str) -> None:
    assert SEARCHES[how](con.table("emp")).to_pyarrow().num_rows == 0
    reach("ibis", "holds")


VALUES: dict[str, Callable[[Any], Any]] = {
    "max": lambda t: t.aggregate(a=t.name.max(), b=t.ssn.max(), c=t.big.max()),
    "collect": lambda t: t.aggregate(a=t.email.collect()),
    "window": lambda t: t.mutate(a=t.name.lag().over(ibis.window(order_by=t.id))),
    "arbitrary": lambda t: t.aggregate(a=t.card.arbitrary(), b=t.born.max().cast("string")),
    "pivot": lambda t: t.pivot_wider(names=["Sales", "Legal"], names_from="dept", values_from="name", values_agg="max"),
    "unnest": lambda t: t.select(a=ibis.array([t.ssn, t.email]).unnest()),
    "cases": lambda t: t.select(a=ibis.cases((t.ssn.like("666%"), "leak"), else_=t.ssn)),
    "value counts": lambda t: t.salary.value_counts(),
    "self join": lambda t: t.join(t.view(), "ssn", rname="other_{name}"),
    "asof": lambda t: t.asof_join(t.view(), "id", rname="other_{name}"),
    "sample": lambda t: t.sample(1.0),
    "distinct": lambda t: t.distinct(on="dept", keep="last"),
    "topk": lambda t: t.email.topk(3),
    "struct": lambda t: t.select(a=ibis.struct({"s": t.ssn, "n": t.name})),
    "info": lambda t: t.info(),
    "describe": lambda t: t.describe(),
    "sql of sql": lambda t: (
        t.get_backend().sql("SELECT * FROM emp").alias("x").sql("SELECT * FROM x JOIN emp USING (id)")
    ),
}


@pytest.mark.parametrize("how", VALUES)
def test_r32_expressions_carry_no_hidden_value(con: Backend, reach: Reach, how: str) -> None:
    found = VALUES[how](con.table("emp")).to_pyarrow().to_pylist()
    assert canaries(str(found)) == []
    reach("ibis", "holds")


AROUND: dict[str, Callable[[Backend, Any], Any]] = {
    "raw_sql": lambda con, _: con.raw_sql("SELECT * FROM phys_emp"),
    "sql": lambda con, _: con.sql("SELECT * FROM phys_emp").execute(),
    "sql with a schema": lambda con, _: con.sql(
        "SELECT * FROM vault", schema={"id": "int64", "gem": "string"}
    ).execute(),
    "table sql": lambda _, t: t.sql("SELECT * FROM phys_emp").execute(),
    "alias sql": lambda _, t: t.alias("e").sql("SELECT secret FROM e").execute(),
    "alias sql beside": lambda _, t: t.alias("e").sql("SELECT * FROM vault").execute(),
    "alias of a closed table": lambda _, t: t.alias("vault").sql("SELECT gem FROM vault").execute(),
    "a closed table": lambda con, _: con.table("vault"),
    "a closed column": lambda _, t: t.secret,
    "con.con": lambda con, _: con.con.execute("SELECT 1"),
    "op source": lambda _, t: t.op().source.raw_sql("SELECT 1"),
    "find backend": lambda _, t: t._find_backend().raw_sql("SELECT 1"),
    "begin": lambda con, _: con.begin(),
    "unbound": lambda con, _: con.execute(ibis.table({"gem": "string"}, name="vault")),
    "unbound column": lambda con, _: con.execute(ibis.table({"id": "int64", "secret": "string"}, name="emp")),
    "unbound physical": lambda con, _: con.execute(ibis.table({"id": "int64"}, name="phys_emp")),
    "unbound in a database": lambda con, _: con.execute(ibis.table({"id": "int64"}, name="emp", database="main")),
    "create table": lambda con, t: con.create_table("x", t),
    "create view": lambda con, t: con.create_view("x", t),
    "insert": lambda con, t: con.insert("orders", t),
    "read csv": lambda con, _: con.read_csv("/etc/passwd"),
    "read parquet": lambda con, _: con.read_parquet("x"),
    "register": lambda con, _: con.register("/etc/passwd"),
    "attach": lambda con, _: con.attach("x"),
    "settings": lambda con, _: con.settings,
    "load extension": lambda con, _: con.load_extension("httpfs"),
    "drop": lambda con, _: con.drop_table("emp"),
    "rename": lambda con, _: con.rename_table("emp", "x"),
}


@pytest.mark.parametrize("how", AROUND)
def test_r32_ways_around_the_backend(con: Backend, reach: Reach, how: str) -> None:
    with pytest.raises((TauroError, IbisError, AttributeError, NotImplementedError)) as caught:
        AROUND[how](con, con.table("emp"))
    assert canaries(said_by(caught.value), "phys_") == []
    reach("ibis", "refused")


def test_r32_an_unbound_table_is_the_virtual_one(con: Backend, reach: Reach) -> None:
    emp = ibis.table({"id": "int64", "ssn": "string"}, name="emp")
    found = con.to_pyarrow(emp.filter(emp.ssn.like("666%") | (emp.id == 2)).select("ssn"))
    assert found.num_rows == 0
    assert sorted(con.to_pyarrow(emp.id).to_pylist()) == OWN
    reach("ibis", "holds")


def test_r32_a_memtable_takes_no_name(con: Backend, reach: Reach) -> None:
    """A frame that is called like a table is itself; the table stays the table, policy and all."""
    mine = ibis.memtable({"id": [2], "dept": ["Sales"]}).op().copy(name="emp").to_expr()
    assert con.to_pyarrow(mine).to_pylist() == [{"id": 2, "dept": "Sales"}]
    assert con.sql("SELECT count(*) AS n FROM emp").to_pyarrow().to_pylist() == [{"n": len(OWN)}]
    with pytest.raises(TauroError):
        con.sql("SELECT gem FROM vault")
    fake = ibis.memtable({"gem": ["x"]}).op().copy(name="vault").to_expr()
    assert con.to_pyarrow(fake).to_pylist() == [{"gem": "x"}]
    # A table that is closed is not there, and so its name is free: what is found under it is the frame.
    assert con.sql("SELECT gem FROM vault").to_pyarrow().to_pylist() == [{"gem": "x"}]
    reach("ibis", "holds")


def test_r32_functions_in_python(con: Backend, reach: Reach, tmp_path: Path) -> None:
    """They do not run: one that writes down what it is given could be given a hidden row."""

    def spy(text: str) -> str:
        (tmp_path / "stolen").write_text(text)
        return text

    emp = con.table("emp")
    for kind in (ibis.udf.scalar.python, ibis.udf.scalar.pandas, ibis.udf.scalar.pyarrow):
        function = kind(spy)
        with pytest.raises(TauroError):
            emp.select(a=function(emp.name)).to_pyarrow()
    for name in ("getenv", "read_text", "current_setting", "tauro_decrypt", "error"):
        builtin = ibis.udf.scalar.builtin(spy, name=name)
        with pytest.raises(TauroError):
            emp.select(a=builtin(emp.name)).to_pyarrow()
    assert not (tmp_path / "stolen").exists()
    reach("ibis", "refused")


def test_r32_what_is_exported_is_what_is_seen(con: Backend, reach: Reach, tmp_path: Path) -> None:
    emp = con.table("emp")
    emp.to_csv(tmp_path / "a.csv")
    emp.to_json(tmp_path / "a.json")
    emp.to_parquet(tmp_path / "a.parquet")
    with emp.cache() as cached:
        assert cached.filter(cached.ssn.like("666%")).to_pyarrow().num_rows == 0
        assert sorted(cached.id.to_pyarrow().to_pylist()) == OWN
    assert canaries((tmp_path / "a.csv").read_text() + (tmp_path / "a.json").read_text()) == []
    assert canaries(str(ibis.duckdb.connect().read_parquet(tmp_path / "a.parquet").to_pyarrow().to_pylist())) == []
    reach("ibis", "holds")


def test_r33_no_door_takes_a_pickle(site_of: Callable[[str], Site], reach: Reach) -> None:
    """There is no gateway yet; what is here takes SQL text and expressions, and hands out no pickle of itself."""
    site = site_of("postgresql")
    analyst = site.analyst
    ran: list[str] = []

    class Bomb:
        def __reduce__(self) -> Any:
            return (ran.append, ("boom",))

    payload = pickle.dumps(ibis.memtable({"a": [1]}).op().name)
    for query in (payload, Bomb(), pickle.PickleBuffer(payload)):
        with pytest.raises(TauroError):
            analyst.query(query)
        with pytest.raises(TauroError):
            analyst.plan(query)
    assert ran == []
    for inside in (analyst, analyst.plan("SELECT id FROM emp"), analyst.ibis(), analyst.table("emp"), analyst.planner):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError, TauroError)) as caught:
            pickle.dumps(inside)
        assert canaries(str(caught.value)) == []
    reach("sql", "refused")
    reach("ibis", "refused")


def test_r33_a_plan_made_by_hand_is_no_plan(site_of: Callable[[str], Site], reach: Reach) -> None:
    """Nor one that was changed, or made by another catalog, where ana is whoever she says: `run` took any of them."""
    site = site_of("duckdb")
    analyst, config = site.analyst, site.config
    assert analyst.query("SELECT max(name) AS m FROM emp").rows() == [{"m": "Ann 23"}]
    for text, schema in (
        ('SELECT max(name) AS m FROM "source at".main.phys_emp', {"m": "VARCHAR"}),
        ("SELECT path AS m FROM duckdb_databases", {"m": "VARCHAR"}),
    ):
        tree = sqlglot.parse_one(text, dialect="duckdb")
        made = QueryPlan(text, tree, "ana", (), {}, (), tree, tree, schema)
        with pytest.raises(UsageError, match="not made by this catalog"):
            analyst.run(made)
        changed = dataclasses.replace(analyst.plan("SELECT max(name) AS m FROM emp"), residual=tree, fragments=())
        assert analyst.run(changed).rows() == [{"m": "Ann 23"}]
        inside = sqlglot.parse_one("SELECT max(name) AS m FROM emp", dialect="duckdb")
        inside.selects[0].set("this", exp.Var(this=f"({text})"))
        with pytest.raises(UnknownTable):
            analyst.query_parts(inside)
    with VirtualContext({**config, "security_policies": {}}, "ana") as own:
        mine = own.plan("SELECT max(name) AS m FROM emp")
        for plan in (mine, dataclasses.replace(mine, entries={})):
            with pytest.raises(UsageError, match="not made by this catalog"):
                analyst.run(plan)
    reach("sql", "refused")


def test_r34_what_embedded_mode_does_not_promise(site_of: Callable[[str], Site], root: Path, reach: Reach) -> None:
    """Python in the same process reads the connection's password; documents and `posture()` say so."""
    site = site_of("postgresql")
    found = [thing for thing in gc.get_objects() if isinstance(thing, VirtualContext) and thing is site.admin]
    assert found
    assert "s3cret" in str(found[0].layer.config.connections["at"].options)
    posture = str(site.analyst.posture())
    assert "guard rails, not walls" in posture
    assert "no: who runs the notebook has the credentials and the process" in posture
    readme = (root / "README.md").read_text()
    assert "guard rails" in readme
    assert "owns the process" in readme
    reach("sql", "holds")
