"""One line on how far a query is, for who looks at a screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

import IPython.display

if TYPE_CHECKING:
    from tauro_nb.progress import Progress

__all__ = ["ProgressLine"]

_CLEAR = "\r\033[K"


class ProgressLine:
    """Shows nothing to a program: a notebook that nobody looks at cannot answer a question, nor can a pipe.

    Parameters
    ----------
    shell
        The IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        kernel = getattr(shell, "kernel", None)
        # The front end says with every cell whether somebody could be asked for input.
        self._attended = bool(getattr(kernel, "_allow_stdin", False)) if kernel is not None else sys.stderr.isatty()
        self._in_kernel = kernel is not None
        self._handle: Any = None
        self._shown = False

    @property
    def listener(self) -> Any:
        """To be told; None when there is nobody."""
        return self._show if self._attended else None

    def _show(self, progress: Progress) -> None:
        self._shown = True
        self._put(str(progress))

    def _put(self, text: str) -> None:
        if not self._in_kernel:
            sys.stderr.write(_CLEAR + text)
            sys.stderr.flush()
        elif self._handle is None:
            display: Any = IPython.display.display
            self._handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": text}, raw=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._put("")
