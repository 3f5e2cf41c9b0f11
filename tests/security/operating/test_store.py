"""Policies in a file: in force as a whole the moment it changes, and everything closed while it is wrong."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tauro_nb import TableSecurityPolicy, VirtualContext
from tauro_nb.catalog.reading import Site
from tauro_nb.errors import AccessDenied, PolicyError, TauroError, UsageError
from tauro_nb.query.plan import whole
from tauro_nb.security import store as store_module
from tauro_nb.security.policy_file import read_policy_text
from tauro_nb.security.store import PolicyStore
from tests.security.operating.conftest import POLICIES, Write

ALL = "SELECT id, email FROM people ORDER BY id"
OPENED = POLICIES.replace("\"department = 'Sales'\"", '""')


def changes(ctx: VirtualContext) -> list[dict[str, Any]]:
    return [event["facts"] for event in ctx.layer.audit_trail.events() if event["event"] == "policy.change"]


def version_of(ctx: VirtualContext) -> str:
    """The version of the policies, which only those who may read them are told."""
    assert ctx.policy_version in ("", "unusable")
    return ctx.security.version()


def ids(ctx: VirtualContext) -> list[int]:
    return [row["id"] for row in ctx.query(ALL).rows()]


def test_the_file_is_in_force(ctx: VirtualContext) -> None:
    assert ctx.query(ALL).rows() == [{"id": 1, "email": "a***a@example.com"}, {"id": 3, "email": "***@example.com"}]
    assert len(ctx.as_principal("root").query(ALL)) == 3
    with pytest.raises(AccessDenied):
        ctx.as_principal("eve").query("SELECT * FROM orders")


def test_a_change_is_in_force_with_the_next_query(ctx: VirtualContext, write: Write) -> None:
    before = version_of(ctx)
    assert ids(ctx) == [1, 3]
    write(POLICIES.replace("'Sales'", "'Legal'"))
    assert ids(ctx) == [2]
    assert version_of(ctx) != before
    write("# a remark changes nothing\n" + POLICIES)
    assert ids(ctx) == [1, 3]
    assert version_of(ctx) == before
    first, second = changes(ctx)
    assert (first["old"], first["new"], first["changed"]) == (before, second["old"], ["table people"])
    assert (second["new"], second["store"], second["mistakes"]) == (before, "policies.yaml", 0)
    auditor = VirtualContext(principal="admin", layer=ctx.layer)
    assert auditor.verify_audit().ok
    versions = {log.policy_version for log in auditor.audit_logs(principal="ana")}
    assert versions == {before, first["new"]}


def test_a_change_of_equal_length_and_time_is_seen(ctx: VirtualContext, policy_file: Path) -> None:
    facts = policy_file.stat()
    assert ids(ctx) == [1, 3]
    with policy_file.open("r+") as file:
        file.write(POLICIES.replace("'Sales'", "'Legal'"))
    os.utime(policy_file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert ids(ctx) == [2]


def test_no_file_cut_short_says_anything() -> None:
    """Cut at any character, and read as YAML, the file would often have fewer rules: none of these is accepted."""
    harmless = 0
    whole = POLICIES.rstrip()
    for length in range(len(whole)):
        site = Site("", {})
        assert read_policy_text(whole[:length], site) == type(read_policy_text("", Site("", {})))()
        assert site.mistakes
        try:
            harmless += isinstance(yaml.safe_load(whole[:length]), dict)
        except yaml.YAMLError:
            continue
    assert harmless > 50  # so many of them YAML itself takes for a whole file


@pytest.mark.parametrize(
    "text",
    [
        POLICIES[:-20],
        POLICIES.replace("...\n", ""),
        POLICIES.replace("mask: email", "mask: emial"),
        POLICIES.replace("department =", "department = ="),
        POLICIES.replace("  people:", "  poeple:"),
        "...\n",
        "",
    ],
)
def test_while_the_file_is_wrong_everything_is_closed(ctx: VirtualContext, write: Write, text: str) -> None:
    assert ids(ctx) == [1, 3]
    root = ctx.as_principal("root")
    prepared = ctx.plan(ALL)
    write(text)
    for who in (ctx, root):
        with pytest.raises(AccessDenied, match=r"`policies.yaml` cannot be used \(\d+ mistakes?\)"):
            who.query(ALL)
        with pytest.raises(AccessDenied, match="cannot be used"):
            who.describe("orders")
        assert who.catalog().tables == ()
    with pytest.raises(AccessDenied, match="cannot be used"):
        ctx.run(prepared)
    rows = [{"id": 1, "department": "Sales"}]
    with pytest.raises(AccessDenied, match="cannot be used"):
        ctx.security.apply_row_level_security("people", "ana", rows)
    assert not ctx.security.validate_access("ana", "people", ["id"])
    assert version_of(ctx) == "unusable"
    write(POLICIES)
    assert ids(ctx) == [1, 3]
    assert [change["mistakes"] > 0 for change in changes(ctx)] == [True, False]


def test_a_file_that_is_gone_or_unreadable_closes_everything(ctx: VirtualContext, policy_file: Path) -> None:
    policy_file.rename(policy_file.with_name("away"))
    with pytest.raises(AccessDenied, match="cannot be used"):
        ctx.query(ALL)
    policy_file.mkdir()
    with pytest.raises(AccessDenied, match="cannot be used"):
        ctx.query(ALL)
    assert ctx.security.book.mistakes == ("policies.yaml: the folder holds no file of policies (.yaml, .yml, .json)",)
    (policy_file / "broken.yaml").symlink_to("nowhere")
    with pytest.raises(AccessDenied, match="cannot be used"):
        ctx.query(ALL)
    policy_file.rename(policy_file.with_name("folder"))
    policy_file.with_name("away").rename(policy_file)
    assert ids(ctx) == [1, 3]


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(ctx: VirtualContext, policy_file: Path) -> None:
    policy_file.unlink()
    os.mkfifo(policy_file)
    asked = threading.Thread(target=ctx.security.store.current if ctx.security.store else None, daemon=True)
    asked.start()
    asked.join(10)
    assert not asked.is_alive()
    with pytest.raises(AccessDenied, match="cannot be used"):
        ids(ctx)


def test_a_catalog_whose_file_was_never_right_opens_when_it_is(catalog: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "later.yaml"
    with VirtualContext({**catalog, "security": {"policies": str(path)}}, principal="ana") as ctx:
        with pytest.raises(AccessDenied, match=r"`later.yaml` cannot be used"):
            ctx.query(ALL)
        path.write_text(POLICIES)
        assert ids(ctx) == [1, 3]


def test_a_folder_is_one_set_of_policies(catalog: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "policies.d"
    folder.mkdir()
    parsed = yaml.safe_load(POLICIES)
    who = {"principals": parsed.pop("principals")}
    (folder / "tables.yaml").write_text(POLICIES.split("principals:")[0] + "...\n")
    (folder / "who.json").write_text(yaml.safe_dump(who, default_flow_style=True))
    (folder / ".tables.yaml.swp").write_text("editors leave such files")
    (folder / "README.md").write_text("and people such")
    with VirtualContext({**catalog, "security": {"policies": str(folder)}}, principal="ana") as ctx:
        assert ids(ctx) == [1, 3]
        (folder / "more.yaml").write_text("principals: {ana: {roles: [admin]}}\n...\n")
        with pytest.raises(AccessDenied, match="cannot be used"):
            ctx.query(ALL)
        assert ctx.security.book.mistakes == ("who.json: the principal `ana` is in `more.yaml`, too",)
        (folder / "more.yaml").unlink()
        assert ids(ctx) == [1, 3]


def test_a_role_that_is_taken_away_is_gone_at_once(ctx: VirtualContext, write: Write) -> None:
    narrowed = ctx.as_principal("ana", purpose="audit")
    plan = ctx.plan("SELECT id FROM orders")
    write(POLICIES.replace("ana: {roles: [analyst]}", "ana: {roles: [guest]}"))
    for asks in (lambda: ctx.query(ALL), lambda: narrowed.query(ALL), lambda: ctx.run(plan)):
        with pytest.raises(AccessDenied):
            asks()
    assert narrowed.principal.purpose == "audit"


def test_a_thread_that_was_late_undoes_nothing(ctx: VirtualContext, write: Write) -> None:
    stop = threading.Event()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                ctx.security.decide("people", {"department": "VARCHAR", "email": "VARCHAR"}, "ana")
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = []
    for number in range(20):
        write(POLICIES.replace("'Sales'", f"'S{number}'"))
        seen.append(version_of(ctx))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(seen)) == 20
    assert [change["new"] for change in changes(ctx)] == seen


def test_what_lost_its_last_policy_stays_closed(catalog: dict[str, Any], policy_file: Path, write: Write) -> None:
    """Even where tables without a policy are open: taking a rule away must not show anything."""
    policy_file.write_text("default_access: allow\n" + POLICIES)
    rest = POLICIES.split("  orders:")[0] + "...\n"
    with VirtualContext({**catalog, "security": {"policies": str(policy_file)}}, principal="eve") as ctx:
        write("default_access: allow\n" + rest)
        with pytest.raises(AccessDenied, match="policy of `orders` was taken away"):
            ctx.query("SELECT * FROM orders")
        write("nonsense")
        write("default_access: allow\n" + rest)
        with pytest.raises(AccessDenied, match="policy of `orders` was taken away"):
            ctx.query("SELECT * FROM orders")
        write("default_access: allow\n" + rest.replace("...", "  orders: {}\n..."))
        assert len(ctx.query("SELECT * FROM orders")) == 2


def test_without_a_word_about_it_tables_without_a_policy_are_closed(ctx: VirtualContext, write: Write) -> None:
    write(POLICIES.split("  orders:")[0] + "...\n")
    with pytest.raises(AccessDenied):
        ctx.query("SELECT * FROM orders")


def test_rewriting_never_opens(catalog: dict[str, Any], policy_file: Path) -> None:
    """Somebody asks as fast as possible while the file is written anew in steps: closed, or filtered and masked."""
    columns = {"id": "BIGINT", "email": "VARCHAR", "department": "VARCHAR"}
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            with policy_file.open("w") as file:
                for start in range(0, len(POLICIES), 40):
                    file.write(POLICIES[start : start + 40])
                    file.flush()
                    time.sleep(0.0005)
            time.sleep(0.005)

    with VirtualContext({**catalog, "security": {"policies": str(policy_file)}}, principal="ana") as ctx:
        writer = threading.Thread(target=rewrite)
        writer.start()
        began, seen = time.monotonic(), set()
        # On a busy machine it takes longer until both were met.
        while (passed := time.monotonic() - began) < 1.5 or (passed < 60 and len(seen) < 2):
            decision = ctx.security.decide("people", columns, "ana")
            row_filter = decision.row_filter
            seen.add((decision.allowed, row_filter and row_filter.sql(), decision.columns["email"].access))
        stop.set()
        writer.join()
    assert seen == {(False, "FALSE", "denied"), (True, "(\"department\" = 'Sales')", "masked")}


def test_a_prepared_plan_is_refused_after_a_change(ctx: VirtualContext, write: Write) -> None:
    plan = ctx.plan(ALL)
    assert whole(plan).policy_version == version_of(ctx)
    write("# the same rules\n" + POLICIES)
    assert len(ctx.run(plan)) == 2
    write(POLICIES.replace("'Sales'", "'Legal'"))
    with pytest.raises(UsageError, match="changed since this plan was made"):
        ctx.run(plan)


def test_a_running_query_stops_when_its_right_is_taken_away(ctx: VirtualContext, write: Write) -> None:
    batches = iter(ctx.query("SELECT p.id FROM people p, range(1000000)").to_batches())
    next(batches)
    write(POLICIES.replace("analyst: \"department = 'Sales'\", ", ""))
    with pytest.raises(TauroError, match="no row filter of `people` applies to `ana`"):
        list(batches)
    assert [log.status for log in ctx.audit_logs(table_name="people")] == ["FAILED"]


def test_a_running_query_goes_on_when_others_change(ctx: VirtualContext, write: Write) -> None:
    batches = iter(ctx.query("SELECT p.id FROM people p, range(1000000)").to_batches())
    count = next(batches).num_rows
    write(POLICIES.replace("orders:\n    allowed_roles: [admin, analyst]", "orders:\n    allowed_roles: [admin]"))
    assert count + sum(batch.num_rows for batch in batches) == 2_000_000


def test_the_program_does_not_overrule_the_file(ctx: VirtualContext, write: Write) -> None:
    with pytest.raises(PolicyError, match="the policy of `people` is in"):
        ctx.security.register_policy(TableSecurityPolicy("people"))
    with pytest.raises(PolicyError, match="the policy of `people` is in"):
        ctx.security.remove_policy("people")
    mine = ctx.security.get_policy("people")
    assert mine is not None
    mine.row_level_filters["analyst"] = ""
    assert ids(ctx) == [1, 3]
    write(POLICIES.split("  orders:")[0] + "principals: {ana: {roles: [analyst]}}\n...\n")
    ctx.security.register_policy(TableSecurityPolicy("orders", allowed_roles=["analyst"]))
    assert len(ctx.query("SELECT * FROM orders")) == 2
    write(POLICIES)
    with pytest.raises(AccessDenied, match="cannot be used"):
        ctx.query(ALL)
    assert ctx.security.book.mistakes == (
        "policies.yaml: the policy of `orders` is in the configuration, too; keep one",
    )


def test_changes_by_the_program_leave_a_record(ctx: VirtualContext) -> None:
    catalog_version = version_of(ctx)
    policy = TableSecurityPolicy("elsewhere", allowed_roles=["admin"])
    ctx.security.register_policy(policy)
    assert version_of(ctx) != catalog_version
    policy.allowed_roles.append("analyst")
    assert ids(ctx) == [1, 3]
    ctx.security.remove_policy("elsewhere")
    ctx.query(ALL)
    assert [change["changed"] for change in changes(ctx)] == [["table elsewhere"]] * 3


def test_a_change_that_cannot_be_recorded_lets_nobody_read(ctx: VirtualContext, write: Write, tmp_path: Path) -> None:
    assert ids(ctx) == [1, 3]
    write(OPENED)
    log = tmp_path / "audit.jsonl"
    log.unlink()
    log.mkdir()
    for _ in range(2):
        with pytest.raises(TauroError, match="audit"):
            ctx.query(ALL)


def test_files_that_did_not_change_are_not_read(policy_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = store_module._content
    monkeypatch.setattr(store_module, "_content", lambda file: reads.append(file.name) or read(file))
    store = PolicyStore(policy_file, {})
    first = store.current()
    assert store.current() is first
    assert len(reads) == 2  # so soon after it was written, equal times may hide a change
    monkeypatch.setattr(store_module, "_SETTLED_NS", 0)
    assert [store.current() is first for _ in range(5)] == [True] * 5
    assert len(reads) == 3
