"""What the bus takes when nothing happens: processor time of an idle bus, memory of many subscriptions."""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import shmbus

from .peer import Part, Scene
from .stage import Stage

IDLE_ROUNDS: Final = 2


def idle_share(stage: Stage) -> list[float]:
    """Share of one processor that the coordinator and a waiting subscriber take together, by round."""
    stage.say(f"idle bus, {IDLE_ROUNDS} × {stage.effort.idle_seconds / IDLE_ROUNDS:.0f} s")
    with stage.playing(stage.reader, wait_for_nothing):
        return [_idle_round(stage, stage.effort.idle_seconds / IDLE_ROUNDS) for _ in range(IDLE_ROUNDS)]


def _idle_round(stage: Stage, seconds: float) -> float:
    before, began = stage.coordinator.cpu_ns() + stage.reader.cpu_ns(), time.monotonic_ns()
    time.sleep(seconds)
    after, ended = stage.coordinator.cpu_ns() + stage.reader.cpu_ns(), time.monotonic_ns()
    return (after - before) / (ended - began)


def wait_for_nothing(scene: Scene) -> Part:
    """A subscriber that waits in `receive` in a thread of its own until the part ends."""
    subscription = scene.bus.subscribe("bench.idle", lossless=True)
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        try:
            subscription.receive()
        except shmbus.ClosedError:
            pass

    thread = threading.Thread(target=wait, name="waits for nothing")
    thread.start()
    waiting.wait()
    try:
        yield
    finally:
        subscription.close()
        thread.join()


@contextmanager
def subscribed(stage: Stage, *, matching: bool) -> Iterator[None]:
    """While the effort's number of lossy subscriptions are there that read nothing."""
    with stage.more("client", 1) as (client,):
        client.begin(subscribe_beside, matching)
        client.step(stage.effort.subscriptions)
        yield
        client.end()


def subscribe_beside(scene: Scene, matching: bool) -> Part:
    """Each step is told how many subscriptions to make to what the writer publishes, or to something else."""
    count = yield
    patterns = ("bench.calls" if matching else f"bench.other.{i}.+" for i in range(count))
    subscriptions = [scene.bus.subscribe(pattern) for pattern in patterns]
    yield len(subscriptions)


def subscription_bytes(stage: Stage, *, wildcard: bool) -> int:
    """Memory that the effort's number of subscriptions takes, coordinator and client together."""
    stage.say(f"{stage.effort.subscriptions:,} subscriptions{' to patterns of their own' if wildcard else ''}")
    with stage.more("client", 1) as (client,):
        client.begin(subscribe_often, wildcard)
        before = stage.coordinator.memory_bytes() + client.memory_bytes()
        client.step(stage.effort.subscriptions)
        after = stage.coordinator.memory_bytes() + client.memory_bytes()
        client.end()
    return after - before


def subscribe_often(scene: Scene, wildcard: bool) -> Part:
    """Each step is told how many subscriptions to make; all of them read the same topic."""
    with scene.bus.publisher("bench.memory"), scene.bus.subscribe("bench.memory"):
        gc.collect()
        count = yield
        patterns = [f"bench.memory.{i}.+" if wildcard else "bench.memory" for i in range(count)]
        subscriptions = [scene.bus.subscribe(pattern) for pattern in patterns]
        del patterns
        gc.collect()
        yield len(subscriptions)
