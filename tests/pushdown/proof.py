"""Runs trials on a source, on the road that every query takes, and on DuckDB, and compares what they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import duckdb
import pyarrow as pa
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError
from tauro_nb.query.names import FRAGMENT, leaf_kind
from tauro_nb.query.plan import QueryPlan, sealed
from tests.pushdown.columns import ROWS
from tests.pushdown.expressions import Trial
from tests.tpc.compare import Answer, answer, difference

__all__ = ["Proof", "prove"]


@dataclass
class Proof:
    """What came out.

    Parameters
    ----------
    proven
        Row -> trials that the source answered, each as DuckDB does.
    refused
        Row -> trials that stayed in the engine, at least in part, and were answered as DuckDB does.
    alike
        Trials that fail in both, or fail here where DuckDB gives a number that its type cannot hold.
    unbound
        Trials that DuckDB does not take.
    wrong
        What is not as in DuckDB.
    """

    proven: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    nodes: set[type] = field(default_factory=set)
    alike: int = 0
    unbound: int = 0
    wrong: list[str] = field(default_factory=list)


def prove(ctx: VirtualContext, plain: duckdb.DuckDBPyConnection, trials: Iterable[Trial]) -> Proof:
    """Run trials through `ctx` and on `plain`, which has the same table `t`."""
    proof = Proof()
    with duckdb.connect(config={"threads": 1}) as streamed:
        # What DuckDB does with a constant that it cannot convert depends on whether it stores the table.
        streamed.execute("SET TimeZone = 'UTC'")
        streamed.register("t", plain.execute("SELECT * FROM t").to_arrow_table())
        for trial in trials:
            try:
                plain.execute(f"EXPLAIN {trial.sql}")
            except (duckdb.BinderException, duckdb.ConversionException, duckdb.CatalogException):
                proof.unbound += 1
                continue
            for sql in _parts(plain, trial):
                _compare(ctx, (plain, streamed), trial, sql, proof)
    return proof


def _parts(plain: duckdb.DuckDBPyConnection, trial: Trial) -> Iterator[str]:
    """The query; if it fails for some rows, the query of the others, and that of some by themselves."""
    if trial.value and (failing := _failing(plain, trial.value)):
        yield _restricted(trial.sql, f"n NOT IN ({', '.join(map(str, failing))})")
        for number in {failing[0], failing[len(failing) // 2], failing[-1]}:
            yield _restricted(trial.sql, f"n = {number}")
    else:
        yield trial.sql


def _failing(plain: duckdb.DuckDBPyConnection, expression: str) -> list[int]:
    """Numbers of the rows for which an expression fails.

    One by one: DuckDB 1.5.5 crashed in one process that asked for thousands of failing expressions in TRY.
    """
    try:
        plain.execute(f"SELECT {expression} FROM t").fetchall()
    except duckdb.Error:
        return [number for number in range(ROWS) if _fails(plain, expression, number)]
    return []


def _fails(plain: duckdb.DuckDBPyConnection, expression: str, number: int) -> bool:
    try:
        plain.execute(f"SELECT {expression} FROM t WHERE n = {number}").fetchall()
    except duckdb.Error:
        return True
    return False


def _restricted(sql: str, condition: str) -> str:
    head, where, tail = sql.partition(" WHERE ")
    if where:
        body, limit, rest = tail.partition(" LIMIT ")
        return f"{head} WHERE {condition} AND ({body}){limit}{rest}"
    return sql.replace(" FROM t", f" FROM t WHERE {condition}")


def _compare(
    ctx: VirtualContext, engines: Sequence[duckdb.DuckDBPyConnection], trial: Trial, sql: str, proof: Proof
) -> None:
    pushed, found, failure = False, None, ""
    try:
        plan = ctx._plan(sql)
        pushed = _is_answer(plan)
        found = ctx.run(sealed(plan, plan, ctx.layer)).to_arrow()
    except TauroError as error:
        failure = f"{type(error).__name__}: {error}"
    # What was pushed is held to the stored table alone.
    expected = _expected(engines[:1] if pushed or failure else engines, sql)
    if isinstance(expected, duckdb.Error):
        if found is not None:
            proof.wrong.append(f"{trial.row}: {sql}\n    answers where DuckDB says {str(expected)[:90]}")
        else:
            proof.alike += 1
        return
    if failure and _beyond_type(expected.table):
        proof.alike += 1
        return
    wrong = failure or difference(_as_table(found), expected)
    if wrong:
        proof.wrong.append(f"{trial.row}: {sql}\n    {'pushed' if pushed else 'not pushed'}: {str(wrong)[:300]}")
    elif pushed:
        proof.proven[trial.row] += 1
        proof.nodes.update(type(node) for node in plan.fragments[0].tree.walk())
    else:
        proof.refused[trial.row] += 1


def _expected(engines: Sequence[duckdb.DuckDBPyConnection], sql: str) -> Answer | duckdb.Error:
    """The first answer, or the first error where none has one."""
    failure: duckdb.Error | None = None
    for engine in engines:
        try:
            return answer(engine, sql)
        except duckdb.Error as error:
            failure = failure or error
    assert failure is not None
    return failure


def _beyond_type(table: pa.Table) -> bool:
    """Whether a decimal has more digits than its type: DuckDB does not look when it sums."""
    columns = [(field.type, table[field.name]) for field in table.schema if pa.types.is_decimal(field.type)]
    return any(
        abs(value) >= Decimal(10) ** (kind.precision - kind.scale)
        for kind, column in columns
        for value in column.to_pylist()
        if value is not None
    )


def _is_answer(plan: QueryPlan) -> bool:
    """Whether all that the engine has left to do is to read the source's answer, and give its columns their types."""
    shown, fragments = plan.shown, plan.fragments
    if len(fragments) != 1 or fragments[0].kind != "query" or not isinstance(shown, exp.Select):
        return False
    rest = {name for name, value in shown.args.items() if value}
    values = [select.unalias() for select in shown.selects]
    read = shown.args["from_"].this
    plain = all(isinstance(value, exp.Cast) and isinstance(value.this, exp.Column) for value in values)
    return plain and rest == {"expressions", "from_"} and isinstance(read, exp.Table) and leaf_kind(read) == FRAGMENT


def _as_table(found: object) -> pa.Table:
    assert isinstance(found, pa.Table)
    return found
