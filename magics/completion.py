"""Tab inside `%vquery` and `%%vquery`: tables, columns, aliases, functions, parameters, and the options of every magic.

Answers come from the catalog as the principal sees it. No source is ever asked on Tab.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from tauro_nb.errors import TauroError
from tauro_nb.magics.options import options_of
from tauro_nb.magics.parameters import Variables
from tauro_nb.magics.scan import Relation, Scope, fragment_at, in_text, scope_at

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tauro_nb.catalog.snapshot import CatalogSnapshot
    from tauro_nb.magics.session import Session

__all__ = ["Completer"]

Candidate = tuple[str, str]

_MOST: Final = 200
_CELL: Final = re.compile(r"\s*%%(?P<magic>vquery|vplan)\b(?P<line>[^\n]*)(?P<body>\n.*)?", re.DOTALL)
_LINE: Final = re.compile(r"(?:^|=)\s*%(?P<magic>v[a-z]+)\b(?P<line>.*)\Z")
_SQL_MAGICS: Final = frozenset({"vquery", "vplan"})
_TABLE_MAGICS: Final = frozenset({"vaccess", "vdescribe", "vprofile", "vlineage", "vcatalog"})
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*\Z", re.IGNORECASE)
_KEYWORDS: Final = (
    "SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT JOIN LEFT RIGHT FULL INNER CROSS ASOF ON USING AS AND OR NOT IN IS "
    "NULL LIKE ILIKE BETWEEN EXISTS CASE WHEN THEN ELSE END WITH RECURSIVE UNION ALL EXCEPT INTERSECT DISTINCT QUALIFY "
    "OVER PARTITION ROWS ASC DESC NULLS FIRST LAST CAST INTERVAL DATE TIMESTAMP TRUE FALSE VALUES OFFSET FILTER PIVOT"
).split()


class Completer:
    """Completion for one shell.

    Parameters
    ----------
    session
        Connections to complete from.
    shell
        Whose variables are parameters.
    magics
        The magics class: its parsers know the options.
    """

    def __init__(self, session: Session, shell: InteractiveShell, magics: type[Any]) -> None:
        self._session = session
        self._shell = shell
        self._magics = magics
        self._catalogs: dict[int, tuple[int, CatalogSnapshot]] = {}

        # Before Jedi, which would take half a second to offer Python names inside SQL.
        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        mark: Any = context_matcher
        self.matcher = mark(identifier="tauro_nb.sql", priority=1_000)(matcher)

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        try:
            fragment, found = self.complete(context.full_text, context.cursor_line, context.cursor_position)
        except TauroError:
            fragment, found = "", []
        limit = min(context.limit or _MOST, _MOST)
        completions = [SimpleCompletion(text=text, type=kind) for text, kind in found[:limit]]
        return SimpleMatcherResult(
            completions=completions, matched_fragment=fragment, suppress=bool(completions), ordered=True
        )

    def complete(self, cell: str, line: int, column: int) -> tuple[str, list[Candidate]]:
        """The text to replace, and what could stand there, the likeliest first.

        Parameters
        ----------
        cell
            The whole cell.
        line, column
            The cursor, counted from 0.
        """
        lines = cell.split("\n")
        offset = sum(len(text) + 1 for text in lines[:line]) + column
        whole = _CELL.match(cell)
        if whole is not None and line > cell[: whole.start("line")].count("\n"):
            start = whole.start("body") + 1
            return self._sql(whole["magic"], whole["line"], cell[start:], offset - start)
        before = lines[line][:column] if line < len(lines) else ""
        if whole is not None:
            typed = cell[whole.start("line") : offset]
            return self._arguments(whole["magic"], typed, None)
        here = _LINE.search(before)
        if here is None:
            return "", []
        return self._arguments(here["magic"], here["line"], lines[line][column:])

    # --- the line of a magic

    def _arguments(self, magic: str, typed: str, rest: str | None) -> tuple[str, list[Candidate]]:
        """Options and their values; behind them the SQL of a line magic (`rest` follows the cursor), or a table."""
        parser = getattr(getattr(self._magics, magic, None), "parser", None)
        if parser is None:
            return "", []
        options = options_of(parser)
        *done, fragment = re.split(r"\s+", typed)
        previous = options.get(done[-1]) if done else None
        if previous is not None and previous.nargs != 0:
            return self._value(previous, fragment)
        if fragment.startswith("-"):
            names = [(name, "option") for name in options if name.startswith("--") and "_" not in name]
            return fragment, _starting(fragment, names)
        if magic in _SQL_MAGICS and rest is not None:
            sql = _without_options(typed, options)
            return self._sql(magic, typed, sql + rest, len(sql))
        if magic in _TABLE_MAGICS:
            return fragment, _starting(fragment, self._tables(self._catalog(typed)))
        return "", []

    def _value(self, action: Any, fragment: str) -> tuple[str, list[Candidate]]:
        if action.dest in ("alias", "close"):
            return fragment, _starting(fragment, ((name, "alias") for name in self._session.connections))
        if action.dest == "principal":
            known = self._session.get().context.security.principals
            return fragment, _starting(fragment, ((name, "principal") for name in known))
        if action.dest == "table":
            return fragment, _starting(fragment, self._tables(self._catalog("")))
        if action.dest == "params":
            return fragment, _starting(fragment, ((f"${name}", "variable") for name in self._variables()))
        choices = action.choices or getattr(action.type, "choices", ())
        return fragment, _starting(fragment, ((choice, "value") for choice in choices))

    # --- SQL

    def _sql(self, magic: str, line: str, sql: str, cursor: int) -> tuple[str, list[Candidate]]:
        if in_text(sql, cursor):
            return "", []
        fragment, path = fragment_at(sql, cursor)
        if fragment.startswith((":", "$")):
            sign = fragment[0]
            return fragment, _starting(fragment, ((f"{sign}{name}", "param") for name in self._variables()))
        catalog = self._catalog(line)
        # The word being typed names nothing yet: it must not pass for an alias.
        scope = scope_at(sql[: cursor - len(fragment)] + " " * len(fragment) + sql[cursor:], cursor)
        plain = fragment.lstrip('"')
        if path:
            return fragment, _starting(plain, self._members(path, scope, catalog))
        if scope.clause == "FROM":
            ctes = ((_quoted(name), "cte") for name in scope.ctes)
            return fragment, _starting(plain, [*ctes, *self._tables(catalog)])
        return fragment, _starting(plain, self._expression(fragment, scope, catalog))

    def _members(self, path: tuple[str, ...], scope: Scope, catalog: CatalogSnapshot) -> Iterator[Candidate]:
        """What may follow a dot: columns of a relation, or the rest of a dotted table name."""
        dotted = ".".join(path).lower()
        for relation in scope.relations:
            if dotted in (relation.alias.lower(), relation.name.lower()):
                yield from self._columns(relation, scope, catalog)
                return
        for table in catalog.tables:
            if table.access == "denied":
                continue
            if table.name.lower() == dotted:
                yield from self._columns(Relation(table.name, table.name), scope, catalog)
            elif table.name.lower().startswith(f"{dotted}."):
                yield table.name[len(dotted) + 1 :], "table"

    def _columns(self, relation: Relation, scope: Scope, catalog: CatalogSnapshot) -> Iterator[Candidate]:
        own = relation.columns
        if own is None:
            own = next((found for name, found in scope.ctes.items() if name.lower() == relation.name.lower()), None)
        if own is not None:
            yield from ((_quoted(name), "column") for name in own if name != "*")
            return
        for table in catalog.tables:
            if table.name.lower() == relation.name.lower() and table.access == "allowed":
                for column in table.columns:
                    if column.access != "denied":
                        yield (
                            _quoted(column.name),
                            column.type if column.access == "clear" else f"{column.type}, masked",
                        )

    def _expression(self, fragment: str, scope: Scope, catalog: CatalogSnapshot) -> Iterator[Candidate]:
        for relation in scope.relations:
            yield from self._columns(relation, scope, catalog)
        yield from ((_quoted(relation.alias), "alias") for relation in scope.relations)
        if not scope.clause or scope.clause == "SELECT":
            yield from self._tables(catalog) if not scope.relations else ()
        yield from ((word, "keyword") for word in _KEYWORDS)
        if fragment:
            from tauro_nb.query.functions import allowed_functions

            yield from ((name, "function") for name in sorted(allowed_functions()) if _PLAIN.match(name))

    def _tables(self, catalog: CatalogSnapshot) -> Iterator[Candidate]:
        for table in catalog.tables:
            if table.access == "allowed":
                yield ".".join(map(_quoted, table.name.split("."))), "table"

    # --- what there is to choose from

    def _variables(self) -> Iterator[str]:
        hidden: Iterable[str] = getattr(self._shell, "user_ns_hidden", ())
        return (name for name in Variables(self._shell.user_ns) if name not in hidden and name not in ("In", "Out"))

    def _catalog(self, line: str) -> CatalogSnapshot:
        """The catalog as the principal of this line sees it; read once a cell, for nothing changes between two."""
        alias, who = (re.search(rf"{option}[ =]+(\w+)", line) for option in (r"(?:-a|--alias)", "--principal"))
        ctx = self._session.context(alias[1] if alias else None, who[1] if who else None)
        moment = self._shell.execution_count
        known = self._catalogs.get(id(ctx))
        if known is None or known[0] != moment:
            self._catalogs = {key: value for key, value in self._catalogs.items() if value[0] == moment}
            self._catalogs[id(ctx)] = known = (moment, ctx.catalog())
        return known[1]


def _quoted(name: str) -> str:
    return name if _PLAIN.match(name) else '"' + name.replace('"', '""') + '"'


def _starting(fragment: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that start with the fragment, each once; keywords in the case that is being typed."""
    wanted, lower = fragment.lower(), fragment.islower()
    found: dict[str, str] = {}
    for text, kind in candidates:
        if text.lstrip('"').lower().startswith(wanted):
            found.setdefault(text.lower() if kind == "keyword" and lower else text, kind)
    return list(found.items())


def _without_options(typed: str, options: Mapping[str, Any]) -> str:
    """The SQL behind the options of a line magic, as far as it is typed."""
    rest = typed
    while match := re.match(r"\s*(--?[A-Za-z][\w-]*)(?:=\S*)?", rest):
        rest = rest[match.end() :]
        action = options.get(match[1])
        if action is not None and action.nargs != 0 and "=" not in match[0]:
            rest = re.sub(r"\A\s*\S+", "", rest)
    return re.sub(r"\A\s*\w+\s*<<", "", rest)
