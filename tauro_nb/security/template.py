"""Read the text of a condition: find `{principal}`, then parse it in the dialects people write.

The text is never filled in. Each `{principal}`, `{principal.attribute}`, `{tenant}` or `{purpose}` becomes a marker
identifier before parsing, and a node of the tree afterwards, so what a principal is called cannot change the shape of a
filter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlglot import exp
from sqlglot.errors import SqlglotError

from tauro_nb.conditions import parse_condition
from tauro_nb.errors import PolicyError
from tauro_nb.security.grammar import refuse_strangers
from tauro_nb.walks import enclose_negations

__all__ = ["FilterTemplate", "parse_filter"]

_MARK = "__tauro_principal_"
_TOKEN = re.compile(
    r"""
      (?P<slot>'\{principal(?:\.(?P<quoted>[A-Za-z_]\w*))?\}'(?!')
              |\{\s*principal(?:\.(?P<bare>[A-Za-z_]\w*))?\s*\}
              |'\{(?P<quotedword>tenant|purpose)\}'(?!')
              |\{\s*(?P<word>tenant|purpose)\s*\})
    | (?P<hint>/\*[!+])
    | (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<quote>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`)
    | (?P<bad>[{}'"`;])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# The same text must not mean two things: "x" is a column in DuckDB and a string in MySQL, || joins or means OR, a
# backslash is a letter or an escape. Such texts are not tried as MySQL, where a mistyped column could pass as a string.
_NOT_MYSQL = re.compile(r'["\\#]|\|\||&&|!(?!=)')
_LONGEST = 20_000
_DIALECTS = ("duckdb", "mysql", "postgres")


@dataclass(frozen=True, slots=True)
class FilterTemplate:
    """A row filter that parses; `candidates` are its readings as DuckDB trees, the first that binds counts.

    Parameters
    ----------
    candidates
        Trees over the table's columns, with marker columns where the principal goes.
    slots
        Marker name -> what `Principal.value_of` takes: an attribute, `{tenant}`, `{purpose}`; None for the name.
    """

    candidates: tuple[exp.Expr, ...]
    slots: Mapping[str, str | None]

    def column_names(self) -> frozenset[str]:
        """Every name that may be a column of the table, in lower case."""
        names = (node.name for tree in self.candidates for node in tree.find_all(exp.Column))
        return frozenset(name.casefold() for name in names if name not in self.slots)

    def relation_names(self) -> frozenset[str]:
        """Every table that a subquery may name, as written.

        >>> sorted(parse_filter("a IN (SELECT b FROM Ent)", "the filter").relation_names())
        ['Ent']
        """
        tables = (node for tree in self.candidates for node in tree.find_all(exp.Table))
        return frozenset(".".join(part.name for part in node.parts) for node in tables)


def parse_filter(text: str, what: str) -> FilterTemplate:
    """Parse the text of a row filter.

    Parameters
    ----------
    text
        A condition in DuckDB's, MySQL's or PostgreSQL's SQL.
    what
        What it is, for the error message.

    Raises
    ------
    PolicyError
        It does not parse, or it uses what a filter may not.

    Examples
    --------
    >>> template = parse_filter("manager_id = {principal} AND region = '{principal.region}'", "the filter")
    >>> list(template.slots.values())
    [None, 'region']
    >>> parse_filter("name = 'dear {principal}'", "the filter")
    Traceback (most recent call last):
    ...
    tauro_nb.errors.PolicyError: the filter: braces may only stand around `principal`, ...
    """
    if len(text) > _LONGEST:
        raise PolicyError(f"{what}: it has more than {_LONGEST} characters")
    marked, slots = _mark(text, what)
    dialects = [name for name in _DIALECTS if name != "mysql" or not _NOT_MYSQL.search(_without_slots(text))]
    candidates: list[exp.Expr] = []
    complaints: list[str] = []
    for dialect in dialects:
        try:
            tree = _parse(marked, dialect, slots)
        except (SqlglotError, RecursionError):
            complaints.append("does not parse")  # the parser's own words echo the policy
        except ValueError as wrong:
            complaints.append(str(wrong))
        else:
            if tree not in candidates:
                candidates.append(tree)
    if not candidates:
        said = next((complaint for complaint in complaints if complaint != "does not parse"), "does not parse")
        raise PolicyError(f"{what}: {said}")
    return FilterTemplate(tuple(candidates), MappingProxyType(slots))


def _mark(text: str, what: str) -> tuple[str, dict[str, str | None]]:
    if _MARK in text.casefold():
        raise PolicyError(f"{what}: names that start with {_MARK} are taken")
    slots: dict[str, str | None] = {}
    out: list[str] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if token["slot"]:
            name = f"{_MARK}{len(slots)}__"
            word = token["quotedword"] or token["word"]
            slots[name] = f"{{{word}}}" if word else token["quoted"] or token["bare"]
            out.append(f" {name} ")  # spaces: a prefix such as E'...' must not grow into the name
        elif kind == "comment":
            out.append(" ")
        elif kind == "hint":
            raise PolicyError(f"{what}: comments that some servers execute are not allowed")
        elif kind == "bad":
            cause = {"{": _BRACES, "}": _BRACES, ";": "one condition only, without `;`"}
            raise PolicyError(f"{what}: {cause.get(token[0], 'a quote is not closed')}")
        elif kind == "quote" and ("{" in token[0] or "}" in token[0]):
            raise PolicyError(f"{what}: {_BRACES}")
        else:
            out.append(token[0])
    return "".join(out), slots


_BRACES = "braces may only stand around `principal`, `principal.attribute`, `tenant` or `purpose`"


def _without_slots(text: str) -> str:
    return "".join(token[0] for token in _TOKEN.finditer(text) if not (token["slot"] or token["comment"]))


def _parse(marked: str, dialect: str, slots: Mapping[str, str | None]) -> exp.Expr:
    """Parse in one dialect, check the markers, and say it again as a DuckDB tree."""
    tree = enclose_negations(_expression(parse_condition(marked, dialect)))
    _check_markers(tree, slots, once=True)
    refuse_strangers(tree)
    if dialect != "duckdb":
        for length in list(tree.find_all(exp.Length)):
            if length.args.get("binary"):
                # MySQL's counts bytes. sqlglot would have DuckDB look at the type of each value.
                length.replace(exp.Anonymous(this="strlen", expressions=[length.this]))
        tree = _expression(parse_condition(tree.sql("duckdb"), "duckdb"))
        _check_markers(tree, slots, once=False)
        refuse_strangers(tree)
    for node in list(tree.find_all(exp.In)):
        _settle_in(node, slots)
    return tree.transform(_forgive, slots, copy=False)


def _expression(tree: exp.Expr | None) -> exp.Expr:
    if isinstance(tree, exp.Expr):
        return tree
    raise ValueError("is not one condition")


def _check_markers(tree: exp.Expr, slots: Mapping[str, str | None], *, once: bool) -> None:
    """Every marker must have become a bare column: not a part of a string, a name, a type or a comment."""
    seen: list[str] = []
    for node in tree.walk():
        if isinstance(node, (exp.Identifier, exp.Literal, exp.Var, exp.Anonymous)) and _MARK in node.name.casefold():
            parent = node.parent
            alone = isinstance(parent, exp.Column) and len(parent.parts) == 1
            if not isinstance(node, exp.Identifier) or node.name not in slots or not alone:
                raise ValueError("`{principal}` must stand where a value can stand")
            seen.append(node.name)
    if set(seen) != set(slots) or (once and len(seen) != len(slots)):
        raise ValueError("`{principal}` must stand where a value can stand")


def _settle_in(node: exp.In, slots: Mapping[str, str | None]) -> None:
    """`x IN {principal.list}` is `x IN ({principal.list})`; any other IN without a list or subquery is refused."""
    field = node.args.get("field")
    if isinstance(field, exp.Column) and field.name in slots:
        node.set("field", None)
        node.set("expressions", [field])
    if not (node.expressions or node.args.get("query")) or any(node.args.get(key) for key in ("field", "unnest")):
        raise ValueError("uses IN without a list of values")


def _forgive(node: exp.Expr, slots: Mapping[str, str | None]) -> exp.Expr:
    """Make casts of columns TRY_CAST: a value that does not convert drops its row, and is in no error text."""
    if type(node) is not exp.Cast or all(column.name in slots for column in node.find_all(exp.Column)):
        return node
    return exp.TryCast(**{key: value for key, value in node.args.items() if value is not None})
