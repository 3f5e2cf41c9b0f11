"""Types of all nodes of a tree over raw tables, as capability tables ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import TypeAnnotator
from sqlglot.optimizer.scope import Scope
from sqlglot.schema import MappingSchema, Schema

from tauro_nb.query.names import RAW, leaf_kind
from tauro_nb.query.trees import every, known_type

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["typed"]


def typed(tree: exp.Expr, planner: Planner) -> exp.Expr:
    """Type every node in place; columns whose comparisons a source would decide differently get no type at all."""
    names = {table.name for table in every(tree, exp.Table) if leaf_kind(table) == RAW}
    types = {name: planner.raw(name).exact_types() for name in names}
    known = {name: {column: known_type(kind) for column, kind in kinds.items()} for name, kinds in types.items()}
    schema = _RawTables({RAW: known}, dialect="duckdb", normalize=False)
    try:
        return _Annotator(schema, tree).annotate(tree)
    except SqlglotError:
        return tree


class _RawTables(MappingSchema):
    """Columns of raw tables, by names as they are: there is nothing to normalize."""

    def get_column_type(
        self, table: exp.Table | str, column: exp.Column | str, *args: Any, **options: Any
    ) -> exp.DataType:
        """The type of a column; of what is no raw table it is not known."""
        if isinstance(table, str) or isinstance(column, str):
            return super().get_column_type(table, column, *args, **options)
        found: Any = self.mapping.get(table.db, {})
        kind: exp.DataType | None = found.get(table.name, {}).get(column.name)
        return exp.DataType(this=exp.DType.UNKNOWN) if kind is None else kind


class _Annotator(TypeAnnotator):
    """sqlglot's, without what costs most of its time: names get no type, and nodes of one type share it."""

    def __init__(self, schema: Schema, tree: exp.Expr) -> None:
        super().__init__(schema)
        self._visited = {id(name): name for name in every(tree, exp.Identifier)}
        self._shared: dict[exp.DType, exp.DataType] = {}

    def annotate_scope(self, scope: Scope) -> None:
        """Type what a query says; a whole row as a value, of which sources are asked nothing, gets no type."""
        self.annotate_expression(scope.expression, scope)
        self._fixup_order_by_aliases(scope)

    def _set_type(self, expression: exp.Expr, target_type: exp.DataType | exp.DType | None) -> exp.Expr:
        if not isinstance(target_type, exp.DataType):
            kind = target_type or exp.DType.UNKNOWN
            target_type = self._shared.get(kind) or self._shared.setdefault(kind, kind.into_expr())
        if expression._type is not None or target_type.this is exp.DType.NULL:  # noqa: SLF001 - the property takes long
            return super()._set_type(expression, target_type)
        expression._type = target_type  # noqa: SLF001
        self._visited[id(expression)] = expression
        return expression
