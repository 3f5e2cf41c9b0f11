"""`python -m tests.pushdown`: every trial on every dialect; prints what is proven, refused or wrong."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mariadb import start_mariadb
from tests.pushdown.columns import COLUMNS
from tests.pushdown.expressions import Trial, trials
from tests.pushdown.proof import Proof, prove
from tests.pushdown.servers import Opened, on_mysql, on_postgres, on_sqlite
from tests.servers import start_postgres


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove everything; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.pushdown", description=__doc__)
    parser.add_argument("--dialect", action="append", choices=list(COLUMNS), help="only these")
    parser.add_argument("--share", type=float, default=1.0, help="part of the trials, from 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="which part")
    parser.add_argument("--only", default="", help="rows whose name begins so")
    parser.add_argument("--rows", action="store_true", help="print every row")
    given = parser.parse_args(arguments)
    wrong = 0
    for dialect in given.dialect or COLUMNS:
        started = time.monotonic()
        chance = random.Random(given.seed)
        chosen = [trial for trial in trials(COLUMNS[dialect])
                  if trial.row.startswith(given.only) and chance.random() < given.share]  # fmt: skip
        with _open(dialect) as (ctx, plain):
            proof = prove(ctx, plain, chosen)
        print(_said(dialect, proof, chosen, time.monotonic() - started, rows=given.rows), flush=True)
        wrong += len(proof.wrong)
    return int(wrong > 0)


@contextlib.contextmanager
def _open(dialect: str) -> Iterator[Opened]:
    with contextlib.ExitStack() as stack:
        if dialect == "postgres":
            postgres = start_postgres()
            stack.callback(postgres.stop)
            yield stack.enter_context(on_postgres(postgres))
        elif dialect == "mysql":
            mariadb = start_mariadb()
            stack.callback(mariadb.stop)
            yield stack.enter_context(on_mysql(mariadb))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            yield stack.enter_context(on_sqlite(Path(folder)))


def _said(dialect: str, proof: Proof, chosen: Sequence[Trial], seconds: float, *, rows: bool) -> str:
    only_refused = sorted(proof.refused.keys() - proof.proven.keys())
    head = (
        f"{dialect}: {len(chosen):,} trials, {len(proof.proven):,} rows proven in {proof.proven.total():,} queries, "
        f"{len(only_refused):,} rows refused in {proof.refused.total():,}, {proof.alike:,} fail alike, "
        f"{proof.unbound:,} not SQL, {len(proof.wrong):,} wrong; {seconds:.0f} s"
    )
    listed = [f"  proven  {row}: {count}" for row, count in sorted(proof.proven.items())]
    listed += [f"  refused {row}" for row in only_refused]
    return "\n".join([head, *(listed if rows else ()), *(f"  WRONG {text}" for text in proof.wrong)])


if __name__ == "__main__":
    sys.exit(main())
