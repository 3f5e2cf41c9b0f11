"""Declare a magic in one place: IPython's decorators, in the right order, with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import IPython.core.magic
import IPython.core.magic_arguments

__all__ = ["magic", "option"]

F = TypeVar("F", bound=Callable[..., Any])
# IPython publishes no types for its decorators.
_MARKS: Any = IPython.core.magic
_ARGUMENTS: Any = IPython.core.magic_arguments


def option(*names: str, **how: Any) -> Callable[[F], F]:
    """One argument, as `argparse.ArgumentParser.add_argument` takes it."""
    made: Callable[[F], F] = _ARGUMENTS.argument(*names, **how)
    return made


def magic(*options: Callable[[Any], Any], sql: bool = False, cells: bool = False) -> Callable[[F], F]:
    """Mark a method as a magic.

    Parameters
    ----------
    options
        In the order of the help.
    sql
        It takes SQL, whose parameters may be variables: it gets `local_ns`, and a `;` at the end silences it.
    cells
        It is a cell magic, too.
    """

    def mark(function: F) -> F:
        # Nothing of the line is ever expanded: `{x}` and `$x` belong to SQL.
        marks = [_MARKS.no_var_expand, _MARKS.line_cell_magic if cells else _MARKS.line_magic]
        if sql:
            marks += [_MARKS.needs_local_scope, _MARKS.output_can_be_silenced]
        for decorate in (*reversed(options), _ARGUMENTS.magic_arguments(), *marks):
            function = decorate(function)
        return function

    return mark
