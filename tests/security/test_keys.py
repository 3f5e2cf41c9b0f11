from __future__ import annotations

import base64
import json
import multiprocessing
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tauro_nb import VirtualContext
from tauro_nb import keys as command
from tauro_nb.config import load_config
from tauro_nb.errors import ConfigError, KeysetError, UsageError
from tauro_nb.layer import VirtualDataLayer
from tauro_nb.security.keys import (
    CommandSecret,
    EnvironmentSecret,
    KeyRing,
    KeyringSecret,
    KeysetFile,
    KeyWrapper,
    PassphraseSecret,
    Slot,
)
from tauro_nb.security.keys.kek import seal, unseal
from tauro_nb.security.keys.ring import MOST_USES

CHEAP = {"n": 2**4, "r": 8, "p": 1}
SECRET = PassphraseSecret("correct horse battery staple")
SSN = Slot("gcm", domain="people.ssn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def ring_at(path: Path) -> KeyRing:
    return KeyRing.open(path, SECRET, create=True, cost=CHEAP)


def test_keys_survive_the_process(path: Path) -> None:
    first, second = ring_at(path), ring_at(path)
    assert first.primary(SSN).material == second.primary(SSN).material
    assert len({key.material for slot in "gcm siv hmac audit".split() for key in [first.primary(Slot(slot))]}) == 4
    assert first.hmac_key("a", "d") != first.hmac_key("b", "d") != first.hmac_key("a", "e")
    assert second.audit_key() == first.audit_key() == second.audit_key(first.audit_key_id())


def test_the_file_is_private_and_holds_no_key(path: Path) -> None:
    ring = ring_at(path)
    materials = [ring.primary(Slot(purpose)).material for purpose in ("gcm", "siv", "hmac", "audit")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_bytes()
    for material in materials:
        assert base64.b64encode(material)[:20] not in text
        assert material not in text
        assert material.hex().encode() not in text
    assert b"horse" not in text
    assert sorted(item.name for item in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.parametrize(
    "secret",
    [
        PassphraseSecret("correct horse battery stapl"),
        PassphraseSecret(base64.b64encode(bytes(32)).decode()),
        EnvironmentSecret("KEK", {"KEK": "something else"}),
    ],
)
def test_the_wrong_passphrase_says_so(path: Path, secret: Any) -> None:
    ring_at(path)
    with pytest.raises(KeysetError) as caught:
        KeyRing.open(path, secret)
    assert "not the passphrase" in str(caught.value)
    assert secret.read() not in str(caught.value)


def test_a_key_of_32_bytes_needs_no_scrypt(path: Path) -> None:
    secret = EnvironmentSecret("KEK", {"KEK": base64.urlsafe_b64encode(os.urandom(32)).decode()})
    KeyRing.open(path, secret, create=True).primary(SSN)
    assert json.loads(path.read_text())["kek"] == {"kind": "key"}
    assert len(KeyRing.open(path, secret).all_keys()) == 1
    with pytest.raises(KeysetError, match="key of 32 bytes"):
        KeyRing.open(path, SECRET)


@pytest.mark.parametrize("text", ["", "short"])
def test_a_short_passphrase_is_refused(path: Path, text: str) -> None:
    with pytest.raises(KeysetError, match="shorter"):
        KeyRing.open(path, PassphraseSecret(text), create=True, cost=CHEAP)
    assert not path.exists()


def test_what_is_missing_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeysetError, match="no keyset file"):
        KeyRing.open(path, SECRET)
    with pytest.raises(KeysetError, match="`NOT_SET_HERE`"):
        KeyRing.open(path, EnvironmentSecret("NOT_SET_HERE", {}), create=True)
    for wrong in ("", "[]", "{}", "\x00", "[" * 100_000):
        path.write_text(wrong)
        with pytest.raises(KeysetError, match="not a keyset"):
            KeyRing.open(path, SECRET)
    with pytest.raises(KeysetError, match="cannot be read"):
        KeyRing.open(tmp_path, SECRET)
    with pytest.raises(KeysetError, match="there is a keyset already"):
        KeysetFile.create(path, SECRET, cost=CHEAP)
    with pytest.raises(KeysetError, match="cannot be written"):
        KeysetFile.create(tmp_path / "no" / "folder.json", SECRET, cost=CHEAP)


def edits(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every way to change one leaf of a keyset."""
    found = []

    def walk(node: Any, steps: tuple[Any, ...]) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            walk(value, (*steps, key))
        if not isinstance(node, (dict, list)) and steps != ("format",):
            copy = json.loads(json.dumps(document))
            place = copy
            for step in steps[:-1]:
                place = place[step]
            place[steps[-1]] = node + 1 if isinstance(node, int) else ("B" if str(node)[:1] != "B" else "C") + node[1:]
            found.append(copy)

    walk(document, ())
    return found


def test_every_change_to_the_file_is_noticed(path: Path) -> None:
    ring = ring_at(path)
    ring.primary(SSN)
    ring.rotate(Slot("siv", "acme", "d"))
    document = json.loads(path.read_text())
    changed = edits(document)
    assert len(changed) > 20
    for copy in changed:
        path.write_text(json.dumps(copy))
        with pytest.raises(KeysetError):
            KeyRing.open(path, SECRET)
    shorter = json.loads(json.dumps(document))
    shorter["keys"].pop()
    swapped = json.loads(json.dumps(document))
    swapped["keys"][0]["wrapped"], swapped["keys"][1]["wrapped"] = [item["wrapped"] for item in swapped["keys"]][::-1]
    for copy in (shorter, swapped):
        path.write_text(json.dumps(copy))
        with pytest.raises(KeysetError, match="changed by someone"):
            KeyRing.open(path, SECRET)
    path.write_text(json.dumps(document))
    assert len(KeyRing.open(path, SECRET).all_keys()) == 2


def test_a_greedy_header_is_refused(path: Path) -> None:
    ring_at(path)
    document = json.loads(path.read_text())
    document["kek"]["n"] = 2**40
    path.write_text(json.dumps(document))
    with pytest.raises(KeysetError, match="header is damaged"):
        KeyRing.open(path, SECRET)


def test_rotation(path: Path) -> None:
    ring = ring_at(path)
    old = ring.primary(SSN)
    waiting = ring.add(SSN)
    assert ring.primary(SSN).id == old.id
    assert [key.state for key in ring.live(SSN)] == ["primary", "pending"]
    ring.promote(waiting.id)
    assert ring.primary(SSN).id == waiting.id
    assert {key.id: key.state for key in ring_at(path).all_keys()} == {old.id: "decrypt_only", waiting.id: "primary"}
    newest = ring.rotate(SSN)
    assert ring.live(SSN)[0].id == newest.id
    ring.promote(old.id)
    assert ring.primary(SSN).id == old.id


def test_destroying(path: Path) -> None:
    ring = ring_at(path)
    old = ring.primary(SSN).id
    with pytest.raises(UsageError, match="still encrypts"):
        ring.destroy(old)
    ring.rotate(SSN)
    assert ring.destroy(old).material == b""
    found = ring_at(path).find(old)
    assert found is not None
    assert (found.state, found.material) == ("destroyed", b"")
    assert json.loads(path.read_text())["keys"][0]["wrapped"] == ""
    for act in (ring.destroy, ring.promote):
        with pytest.raises(UsageError, match="was destroyed"):
            act(old)
        with pytest.raises(UsageError, match="no key"):
            act(old ^ 1)


def test_shredding_a_tenant(path: Path) -> None:
    ring = ring_at(path)
    for tenant in ("acme", "zeta"):
        for purpose in ("gcm", "siv", "hmac"):
            ring.primary(Slot(purpose, tenant, "d"))
    audit = ring.audit_key()
    assert len(ring.shred(tenant="acme")) == 3
    assert "acme" not in json.loads(path.read_text())["tenants"]
    assert {key.slot.tenant for key in ring.all_keys() if key.live} == {"zeta", ""}
    assert ring.audit_key() == audit
    for slot in (Slot("gcm", "acme", "d"), Slot("gcm", "acme", "never used before")):
        with pytest.raises(KeysetError, match="were destroyed"):
            ring.primary(slot)
    with pytest.raises(UsageError, match="no live key"):
        ring.shred(tenant="acme")
    with pytest.raises(UsageError, match="say whose"):
        ring.shred()
    assert ring.rotate(Slot("gcm", "acme", "d")).state == "primary"


def test_shredding_a_domain() -> None:
    ring = KeyRing()
    ring.primary(SSN)
    ring.primary(Slot("gcm", domain="other"))
    assert [key.slot for key in ring.shred(domain=SSN.domain)] == [SSN]
    assert ring.primary(Slot("gcm", domain="other")).live


def test_another_process_is_noticed(path: Path) -> None:
    here, there = ring_at(path), ring_at(path)
    old = here.primary(SSN).id
    there.rotate(SSN)
    assert here.primary(SSN).id != old
    there.shred(domain=SSN.domain)
    with pytest.raises(KeysetError, match="were destroyed"):
        here.primary(SSN)
    path.unlink()
    with pytest.raises(KeysetError, match="gone"):
        here.primary(SSN)


def _make_keys(path: Path, name: str) -> None:
    ring = ring_at(path)
    for number in range(10):
        ring.primary(Slot("gcm", domain=f"{name} {number % 7}"))
        ring.primary(Slot("gcm", domain=f"shared {number}"))


def test_processes_write_one_after_another(path: Path) -> None:
    ring_at(path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_make_keys, args=(path, str(number))) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    slots = [key.slot for key in ring_at(path).all_keys()]
    assert len(slots) == len(set(slots)) == 3 * 7 + 10


def test_threads_make_one_key(path: Path) -> None:
    ring = ring_at(path)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(ring.primary(SSN).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_failed_write_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = ring_at(path)
    old = ring.primary(SSN).id
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _no_space)
        with pytest.raises(KeysetError, match="cannot be written"):
            ring.rotate(SSN)
    assert path.read_bytes() == before
    assert ring.primary(SSN).id == old
    assert sorted(item.name for item in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_random_nonces_are_counted(path: Path) -> None:
    ring = ring_at(path)
    key = ring.primary(SSN)
    ring.count(key, 10)
    assert ring_at(path).all_keys()[0].used == 2**20
    ring.count(ring.primary(SSN), 2**20)
    assert ring_at(path).all_keys()[0].used == 2**21
    with pytest.raises(KeysetError, match="as much as is safe"):
        ring.count(ring.primary(SSN), MOST_USES)
    memory = KeyRing()
    memory.count(memory.primary(SSN), MOST_USES)
    with pytest.raises(KeysetError, match="Rotate it"):
        memory.count(memory.primary(SSN), 1)


def test_rewrapping(path: Path) -> None:
    ring = ring_at(path)
    material = ring.primary(SSN).material
    new = PassphraseSecret("another passphrase altogether")
    ring.rewrap(new, cost=CHEAP)
    assert ring.primary(SSN).material == material
    assert KeyRing.open(path, new).primary(SSN).material == material
    with pytest.raises(KeysetError, match="not the passphrase"):
        KeyRing.open(path, SECRET)
    with pytest.raises(UsageError, match="in memory only"):
        KeyRing().rewrap(new)


class Vault:
    """A key service as one would be written: its key never leaves it."""

    name = "vault:transit/tauro"

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return b"vault:v1:" + seal(self._key, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return unseal(self._key, wrapped.removeprefix(b"vault:v1:"), context)


def test_a_key_service(path: Path) -> None:
    vault = Vault()
    assert isinstance(vault, KeyWrapper)
    material = KeyRing.open(path, vault, create=True).primary(SSN).material
    assert KeyRing.open(path, vault).primary(SSN).material == material
    with pytest.raises(KeysetError, match="does not open"):
        KeyRing.open(path, Vault())
    with pytest.raises(KeysetError, match="by a key service"):
        KeyRing.open(path, SECRET)
    other = Vault()
    other.name = "kms"
    with pytest.raises(KeysetError, match="not locked by `kms`"):
        KeyRing.open(path, other)


def test_a_key_service_in_a_configuration(path: Path) -> None:
    vault = Vault()
    KeyRing.open(path, vault, create=True).primary(SSN)
    with VirtualContext({"encryption": {"keyset": str(path), "kek": vault}}) as ctx:
        assert SSN in [key.slot for key in ctx.layer.keys.all_keys()]


def test_a_command() -> None:
    program = [sys.executable, "-c", "print('correct horse battery staple')"]
    assert CommandSecret(program).read() == SECRET.read()
    for wrong in ([], ["/no/such/program"], [sys.executable, "-c", "raise SystemExit('staple')"], ["true"]):
        with pytest.raises(KeysetError) as caught:
            CommandSecret(wrong).read()
        assert "staple" not in str(caught.value)


def test_the_systems_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):  # type: ignore[misc]
        priority = 1

        def __init__(self) -> None:
            super().__init__()
            self.entries: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.entries.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.entries[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.entries[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        keyring.set_password("tauro", "tauro_nb", SECRET.read())
        assert KeyringSecret("tauro").read() == SECRET.read()
        with pytest.raises(KeysetError, match="no entry `other`"):
            KeyringSecret("other").read()
    finally:
        keyring.set_keyring(before)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeysetError, match="pip install"):
        KeyringSecret("tauro").read()


def test_nothing_prints_a_key() -> None:
    ring = KeyRing()
    key = ring.primary(SSN)
    shown = repr((ring, key, SECRET, ring._keyset, EnvironmentSecret("A", {"A": "staple"})))
    assert key.material.hex() not in shown
    assert repr(key.material) not in shown
    assert "staple" not in shown


# --- the configuration


def config_of(section: Any, **more: Any) -> Any:
    return load_config({"encryption": section, **more}, env={"PASS": SECRET.read()})


def test_the_section(tmp_path: Path, path: Path) -> None:
    ring_at(path)
    file = tmp_path / "catalog.yaml"
    file.write_text("encryption: {keyset: keys.json, kek: {passphrase: '${PASS}'}}")
    settings = load_config(file, env={"PASS": SECRET.read()}).encryption
    assert settings is not None
    assert settings.keyset == path
    assert SECRET.read() not in repr(settings)
    layer = VirtualDataLayer(load_config(file, env={"PASS": SECRET.read()}))
    assert layer.keys.persistent
    layer.close()
    with pytest.raises(KeysetError, match="not the passphrase"):
        VirtualDataLayer(load_config(file, env={"PASS": "wrong passphrase"}))


@pytest.mark.parametrize(
    ("section", "mistake"),
    [
        ({"keyset": "k"}, "need each other"),
        ({"kek": {"env": "A"}}, "need each other"),
        ({"keyset": "k", "kek": {}}, "one way"),
        ({"keyset": "k", "kek": {"env": "A", "passphrase": "b"}}, "one way"),
        ({"keyset": "k", "kek": {"enf": "A"}}, "Did you mean `env`"),
        ({"keyset": "k", "kek": {"command": "pass show"}}, "expected a list"),
        ({"keyset": "k", "kek": {"command": []}}, "expected a list"),
        ({"keyset": "k", "kek": {"keyring": {"user": "u"}}}, "says no `service`"),
        ({"keyset": "k", "kek": {"keyring": 3}}, "expected text"),
        ({"key_set": "k"}, "Did you mean `keyset`"),
        ("keys.json", "expected a mapping"),
    ],
)
def test_mistakes_in_the_section(section: Any, mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake):
        config_of(section)


def test_every_way_is_read() -> None:
    ways = {
        "env": ("TAURO_KEK", EnvironmentSecret("TAURO_KEK")),
        "passphrase": ("x" * 9, PassphraseSecret("x" * 9)),
        "keyring": ({"service": "s", "user": "u"}, KeyringSecret("s", "u")),
        "command": (["pass", "show", "tauro"], CommandSecret(("pass", "show", "tauro"))),
    }
    for way, (value, meant) in ways.items():
        assert config_of({"keyset": "k", "kek": {way: value}}).encryption.kek == meant
    assert config_of({"keyset": "k", "kek": {"keyring": "s"}}).encryption.kek == KeyringSecret("s")


# --- the command line


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = command.main(list(words))
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_life_on_the_command_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAURO_KEK", base64.b64encode(os.urandom(32)).decode())
    common = ("--keyset", str(path), "--env", "TAURO_KEK")
    assert run(capsys, "create", *common)[0] == 0
    assert run(capsys, "create", *common)[2].startswith("there is a keyset already")
    assert (
        "no key for siv domain `people.ssn` to rotate"
        in run(capsys, "rotate", "siv", "--domain", "people.ssn", *common)[2]
    )
    first = run(capsys, "add", "siv", "--domain", "people.ssn", *common)[1].splitlines()[1].split()[0]
    assert run(capsys, "promote", first, *common)[0] == 0
    assert "Did you mean `people.ssn`" in run(capsys, "rotate", "siv", "--domain", "people.snn", *common)[2]
    assert run(capsys, "rotate", "siv", "--domain", "people.ssn", *common)[0] == 0
    assert run(capsys, "destroy", first, "--yes", *common)[0] == 0
    status, out, _ = run(capsys, "add", "siv", "--domain", "people.ssn", *common)
    assert status == 0
    assert "pending" in out
    new = out.splitlines()[1].split()[0]
    assert "primary" in run(capsys, "promote", new, *common)[1]
    listed = run(capsys, "list", *common)[1]
    assert [line.split()[3] for line in listed.splitlines()[1:]] == ["destroyed", "decrypt_only", "primary"]
    old = next(line.split()[0] for line in listed.splitlines() if "decrypt_only" in line)
    assert run(capsys, "destroy", old, *common)[2].endswith("Add --yes if that is meant.\n")
    assert "destroyed" in run(capsys, "destroy", old, "--yes", *common)[1]
    assert "still encrypts" in run(capsys, "destroy", new, "--yes", *common)[2]
    assert run(capsys, "destroy", "zz", "--yes", *common)[0] == 1
    assert "destroyed" in run(capsys, "shred", "--domain", "people.ssn", "--yes", *common)[1]
    (tmp_path / "pass").write_text(SECRET.read() + "\n")
    assert run(capsys, "rewrap", *common, "--new-file", str(tmp_path / "pass"))[0] == 0
    assert run(capsys, "list", "--keyset", str(path), "--file", str(tmp_path / "pass"))[0] == 0
    assert run(capsys, "list", *common)[0] == 1


def test_a_command_without_a_terminal(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ring_at(path)
    assert "nothing says how" in run(capsys, "list", "--keyset", str(path))[2]
