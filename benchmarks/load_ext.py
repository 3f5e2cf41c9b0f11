"""What `%load_ext tauro_nb` adds to a bare IPython: whole processes, interleaved."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

__all__ = ["measure_load_ext"]

_SHELL = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance(); "
_BARE = _SHELL + "s.run_cell('1 + 1')"
_LOADED = _SHELL + "s.run_line_magic('load_ext', 'tauro_nb'); assert 'vquery' in s.magics_manager.magics['cell']"


def measure_load_ext(repeats: int) -> dict[str, Any]:
    """Seconds of both, and of the difference between neighbours."""
    _run(_LOADED)  # compile everything once
    pairs = [(_run(_BARE), _run(_LOADED)) for _ in range(repeats)]
    bare, loaded = (min(column) for column in zip(*pairs, strict=True))
    added = [after - before for before, after in pairs]
    return {
        "bare_seconds": bare,
        "loaded_seconds": loaded,
        "added_seconds_of_minima": loaded - bare,
        "added_seconds_median": statistics.median(added),
        "repeats": repeats,
    }


def _run(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
