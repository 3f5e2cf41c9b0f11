"""Values for the parameters of a query: typed in, or taken from the notebook's variables. Never spliced into text."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from tauro_nb.errors import UsageError, nearest

__all__ = ["Variables", "parameters"]

_NO_VALUES = (ModuleType, FunctionType, type)


class Variables(Mapping[str, Any]):
    """The notebook's variables as parameters: what a query does not name is never looked at.

    >>> names = Variables({"region": "South", "_hidden": 1, "json": json})
    >>> dict(names)
    {'region': 'South'}
    """

    def __init__(self, *scopes: Mapping[str, Any]) -> None:
        self._scopes = ChainMap(*(dict(scope) if not isinstance(scope, dict) else scope for scope in scopes))

    def __getitem__(self, name: str) -> Any:
        if name.startswith("_"):
            raise KeyError(name)
        value = self._scopes[name]
        if issubclass(type(value), _NO_VALUES):
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._scopes if name in self)

    def __bool__(self) -> bool:
        return True  # and nobody counts

    def __len__(self) -> int:
        return sum(1 for _ in self)


def parameters(given: str | None, variables: Mapping[str, Any]) -> Mapping[str, Any] | Sequence[Any]:
    """What `--params` says, on top of the notebook's variables.

    Parameters
    ----------
    given
        JSON (an object for `:name`, an array for `?`) or `$variable`; None for the variables alone.
    variables
        The notebook's.

    Raises
    ------
    UsageError
        It is neither, or the variable is unknown or no mapping or list.
    """
    if given is None:
        return variables
    values = _variable(given[1:], variables) if given.startswith("$") else _json(given)
    if isinstance(values, Mapping):
        return ChainMap(dict(values), variables)  # type: ignore[arg-type]  # it is only read
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return values
    raise UsageError(
        f"--params got a {type(values).__name__}.", hint="Give an object for `:name` parameters, an array for `?`."
    )


def _variable(name: str, variables: Mapping[str, Any]) -> Any:
    if name not in variables:
        raise UsageError(f"--params ${name}: there is no variable `{name}`.{nearest(name, variables)}")
    return variables[name]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--params is not JSON: {error.msg}.", hint="Write --params '{\"n\": 1}', or --params $variable."
        ) from None
