from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import tauro_nb

HOOKS = {"load_ipython_extension", "unload_ipython_extension"}


def test_public_names_are_sorted_and_exact() -> None:
    assert tauro_nb.__all__ == sorted(tauro_nb.__all__)
    submodules = {module.name for module in pkgutil.iter_modules(tauro_nb.__path__)}
    exported = set(tauro_nb.__all__)
    found = {name for name in dir(tauro_nb) if not name.startswith("_") and name != "annotations"}
    assert found - submodules - HOOKS - {"__version__"} == exported - submodules - HOOKS - {"__version__"}


def test_public_names_resolve_and_are_documented() -> None:
    undocumented = []
    for name in tauro_nb.__all__:
        value = getattr(tauro_nb, name)
        if (inspect.isclass(value) or inspect.isfunction(value)) and not inspect.getdoc(value):
            undocumented.append(name)
    assert undocumented == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    missing = "no_such_name"
    with pytest.raises(AttributeError, match=missing):
        getattr(tauro_nb, missing)


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(tauro_nb.__path__, "tauro_nb.")]


@pytest.mark.parametrize("name", [name for name in modules() if not name.endswith("__main__")])
def test_modules_export_what_they_list(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    assert [attribute for attribute in exported if not hasattr(module, attribute)] == []
