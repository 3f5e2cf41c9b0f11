"""The race: bytes first, through counting proxies; then times, straight to the servers, interleaved.

Over a slow wire both are taken at once: each contestant runs each query once, with its catalogs warm and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.asked import Process
from benchmarks.proxy import CountingProxy, Traffic, Wire
from benchmarks.setting import Setting

__all__ = ["race", "slow_race"]

Texts = Mapping[Any, str]
USUAL = ("ours", "attach", "local")


def race(setting: Setting, texts: Texts, repeats: int, names: Sequence[str] = USUAL) -> dict[str, Any]:
    """All figures of one run, as plain data."""
    traffic = {name: _count_bytes(name, setting, texts) for name in names if name != "local"}
    processes = {name: Process(name, setting) for name in names}
    try:
        queries = {number: _measure(processes, text, repeats) for number, text in texts.items()}
        planning = {number: _plan_seconds(processes["ours"], text, repeats) for number, text in texts.items()}
        peaks = {name: process.ask(peak=True)["peak_mb"] for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.close()
    return {"queries": queries, "plan_seconds": planning, "bytes": traffic, "peak_mb": peaks}


def slow_race(setting: Setting, texts: Texts, wire: Wire, names: Iterable[str]) -> dict[str, Any]:
    """Seconds and bytes of each query over a slow wire, by contestant."""
    return {name: _over(wire, name, setting, texts) for name in names}


def _over(wire: Wire, name: str, setting: Setting, texts: Texts) -> dict[Any, dict[str, Any]]:
    figures: dict[Any, dict[str, Any]] = {}
    with setting.through(wire) as (seen, proxies):
        process = Process(name, seen)
        try:
            for table in setting.paths:
                process.ask(run=f"SELECT * FROM {table} LIMIT 1")
            for number, text in texts.items():
                before = _total(proxies)
                answer = process.ask(run=text)
                figures[number] = _plain(_total(proxies) - before) | answer
        finally:
            process.close()
    return figures


def _total(proxies: Iterable[CountingProxy]) -> Traffic:
    return sum((proxy.traffic() for proxy in proxies), Traffic())


def _plain(moved: Traffic) -> dict[str, int]:
    return {"received": moved.received, "sent": moved.sent, "connections": moved.connections}


def _count_bytes(name: str, setting: Setting, texts: Texts) -> dict[Any, dict[str, int]]:
    """What each query moves when catalogs are warm: the second run is counted."""
    counted = {}
    with setting.through() as (seen, proxies):
        process = Process(name, seen)
        try:
            for number, text in texts.items():
                process.ask(run=text)
                before = _total(proxies)
                process.ask(run=text)
                counted[number] = _plain(_total(proxies) - before)
        finally:
            process.close()
    return counted


def _measure(processes: Mapping[str, Process], text: str, repeats: int) -> dict[str, Any]:
    """One warm-up each, whose answers must agree; then rounds in which everybody runs, in rotating order."""
    warm = {name: process.ask(run=text) for name, process in processes.items()}
    names = list(processes)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(repeats):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            if "error" not in warm[name]:
                runs[name].append(processes[name].ask(run=text))
    measured: dict[str, Any] = {name: _figures(warm[name], runs[name]) for name in names}
    measured["same_answer"] = len({one.get("checksum", one.get("error")) for one in warm.values()}) == 1
    return measured


def _figures(warm: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    if "error" in warm:
        return {"error": warm["error"]}
    return {
        "seconds": [run["seconds"] for run in runs],
        "plan_ms": [run["plan_ms"] for run in runs],
        "rows": warm["rows"],
    }


def _plan_seconds(ours: Process, text: str, repeats: int) -> list[float]:
    return [answer["seconds"] for answer in (ours.ask(plan=text) for _ in range(repeats)) if "seconds" in answer]
