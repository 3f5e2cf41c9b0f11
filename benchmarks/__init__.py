"""Benchmarks: `python -m benchmarks` measures and writes docs/benchmarks.md.

`TAURO_BENCH_SF=0.05` makes a quick run, `TAURO_BENCH_REPEATS=9` a calmer one.
"""
