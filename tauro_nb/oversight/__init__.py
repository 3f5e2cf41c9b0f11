"""What those who answer for a catalog ask of a context: its part `Oversight`, and the reports that this hands out."""

from __future__ import annotations

from tauro_nb.oversight.desk import Oversight

__all__ = ["Oversight"]
