"""Seeded random queries: federated answers equal plain DuckDB's."""
