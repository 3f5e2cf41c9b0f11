"""All public names again, for code that is used to reach them as `tauro.virtualization.VirtualContext`.

>>> import tauro_nb
>>> tauro_nb.virtualization.SourceType is tauro_nb.SourceType
True
"""

from __future__ import annotations

from typing import Any

import tauro_nb


def __getattr__(name: str) -> Any:
    if name not in tauro_nb.__all__:
        raise AttributeError(f"module 'tauro_nb.virtualization' has no attribute {name!r}")
    return getattr(tauro_nb, name)


def __dir__() -> list[str]:
    return list(tauro_nb.__all__)
