"""Tests; a package so that helpers import as `tests.servers`."""

from __future__ import annotations
