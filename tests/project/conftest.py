"""The project as its users get it: a wheel built from a source distribution, and an editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "shared")


@dataclass(frozen=True)
class Install:
    """A virtual environment with tauro_nb in it, and a folder elsewhere to run from."""

    python: Path
    elsewhere: Path

    def run(self, *arguments: str | Path) -> str:
        """Run its Python from elsewhere; the output, or a failure with what it said."""
        return run([self.python, *arguments], self.elsewhere)


def run(command: Sequence[str | Path], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="session")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    copy = tmp_path_factory.mktemp("checkout") / "tauro_nb"
    shutil.copytree(root, copy, symlinks=True, ignore=NOT_SOURCE)
    return copy


@pytest.fixture(scope="session")
def distributions(checkout: Path) -> Path:
    """A folder with the source distribution and the wheel built from it: what the first lacks, the second lacks."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", checkout / "dist"], checkout)
    return checkout / "dist"


def _install(folder: Path, *what: str | Path) -> Install:
    """Install without dependencies: those come from where this environment has its own, by a path file that activates
    nothing else.
    """
    environment, elsewhere = folder / "venv", folder / "elsewhere"
    elsewhere.mkdir()
    run([sys.executable, "-m", "venv", "--without-pip", environment], folder)
    python = environment / "bin" / "python"
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    shared = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(shared) + "\n")
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    run([*pip, "--no-deps", "--no-build-isolation", "--no-index", *what], elsewhere)
    return Install(python, elsewhere)


@pytest.fixture(scope="session")
def wheel_install(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """An environment with the wheel installed."""
    (wheel,) = distributions.glob("*.whl")
    return _install(tmp_path_factory.mktemp("wheel"), wheel)


@pytest.fixture(scope="session")
def editable_install(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """An environment with the checkout installed in editable mode."""
    return _install(tmp_path_factory.mktemp("editable"), "-e", checkout)
