"""Encrypt and decrypt a million values: `python -m benchmarks.encryption`.

Through Arrow, as a whole column, and through DuckDB, 2,048 values at a time. Counted is the processor time of one
thread, the best of three runs, so that other processes disturb the figures as little as can be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import duckdb
import pyarrow as pa
from sqlglot import exp

from tauro_nb.security.cipher import FieldSpec
from tauro_nb.security.functions import DECRYPT, ENCRYPT, HMAC, EngineFunctions, call
from tauro_nb.security.keys import KeyRing

VALUES = 1_000_000
RANDOM = FieldSpec("people", "ssn")
EQUAL = FieldSpec("people", "ssn", searchable=True)


def best(work: Callable[[], object], runs: int = 3) -> float:
    times = []
    for _ in range(runs):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def column(distinct: int) -> pa.Array:
    values = [f"customer-{number:010d}" for number in range(distinct)]
    # A stride that is prime to the count: neighbours differ, as they do in a table.
    return pa.array([values[number * 7919 % distinct] for number in range(VALUES)])


def through_arrow(name: str, spec: FieldSpec, given: pa.Array) -> float:
    ring = KeyRing()
    handle = ring.hmac_handle() if name == HMAC else ring.handle(spec)
    # New functions each time: nothing is remembered from the run before.
    return best(lambda: EngineFunctions(ring).apply(name, handle, given))


def through_duckdb(name: str, spec: FieldSpec, given: pa.Array, functions: EngineFunctions) -> float:
    handle = functions.ring.hmac_handle() if name == HMAC else functions.ring.handle(spec)
    sql = exp.select(exp.func("max", call(name, handle, exp.column("v")))).from_("given").sql("duckdb")

    def work() -> None:
        functions.forget()
        with duckdb.connect(config={"threads": "1"}) as connection:
            functions.register(connection)
            connection.register("given", pa.table({"v": given}))
            connection.execute(sql).fetchall()

    return best(work)


def main() -> None:
    out = sys.stdout.write
    out(f"{'operation':34}{'distinct':>10}{'Arrow, s':>10}{'M/s':>7}{'DuckDB, s':>11}{'M/s':>7}\n")
    for distinct in (100, 10_000, 100_000, VALUES):
        plain = column(distinct)
        for name, label, spec in (
            (ENCRYPT, "encrypt AES-256-GCM", RANDOM),
            (ENCRYPT, "encrypt AES-SIV", EQUAL),
            (DECRYPT, "decrypt AES-256-GCM, repeated", RANDOM),
            (DECRYPT, "decrypt AES-SIV", EQUAL),
            (HMAC, "HMAC-SHA256", EQUAL),
        ):
            functions = EngineFunctions(KeyRing())
            given = plain
            if name == DECRYPT:
                # Equal ciphertexts where values repeat, as a join or a dictionary-encoded file has them.
                coded = plain.dictionary_encode()
                sealed = functions.apply(ENCRYPT, functions.ring.handle(spec), coded.dictionary)
                given = sealed.take(coded.indices)
                arrow = best(lambda given=given, f=functions, s=spec: _fresh(f).apply(DECRYPT, f.ring.handle(s), given))
            else:
                arrow = through_arrow(name, spec, given)
            engine = through_duckdb(name, spec, given, functions)
            out(
                f"{label:34}{distinct:>10,}{arrow:>10.3f}{VALUES / arrow / 1e6:>7.2f}"
                f"{engine:>11.3f}{VALUES / engine / 1e6:>7.2f}\n"
            )


def _fresh(functions: EngineFunctions) -> EngineFunctions:
    functions.forget()
    return functions


if __name__ == "__main__":
    main()
