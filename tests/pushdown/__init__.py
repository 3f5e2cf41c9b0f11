"""Proof that what a source may be asked gives there what it gives in DuckDB, over hostile values."""

from __future__ import annotations
