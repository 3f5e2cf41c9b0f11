"""Faults and Ctrl-C at random moments of random queries: one clear error or the right answer, and nothing else.

`TAURO_FAULTS` says how many for each server (`make faults` runs 200), `TAURO_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import pytest

import tauro_nb
from tauro_nb.context import VirtualContext
from tauro_nb.errors import QueryCancelled, SourceUnavailable
from tests.faults.world import QUERIES, World, eventually, refused, rows

ROUNDS: Final = int(os.environ.get("TAURO_FAULTS", "6"))
SEED: Final = int(os.environ.get("TAURO_SEED", str(random.SystemRandom().randrange(1 << 32))))
PRODUCT: Final = str(Path(tauro_nb.__file__).parent)
WITHIN: Final = 3.0
"""Seconds from Ctrl-C to the error: one, and what a busy machine adds."""
STALLED: Final = WITHIN + 2
"""The same where nobody answers: so long a server is waited for before its connections are broken."""
LEISURE: Final = 60
"""A `read_timeout` that no round waits for."""


class Press:
    """Ctrl-C after a while; only while code of the product's runs, for elsewhere nothing can be said of it."""

    def __init__(self, after: float) -> None:
        self.at: float | None = None
        self.where = ""
        self._after = after

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._pressed)
        self._press(self._after)
        return self

    def _press(self, after: float) -> None:
        self._timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        signal.signal(signal.SIGINT, self._before)

    def _pressed(self, _number: int, frame: FrameType | None) -> None:
        if frame is not None and (frame.f_code.co_filename == weakref.__file__ or frame.f_code.co_name == "__del__"):
            # Python prints and drops what these raise, and the person presses again.
            self._press(0.01)
            return
        while frame is not None and not frame.f_code.co_filename.startswith(PRODUCT):
            frame = frame.f_back
        if frame is not None:
            self.at, self.where = time.monotonic(), "".join(traceback.format_stack(frame))
            raise KeyboardInterrupt


@contextmanager
def nothing(_world: World, _rng: random.Random) -> Iterator[None]:
    yield


@contextmanager
def interrupted(_world: World, rng: random.Random, within: float = WITHIN) -> Iterator[None]:
    with Press(rng.uniform(0, 0.6)) as press:
        try:
            yield
        except QueryCancelled:
            assert press.at is not None
            assert time.monotonic() - press.at < within
            raise
    assert press.at is None, f"Ctrl-C was pressed, and the query went on:\n{press.where}"


@contextmanager
def interrupted_on_a_stalled_way(world: World, rng: random.Random) -> Iterator[None]:
    world.proxy.stall(after=rng.randrange(50_000))
    with interrupted(world, rng, STALLED):
        yield


def after_bytes(order: Callable[[World, int], None]) -> Callable[[World, random.Random], Any]:
    @contextmanager
    def fault(world: World, rng: random.Random) -> Iterator[None]:
        order(world, int(10 ** rng.uniform(0, 7)))
        yield

    return fault


@contextmanager
def lost_after_a_while(world: World, rng: random.Random) -> Iterator[None]:
    timer = threading.Timer(rng.uniform(0, 0.6), world.proxy.drop)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextmanager
def killed(world: World, rng: random.Random) -> Iterator[None]:
    timer = threading.Timer(rng.uniform(0, 0.6), world.server.crash)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        world.server.start_again()


FAULTS: Final[Mapping[str, tuple[Any, int]]] = {
    "none": (nothing, 1),
    "Ctrl-C": (interrupted, 8),
    "Ctrl-C on a stalled way": (interrupted_on_a_stalled_way, 3),
    "lost after bytes": (after_bytes(lambda world, number: world.proxy.drop(after=number)), 4),
    "lost after a while": (lost_after_a_while, 2),
    "stalled after bytes": (after_bytes(lambda world, number: world.proxy.stall(after=number)), 2),
    "killed": (killed, 1),
}
"""What may happen, and how often."""


def asked(ctx: VirtualContext, name: str, *, planned: bool) -> list[tuple[Any, ...]]:
    if not planned:
        return rows(ctx, name)
    table = ctx.run(ctx.plan(QUERIES[name])).to_arrow()
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def one_round(world: World, ctx: VirtualContext, right: Mapping[str, Any], fault: str, rng: random.Random) -> str:
    """Ask something while the fault happens; says how it ended."""
    name, planned = rng.choice(sorted(QUERIES)), rng.random() < 0.3
    before = len(ctx.audit_logs())
    ended = "answered"
    try:
        with FAULTS[fault][0](world, rng):
            assert asked(ctx, name, planned=planned) == right[name]
    except QueryCancelled as error:
        ended, said = "cancelled", error
    except SourceUnavailable as error:
        ended, said = "unavailable", error
    except KeyboardInterrupt:
        # Pressed before the product had begun with the query.
        assert len(ctx.audit_logs()) == before, f"a bare KeyboardInterrupt left the product:\n{traceback.format_exc()}"
        return "not begun"
    records = ctx.audit_logs()[before:]
    assert len({record.query_id for record in records}) == 1
    expected = {"answered": "SUCCESS", "cancelled": "CANCELLED", "unavailable": "FAILED"}[ended]
    assert {record.status for record in records} == {expected}
    assert (ended == "cancelled") <= fault.startswith("Ctrl-C")
    assert ended == "answered" or "127.0.0.1" not in str(said)
    return ended


# A driver that is interrupted between making a socket and keeping it leaves it to Python, which closes it and warns.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_any_fault_at_any_moment(world: World, right: Mapping[str, Any]) -> None:
    print(f"\n{world.kind}: {ROUNDS} rounds, TAURO_SEED={SEED}")  # noqa: T201 - repeats the run
    rng = random.Random(SEED)
    seen: dict[tuple[str, str], int] = {}
    done = 0
    while done < ROUNDS:
        with rng.choice((world.impatient_context(), world.context(read_timeout=LEISURE))) as ctx:
            for _ in range(min(rng.randrange(1, 8), ROUNDS - done)):
                fault = rng.choices(list(FAULTS), [weight for _, weight in FAULTS.values()])[0]
                if (
                    fault.startswith("stalled")
                    and ctx.layer.config.connections["far"].options["read_timeout"] == LEISURE
                ):
                    fault = "lost after bytes"
                ended = one_round(world, ctx, right, fault, rng)
                seen[fault, ended] = seen.get((fault, ended), 0) + 1
                world.proxy.heal()
                eventually(lambda: world.running() == 0, within=3)
                assert rows(ctx, "keys") == right["keys"], (fault, ended)
                done += 1
    for (fault, ended), count in sorted(seen.items()):
        print(f"  {fault:<26} {ended:<12} {count}")  # noqa: T201 - `make faults` shows it


@pytest.mark.parametrize("planned", [False, True])
def test_an_interrupt_before_anything_runs(world: World, right: Mapping[str, Any], planned: bool) -> None:
    with world.context(read_timeout=LEISURE) as ctx:
        plan = ctx.plan(QUERIES["keys"])
        world.proxy.stall()
        started = time.monotonic()
        with Press(0.3):
            refused(ctx, lambda: ctx.run(plan) if planned else rows(ctx, "keys"), QueryCancelled, "interrupted")
        # psycopg would wait five seconds for the server to end the statement.
        assert time.monotonic() - started < 4
        world.proxy.heal()
        assert rows(ctx, "keys") == right["keys"]
