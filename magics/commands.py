"""The magics. Each one reads its line, asks the context one thing, and shows the answer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import IPython.display
from IPython.core.magic import Magics, magics_class
from traitlets import Enum, Int

from tauro_nb.errors import UsageError
from tauro_nb.magics import panels, show
from tauro_nb.magics.completion import Completer
from tauro_nb.magics.declare import magic, option
from tauro_nb.magics.formats import FORMATS, convert
from tauro_nb.magics.options import Line, assigned, none, one_of, read, single, variable
from tauro_nb.magics.parameters import Variables, parameters
from tauro_nb.magics.progress import ProgressLine
from tauro_nb.magics.session import Connection, Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tauro_nb.context import VirtualContext

__all__ = ["TauroMagics"]

_ALIAS = option("-a", "--alias", metavar="NAME", help="which connection (default: the current one)")
_PRINCIPAL = option("--principal", metavar="NAME", help="ask as somebody else")
_STATUSES = ("STARTED", "SUCCESS", "DENIED", "FAILED", "CANCELLED")


@magics_class
class TauroMagics(Magics):
    """The %-commands of tauro_nb."""

    shell: Any
    display_rows = Int(10, min=0, help="Rows of a result that are shown; all are fetched.").tag(config=True)
    format = Enum(FORMATS, "table", help="What `%%vquery` returns when `--as` does not say.").tag(config=True)
    panels = Enum(
        ("auto", "widget", "static"),
        "auto",
        help="Panels as widgets or as HTML; auto: widgets in a kernel.",
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session(self._whence)
        self.matcher: Any = Completer(self.session, shell, type(self)).matcher

    def _whence(self) -> dict[str, str]:
        """The notebook and the cell that ask, as far as the front end says."""
        cell, path = self.shell.execution_count, os.environ.get("JPY_SESSION_NAME", "")
        return {"cell": str(cell), **({"notebook": PurePath(path).name} if path else {})}

    @property
    def _live(self) -> bool:
        return self.panels == "widget" or (self.panels == "auto" and hasattr(self.shell, "kernel"))

    @magic(
        option("-a", "--alias", metavar="NAME", help="name of the connection (default: `default`)"),
        option("--principal", metavar="NAME", help="who asks: a name from the catalog, or any other"),
        option("--list", action="store_true", help="show the connections"),
        option("--close", metavar="NAME", help="close a connection"),
        option("catalog", nargs="?", help="a YAML file, or a variable: a path, a mapping, a VirtualContext"),
    )
    def vconnect(self, line: str) -> Any:
        """Connect to a catalog, or choose among the connected ones.

        ::

          %vconnect catalog.yaml --principal ana
          %vconnect other.yaml --alias other
          %vconnect --alias default            # back to the first
          %vconnect --principal root           # the same catalog, other eyes
        """
        given = read(self.vconnect, line)
        options = given.options
        target = single(given.words, "the catalog", "Put a path with spaces in quotation marks.")
        if options.list:
            return show.connections(self.session)
        if options.close is not None:
            self.session.close(options.close)
            return None
        display: Any = IPython.display.display
        display(show.note(self._connected(target, options.alias, options.principal)))
        return None

    def _connected(self, target: str | None, alias: str | None, principal: str | None) -> str:
        if target is not None:
            connection = self.session.open(self._catalog(target), alias, principal)
        else:
            connection = self.session.use(alias) if alias is not None else self.session.get()
            if principal is not None:
                connection.become(principal)
        return show.connected(connection.alias, connection.context.catalog())

    def _catalog(self, target: str) -> Any:
        """A notebook variable of that name, or the text itself as a path."""
        name = target.removeprefix("$")
        if name in self.shell.user_ns:
            return self.shell.user_ns[name]
        if target != name:
            raise UsageError(f"there is no variable `{name}`.")
        return target

    @magic(
        option("-o", "--output", metavar="VAR", help="store the result and show nothing"),
        option("-l", "--limit", metavar="N", type=int, help="at most N rows; the sources are told"),
        option("--as", dest="format", metavar="FORMAT", type=one_of(*FORMATS), help=" | ".join(FORMATS)),
        option("--explain", action="store_true", help="show the plan; run nothing"),
        option("--analyze", action="store_true", help="run, then show the plan with measured rows, bytes and times"),
        option(
            "-n", "--dry-run", "--dry_run", action="store_true", help="validate; show what each source would be asked"
        ),
        option("--params", metavar="JSON|$VAR", help="values for :name (an object) or ? (an array)"),
        option("--max-bytes", metavar="SIZE", help="refuse or stop a query that moves more: 500MB"),
        option("--progress", action="store_true", help="count what sources answer while it runs; it may run otherwise"),
        _PRINCIPAL,
        _ALIAS,
        option("-q", "--quiet", action="store_true", help="show nothing"),
        option("destination", nargs="?", help="like -o; cells only. `name <<` in front of the SQL works, too"),
        sql=True,
        cells=True,
    )
    def vquery(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Run one SELECT over the virtual catalog.

        `:name` in the SQL is the value of `--params` or of the notebook's variable of that name; it is bound, never
        pasted into the text.

        ::

          %%vquery                          %%vquery top --limit 10
          SELECT * FROM customers           SELECT * FROM orders WHERE status = :status

          rows = %vquery --as pandas SELECT count(*) AS n FROM customers
        """
        given, sql, destination = _query_line(self.vquery, line, cell)
        options = given.options
        if options.explain + options.analyze + options.dry_run > 1:
            raise UsageError("--explain, --analyze and --dry-run are answers to one question.", hint="Choose one.")
        connection = self.session.get(options.alias)
        ctx = connection.seen_by(options.principal)
        values = self._parameters(options.params, local_ns)
        if options.explain or options.dry_run:
            plan = ctx.plan(sql, values, limit=options.limit)
            answer = panels.plan_panel(plan, live=self._live) if options.explain else show.dry_run(plan, ctx.catalog())
        elif options.analyze:
            plan = ctx.analyze(sql, values, limit=options.limit, max_bytes=options.max_bytes)
            answer = panels.plan_panel(plan, live=self._live)
        else:
            form = options.format or self.format
            with ProgressLine(self.shell) as shown:
                answer, plan = convert(
                    ctx, sql, values, options.limit, form, self.display_rows, options.max_bytes,
                    progress=shown.listener, measure=options.progress,
                )  # fmt: skip
        connection.keep_plan(ctx, plan)
        if destination is not None:
            self.shell.user_ns[destination] = answer
            return None
        return None if options.quiet else answer

    def _parameters(self, given: str | None, local_ns: Mapping[str, Any] | None) -> Mapping[str, Any] | Sequence[Any]:
        return parameters(given, Variables(local_ns or {}, self.shell.user_ns))

    @magic(
        _PRINCIPAL,
        _ALIAS,
        option("pattern", nargs="*", help="words to look for in names, descriptions and tags"),
    )
    def vcatalog(self, line: str) -> Any:
        """Browse the catalog: what is there, and what the policies do to me.

        ::

          %vcatalog
          %vcatalog cust --principal ana
        """
        given = read(self.vcatalog, line)
        ctx = self.session.context(given.options.alias, given.options.principal)
        return panels.catalog_panel(ctx, " ".join(given.words), live=self._live)

    @magic(
        _PRINCIPAL,
        _ALIAS,
        option("table", nargs="?", help="a virtual table"),
    )
    def vdescribe(self, line: str) -> Any:
        """Describe one table: its columns as I see them, and where it stands in the lineage.

        ::

          %vdescribe customers
        """
        given = read(self.vdescribe, line)
        name = single(given.words, "the table", "%vdescribe customers")
        if name is None:
            raise UsageError("which table?", hint="`%vdescribe customers`; `%vcatalog` lists them.")
        ctx = self.session.context(given.options.alias, given.options.principal)
        return show.described(ctx.describe(name), ctx.principal.name)

    @magic(
        option("-s", "--sample", metavar="N", type=int, help="look at N rows, chosen at random (default: all)"),
        _PRINCIPAL,
        _ALIAS,
        option("table", nargs="*", help="a virtual table, and perhaps some of its columns"),
    )
    def vprofile(self, line: str) -> Any:
        """Profile a table: nulls, distinct values, extremes, quantiles, most frequent values of what I may see of it.

        One query; masked values are profiled masked, and hidden rows are not counted.

        ::

          %vprofile customers
          %vprofile customers country email --sample 10000
        """
        given = read(self.vprofile, line)
        if not given.words:
            raise UsageError("which table?", hint="`%vprofile customers`; `%vcatalog` lists them.")
        name, *columns = given.words
        ctx = self.session.context(given.options.alias, given.options.principal)
        return ctx.profile(name, columns or None, given.options.sample)

    @magic(
        option("-d", "--depth", metavar="N", type=int, default=2, help="steps from the table (default: 2)"),
        option("--queries", action="store_true", help="also the queries that read the tables"),
        _PRINCIPAL,
        _ALIAS,
        option("table", nargs="?", help="a virtual table; without one, the whole catalog"),
    )
    def vlineage(self, line: str) -> Any:
        """Show where a table comes from and what is made from it.

        ::

          %vlineage revenue --depth 1
        """
        given = read(self.vlineage, line)
        name = single(given.words, "the table", "%vlineage revenue")
        ctx = self.session.context(given.options.alias, given.options.principal)
        graph = ctx.lineage()
        if not given.options.queries:
            graph = panels.without_queries(graph)
        focus = None if name is None else ctx.require_open(name)
        return panels.lineage_panel(graph, focus, given.options.depth, live=self._live)

    @magic(
        option("--params", metavar="JSON|$VAR", help="values for :name (an object) or ? (an array)"),
        _PRINCIPAL,
        _ALIAS,
        option("sql", nargs="*", help="a query; without one, the plan of the last query"),
        sql=True,
        cells=True,
    )
    def vplan(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Show what a query asks of each source, and what is left for the engine. Nothing runs.

        ::

          %vplan                               # of the last query
          %vplan SELECT count(*) FROM orders
        """
        given, sql, _ = _query_line(self.vplan, line, cell)
        connection = self.session.get(given.options.alias)
        ctx = connection.seen_by(given.options.principal)
        if sql.strip():
            connection.keep_plan(ctx, ctx.plan(sql, self._parameters(given.options.params, local_ns)))
        return panels.plan_panel(_last_plan(connection, ctx), live=self._live)

    @magic(
        option("--principal", metavar="NAME", help="what somebody else gets"),
        _ALIAS,
        option("table", nargs="?", help="a virtual table"),
    )
    def vaccess(self, line: str) -> Any:
        """Explain what I, or somebody else, get of a table: which rule decides on it, on its rows, on each column.

        ::

          %vaccess customers
          %vaccess customers --principal ana
        """
        given = read(self.vaccess, line)
        name = single(given.words, "the table", "%vaccess customers")
        if name is None:
            raise UsageError("which table?", hint="`%vaccess customers`; `%vcatalog` lists them.")
        return self.session.context(given.options.alias).explain_access(given.options.principal, name)

    @magic(_ALIAS)
    def vpolicies(self, line: str) -> Any:
        """Check every row filter and mask against the columns of its table, whoever it is for.

        ::

          %vpolicies
        """
        given = read(self.vpolicies, line)
        none(given.words, "%vpolicies")
        return self.session.context(given.options.alias).check_policies()

    @magic(_ALIAS)
    def vposture(self, line: str) -> Any:
        """Show what this catalog protects and what it does not, and which controls it has.

        ::

          %vposture
        """
        given = read(self.vposture, line)
        none(given.words, "%vposture")
        return self.session.context(given.options.alias).posture()

    @magic(
        option("-t", "--table", metavar="TABLE", help="only this table"),
        option("-s", "--status", metavar="STATUS", type=str.upper, choices=_STATUSES, help=" | ".join(_STATUSES)),
        option("-l", "--limit", metavar="N", type=int, default=20, help="the newest N (default: 20)"),
        option("-v", "--verbose", action="store_true", help="also when, how long, and which query"),
        option("--all", action="store_true", help="records of everybody; otherwise my own"),
        _PRINCIPAL,
        _ALIAS,
    )
    def vaudit(self, line: str) -> Any:
        """Show who asked for what, and what came of it: my own requests, and to auditors everybody's.

        ::

          %vaudit --status denied
          %vaudit --all --table customers
        """
        given = read(self.vaudit, line)
        none(given.words, "%vaudit --table customers")
        options = given.options
        ctx = self.session.context(options.alias)
        if options.all:
            ctx.require_auditor("read the audit records of everybody")
        who = None if options.all else options.principal or ctx.principal.name
        logs = ctx.audit_logs(table_name=options.table, principal=who, status=options.status)
        return show.audit(logs[-options.limit :] if options.limit > 0 else [], verbose=options.verbose)


def _last_plan(connection: Connection, ctx: VirtualContext) -> Any:
    plan = connection.last_plan(ctx)
    if plan is None:
        raise UsageError("no query yet.", hint="Run a query first, or give one: `%vplan SELECT ...`.")
    return plan


def _query_line(magic: Any, line: str, cell: str | None) -> tuple[Line, str, str | None]:
    """Options, the SQL, and the variable that gets the result."""
    given = read(magic, line, sql_follows=cell is None)
    if cell is None:
        name, sql = assigned(given.rest)
    else:
        name, extra = assigned(" ".join((*given.words, given.rest)))
        sql = cell
        if name is None:
            name = single(extra.split(), "the destination", "The query goes on the lines below.")
    names = [found for found in (name, getattr(given.options, "output", None)) if found is not None]
    if len(names) > 1:
        raise UsageError(f"two destinations, `{names[0]}` and `{names[1]}`.", hint="Give one.")
    return given, sql, variable(names[0]) if names else None
