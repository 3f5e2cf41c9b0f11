from __future__ import annotations

import threading
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.engine.duckdb import DuckDBEngine
from tauro_nb.errors import BindError, CipherError, PolicyError, TauroError
from tauro_nb.query.functions import allowed_functions
from tauro_nb.security import TableSecurityPolicy
from tauro_nb.security.cipher import FieldSpec
from tauro_nb.security.functions import CHECK, DECRYPT, ENCRYPT, HMAC, EngineFunctions, call
from tauro_nb.security.keys import KeyRing
from tauro_nb.security.sandbox import Sandbox

NAMES = (ENCRYPT, DECRYPT, CHECK, HMAC)
SPEC = FieldSpec("people", "ssn", searchable=True)


@pytest.fixture
def functions() -> EngineFunctions:
    return EngineFunctions(KeyRing())


def test_every_instance_knows_them(functions: EngineFunctions) -> None:
    value = call(HMAC, functions.ring.hmac_handle(domain="d"), exp.Literal.string("x")).sql("duckdb")
    engine, sandbox = DuckDBEngine(functions), Sandbox(functions)
    answers = set()
    for switched_off in (frozenset[str](), frozenset({"statistics_propagation"})):
        with engine.cursor([], switched_off=switched_off) as cursor:
            answers.add(cursor.execute(f"SELECT {value}").fetchall()[0][0])
    with sandbox.cursor() as cursor:
        answers.add(cursor.execute(f"SELECT {value}").fetchall()[0][0])
    engine.close()
    sandbox.close()
    assert len(answers) == 1
    assert len(answers.pop()) == 64


@pytest.mark.parametrize(
    "form",
    [
        "PIVOT t ON s USING max(version())",
        "PIVOT t ON s IN ('a') USING count(*) GROUP BY current_schema()",
        "SELECT * FROM t PIVOT (max(version()) FOR s IN ('a'))",
        "WITH p AS (PIVOT t ON s IN ('a') USING count(*)) SELECT version() FROM p",
        "UNPIVOT (SELECT s, version() AS v FROM t) ON s, v",
        "PIVOT (PIVOT t ON s USING max(version())) ON a",
    ],
)
def test_what_stands_beside_a_pivot_is_on_the_list_too(form: str) -> None:
    with (
        VirtualContext({"virtual_tables": {"t": {"query": "SELECT 'a' AS s"}}}) as ctx,
        pytest.raises(BindError, match="is not available here"),
    ):
        ctx.query(form)


@pytest.mark.parametrize("name", NAMES)
def test_nulls_stay_and_order_is_kept(functions: EngineFunctions, name: str) -> None:
    plain = [None, "a", "", None, "ü", "a", None]
    sealed = functions.apply(ENCRYPT, functions.ring.handle(SPEC), pa.array(plain, pa.string()))
    handle = functions.ring.hmac_handle() if name == HMAC else functions.ring.handle(SPEC)
    given = sealed if name in (DECRYPT, CHECK) else pa.array(plain, pa.string())
    for column in (given, pa.chunked_array([given.slice(0, 3), given.slice(3)])):
        found = functions.apply(name, handle, column).to_pylist()
        assert [value is None for value in found] == [value is None for value in plain]
        assert found[1] == found[5] != found[4]
        if name == DECRYPT:
            assert found == plain
    assert functions.apply(name, handle, given.slice(0, 0)).to_pylist() == []
    assert functions.apply(name, handle, given.slice(0, 1)).to_pylist() == [None]


def test_a_random_nonce_each_time(functions: EngineFunctions) -> None:
    handle = functions.ring.handle(FieldSpec("people", "ssn"))
    tokens = functions.apply(ENCRYPT, handle, pa.array(["same"] * 50)).to_pylist()
    assert len(set(tokens)) == 50


def test_whole_columns_take_the_dictionary(functions: EngineFunctions) -> None:
    values = pa.array([f"value {number % 1000}" for number in range(70_000)])
    handle = functions.ring.handle(SPEC)
    tokens = functions.apply(ENCRYPT, handle, values)
    assert functions.apply(DECRYPT, handle, tokens).equals(values)
    assert functions.apply(ENCRYPT, handle, values.slice(0, 9)).equals(tokens.slice(0, 9))


def test_threads_meet(functions: EngineFunctions) -> None:
    connection = duckdb.connect()
    functions.register(connection)
    connection.execute("SET lock_configuration = true")
    sealed = call(ENCRYPT, functions.ring.handle(SPEC), exp.column("v"))
    opened = call(DECRYPT, functions.ring.handle(SPEC), sealed).sql("duckdb")
    wrong: list[Any] = []

    def work() -> None:
        with connection.cursor() as cursor:
            sql = f"SELECT count(*) FROM (SELECT i::VARCHAR AS v FROM range(20000) r(i)) WHERE {opened} <> v"
            wrong.extend(cursor.execute(sql).fetchall())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [(0,)] * 4


def test_errors_come_out_as_themselves(functions: EngineFunctions) -> None:
    connection = duckdb.connect()
    functions.register(connection)
    sql = f"SELECT {call(DECRYPT, functions.ring.handle(SPEC), exp.Literal.string('secret value')).sql('duckdb')}"
    with pytest.raises(duckdb.Error) as caught:
        connection.execute(sql).fetchall()
    assert "secret" not in str(caught.value).split("LINE")[0]
    failure = functions.failure(str(caught.value))
    assert isinstance(failure, CipherError)
    assert str(failure) == "column `ssn` of `people` holds a value that is not a ciphertext; nothing was returned."
    assert functions.failure("Conversion Error: 'tauro-function:" + "0" * 32 + ":0'") is None
    assert EngineFunctions(KeyRing()).failure(str(caught.value)) is None


def test_a_handle_of_another_ring_is_nothing(functions: EngineFunctions) -> None:
    other = KeyRing().handle(SPEC)
    assert other != functions.ring.handle(SPEC)
    with pytest.raises(TauroError, match="not known here"):
        functions.apply(DECRYPT, other, pa.array(["x"]))
    with pytest.raises(TauroError, match="not known here"):
        functions.apply(HMAC, functions.ring.handle(SPEC), pa.array(["x"]))


def test_they_are_on_no_list() -> None:
    assert not set(NAMES) & set(allowed_functions())


@pytest.mark.parametrize("name", [*NAMES, "TAURO_Decrypt"])
@pytest.mark.parametrize(
    "form",
    [
        "SELECT {f}('h', s) FROM t",
        "SELECT s FROM t WHERE {f}('h', s) = 'x'",
        "SELECT main.{f}('h', s) FROM t",
        "SELECT system.main.{f}('h', s) FROM t",
        "SELECT \"{f}\"('h', s) FROM t",
        "SELECT 'h'.{f}(s) FROM t",
        "SELECT list_transform([s], x -> {f}('h', x)) FROM t",
        "SELECT count(*) FROM t ORDER BY {f}('h', max(s))",
        "SELECT * FROM {f}('h', 'x')",
        "PIVOT t ON s USING max({f}('h', s))",
        "WITH c AS (SELECT {f}('h', s) AS x FROM t) SELECT x FROM c",
        "SELECT sum(1) OVER (PARTITION BY {f}('h', s)) FROM t",
        "FROM t SELECT TRY({f}('h', s))",
    ],
)
def test_no_query_can_name_them(name: str, form: str) -> None:
    with VirtualContext({"virtual_tables": {"t": {"query": "SELECT 'a' AS s"}}}) as ctx:
        for door in (ctx.query, lambda text: ctx.sql(text).execute()):
            with pytest.raises(TauroError) as caught:
                door(form.format(f=name))
            assert "available here" in str(caught.value) or isinstance(caught.value, (BindError, ValueError))


@pytest.mark.parametrize("name", NAMES)
def test_no_view_policy_or_table_can_name_them(name: str) -> None:
    with VirtualContext({"virtual_tables": {"v": {"query": f"SELECT {name}('h', 'a') AS s"}}}) as ctx:
        with pytest.raises(BindError, match="available here"):
            ctx.query("SELECT * FROM v")
        with pytest.raises(PolicyError, match="may not"):
            ctx.security.register_policy(TableSecurityPolicy("v", row_level_filters={"*": f"{name}('h', s) = 'x'"}))


@pytest.mark.parametrize("name", NAMES)
def test_no_other_door_can_name_them(name: str) -> None:
    import ibis

    from tauro_nb.interop import dbapi

    with VirtualContext({"virtual_tables": {"t": {"query": "SELECT 'a' AS s"}}}) as ctx:

        @ibis.udf.scalar.builtin(name=name)  # type: ignore[untyped-decorator]
        def function(handle: str, text: str) -> str:
            raise NotImplementedError

        with pytest.raises(TauroError, match="available here"):
            ctx.query(ctx.table("t").select(x=function("h", ctx.table("t").s)))
        cursor = dbapi.connect(ctx).cursor()
        with pytest.raises(Exception, match="available here"):
            cursor.execute(f"SELECT {name}('h', s) FROM t")


def test_a_plan_shows_no_handle(functions: EngineFunctions) -> None:
    from tauro_nb.query.names import display_sql

    tree = exp.select(call(HMAC, functions.ring.hmac_handle(), exp.column("a")))
    assert display_sql(tree) == "SELECT TAURO_HMAC(a)"


def test_destroyed_keys_stop_at_once(functions: EngineFunctions) -> None:
    handle = functions.ring.handle(SPEC)
    tokens = functions.apply(ENCRYPT, handle, pa.array(["a", "b"]))
    assert functions.apply(DECRYPT, handle, tokens).to_pylist() == ["a", "b"]
    functions.ring.shred(domain=SPEC.slot.domain)
    with pytest.raises(CipherError, match="destroyed"):
        functions.apply(DECRYPT, handle, tokens)
