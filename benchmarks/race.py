"""The race: bytes first, through counting proxies; then times, straight to the server, interleaved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.contestants import CONTESTANTS, Process
from benchmarks.proxy import CountingProxy

__all__ = ["race"]

Texts = Mapping[int, str]


def race(paths: Mapping[str, str], uri: str, texts: Texts, repeats: int) -> dict[str, Any]:
    """All figures of one run, as plain data."""
    traffic = {name: _count_bytes(name, paths, uri, texts) for name in ("ours", "attach")}
    processes = {name: Process(name, paths, uri) for name in CONTESTANTS}
    try:
        queries = {number: _measure(processes, text, repeats) for number, text in texts.items()}
        planning = {number: _plan_seconds(processes["ours"], text, repeats) for number, text in texts.items()}
        peaks = {name: process.ask(peak=True)["peak_mb"] for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.close()
    return {"queries": queries, "plan_seconds": planning, "bytes": traffic, "peak_mb": peaks}


def _count_bytes(name: str, paths: Mapping[str, str], uri: str, texts: Texts) -> dict[int, dict[str, int]]:
    """What each query moves when catalogs are warm: the second run is counted."""
    proxy = CountingProxy(uri)
    process = Process(name, paths, proxy.uri)
    counted = {}
    try:
        for number, text in texts.items():
            process.ask(run=text)
            before = proxy.traffic()
            process.ask(run=text)
            moved = proxy.traffic() - before
            counted[number] = {"received": moved.received, "sent": moved.sent, "connections": moved.connections}
    finally:
        process.close()
        proxy.close()
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
