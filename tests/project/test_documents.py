from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import tauro_nb


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return loaded


def test_the_changelog_starts_with_this_version(root: Path) -> None:
    versions = re.findall(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == tauro_nb.__version__


def test_links_in_documents_lead_somewhere(root: Path) -> None:
    links = [
        (document, target)
        for document in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
        if "://" not in target
    ]
    broken = [f"{document.name}: {target}" for document, target in links if not (document.parent / target).exists()]
    assert broken == []


def test_targets_in_documents_exist(root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for document in root.glob("*.md")
        for target in re.findall(r"`?make ([a-z-]+)`?$", document.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= targets


def test_make_help_lists_the_targets(root: Path) -> None:
    said = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"make ([a-z-]+)", said))
    assert {"bench", "clean", "demo", "help", "ibis-suite", "lab", "lint", "notebooks", "test"} <= listed


# -- binder: what is shown here is that the requirements name this project and fit this environment, and that the build
# step works; not that the image itself builds.


def test_binder_requirements_fit(root: Path, project: dict[str, Any]) -> None:
    text = (root / "binder" / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    extras = project["optional-dependencies"]
    assert len(lines) == 1
    wanted = re.fullmatch(r"\.\[([a-z,]+)\]", lines[0])
    assert wanted is not None
    required = [*project["dependencies"], *(need for extra in wanted[1].split(",") for need in extras[extra])]
    unmet = []
    for need in map(Requirement, required):
        installed = importlib.metadata.version(need.name)
        if not need.specifier.contains(installed, prereleases=True):
            unmet.append(f"{need} (installed: {installed})")
    assert unmet == []


def test_binder_python_is_supported(root: Path, project: dict[str, Any]) -> None:
    name, _, version = (root / "binder" / "runtime.txt").read_text().strip().partition("-")
    assert name == "python"
    assert Requirement(f"python{project['requires-python']}").specifier.contains(version)


def test_binder_build_step_works(root: Path, tmp_path: Path) -> None:
    step = root / "binder" / "postBuild"
    assert os.access(step, os.X_OK)
    for entry in ("tauro_nb", "magics", "widgets", "notebooks", "binder"):
        shutil.copytree(root / entry, tmp_path / entry, symlinks=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([tmp_path / "binder" / "postBuild"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / ".demo" / "catalog.yaml").is_file()
