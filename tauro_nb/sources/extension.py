"""DuckDB's scanner extensions, loaded from their wheels: no download, signature checked by DuckDB."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tauro_nb.errors import ConnectorMissing

__all__ = ["Preparation", "load_extension"]

_EXTRAS = {"postgres_scanner": "postgres", "mysql_scanner": "mysql"}


def load_extension(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load extension `name` into an engine.

    Raises
    ------
    ConnectorMissing
        Its wheel is not installed, or is for another DuckDB version.
    """
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    extra = _EXTRAS.get(name)
    cure = f"Run `pip install 'tauro_nb[{extra}]'`." if extra else f"Run `pip install {package.replace('_', '-')}`."
    if spec is None or not spec.submodule_search_locations:
        raise ConnectorMissing(f"DuckDB's `{name}` extension is not installed.", hint=cure)
    file = Path(next(iter(spec.submodule_search_locations))) / "extensions" / f"v{duckdb.__version__}"
    file = file / f"{name}.duckdb_extension"
    if not file.is_file():
        raise ConnectorMissing(
            f"DuckDB's `{name}` extension is not the one for DuckDB {duckdb.__version__}.",
            hint=f"Run `pip install {package.replace('_', '-')}=={duckdb.__version__}`.",
        )
    quoted = str(file).replace("'", "''")
    cursor.execute(f"LOAD '{quoted}'")


@dataclass(frozen=True, slots=True)
class Preparation:
    """An extension whose settings an engine needs before its configuration is locked.

    Parameters
    ----------
    extension
        Its name.
    settings
        Names and values.
    """

    extension: str
    settings: tuple[tuple[str, str], ...]

    def apply(self, instance: duckdb.DuckDBPyConnection) -> None:
        """Load the extension and set what it needs, for every connection of the instance."""
        load_extension(instance, self.extension)
        for name, value in self.settings:
            instance.execute(f"SET GLOBAL {name} = '{value}'")
