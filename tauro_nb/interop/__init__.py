"""Doors for other tools: Ibis, PEP 249, jupysql."""
