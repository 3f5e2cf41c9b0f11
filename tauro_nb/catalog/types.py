"""Types of columns: their canonical text, and which of them fit together."""

from __future__ import annotations

from tauro_nb.catalog.compatibility import comparable, compatible, widens
from tauro_nb.catalog.type_text import Type, normalize, parse_type

__all__ = ["Type", "comparable", "compatible", "normalize", "parse_type", "widens"]
