"""Which names of types are understood, and what DuckDB calls each of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["INTEGER_RANGES", "SCALARS"]

# DuckDB's word for a type -> every spelling that means it. Where engines disagree (`INT8` is one byte in Arrow,
# `FLOAT` is eight bytes in MySQL), DuckDB's own meaning wins: declared types are cast to by DuckDB.
_SPELLINGS: Final[Mapping[str, str]] = {
    "VARCHAR": "VARCHAR STRING TEXT CHAR BPCHAR NCHAR NVARCHAR VARCHAR2 NVARCHAR2 CHARACTER CLOB CITEXT TINYTEXT "
    "MEDIUMTEXT LONGTEXT STR UTF8",
    "BOOLEAN": "BOOLEAN BOOL LOGICAL",
    "TINYINT": "TINYINT INT1 BYTEINT",
    "SMALLINT": "SMALLINT INT2 INT16 SHORT SMALLSERIAL",
    "INTEGER": "INTEGER INT INT4 INT32 SIGNED INTEGRAL MEDIUMINT SERIAL",
    "BIGINT": "BIGINT INT8 INT64 LONG OID BIGSERIAL",
    "HUGEINT": "HUGEINT INT128",
    "UTINYINT": "UTINYINT UINT8",
    "USMALLINT": "USMALLINT UINT16",
    "UINTEGER": "UINTEGER UINT32",
    "UBIGINT": "UBIGINT UINT64",
    "UHUGEINT": "UHUGEINT UINT128",
    "BIGNUM": "BIGNUM VARINT",
    "FLOAT": "FLOAT FLOAT4 FLOAT32 REAL",
    "DOUBLE": "DOUBLE FLOAT8 FLOAT64",
    "DECIMAL": "DECIMAL NUMERIC DEC NUMBER",
    "DATE": "DATE DATE32",
    "TIME": "TIME",
    "TIME_NS": "TIME_NS",
    "TIME WITH TIME ZONE": "TIMETZ",
    "TIMESTAMP": "TIMESTAMP DATETIME DATETIME2 SMALLDATETIME TIMESTAMP_NTZ TIMESTAMP_US",
    "TIMESTAMP_S": "TIMESTAMP_S",
    "TIMESTAMP_MS": "TIMESTAMP_MS",
    "TIMESTAMP_NS": "TIMESTAMP_NS",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ TIMESTAMP_TZ TIMESTAMP_LTZ DATETIMEOFFSET",
    "INTERVAL": "INTERVAL",
    "BLOB": "BLOB BYTEA BYTES BINARY VARBINARY TINYBLOB MEDIUMBLOB LONGBLOB",
    "BIT": "BIT BITSTRING",
    "UUID": "UUID GUID UNIQUEIDENTIFIER",
    "JSON": "JSON JSONB",
    "GEOMETRY": "GEOMETRY",
    "VARIANT": "VARIANT",
}

# Spellings of several words.
_PHRASES: Final[Mapping[str, str]] = {
    "CHARACTER VARYING": "VARCHAR",
    "CHAR VARYING": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "TINYINT UNSIGNED": "UTINYINT",
    "SMALLINT UNSIGNED": "USMALLINT",
    "INT UNSIGNED": "UINTEGER",
    "INTEGER UNSIGNED": "UINTEGER",
    "BIGINT UNSIGNED": "UBIGINT",
    "TIME WITH TIME ZONE": "TIME WITH TIME ZONE",
    "TIME WITHOUT TIME ZONE": "TIME",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP",
}

SCALARS: Final[Mapping[str, str]] = MappingProxyType(
    {word: name for name, words in _SPELLINGS.items() for word in words.split()} | dict(_PHRASES)
)

_BITS: Final = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}

# The smallest and the largest value of each integer type.
INTEGER_RANGES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {name: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for name, bits in _BITS.items()}
    | {f"U{name}": (0, 2**bits - 1) for name, bits in _BITS.items()}
)
