"""Stand-ins for the security room's two classes where that room is empty; they are not used once it is there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest


@dataclass
class TableSecurityPolicy:
    table_name: str
    allowed_roles: list[str] = field(default_factory=list)
    row_level_filters: dict[str, str] = field(default_factory=dict)
    field_policies: dict[str, Any] = field(default_factory=dict)
    audit_all_access: bool = True

    @classmethod
    def from_mapping(
        cls, name: str, mapping: Mapping[str, Any], path: str
    ) -> tuple[TableSecurityPolicy | None, list[str]]:
        wrong = [f"{path}.{key}: unknown key." for key in mapping if key not in cls.__dataclass_fields__]
        return (None, wrong) if wrong else (cls(name, **mapping), [])


@dataclass(frozen=True)
class Principal:
    name: str
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def security_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, stand_in in (("policy", TableSecurityPolicy), ("principal", Principal)):
        full = f"tauro_nb.security.{name}"
        if importlib.util.find_spec(full) is None:
            module = ModuleType(full)
            setattr(module, stand_in.__name__, stand_in)
            monkeypatch.setitem(sys.modules, full, module)
