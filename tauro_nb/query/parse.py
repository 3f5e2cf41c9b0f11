"""First step: text (or a tree from Ibis) to exactly one SELECT-like tree."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError as SqlglotParseError
from sqlglot.errors import SqlglotError
from sqlglot.parser import binary_range_parser
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from tauro_nb.errors import TOO_DEEP, ParseError, UnboundParameter, UnsupportedStatement, UsageError, nearest
from tauro_nb.query.literals import bind_literals
from tauro_nb.query.query import Query
from tauro_nb.query.template import mark_templates, missing_value, template_names
from tauro_nb.query.trees import every, written
from tauro_nb.walks import enclose_negations

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable

__all__ = ["limited", "parse", "parse_view", "position_of", "statement_text"]

# Statements that sqlglot parses only in part, or takes for a column name: told by their first word.
_COMMANDS = frozenset(
    "ABORT BEGIN CALL CHECKPOINT COMMENT COMMIT DEALLOCATE EXECUTE EXPLAIN EXPORT FORCE GRANT IMPORT INSTALL LOAD"
    " PREPARE REINDEX REVOKE ROLLBACK SHOW START VACUUM".split()
)
_REFUSED = (
    exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Copy, exp.Command, exp.Into, exp.Lock,
    exp.Describe, exp.Summarize, exp.Show, exp.Set, exp.Pragma, exp.Attach, exp.Detach,
)  # fmt: skip
# Quoted text, names, comments and dollar-quoted text are matched first, so that only real `$name`s are named.
_DOLLAR_NAME = re.compile(
    r"""'(?:''|[^'])*'|"(?:""|[^"])*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|\$(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL,
)
# What may stand behind a `!`.
_MATCHING = frozenset({TokenType.TILDE, TokenType.LIKE, TokenType.ILIKE})
_UNICODE = re.compile(r"(?<!\\)(?:\\\\)*\\[uU]")
_CURES = {
    "DESCRIBE": "Use `%vdescribe TABLE`.",
    "SUMMARIZE": "Use `%vprofile TABLE`.",
    "EXPLAIN": "Use `%%vquery --explain`, or `%vplan`.",
    "SHOW": "Use `%vcatalog`.",
}


def position_of(node: exp.Expr) -> tuple[int | None, int | None]:
    """1-based line and column of the first token below `node`, when the parser kept it."""
    for child in node.walk():
        line, col = child.meta.get("line"), child.meta.get("col")
        if line and col:
            # sqlglot notes the column of a token's last character.
            start, end = child.meta.get("start", 0), child.meta.get("end", 0)
            return line, max(col - (end - start), 1)
    return None, None


def _refuse(name: str, text: str, token: Token) -> UnsupportedStatement:
    return UnsupportedStatement(
        f"{name} is not a query; only one SELECT-like statement runs here.",
        sql=text,
        line=token.line,
        col=token.col - (token.end - token.start),
        hint=_CURES.get(name, "Virtual tables are read-only."),
    )


def _tokens(text: str) -> list[Token]:
    """Tokens of `text` with every parameter, `:name` or `$name`, spelled with a PARAMETER token.

    The DuckDB dialect reads a colon as a slice, a struct entry or a prefix alias, and `$a, $b` as the start
    of a dollar-quoted text. So dollars become colons first, and colons in front of a name that cannot be
    one of those become parameters. Lengths never change, so positions stay true.
    """
    colons = _DOLLAR_NAME.sub(lambda match: f":{match['name']}" if match["name"] else match[0], text)
    try:
        tokens = list(DuckDB().tokenize(colons))
    except SqlglotError:
        raise ParseError("syntax error: unterminated text or comment.", sql=text, line=1, col=1) from None
    open_brackets: list[str] = []
    for index, (token, following) in enumerate(itertools.pairwise(tokens)):
        if token.text in ("[", "{", "("):
            open_brackets.append(token.text)
        elif token.text in ("]", "}", ")") and open_brackets:
            open_brackets.pop()
        adjacent = token.token_type is TokenType.COLON and following.start == token.end + 1
        if not adjacent or not following.text.isidentifier():
            continue
        typed_dollar = text[token.start] == "$"
        in_parentheses = not open_brackets or open_brackets[-1] == "("
        after_operator = token.start == 0 or text[token.start - 1] in " \t\r\n(,=<>+-*/%|!"
        if typed_dollar or (in_parentheses and after_operator):
            tokens[index] = Token(
                TokenType.PARAMETER, "$", line=token.line, col=token.col, start=token.start, end=token.end
            )
    return tokens


class _Parser(DuckDBParser):
    """DuckDB's grammar where sqlglot reads it otherwise: `~` matches a whole text."""

    RANGE_PARSERS: ClassVar = {
        **DuckDBParser.RANGE_PARSERS,
        TokenType.TILDE: binary_range_parser(exp.RegexpFullMatch),
    }


def _check_tokens(tokens: Sequence[Token], text: str) -> None:
    """Refuse the little that sqlglot reads as something else than DuckDB does."""
    for token, following in itertools.pairwise(tokens):
        if token.token_type is TokenType.HASH and following.token_type is TokenType.NUMBER:
            raise _unread(text, token, f"`#{following.text}`, a column by its place,", "Name the column.")
        if token.text == "!" and token.token_type is TokenType.NOT and following.token_type not in _MATCHING:
            raise _unread(text, token, "`!`", "Write NOT, or factorial(n).")
    for token in tokens:
        if token.token_type is TokenType.BYTE_STRING and _UNICODE.search(text[token.start : token.end + 1]):
            raise _unread(text, token, "`\\u` in a text", "Write the character itself, or chr(n).")


def _unread(text: str, token: Token, what: str, hint: str) -> ParseError:
    return ParseError(
        f"{what} is not read here.", sql=text, line=token.line, col=token.col - (token.end - token.start), hint=hint
    )


def _one_tree(text: str) -> exp.Expr:
    tokens = _tokens(text)
    if not tokens:
        raise ParseError("the query is empty.", sql=text, hint="Write one SELECT.")
    _check_tokens(tokens, text)
    first_word = tokens[0].text.upper()
    if first_word in _COMMANDS:
        raise _refuse(first_word, text, tokens[0])
    try:
        trees = [tree for tree in _Parser(dialect=DuckDB()).parse(tokens, text) if tree is not None]
    except SqlglotParseError as error:
        first = error.errors[0] if error.errors else {}
        highlight = first.get("highlight")
        raise ParseError(
            f"syntax error{f' near `{highlight}`' if highlight else ''}.",
            sql=text,
            line=first.get("line"),
            col=max((first.get("col") or 1) - len(highlight or "") + 1, 1),
            hint="Write FROM (PIVOT ...) ORDER BY ..." if first_word in ("PIVOT", "UNPIVOT") else None,
        ) from None
    except RecursionError:
        raise ParseError("the query is nested too deeply.", sql=text, hint=TOO_DEEP) from None
    if len(trees) > 1:
        line, col = position_of(trees[1])
        raise UnsupportedStatement(
            f"{len(trees)} statements; exactly one SELECT is taken at a time.", sql=text, line=line, col=col
        )
    if not isinstance(trees[0], (exp.Query, exp.Pivot, exp.Values)):
        raise _refuse(first_word, text, tokens[0])
    return enclose_negations(trees[0])


def _check_read_only(tree: exp.Expr, text: str) -> None:
    for node in every(tree, *_REFUSED):
        line, col = position_of(node)
        raise UnsupportedStatement(
            f"{node.key.upper()} is not a part of a query; virtual tables are read-only.", sql=text, line=line, col=col
        )


def _find_param(text: str, name: str) -> tuple[int | None, int | None]:
    match = re.search(rf"[:$]{re.escape(name)}\b", text)
    if match is None:
        return None, None
    return text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())


def _check_params(tree: exp.Expr, params: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Give every placeholder a name that has a value; refuse the others by name."""
    used: dict[str, Any] = {}
    position = 0
    for node in every(tree, exp.Placeholder, exp.Parameter):
        if isinstance(node, exp.Parameter):
            raise ParseError(f"`{node.sql('duckdb')}` is not a parameter.", sql=text, hint="Write :name or $name.")
        if not node.this:
            position += 1
            node.set("this", str(position))
        name = node.name
        if name not in params:
            line, col = _find_param(text, name)
            raise UnboundParameter(
                f"parameter `:{name}` has no value.{nearest(name, params)}",
                sql=text,
                line=line,
                col=col,
                hint="Give it with params= or a notebook variable of that name.",
            )
        used[name] = params[name]
    return used


def statement_text(source: str | exp.Expr) -> str:
    """The text of a request that came as text or as a tree. What it says is read from there, and from nowhere else.

    A tree may hold anything, in places that no walk enters: names that are SQL, notes that only we make, nodes that
    change from one look to the next. Once it is written down it is what it says.

    Raises
    ------
    UsageError
        It is neither, or such a tree has no text.
    """
    if isinstance(source, str):
        return str.__str__(source)
    if isinstance(source, exp.Expr):
        try:
            return str.__str__(written(source))
        except Exception:  # noqa: BLE001 - whatever its nodes do, in the words of whoever made them
            raise UsageError("this tree has no SQL text.", hint="Write the query as text.") from None
    raise UsageError(f"a query is SQL text or an Ibis expression, not {type(source).__name__}.")


def parse(
    source: str | exp.Expr,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    frames: Mapping[str, Any] | None = None,
) -> Query:
    """Turn SQL text, or a tree that Ibis compiled, into a `Query`.

    Parameters
    ----------
    source
        DuckDB-dialect SQL, or its tree.
    params
        Values for `:name`/`$name` (mapping) or `?`/`$1` (sequence).
    frames
        Arrow tables the query brings along, by name.

    Raises
    ------
    ParseError
        The text is not SQL.
    UnsupportedStatement
        It is not exactly one SELECT-like statement; names the statement.
    UnboundParameter
        A parameter has no value.

    Examples
    --------
    >>> parse("select :n + 1", {"n": 1}).params
    {'n': 1}
    """
    values: Mapping[str, Any]
    if params is None or isinstance(params, Mapping):
        values = params or {}
    else:
        values = {str(index): value for index, value in enumerate(params, start=1)}
    # What stands in front stays: positions are those of the user's text.
    text = statement_text(source).rstrip().rstrip(";").rstrip()
    tree = _one_tree(text)
    _check_read_only(tree, text)
    return Query(tree=tree, text=text, typed=tree, params=_check_params(tree, values, text), frames=dict(frames or {}))


def parse_view(table: VirtualTable) -> Query:
    """The query of a view, with its parameters as typed literals: names of its own must not meet those of a request.

    Raises
    ------
    UnboundParameter
        A parameter has no value.
    """
    values = table.parameters
    for name in sorted(template_names(table)):
        if name not in values:
            raise missing_value(table, name, values)
    query = parse(mark_templates(table, lambda name: f"${name}"), values)
    tree = bind_literals(query.tree, query.params)
    return replace(query, tree=tree, typed=tree, params={})


def limited(tree: exp.Expr, limit: int) -> exp.Expr:
    """The query cut to so many rows, on a copy."""
    inner = tree if isinstance(tree, exp.Query) else exp.select("*").from_(exp.Subquery(this=tree))
    own = inner.args.get("limit")
    if own is None and not isinstance(inner, exp.Subquery):
        return inner.copy().limit(limit)
    if own is not None and isinstance(own.expression, exp.Literal) and not own.expression.is_string:
        return inner.copy().limit(min(limit, int(own.expression.this)))
    return exp.select("*").from_(inner.copy().subquery("limited")).limit(limit)
