"""R45 to R52: what is kept of an answer, and what can be inferred from many."""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output

import tauro_nb
from tauro_nb import VirtualContext
from tauro_nb.security import FieldSecurityPolicy, SecurityEnforcer, TableSecurityPolicy
from tauro_nb.security.masks import WeakMask
from tests.security.redteam.conftest import tab
from tests.security.redteam.doors import displayed, offered
from tests.security.redteam.sites import Site, build_site
from tests.security.redteam.staff import EMP, VISIBLE_EMP
from tests.security.redteam.trial import Reach, canaries

ALL, SOME = len(EMP), len(VISIBLE_EMP)
QUESTION = "SELECT id, ssn FROM emp"


def _ways(site: Site, shell: Any, who: str) -> dict[str, Callable[[], int]]:
    """Rows that each door gives for the same text, as somebody."""
    ctx = site.admin if who == "admin" else site.analyst

    def magic() -> int:
        shell.user_ns["catalog"] = ctx
        with capture_output():
            shell.run_cell("%vconnect catalog").raise_error()
            shell.run_cell(f"%%vquery found\n{QUESTION}").raise_error()
        return len(shell.user_ns["found"])

    security = site.admin.security
    return {
        "sql": lambda: len(ctx.query(QUESTION)),
        "ibis": lambda: ctx.sql(QUESTION).to_pyarrow().num_rows,
        "dbapi": lambda: len(tauro_nb.connect(site.admin, ctx.principal).execute(QUESTION).fetchall()),
        "magics": magic,
        "rows": lambda: len(security.apply_row_level_security("emp", ctx.principal, EMP)),
        "panels": lambda: ctx.query(QUESTION)._repr_html_().count("<tr") + 1,
    }


@pytest.mark.parametrize("door", ["sql", "ibis", "dbapi", "magics", "rows"])
@pytest.mark.parametrize("kind", ["duckdb", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_r45_the_same_text_is_not_the_same_question(
    site_of: Callable[[str], Site], red_shell: Any, reach: Reach, door: str, kind: str
) -> None:
    site = site_of(kind)
    admin, analyst = (_ways(site, red_shell, who)[door] for who in ("admin", "analyst"))
    assert [admin(), analyst(), admin(), analyst(), analyst(), admin()] == [ALL, SOME, ALL, SOME, SOME, ALL]
    reach(door, "holds")


def test_r45_nor_with_other_roles_attributes_or_tenants(reach: Reach, tmp_path: Path) -> None:
    with build_site("sqlite", tmp_path, None) as site:
        site.admin.security.register_policy(
            TableSecurityPolicy("orders", row_level_filters={"clerk": "item = {principal.item}"}, tenant_column="item")
        )
        ask = "SELECT DISTINCT item FROM orders"
        for item in ("pen", "ink", "pad", "pen"):
            clerk = site.admin.as_principal("c", roles=["clerk"], attributes={"item": item}, tenant=item)
            assert clerk.query(ask).rows() == [{"item": item}]
            crossed = site.admin.as_principal("c", roles=["clerk"], attributes={"item": item}, tenant="other")
            assert crossed.query(ask).rows() == []
    reach("sql", "holds")


def test_r45_many_at_once(site_of: Callable[[str], Site], reach: Reach) -> None:
    site = site_of("sqlite")
    found: list[tuple[int, int]] = []

    def ask(ctx: VirtualContext, expected: int) -> None:
        found.extend((len(ctx.query(QUESTION)), expected) for _ in range(5))

    threads = [
        threading.Thread(target=ask, args=pair) for pair in ((site.admin, ALL), (site.analyst, SOME)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 30
    assert all(rows == expected for rows, expected in found)
    reach("sql", "holds")


@pytest.mark.parametrize("door", ["sql", "ibis", "dbapi", "magics", "rows", "completion", "panels"])
def test_r46_what_is_taken_away_is_gone_at_once(red_shell: Any, reach: Reach, door: str, tmp_path: Path) -> None:
    with build_site("duckdb", tmp_path, None) as site:
        tables = ["SELECT * FROM em"]
        ways: dict[str, Callable[[], Any]] = {
            **_ways(site, red_shell, "analyst"),
            "completion": lambda: offered(tab(site.analyst, red_shell), tables[0])[-1] == ["emp"],
            "panels": lambda: any(t.name == "emp" and t.access == "allowed" for t in site.analyst.catalog().tables),
        }
        assert ways[door]()
        policy = site.admin.security.get_policy("emp")
        assert policy is not None
        policy.denied_roles = ["analyst"]
        try:
            after = ways[door]()
        except tauro_nb.errors.AccessDenied:
            after = False
        assert not after
    reach(door, "refused")


def test_r47_nothing_of_an_answer_is_left_in_files(site_of: Callable[[str], Site], reach: Reach) -> None:
    """There is no cache on disk that one tenant could write for another; temporary files are not made either."""
    site = site_of("parquet")
    before = set(Path(tempfile.gettempdir()).glob("*duckdb*")) | set(Path.cwd().glob("*"))
    site.admin.query("SELECT * FROM emp").rows()
    site.analyst.query("SELECT * FROM emp").rows()
    after = set(Path(tempfile.gettempdir()).glob("*duckdb*")) | set(Path.cwd().glob("*"))
    assert after <= before | {Path.cwd() / ".pytest_cache"}
    for tenant in ("../acme", "/etc", "a/b", ".."):
        assert len(site.admin.as_principal("ana", roles=["analyst"], tenant=tenant).query(QUESTION)) == SOME
    reach("sql", "holds")


@pytest.mark.parametrize("door", ["magics", "panels", "completion", "sql"])
def test_r48_what_stays_in_a_notebook(site_of: Callable[[str], Site], red_shell: Any, reach: Reach, door: str) -> None:
    """The administrator looked first; what the analyst's outputs, panels, Tab and errors hold is the analyst's."""
    site = site_of("sqlite")
    for look in ("SELECT * FROM emp", "SELECT max(name) FROM emp", "SELECT * FROM vault"):
        site.admin.query(look).rows()
        repr(site.admin.plan(look))
    analyst = site.analyst
    shown: dict[str, Callable[[], str]] = {
        "sql": lambda: repr(analyst.query("SELECT * FROM emp")) + repr(analyst) + repr(analyst.monitor.statistics()),
        "magics": lambda: _cells(analyst, red_shell),
        "panels": lambda: _panels(analyst),
        "completion": lambda: str(offered(tab(analyst, red_shell), "SELECT x FROM emp, v WHERE e.s = '' AND n")),
    }
    assert canaries(shown[door]().replace("secret", "")) == []
    reach(door, "holds")


def _cells(analyst: VirtualContext, shell: Any) -> str:
    shell.user_ns["catalog"] = analyst
    cells = (
        "%vconnect catalog",
        "%%vquery\nSELECT * FROM emp",
        "%vcatalog",
        "%vdescribe emp",
        "%vlineage emp",
        "%vplan",
    )
    cells += ("%vaudit", "%vaudit --verbose", "%%vquery --as pandas\nSELECT * FROM emp", "%vlineage --queries")
    return "".join(displayed(shell, cell) for cell in cells)


def _panels(analyst: VirtualContext) -> str:
    from tauro_nb.widgets import CatalogPanel, LineageGraphPanel, catalog_html, lineage_html

    panel, graph = CatalogPanel(analyst.catalog(), analyst.catalog), LineageGraphPanel(analyst.lineage(), "emp", 3)
    return "".join(
        (
            str(panel._data), panel.to_html(), panel.to_text(), graph.to_html(), graph.to_text(),
            catalog_html(analyst.catalog(), ""), lineage_html(analyst.lineage(), None, 3),
        )
    )  # fmt: skip


def test_r49_differences_of_aggregates_are_those_of_visible_rows(site_of: Callable[[str], Site], reach: Reach) -> None:
    """Small groups are not suppressed: whoever sees rows may count them. No sum ever holds a hidden row's share."""
    analyst = site_of("postgresql").analyst
    whole = analyst.query("SELECT sum(salary) AS s, sum(code) AS c, count(*) AS n FROM emp").rows()[0]
    assert whole["s"] == sum(row["salary"] for row in VISIBLE_EMP if row["salary"] is not None)
    assert whole["c"] == sum(row["code"] for row in VISIBLE_EMP)
    rng = random.Random(5)
    for _ in range(10):
        bound = rng.randrange(1, 25)
        parts = analyst.query(
            f"SELECT count(*) AS n FROM emp WHERE id < {bound} UNION ALL "
            f"SELECT count(*) FROM emp WHERE NOT (id < {bound})"
        ).rows()
        assert sum(part["n"] for part in parts) == whole["n"]
    reach("sql", "holds")


def test_r50_guessing_against_a_hash(reach: Reach) -> None:
    """The hash without a key is there, and warns; with a key a list of all numbers finds nobody."""
    rows = [{"ssn": row["ssn"]} for row in EMP if row["ssn"]]
    guesses = {hashlib.sha256(row["ssn"].encode()).hexdigest() for row in rows}
    found = {}
    for mask in ("sha256_unkeyed", "hmac", "hmac_ephemeral", "token"):
        enforcer = SecurityEnforcer()
        policy = TableSecurityPolicy("emp", field_policies={"ssn": FieldSecurityPolicy("ssn", mask=mask)})
        if mask == "sha256_unkeyed":
            with pytest.warns(WeakMask):
                enforcer.register_policy(policy)
        else:
            enforcer.register_policy(policy)
        found[mask] = {row["ssn"] for row in enforcer.apply_field_masking("emp", "ana", rows)}
        enforcer.close()
    assert found["sha256_unkeyed"] == guesses
    for mask in ("hmac", "hmac_ephemeral", "token"):
        assert not found[mask] & guesses
        assert len(found[mask]) == len(guesses)
        assert canaries(str(found[mask])) == []
    reach("rows", "holds")


def test_r51_a_mask_tells_no_length(site_of: Callable[[str], Site], reach: Reach) -> None:
    short = ["", "a", "ab", "abc", "abcd", "7", "1234"]
    for mask in ("email", "phone", "ssn", "first4", "last4", "redact", "constant"):
        enforcer = SecurityEnforcer()
        enforcer.register_policy(TableSecurityPolicy("t", field_policies={"x": FieldSecurityPolicy("x", mask=mask)}))
        shown = [row["x"] for row in enforcer.apply_field_masking("t", "ana", [{"x": text} for text in short])]
        enforcer.close()
        assert all(text not in one for text, one in zip(short, shown, strict=True) if text)
        assert len({len(one) for one in shown}) == 1, mask
    reach("rows", "holds")
    visible = site_of("duckdb").analyst.query("SELECT DISTINCT length(ssn) AS n FROM emp WHERE ssn IS NOT NULL").rows()
    assert visible == [{"n": 11}]
    reach("sql", "holds")


def test_r51_what_encrypts_equal_values_alike_says_so(reach: Reach) -> None:
    """Ciphertext is new each time unless equality was asked for."""
    rows = [{"x": "same"}, {"x": "same"}, {"x": "other"}]
    for searchable, distinct in ((None, 3), ("equality", 2)):
        rule = FieldSecurityPolicy("x", encryption_enabled=True, searchable=searchable)
        enforcer = SecurityEnforcer()
        enforcer.register_policy(TableSecurityPolicy("t", field_policies={"x": rule}))
        shown = enforcer.apply_field_masking("t", "ana", rows)
        enforcer.close()
        assert len({row["x"] for row in shown}) == distinct
    reach("rows", "holds")


def test_r52_joining_with_what_is_public(site_of: Callable[[str], Site], reach: Reach) -> None:
    """Clear columns can be joined with anything, and so name people: only masking or closing them prevents that."""
    analyst = site_of("sqlite").analyst
    public = "(VALUES ('Ann 01', 'x'), ('UMBRA 2', 'y')) AS p(name, who)"
    joined = analyst.query(f"SELECT p.who, e.ssn FROM emp e JOIN {public} ON p.name = e.name").rows()
    assert joined == [{"who": "x", "ssn": "***-**-0001"}]
    reach("sql", "holds")
