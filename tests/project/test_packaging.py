from __future__ import annotations

import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.project.conftest import Install

SHIPPED = {".py", ".typed", ".yaml", ".txt", ".js", ".css"}
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys, tauro_nb
names = [module.name for module in pkgutil.walk_packages(tauro_nb.__path__, "tauro_nb.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(*sorted(names))
"""
FIND_DATA = """
from importlib.resources import files
def walk(package, folder):
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from walk(package, entry)
        elif not entry.name.endswith((".py", ".pyc")):
            yield f"{package}:{entry.name}"
print(*sorted({*walk("tauro_nb", files("tauro_nb")), *walk("tauro_nb.magics", files("tauro_nb.magics")),
               *walk("tauro_nb.widgets", files("tauro_nb.widgets"))}))
"""
NO_STRAY_PACKAGES = """
import importlib.util
print([name for name in ("magics", "widgets", "tests", "notebooks", "benchmarks") if importlib.util.find_spec(name)])
"""


def sources(checkout: Path) -> set[str]:
    """What a user should get, under the names a wheel gives it."""
    found = set()
    for top, prefix in (("tauro_nb", ""), ("magics", "tauro_nb/"), ("widgets", "tauro_nb/")):
        for path in (checkout / top).rglob("*"):
            inside = path.relative_to(checkout)
            linked = inside.parts[:2] in {("tauro_nb", "magics"), ("tauro_nb", "widgets")}
            if path.is_file() and path.suffix in SHIPPED and not linked:
                found.add(prefix + inside.as_posix())
    return found


@pytest.fixture(scope="session", params=["wheel_install", "editable_install"])
def install(request: pytest.FixtureRequest) -> Install:
    chosen: Install = request.getfixturevalue(request.param)
    return chosen


def test_the_wheel_holds_every_source_and_nothing_else(distributions: Path, checkout: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == sources(checkout)


def test_the_source_distribution_needs_no_links(distributions: Path) -> None:
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    assert {"magics", "widgets", "tauro_nb"} <= {member.name.split("/")[1] for member in members if "/" in member.name}


def test_metadata(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"all", "dev", "keyring", "mysql", "notebook", "polars", "postgres"} == set(
        metadata.get_all("Provides-Extra", [])
    )


def test_every_module_imports_from_elsewhere(install: Install, checkout: Path) -> None:
    modules = {
        name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        for name in sources(checkout)
        if name.endswith(".py")
    }
    assert set(install.run("-W", "error", "-c", IMPORT_EVERYTHING).split()) == modules - {"tauro_nb"}


def test_package_data_is_found(install: Install, checkout: Path) -> None:
    expected = {Path(name).name for name in sources(checkout) if not name.endswith(".py")}
    assert {entry.partition(":")[2] for entry in install.run("-c", FIND_DATA).split()} >= expected


def test_no_top_level_package_but_ours(install: Install) -> None:
    assert install.run("-c", NO_STRAY_PACKAGES).strip() == "[]"


def test_the_demo_builds_from_an_install(install: Install, tmp_path: Path) -> None:
    assert "catalog.yaml" in install.run("-m", "tauro_nb.demo", "build", tmp_path)


def test_ibis_finds_the_backend(install: Install) -> None:
    find = "from importlib.metadata import entry_points; print(*entry_points(group='ibis.backends', name='tauro'))"
    assert "tauro_nb.interop.ibis" in install.run("-c", find)
    assert install.run("-c", "import ibis; print(callable(ibis.tauro.connect))").strip() == "True"


@pytest.mark.slow
def test_an_installed_wheel_type_checks(wheel_install: Install, root: Path) -> None:
    configuration = f"--config-file={root / 'pyproject.toml'}"
    said = wheel_install.run("-m", "mypy", "--strict", configuration, "-p", "tauro_nb", "--cache-dir=cache")
    assert said.startswith("Success"), said
