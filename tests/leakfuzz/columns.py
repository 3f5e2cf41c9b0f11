"""The columns of the fuzzed table: for each a harmless value, and hidden ones chosen to make functions fail."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COLUMNS", "PATTERNS", "VISIBLE", "Column", "hidden_value"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column in DuckDB's words: values are literals, cast to the type."""

    name: str
    type: str
    visible: str
    hidden: tuple[str, ...]

    @property
    def is_text(self) -> bool:
        """Whether it is plain text."""
        return self.type == "VARCHAR"


def _text(name: str, visible: str, *hidden: str) -> Column:
    usual = ("SECRET-7", "", "0", "-1", "99999999999999999999999999", "\U0001f600\u0301", "(", "%")
    return Column(name, "VARCHAR", visible, (*hidden, *usual))


_DAYS = ("5881580-07-10", "5877642-06-25 (BC)", "infinity", "0001-01-01", "9999-12-31")
_MOMENTS = ("294247-01-10 04:00:54", "290309-12-22 (BC) 00:00:00", "infinity", "9999-12-31 23:59:59")
COLUMNS: tuple[Column, ...] = (
    Column("b", "BOOLEAN", "true", ("false", "NULL")),
    Column("i1", "TINYINT", "3", ("-128", "127", "0", "-1")),
    Column("i4", "INTEGER", "3", ("-2147483648", "2147483647", "0", "-1")),
    Column("i8", "BIGINT", "3", ("-9223372036854775808", "9223372036854775807", "0", "-1", "2147483648")),
    Column("u8", "UBIGINT", "3", ("18446744073709551615", "0")),
    Column("h", "HUGEINT", "3", (str(2**127 - 1), str(-(2**127)), "0")),
    Column("m", "DECIMAL(18,3)", "1.500", ("999999999999999.999", "-999999999999999.999", "0")),
    Column("m38", "DECIMAL(38,0)", "3", ("99999999999999999999999999999999999999", "0", "-1")),
    Column("f", "REAL", "0.5", ("nan", "inf", "-inf", "0", "-1", "3e38")),
    Column("d", "DOUBLE", "0.5", ("nan", "inf", "-inf", "0", "-2", "1e308")),
    _text("s_txt", "abc", "x" * 600, "\\", "'", "[", "a\\"),
    _text("s_num", "12", "12x", "1e400"),
    _text("s_date", "2024-01-02", "2024-13-45", "2024-02-30"),
    _text("s_ts", "2024-01-02 03:04:05", "2024-01-02 25:00:00"),
    _text("s_time", "10:00:00", "99:99:99"),
    _text("s_json", '{"a": 1}', '{"a": ', "{bad}"),
    _text("s_path", "$.a", "$[", "$.."),
    _text("s_re", "a+", "[", "*", "a{9999}"),
    _text("s_uuid", "12345678-1234-1234-1234-123456789012", "12345678"),
    _text("s_bits", "0101", "0102"),
    _text("s_b64", "YWJj", "Y", "###"),
    _text("s_hex", "6162", "6", "zz"),
    _text("s_ivl", "3 days", "3 fortnights", "999999999999 years"),
    _text("s_list", "[1, 2]", "[1", "[x]"),
    _text("s_part", "year", "fortnight"),
    _text("s_fmt", "%Y", "%Q", "%"),
    _text("s_brace", "{}", "{", "{:d}"),
    _text("s_zone", "UTC", "Mars/Phobos"),
    _text("s_chr", "a", "ab"),
    _text("s_bool", "true", "maybe"),
    Column("dt", "DATE", "2024-01-02", _DAYS),
    Column("tm", "TIME", "10:00:00", ("00:00:00", "23:59:59.999999", "24:00:00")),
    Column("ts", "TIMESTAMP", "2024-01-02 03:04:05", _MOMENTS),
    Column("tz", "TIMESTAMPTZ", "2024-01-02 03:04:05+00", ("294247-01-10 04:00:54+00", "infinity", "-infinity")),
    Column("iv", "INTERVAL", "1 day", ("178000000 years", "-178000000 years", "0 days", "2147483647 days")),
    Column("y", "BLOB", "ab", ("\\xFF\\xFE", "", "\\x00")),
    Column("u", "UUID", "12345678-1234-1234-1234-123456789012", ("ffffffff-ffff-ffff-ffff-ffffffffffff",)),
    Column("js", "JSON", '{"a": 1}', ('"SECRET-7"', "[]", "null", "1e400")),
    Column("bt", "BIT", "0101", ("1" * 70, "0")),
    Column("l", "INTEGER[]", "[1, 2]", ("[]", "[NULL]", "[2147483647, 2147483647]", "NULL")),
    Column("sl", "VARCHAR[]", "[a, b]", ("[]", "[SECRET-7]", "[NULL]")),
    Column("st", "STRUCT(a INTEGER, b VARCHAR)", "{'a': 1, 'b': 2}", ("{'a': -2147483648, 'b': SECRET-7}", "NULL")),
    Column("mp", "MAP(VARCHAR, INTEGER)", "{a=1}", ("{SECRET-7=2147483647}", "{}")),
    Column("ar", "DOUBLE[3]", "[1.0, 2.0, 3.0]", ("[0, 0, 0]", "[nan, inf, 0]", "[1e308, 1e308, 1e308]")),
)  # fmt: skip
VISIBLE = 0
"""The pattern of visible rows; the others are those of hidden ones."""
PATTERNS = 1 + max(len(column.hidden) for column in COLUMNS)


def hidden_value(column: Column, pattern: int) -> str:
    """A column's value in a pattern: its hidden ones in turn."""
    return column.visible if pattern == VISIBLE else column.hidden[(pattern - 1) % len(column.hidden)]
