"""The catalog room: virtual tables, their schemas, statistics and lineage."""

from __future__ import annotations

from tauro_nb.catalog.connections import ConnectionSpec
from tauro_nb.catalog.evolution import SchemaChange, SchemaVersion
from tauro_nb.catalog.lineage import LineageEdge, LineageGraph, LineageNode
from tauro_nb.catalog.registry import SchemaRegistry
from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics
from tauro_nb.catalog.table import CacheStrategy, EncryptionConfig, SourceType, VirtualTable
from tauro_nb.catalog.validation import JoinCheck, check_schema

__all__ = [
    "CacheStrategy", "ColumnStatistics", "ConnectionSpec", "EncryptionConfig", "JoinCheck", "LineageEdge",
    "LineageGraph", "LineageNode", "SchemaChange", "SchemaRegistry", "SchemaVersion", "SourceType", "TableStatistics",
    "VirtualTable", "check_schema",
]  # fmt: skip
