"""Panels: catalog, lineage, plan."""
