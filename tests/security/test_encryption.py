"""Encrypted columns on the road and in row lists, in both directions."""

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pytest

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.catalog.table import EncryptionConfig
from tauro_nb.errors import AccessDenied, CipherError, ConfigError, KeysetError, PolicyError, SchemaMismatch, TauroError
from tauro_nb.interop import dbapi
from tauro_nb.security import FieldSecurityPolicy, Principal, SecurityEnforcer, TableSecurityPolicy
from tauro_nb.security.cipher import Cipher, FieldSpec
from tauro_nb.security.keys import KeyRing

PLAIN = [(1, "123-45-6789", 50), (2, "987-65-4321", 60), (3, None, 70), (4, "", 80), (5, "123-45-6789", 90)]
HR, ANA = Principal("hr"), Principal("ana")


def of(rows: Any, column: str) -> list[Any]:
    return [row[column] for row in sorted(rows, key=lambda row: row["id"])]


@pytest.fixture(params=["parquet", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(kind: str, folder: Path, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Put rows into a source; returns the configuration that reads them as `people`."""
    marks = ", ".join("?" for _ in rows[0])
    if kind == "sqlite":
        with sqlite3.connect(folder / "p.db") as connection:
            connection.execute("CREATE TABLE people (id INTEGER, ssn TEXT, pay INTEGER)")
            connection.executemany(f"INSERT INTO people VALUES ({marks})", rows)
        connection.close()
        return {"connection": "src", "table": "people", "db": str(folder / "p.db")}
    with duckdb.connect() as engine:
        engine.execute(
            f"CREATE TABLE people AS SELECT * FROM (VALUES {', '.join([f'({marks})'] * len(rows))}) t(id, ssn, pay)",
            [value for row in rows for value in row],
        )
        engine.execute(f"COPY people TO '{folder / 'p.parquet'}'")
    return {"path": str(folder / "p.parquet")}


def catalog(table: dict[str, Any], **more: Any) -> VirtualContext:
    path = table.pop("db", None)
    connections = {"src": {"type": "sqlite", "path": path}} if path else {}
    return VirtualContext({"connections": connections, "virtual_tables": {"people": table}, **more})


def context(table: dict[str, Any], field: dict[str, Any], **policy: Any) -> VirtualContext:
    schema = {"id": "BIGINT", "ssn": "VARCHAR", "pay": "BIGINT"} | table.pop("types", {})
    policies = {"people": {"field_policies": {"ssn": field}, **policy}}
    return catalog({"schema": schema, **table}, security_policies=policies)


ENCRYPTED = {"access_level": "encrypted", "encryption_enabled": True, "allowed_roles": ["hr"]}
AT_SOURCE = {"encrypted_at": "source", "allowed_roles": ["hr"]}
SELECT = "SELECT id, ssn FROM people"


# --- plain values at the source


@pytest.mark.parametrize("searchable", [None, "equality"])
def test_plain_at_the_source(kind: str, tmp_path: Path, searchable: str | None) -> None:
    with context(
        write(kind, tmp_path, PLAIN), ENCRYPTED | {"searchable": searchable} if searchable else ENCRYPTED
    ) as ctx:
        assert of(ctx.as_principal(HR).query(SELECT), "ssn") == [row[1] for row in PLAIN]
        ana = ctx.as_principal(ANA)
        tokens = of(ana.query(SELECT), "ssn")
        assert [token is None for token in tokens] == [row[1] is None for row in PLAIN]
        assert all(token.startswith("tnb1.") for token in tokens if token is not None)
        assert (tokens[0] == tokens[4]) is (searchable is not None)
        cipher = Cipher(FieldSpec("people", "ssn", searchable=searchable is not None), ctx.layer.keys)
        assert cipher.decrypt([token for token in tokens if token]) == [row[1] for row in PLAIN if row[1] is not None]
        assert ana.visible_schema("people")["ssn"] == "VARCHAR"
        # What the person asks meets ciphertext.
        for sql in (
            "SELECT id FROM people WHERE ssn = '123-45-6789'",
            "SELECT id FROM people WHERE ssn LIKE '%45%67%'",
        ):
            assert ana.query(sql).rows() == []
        groups = ana.query("SELECT ssn, count(*) n FROM people GROUP BY ssn").rows()
        assert len(groups) == (4 if searchable else 5)
        assert ana.query("SELECT min(length(ssn)) n FROM people").rows()[0]["n"] >= 27
        plan = ana.plan(SELECT)
        shown = f"{plan} {plan.residual_sql}"
        assert not any(handle in shown for handle in ctx.layer.keys._handles)


def test_a_number_becomes_text(kind: str, tmp_path: Path) -> None:
    policy = {"people": {"requires_encryption": True, "field_policies": {"id": {"allowed_roles": ["ana", "hr"]}}}}
    table = write(kind, tmp_path, PLAIN) | {"schema": {"id": "BIGINT", "ssn": "VARCHAR", "pay": "DECIMAL(9,2)"}}
    with catalog(table, security_policies=policy) as ctx:
        ana = ctx.as_principal(ANA)
        assert ana.visible_schema("people") == {"id": "BIGINT", "ssn": "VARCHAR", "pay": "VARCHAR"}
        cipher = Cipher(FieldSpec("people", "pay", "DECIMAL(9,2)"), ctx.layer.keys)
        assert cipher.decrypt(of(ana.query("SELECT id, pay FROM people"), "pay")) == [f"{row[2]}.00" for row in PLAIN]
        with pytest.raises(TauroError):
            ana.query("SELECT sum(pay) FROM people")


def test_a_restricted_column_stays_denied(kind: str, tmp_path: Path) -> None:
    for field in (ENCRYPTED, AT_SOURCE):
        closed = context(write(kind, tmp_path, PLAIN), field | {"access_level": "restricted"})
        with closed as ctx, pytest.raises(AccessDenied, match="ssn"):
            ctx.as_principal(ANA).query(SELECT)
        for file in tmp_path.iterdir():
            file.unlink()


def test_tenants_have_keys_of_their_own(kind: str, tmp_path: Path) -> None:
    with context(write(kind, tmp_path, PLAIN), ENCRYPTED | {"searchable": "equality"}) as ctx:
        acme, zeta = (ctx.as_principal(Principal("ana", tenant=name)) for name in ("acme", "zeta"))
        assert set(of(acme.query(SELECT), "ssn")) & set(of(zeta.query(SELECT), "ssn")) == {None}
        ctx.layer.keys.shred(tenant="acme")
        with pytest.raises(KeysetError, match="destroyed"):
            acme.query(SELECT).rows()
        assert len(zeta.query(SELECT).rows()) == 5


# --- ciphertext at the source


def sealed(ring: KeyRing, spec: FieldSpec, rows: list[tuple[Any, ...]] = PLAIN) -> list[tuple[Any, ...]]:
    cipher = Cipher(spec, ring)
    return [(row[0], None if row[1] is None else cipher.encrypt([str(row[1])])[0], *row[2:]) for row in rows]


def at_source(
    kind: str, folder: Path, field: dict[str, Any], spec: FieldSpec, rows: list[tuple[Any, ...]] = PLAIN, **policy: Any
) -> VirtualContext:
    ring = KeyRing()
    table = write(kind, folder, sealed(ring, spec, rows)) | {"types": {"ssn": spec.type}}
    ctx = context(table, field, **policy)
    ctx.layer.keys._keyset = ring._keyset
    return ctx


@pytest.mark.parametrize("searchable", [False, True])
def test_ciphertext_at_the_source(kind: str, tmp_path: Path, searchable: bool) -> None:
    field = AT_SOURCE | ({"searchable": "equality"} if searchable else {})
    with at_source(kind, tmp_path, field, FieldSpec("people", "ssn", searchable=searchable)) as ctx:
        hr, ana = ctx.as_principal(HR), ctx.as_principal(ANA)
        assert of(hr.query(SELECT), "ssn") == [row[1] for row in PLAIN]
        assert hr.query("SELECT id FROM people WHERE ssn LIKE '987%'").rows() == [{"id": 2}]
        tokens = of(ana.query(SELECT), "ssn")
        assert [token is None for token in tokens] == [row[1] is None for row in PLAIN]
        assert all(token.startswith("tnb1.") for token in tokens if token is not None)
        assert ana.query("SELECT id FROM people WHERE ssn = '987-65-4321'").rows() == []


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("BIGINT", 123456789),
        ("DECIMAL(12,2)", decimal.Decimal("1234.50")),
        ("DATE", dt.date(2024, 2, 29)),
        ("TIMESTAMP", dt.datetime.fromisoformat("2024-02-29 12:30:01.000500")),
        ("BOOLEAN", True),
        ("DOUBLE", 0.1),
        ("INTEGER[]", [1, 2]),
    ],
)
def test_plain_values_have_their_declared_type(kind: str, tmp_path: Path, type: str, value: Any) -> None:
    with at_source(kind, tmp_path, AT_SOURCE, FieldSpec("people", "ssn", type), [(1, value, 0)]) as ctx:
        hr, ana = ctx.as_principal(HR), ctx.as_principal(ANA)
        assert hr.query("SELECT ssn FROM people").rows() == [{"ssn": value}]
        assert hr.visible_schema("people")["ssn"] == type
        assert hr.query("SELECT ssn IS NOT NULL AS x FROM people").rows() == [{"x": True}]
        assert ana.visible_schema("people")["ssn"] == "VARCHAR"


def test_policies_speak_of_plain_values(kind: str, tmp_path: Path) -> None:
    field = AT_SOURCE | {
        "role_masks": {"support": {"mask": "last4"}, "row": {"mask": "null", "when": "ssn = '987-65-4321'"}}
    }
    filters = {"*": "ssn <> '' OR pay > 85"}
    with at_source(kind, tmp_path, field, FieldSpec("people", "ssn"), row_level_filters=filters) as ctx:
        assert of(ctx.as_principal(HR).query(SELECT), "ssn") == ["123-45-6789", "987-65-4321", "123-45-6789"]
        masked = of(ctx.as_principal("support").query(SELECT), "ssn")
        assert [text[-4:] for text in masked] == ["6789", "4321", "6789"]
        assert not any("123" in text or "tnb1" in text for text in masked)
        assert of(ctx.as_principal("row").query(SELECT), "ssn") == ["123-45-6789", None, "123-45-6789"]
        assert len(of(ctx.as_principal(ANA).query(SELECT), "ssn")) == 3


BAD = {
    "a plain value": (lambda _: "123-45-6789", "not a ciphertext"),
    "another column": (lambda ring: Cipher(FieldSpec("people", "tin"), ring).encrypt(["x"])[0], "another column"),
    "another table": (
        lambda ring: Cipher(FieldSpec("staff", "ssn", domain="people.ssn"), ring).encrypt(["x"])[0],
        "another",
    ),
    "another tenant": (lambda ring: Cipher(FieldSpec("people", "ssn", tenant="a"), ring).encrypt(["x"])[0], "tenant"),
    "cut off": (lambda ring: Cipher(FieldSpec("people", "ssn"), ring).encrypt(["x"])[0][:20], "cut off"),
    "another keyset": (lambda _: Cipher(FieldSpec("people", "ssn"), KeyRing()).encrypt(["x"])[0], "does not have"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("who", [HR, ANA], ids=["hr", "ana"])
def test_what_does_not_belong_is_one_clear_error(kind: str, tmp_path: Path, what: str, who: Principal) -> None:
    make, words = BAD[what]
    ring = KeyRing()
    bad = make(ring)
    rows = [*sealed(ring, FieldSpec("people", "ssn")), (9, bad, 1)]
    with context(write(kind, tmp_path, rows), AT_SOURCE) as ctx:
        ctx.layer.keys._keyset = ring._keyset
        them = ctx.as_principal(who)
        if (what, who) == ("another table", ANA):
            # Only opening it can tell: whoever has no right gets the ciphertext as it is.
            assert bad in of(them.query(SELECT), "ssn")
            return
        given = [dict(zip(("id", "ssn", "pay"), row, strict=True)) for row in rows]
        for read in (
            lambda: them.query(SELECT).rows(),
            lambda: them.query("SELECT max(ssn) m FROM people").rows(),
            lambda: them.query("SELECT id FROM people WHERE ssn LIKE '%1%'").rows(),
            lambda: them.table("people").execute(),
            lambda: them.table("people").to_pyarrow(),
            lambda: tauro_nb.connect(them).cursor().execute(SELECT).fetchall(),
            lambda: ibis.tauro.connect(them).sql(SELECT).execute(),
            lambda: them.layer.security.apply_field_masking("people", who, given),
        ):
            with pytest.raises(
                (CipherError, dbapi.DatabaseError), match=f"column `ssn` of `people` .*{words}"
            ) as caught:
                read()
            for hidden in (bad, bad[5:30], str(tmp_path), "123-45-6789"):
                assert hidden not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert ctx.audit_logs(status="FAILED")
        assert them.query("SELECT count(*) n FROM people").rows() == [{"n": 6}]


def test_a_column_that_is_no_text_holds_no_ciphertext(tmp_path: Path) -> None:
    table = write("parquet", tmp_path, PLAIN) | {"schema": {}}
    policies = {"people": {"field_policies": {"pay": AT_SOURCE}}}
    with catalog(table, security_policies=policies) as ctx, pytest.raises(SchemaMismatch, match="pay"):
        ctx.as_principal(HR).query("SELECT pay FROM people").rows()


@pytest.mark.parametrize("type", ["DOUBLE", "FLOAT", "INTERVAL", "INTEGER[]"])
def test_values_that_are_equal_and_look_different_cannot_be_searched(type: str) -> None:
    enforcer = SecurityEnforcer(tables={"people": {"id": type}})
    rule = FieldSecurityPolicy("id", encryption_enabled=True, searchable="equality")
    with pytest.raises(PolicyError, match="cannot be searched"):
        enforcer.register_policy(TableSecurityPolicy("people", field_policies={"id": rule}))


def joinable(folder: Path, domains: tuple[str, str]) -> VirtualContext:
    """Two tables sealed at their sources, the second half of the rows after a rotation."""
    ring = KeyRing()
    tables, policies = {}, {}
    for (name, column), domain in zip((("people", "ssn"), ("visits", "patient")), domains, strict=True):
        cipher = Cipher(FieldSpec(name, column, domain=domain, searchable=True, joined=True), ring)
        tokens = cipher.encrypt(["a", "b"])
        ring.rotate(cipher.spec.slot)
        tokens += cipher.encrypt(["b", "c"])
        with duckdb.connect() as engine:
            engine.execute(f"CREATE TABLE t (id BIGINT, {column} VARCHAR)")
            engine.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(tokens)))
            engine.execute(f"COPY t TO '{folder / name}.parquet'")
        tables[name] = {"path": str(folder / f"{name}.parquet"), "schema": {"id": "BIGINT", column: "VARCHAR"}}
        field = AT_SOURCE | {"searchable": "equality", "domain": domain}
        policies[name] = {"field_policies": {column: field}}
    ctx = VirtualContext({"virtual_tables": tables, "security_policies": policies})
    ctx.layer.keys._keyset = ring._keyset
    return ctx


def test_a_domain_can_be_joined_plain_and_on_ciphertext(tmp_path: Path) -> None:
    join = "SELECT p.id, v.id AS v FROM people p JOIN visits v ON p.ssn = v.patient"
    with joinable(tmp_path, ("person", "person")) as ctx:
        hr, ana = ctx.as_principal(HR), ctx.as_principal(ANA)
        pairs = sorted((row["id"], row["v"]) for row in hr.query(join).rows())
        # Whatever key they were sealed with.
        assert pairs == [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2), (3, 3)]
        assert len(hr.query(f"{join} WHERE p.ssn = 'b'").rows()) == 4
        # The second table was sealed from the key on that the first one ended with.
        assert sorted((row["id"], row["v"]) for row in ana.query(join).rows()) == [(2, 1)]
    with joinable(tmp_path, ("person", "visitor")) as ctx:
        assert ctx.as_principal(ANA).query(join).rows() == []
        assert len(ctx.as_principal(HR).query(join).rows()) == 6


# --- what the catalog says


def test_the_catalogs_word_is_enough(kind: str, tmp_path: Path) -> None:
    ring = KeyRing()
    spec = FieldSpec("people", "ssn", domain="person", searchable=True)
    table = write(kind, tmp_path, sealed(ring, spec)) | {
        "schema": {"id": "BIGINT", "ssn": "VARCHAR", "pay": "BIGINT"},
        "encryption_config": {"algorithm": "AES-SIV", "key_id": "person", "fields": ["SSN"]},
    }
    with catalog(table) as ctx:
        ctx.layer.keys._keyset = ring._keyset
        # Nobody was given the right, the administrator neither.
        assert all(token is None or token.startswith("tnb1.") for token in of(ctx.query(SELECT), "ssn"))
        ctx.security.register_policy(
            TableSecurityPolicy(
                "people",
                field_policies={"ssn": FieldSecurityPolicy("ssn", encryption_enabled=True, allowed_roles=["hr"])},
            )
        )
        assert of(ctx.as_principal(HR).query(SELECT), "ssn") == [row[1] for row in PLAIN]
        assert of(ctx.as_principal(ANA).query(SELECT), "ssn")[0].startswith("tnb1.")


def test_switched_off_it_is_a_note(tmp_path: Path) -> None:
    table = write("parquet", tmp_path, PLAIN) | {"encryption_config": {"enabled": False, "fields": ["ssn"]}}
    with catalog(table) as ctx:
        assert of(ctx.query(SELECT), "ssn") == [row[1] for row in PLAIN]


@pytest.mark.parametrize(
    ("config", "mistake"),
    [
        ({"algorithm": "AES-ECB", "fields": ["ssn"]}, "is not known here"),
        ({"fields": ["sns"]}, "no column `sns`. Did you mean `ssn`"),
        ({"fields": "ssn"}, "expected a list"),
    ],
)
def test_mistakes_in_the_catalog(config: dict[str, Any], mistake: str) -> None:
    table = {"path": "p.csv", "schema": {"ssn": "VARCHAR"}, "encryption_config": config}
    with pytest.raises(ConfigError, match=mistake):
        VirtualContext({"virtual_tables": {"people": table}})


def test_the_class_of_the_specification() -> None:
    config = EncryptionConfig(enabled=True, algorithm="aes-siv", key_id="k", fields=("a",))
    assert config.searchable
    assert EncryptionConfig().algorithm == "AES-256-GCM"


# --- row lists


def rows_of(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(("id", "ssn", "pay"), row, strict=True)) for row in rows]


def test_row_lists_are_encrypted_like_queries(tmp_path: Path) -> None:
    field = ENCRYPTED | {"searchable": "equality"}
    with context(write("parquet", tmp_path, PLAIN), field) as ctx:
        listed = ctx.security.apply_field_masking("people", ANA, rows_of(PLAIN))
        assert of(listed, "ssn") == of(ctx.as_principal(ANA).query(SELECT), "ssn")
        assert [row["pay"] for row in listed] == [row[2] for row in PLAIN]
        assert of(ctx.security.apply_field_masking("people", HR, rows_of(PLAIN)), "ssn") == [row[1] for row in PLAIN]


def test_row_lists_are_decrypted_like_queries(tmp_path: Path) -> None:
    filters = {"*": "ssn = '987-65-4321'"}
    with at_source("parquet", tmp_path, AT_SOURCE, FieldSpec("people", "ssn"), row_level_filters=filters) as ctx:
        held = rows_of(sealed(ctx.layer.keys, FieldSpec("people", "ssn")))
        visible = ctx.security.apply_row_level_security("people", HR, held)
        assert visible == [held[1]]
        assert of(ctx.security.apply_field_masking("people", HR, visible), "ssn") == ["987-65-4321"]
        assert ctx.security.apply_field_masking("people", ANA, visible) == visible
        held[1]["ssn"] = "987-65-4321"
        for act in (ctx.security.apply_row_level_security, ctx.security.apply_field_masking):
            with pytest.raises(CipherError, match=r"column `ssn` of `people`.*not a ciphertext"):
                act("people", HR, held)
        assert [log.table_name for log in ctx.audit_logs(status="DENIED")] == ["people", "people"]


def test_cancelling_works_in_the_middle_of_it(tmp_path: Path) -> None:
    import threading
    import time

    with duckdb.connect() as engine:
        engine.execute(f"COPY (SELECT i AS id, 'v' || i AS ssn FROM range(3000000) r(i)) TO '{tmp_path / 'p.parquet'}'")
    table = {"path": str(tmp_path / "p.parquet"), "schema": {"id": "BIGINT", "ssn": "VARCHAR"}}
    policy = {"people": {"field_policies": {"ssn": ENCRYPTED}}}
    with catalog(table, security_policies=policy) as ctx:
        plan = ctx.as_principal(ANA).planner.plan("SELECT max(ssn) FROM people")
        running: list[Any] = []
        original = ctx.layer.keys.count

        def count(key: Any, values: int) -> None:
            original(key, values)
            running.append(values)

        ctx.layer.keys.count = count  # type: ignore[method-assign]

        def stop() -> None:
            while not running:
                time.sleep(0.01)
            for cursor in cursors:
                cursor.interrupt()

        cursors: list[Any] = []
        engine_cursor = ctx.layer.machine.engine.cursor

        def remember(*arguments: Any, **more: Any) -> Any:
            cursors.append(engine_cursor(*arguments, **more))
            return cursors[-1]

        ctx.layer.machine.engine.cursor = remember  # type: ignore[method-assign]
        stopper = threading.Thread(target=stop)
        stopper.start()
        started = time.monotonic()
        with pytest.raises(TauroError):
            for _ in ctx.layer.machine.engine.run(plan):
                pass
        stopper.join()
        assert sum(running) < 3_000_000
        assert time.monotonic() - started < 60
