"""Tables that a policy reads besides its own: the names in the subqueries of its conditions and masks.

A name in a policy is a virtual table, whatever a query that meets the policy calls its own tables. Resolved, it is
written `"run as"."~policy"."table" AS "policy's table~n"`, every column with its relation; columns of the policy's own
table stay without one until the policy meets the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from sqlglot import exp

from tauro_nb.errors import PolicyError, nearest
from tauro_nb.security.types import UNTYPED, data_type
from tauro_nb.walks import every

__all__ = [
    "INVOKER", "OWNER", "POLICY_READ", "Catalog", "NoCatalog", "Relation", "Scope", "Tables", "empty_relation",
    "own_columns", "policy_reads", "qualified", "settle_names",
]  # fmt: skip

POLICY_READ: Final = "~policy"
"""Mark of a table that a policy reads."""
OWNER: Final = "policy_owner"
"""`run_as`: such tables are read as they are."""
INVOKER: Final = "invoker"
"""`run_as`: such tables are read with what applies to whoever asks."""

Tables = Callable[[str], Mapping[str, str] | None] | Mapping[str, Mapping[str, str]]
Tree = TypeVar("Tree", bound=exp.Expr)


class Catalog(Protocol):
    """What policies need to know of the catalog."""

    def find(self, name: str) -> str | None:
        """The virtual table of this name, as it is spelled; None when there is none."""
        ...

    def columns(self, name: str) -> Mapping[str, str]:
        """Columns of a virtual table with their DuckDB types, as far as known without asking its source."""
        ...

    def reads(self, name: str) -> tuple[str, ...]:
        """Tables that a view names; nothing for other tables."""
        ...

    def names(self) -> tuple[str, ...]:
        """All virtual tables, to suggest one."""
        ...


class NoCatalog:
    """Policies without a catalog: any table may be there, and only columns that were given are known.

    Parameters
    ----------
    tables
        Known columns of a table (name -> {column: type}, or a function that returns that or None).
    """

    def __init__(self, tables: Tables | None = None) -> None:
        self._tables = tables if tables is not None else {}

    def find(self, name: str) -> str | None:
        """The table as it is spelled, or as it is asked for."""
        known = () if callable(self._tables) else self._tables
        return next((table for table in known if table.casefold() == name.casefold()), name)

    def columns(self, name: str) -> Mapping[str, str]:
        """See `Catalog`."""
        if callable(self._tables):
            return self._tables(name) or {}
        return self._tables.get(self.find(name) or name, {})

    def reads(self, name: str) -> tuple[str, ...]:
        """See `Catalog`."""
        return ()

    def names(self) -> tuple[str, ...]:
        """See `Catalog`."""
        return () if callable(self._tables) else tuple(self._tables)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that a policy reads: its virtual name, and its columns as whoever it is read as has them."""

    name: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition's names may mean.

    Parameters
    ----------
    table, columns
        The policy's own table.
    relations
        Name as written, in lower case -> the table.
    run_as
        As whom they are read.
    """

    table: str
    columns: Mapping[str, str]
    relations: Mapping[str, Relation]
    run_as: str = OWNER


@dataclass(frozen=True, slots=True)
class _Named:
    """One relation of a FROM: what it may be called, and what its columns get in front."""

    names: frozenset[str]
    alias: str | None
    columns: Mapping[str, str]


def policy_reads(tree: exp.Expr) -> Iterator[exp.Table]:
    """The tables that a policy's expression reads besides its own."""
    return (node for node in every(tree, exp.Table) if node.db == POLICY_READ)


def own_columns(tree: exp.Expr) -> Iterator[exp.Column]:
    """Columns of the policy's own table: those without a relation, wherever they stand."""
    return (node for node in every(tree, exp.Column) if not node.table)


def qualified(tree: Tree, alias: str) -> Tree:
    """Write the relation in front of the columns of the policy's own table, in place.

    >>> tree = exp.Exists(this=exp.select("1").from_("e").where(exp.column("a", table="e").eq(exp.column("a"))))
    >>> qualified(tree, "t").sql()
    'EXISTS(SELECT 1 FROM e WHERE e.a = "t".a)'
    """
    for column in list(own_columns(tree)):
        column.set("table", exp.to_identifier(alias, quoted=True))
    return tree


def empty_relation(columns: Mapping[str, str], alias: str) -> exp.Subquery:
    """A relation with these columns and no row, for whoever only asks for types."""
    row = [exp.alias_(_null(kind), name, quoted=True) for name, kind in columns.items()]
    one = exp.alias_(exp.Null(), "none")
    select = exp.Select(expressions=row or [one]).where(exp.false(), copy=False)
    return exp.Subquery(this=select, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _null(kind: str) -> exp.Expr:
    return exp.Null() if kind == UNTYPED else exp.cast(exp.Null(), data_type(kind))


def settle_names(tree: exp.Expr, scope: Scope, markers: Mapping[str, object], what: str) -> exp.Expr:
    """Resolve every name of a condition, in place: innermost first, as SQL does.

    Parameters
    ----------
    tree
        A condition that the grammar let through.
    markers
        Columns that stand for a principal's values.
    what
        What it is, for the error message.

    Raises
    ------
    PolicyError
        A table or column is unknown, or could be several.

    Examples
    --------
    >>> import sqlglot
    >>> tree = sqlglot.parse_one("EXISTS (SELECT * FROM Ent e WHERE e.dept = Department)", read="duckdb")
    >>> scope = Scope("people", {"department": "VARCHAR"}, {"ent": Relation("ent", (("dept", "VARCHAR"),))})
    >>> settle_names(tree, scope, {}, "the filter").sql()
    'EXISTS(SELECT 1 FROM "policy_owner"."~policy"."ent" AS "people~0" WHERE "people~0"."dept" = "department")'
    """
    short = scope.table.casefold().rpartition(".")[2]
    own = _Named(frozenset({scope.table.casefold(), short}), None, scope.columns)
    return _Settler(scope, markers, what).settle(tree, ((own,),))


class _Settler:
    """Walks a condition from the outside in; a SELECT adds its relations in front of those around it."""

    def __init__(self, scope: Scope, markers: Mapping[str, object], what: str) -> None:
        self._scope, self._markers, self._what = scope, markers, what
        self._count = 0

    def settle(self, node: exp.Expr, around: tuple[tuple[_Named, ...], ...]) -> exp.Expr:
        if isinstance(node, exp.Column):
            return node if node.name in self._markers else self._column(node, around)
        if isinstance(node, exp.Select):
            around = (self._relations(node), *around)
            _plain_outputs(node)
        for child in list(node.iter_expressions()):
            if not isinstance(child, exp.Table):
                self.settle(child, around)
        return node

    def _relations(self, select: exp.Select) -> tuple[_Named, ...]:
        found: list[_Named] = []
        for place in (select.args["from_"], *(select.args.get("joins") or ())):
            named = self._relation(place.this)
            if any(named.names & other.names for other in found):
                raise PolicyError(f"{self._what}: two tables of one subquery go by the same name")
            found.append(named)
        return tuple(found)

    def _relation(self, table: exp.Table) -> _Named:
        written = ".".join(part.name for part in table.parts)
        relation = self._scope.relations.get(written.casefold())
        if relation is None:
            known = [other.name for other in self._scope.relations.values()]
            raise PolicyError(f"{self._what}: there is no table `{written}`.{nearest(written, known)}")
        alias = f"{self._scope.table}~{self._count}"
        self._count += 1
        names = {table.alias.casefold()} if table.alias else {written.casefold(), table.name.casefold()}
        marked = (relation.name, POLICY_READ, self._scope.run_as)
        parts = (exp.to_identifier(part, quoted=True) for part in marked)
        for key, part in zip(("this", "db", "catalog"), parts, strict=True):
            table.set(key, part)
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return _Named(frozenset(names), alias, dict(relation.columns))

    def _column(self, column: exp.Column, around: tuple[tuple[_Named, ...], ...]) -> exp.Expr:
        prefix = ".".join(part.name for part in column.parts[:-1]).casefold()
        for relations in around:
            matching = [named for named in relations if not prefix or prefix in named.names]
            found = [(named, name) for named in matching for name in self._spelled(column.name, named)]
            if len(found) > 1:
                listed = ", ".join(sorted({name for _, name in found}))
                raise PolicyError(f"{self._what}: `{column.name}` could be any of {listed}")
            if found:
                named, name = found[0]
                settled = exp.column(name, table=named.alias, quoted=True)
                column.replace(settled)
                return settled
            if prefix and matching:
                break
        raise self._unknown(column, around)

    @staticmethod
    def _spelled(name: str, named: _Named) -> list[str]:
        """The column as its table spells it; of several that differ in case only, the one that is written exactly."""
        alike = [known for known in named.columns if known.casefold() == name.casefold()]
        return [name] if name in alike else alike

    def _unknown(self, column: exp.Column, around: tuple[tuple[_Named, ...], ...]) -> PolicyError:
        own = around[-1][0]
        if len(around) == 1 and len(column.parts) > 1 and column.table.casefold() not in own.names:
            return PolicyError(f"{self._what}: `{column.sql('duckdb')}` is not a column of this table")
        known = [name for relations in around for named in relations for name in named.columns]
        where = "the table has" if len(around) == 1 else "the tables have"
        return PolicyError(f"{self._what}: {where} no column `{column.name}`.{nearest(column.name, known)}")


def _plain_outputs(select: exp.Select) -> None:
    """Outputs without names, which nothing may refer to; EXISTS looks at none."""
    outputs = [item.unalias() for item in select.expressions]
    if isinstance(outputs[0], exp.Star):
        outputs = [exp.Literal.number(1)]
    select.set("expressions", outputs)
