"""What is measured in a run, and what each of it should be on the two-core machines that the bus is developed on."""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from statistics import median
from typing import Final

from . import calls, events, floors, footprint, latency, payload, rpc, supervised, throughput
from .figure import Figure, Target
from .percentiles import Paced, medians
from .stage import Stage
from .throughput import Shape

MIB: Final = 1 << 20
PACED_ROUNDS: Final = 3
_BASIC: Final = 256  # bytes of the messages that targets are about


def publish(stage: Stage) -> Iterator[Figure]:
    """One publish of 256 bytes that nobody reads, from Python and in C, beside a plain copy of as many."""
    copied = floors.copy(stage, calls.SIZE)
    floor = median(copied) if copied else None
    yield Figure("memcpy of 256 B", "ns", copied, note="" if copied else floors.NO_COMPILER)
    yield Figure("publish(), 256 B, Python", "ns", calls.python_ns(stage), Target(150), floor)
    in_c = calls.c_ns(stage)
    note = in_c if isinstance(in_c, str) else f"{median(whole for _, whole in in_c):.0f} ns with clock and bells"
    rounds = [] if isinstance(in_c, str) else [bare for bare, _ in in_c]
    yield Figure("publish, 256 B, C", "ns", rounds, Target(70), floor, note=note)


def throughputs(stage: Stage) -> Iterator[Figure]:
    """Messages a second, lossless, counted at the reader."""
    targets = {
        Shape(1, 1, _BASIC, False): 4e6,
        Shape(1, 1, _BASIC, True): 12e6,
        Shape(1, 4, _BASIC, False): 2e6,
        Shape(4, 1, _BASIC, False): 3e6,
    }
    shapes = _every_shape() if stage.effort.every_shape else targets
    for shape in shapes:
        copied = floors.copy(stage, shape.size)
        bound = targets.get(shape)
        yield Figure(
            str(shape),
            "/s",
            throughput.rates(stage, shape),
            Target(bound, at_least=True) if bound else None,
            1e9 / median(copied) if copied else None,
            note=_readers_note(shape),
        )


def _every_shape() -> Iterator[Shape]:
    for writers, readers in ((1, 1), (1, 4), (4, 1)):
        for size in payload.SIZES:
            yield Shape(writers, readers, size, False)
            yield Shape(writers, readers, size, True)


def _readers_note(shape: Shape) -> str:
    return f"each of {shape.readers} readers gets all" if shape.readers > 1 else ""


def guarantees(stage: Stage) -> Iterator[Figure]:
    """What acknowledging costs, each beside the same without, measured right before and after."""
    for batch, ack, once, share in (
        (False, "each", False, 0.5),
        (False, "many", False, 1 / 1.2),
        (True, "many", False, 1 / 1.2),
        (False, "each", True, None),
        (True, "many", True, None),
    ):
        plain, shape = Shape(1, 1, _BASIC, batch), Shape(1, 1, _BASIC, batch, ack, once)
        before, found, after = (throughput.rates(stage, one) for one in (plain, shape, plain))
        floor = median([*before, *after])
        yield Figure(str(shape), "/s", found, floor=floor, note="floor: without acknowledgements")
        name = str(shape).removeprefix(f"1→1, {_BASIC} B, ")
        target = Target(share, at_least=True) if share else None
        yield Figure(f"{name}, of that without", "share", [rate / floor for rate in found], target)


def coroutines(stage: Stage) -> Iterator[Figure]:
    """Reading by asyncio, beside the same without."""
    for batch in (False, True):
        plain, shape = Shape(1, 1, _BASIC, batch), Shape(1, 1, _BASIC, batch, aio=True)
        before, found, after = (throughput.rates(stage, one) for one in (plain, shape, plain))
        yield Figure(str(shape), "/s", found, floor=median([*before, *after]), note="floor: without asyncio")


def among(stage: Stage) -> Iterator[Figure]:
    """What publishing costs when others have many patterns, which match the topic or not, and nobody waits."""
    alone = calls.python_ns(stage)
    for matching in (False, True):
        with footprint.subscribed(stage, matching=matching):
            found = calls.python_ns(stage)
        kind = "lossy subscriptions to it" if matching else "patterns that do not match"
        name = f"publish(), 256 B, among {stage.effort.subscriptions:,} {kind}"
        yield Figure(name, "ns", found, floor=median(alone), note="floor: nobody")
    matched = calls.match_ns(stage)
    for patterns, rounds in matched.items():
        yield Figure(f"a new topic among {patterns:,} patterns", "ns", rounds, floor=median(matched[10]))


def process_events(stage: Stage) -> Iterator[Figure]:
    """Real process events: built, published, received and parsed, against what protobuf alone allows."""
    allowed = events.alone(stage)
    each = throughput.rates(stage, Shape(1, 1, 0, False))
    allowed += events.alone(stage)  # before and after: the machine may have changed meanwhile
    floor = median(allowed)
    yield Figure("protobuf alone, process events", "/s", allowed)
    yield Figure(str(Shape(1, 1, 0, False)), "/s", each, floor=floor)
    yield Figure(
        "process events, of protobuf alone", "share", [rate / floor for rate in each], Target(0.8, at_least=True)
    )
    if stage.effort.every_shape:
        for shape in (Shape(1, 1, 0, True), Shape(1, 4, 0, False), Shape(4, 1, 0, False)):
            yield Figure(str(shape), "/s", throughput.rates(stage, shape), floor=floor, note=_readers_note(shape))


def spinning(stage: Stage) -> Iterator[Figure]:
    """There and back with both sides asking again and again, against a cache line that goes there and back."""
    floor = floors.line(stage)
    yield Figure("cache line, C, one way", "ns", floor, note="" if floor else floors.NO_COMPILER)
    found = latency.ping_pong(stage, spin=True)
    rounds = [one["p50"] for one in found]
    best = median(floor) if floor else None
    yield Figure("ping-pong spinning, one way", "ns", rounds, Target(500), best, medians(found))
    yield _of_floor("ping-pong spinning, of the floor", rounds, best, 8)


def sleeping(stage: Stage) -> Iterator[Figure]:
    """There and back with both sides waiting, against a futex hand-over."""
    for where in _placements(stage):
        with stage.pinned() if where else nullcontext():
            floor = floors.futex(stage)
            found = latency.ping_pong(stage, spin=False)
        yield _floor_figure(f"futex hand-over, C, one way{where}", floor)
        rounds, best = [one["p50"] for one in found], medians(floor).get("p50")
        yield Figure(f"ping-pong in receive(), one way{where}", "ns", rounds, None, best, medians(found))


def paced(stage: Stage) -> Iterator[Figure]:
    """1,000 messages a second to a reader that sleeps, against the same with nothing but a futex."""
    for where in _placements(stage):
        with stage.pinned() if where else nullcontext():
            floor, found = _paced_in_turn(stage)
        yield _floor_figure(f"futex at 1,000/s, C, one way{where}", [one.ns for one in floor])
        rounds, best = [one.ns["p50"] for one in found], medians(one.ns for one in floor).get("p50")
        name = f"1,000/s to a sleeping reader{where}"
        yield Figure(name, "ns", rounds, None, best, medians(one.ns for one in found))
        if where:
            continue
        yield _of_floor(f"{name}, of the floor", rounds, best, 1.3)
        cores = median(one.cores for one in floor) if floor else None
        yield Figure("CPU of both at 1,000/s", "cores", [one.cores for one in found], Target(0.04), cores)


def _paced_in_turn(stage: Stage) -> tuple[list[Paced], list[Paced]]:
    """Floor and bus in turn: what the machine does meanwhile meets both."""
    floor, found = [], []
    for _ in range(min(stage.effort.rounds, PACED_ROUNDS)):
        floor += floors.paced(stage, latency.INTERVAL_NS)
        found += [latency.paced(stage)]
    return floor, found


def _placements(stage: Stage) -> tuple[str, ...]:
    """Left to the scheduler; and pinned to a processor each, if there are two."""
    return ("", ", pinned") if len(os.sched_getaffinity(0)) > 1 else ("",)


def _floor_figure(what: str, rounds: list[dict[str, float]]) -> Figure:
    note = "" if rounds else floors.NO_COMPILER
    return Figure(what, "ns", [one["p50"] for one in rounds], percentiles=medians(rounds), note=note)


def _of_floor(what: str, rounds: list[float], floor: float | None, bound: float) -> Figure:
    if floor is None:
        return Figure(what, "ratio", [], Target(bound), note=floors.NO_COMPILER)
    return Figure(what, "ratio", [value / floor for value in rounds], Target(bound))


def remote_calls(stage: Stage) -> Iterator[Figure]:
    """A call of a collector's method and its answer, against two hand-overs."""
    for where in _placements(stage):
        with stage.pinned() if where else nullcontext():
            floor = medians(floors.futex(stage)).get("p50")
            found, rested = rpc.in_turn(stage), rpc.asleep(stage)
        both = 2 * floor if floor else None
        for name, answered in (("one after the other", found), ("both asleep", rested)):
            rounds = [one["p50"] for one in answered]
            yield Figure(f"call and answer, {name}{where}", "ns", rounds, Target(30_000), both, medians(answered))
    yield Figure(f"calls, {rpc.AT_A_TIME} at a time", "/s", rpc.at_a_time(stage), Target(20_000, at_least=True))


def starting(stage: Stage) -> Iterator[Figure]:
    """A coordinator's start, against an interpreter that does nothing."""
    floor = median(supervised.interpreter_ns(stage))
    yield Figure("start of a coordinator", "ns", supervised.coordinator_ready_ns(stage), Target(300e6), floor)


def collectors(stage: Stage) -> Iterator[Figure]:
    """Collectors that beat, and one that is killed again and again, without a back-off."""
    share = supervised.beating_share(stage)
    name = f"CPU of a coordinator of {stage.effort.collectors} collectors, a heartbeat a second each"
    yield Figure(name, "cores", share, Target(0.01))
    yield Figure(
        "death of a collector until its command runs again", "ns", supervised.begun_again_ns(stage), Target(50e6)
    )
    floor = median(supervised.program_ns(stage))
    again = supervised.ready_again_ns(stage)
    note = "floor: its own interpreter and imports"
    yield Figure("death of a Python collector until it is ready again", "ns", again, floor=floor, note=note)


def idle(stage: Stage) -> Iterator[Figure]:
    """An idle bus: coordinator and a waiting subscriber."""
    yield Figure("CPU of an idle bus", "cores", footprint.idle_share(stage), Target(0.002))


def memory(stage: Stage) -> Iterator[Figure]:
    """Many subscriptions over an empty bus, coordinator and client together."""
    full = stage.effort.subscriptions / 10_000
    for wildcard, name in ((False, "to one topic"), (True, "to patterns of their own")):
        taken = footprint.subscription_bytes(stage, wildcard=wildcard) / MIB
        yield Figure(f"{stage.effort.subscriptions:,} subscriptions {name}", "MB", [taken], Target(40 * full))


BENCHMARKS: Final[dict[str, Callable[[Stage], Iterator[Figure]]]] = {
    "publish": publish,
    "throughput": throughputs,
    "guarantees": guarantees,
    "asyncio": coroutines,
    "among": among,
    "events": process_events,
    "spinning": spinning,
    "sleeping": sleeping,
    "paced": paced,
    "rpc": remote_calls,
    "starting": starting,
    "collectors": collectors,
    "idle": idle,
    "memory": memory,
}
