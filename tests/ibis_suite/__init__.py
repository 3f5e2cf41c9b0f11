"""The test-suite inside the Ibis wheel, run against our backend and against DuckDB's own on the same data."""

from __future__ import annotations
