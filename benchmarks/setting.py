"""The setting of the race: which tables live where, and the catalog that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["INDEXES", "IN_POSTGRES", "catalog"]

IN_POSTGRES = ("customer", "orders", "nation", "region", "supplier")

INDEXES: Mapping[str, list[list[str]]] = {
    "customer": [["c_custkey"], ["c_nationkey"]],
    "orders": [["o_orderkey"], ["o_custkey"]],
    "nation": [["n_nationkey"], ["n_regionkey"]],
    "region": [["r_regionkey"]],
    "supplier": [["s_suppkey"], ["s_nationkey"]],
}


def catalog(paths: Mapping[str, str], uri: str) -> dict[str, Any]:
    """Our configuration, without declared schemas: they are read from the sources, as for most people."""
    return {
        "connections": {"pg": {"type": "postgresql", "uri": uri}},
        "virtual_tables": {
            name: {"source_type": "database", "connector_type": "postgresql", "connection": "pg", "table": name}
            if name in IN_POSTGRES
            else {"source_type": "filesystem", "connector_type": "parquet", "path": str(path)}
            for name, path in paths.items()
        },
    }
