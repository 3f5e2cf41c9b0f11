"""The catalog room: virtual tables, their schemas, statistics and lineage."""
