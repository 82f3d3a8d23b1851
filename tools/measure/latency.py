"""Latency between a writer and a reader: there and back, and one way at a steady pace.

Each round trip is timed on its own; half of it is one way. At a pace, the writer puts the time into the message as the
last thing before `publish`, and the reader looks at the clock as the first thing after `receive`.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final

import shmbus

from .peer import Part, Peer, Scene
from .percentiles import Paced, percentiles
from .stage import Stage

SIZE: Final = 64
INTERVAL_NS: Final = 1_000_000
PATIENCE_SECONDS: Final = 30.0
WARM_UP: Final = 200


def ping_pong(stage: Stage, spin: bool) -> list[dict[str, float]]:
    """Half a round trip, ns, by round. `spin`: both sides ask again and again; else both wait in `receive`."""
    stage.say(f"ping-pong, {'spinning' if spin else 'sleeping'}")
    with (
        stage.playing(stage.reader, answer, spin) as reader,
        stage.playing(stage.writer, lead, spin) as writer,
    ):
        _both(reader, writer, WARM_UP)
        samples = stage.effort.samples if spin else stage.effort.samples // 4 + 1
        return [percentiles(_both(reader, writer, samples)[1]) for _ in range(stage.effort.rounds)]


def paced(stage: Stage) -> Paced:
    """A round of 1,000 messages a second to a reader that sleeps in between."""
    stage.say("paced at 1,000/s")
    with (
        stage.playing(stage.reader, sleep_and_read) as reader,
        stage.playing(stage.writer, write_at_pace) as writer,
    ):
        _both(reader, writer, min(WARM_UP, stage.effort.paced_samples))
        (samples, reader_cpu), (writer_cpu, wall) = _both(reader, writer, stage.effort.paced_samples)
    return Paced(percentiles(samples), (reader_cpu + writer_cpu) / wall)


def _both(reader: Peer, writer: Peer, samples: int) -> tuple[Any, Any]:
    reader.tell(samples)
    writer.tell(samples)
    return reader.answer(), writer.answer()


# ---- parts -----------------------------------------------------------------------------------------------------------


def lead(scene: Scene, spin: bool) -> Part:
    """Publish, wait for the answer, again. Each step is told a number of round trips and answers half of each, ns."""
    data, clock = os.urandom(SIZE), time.perf_counter_ns
    with (
        scene.bus.publisher("bench.ping") as publisher,
        scene.bus.subscribe("bench.pong", lossless=True, start="latest") as subscription,
    ):
        publish, wait = publisher.publish, _waiting(subscription, spin)
        samples = yield
        while True:
            times = [clock()]
            for _ in range(samples):
                publish(data)
                wait()
                times.append(clock())
            samples = yield [(after - before) / 2 for before, after in zip(times, times[1:], strict=False)]


def answer(scene: Scene, spin: bool) -> Part:
    """Wait for a message, publish one back."""
    data = os.urandom(SIZE)
    with (
        scene.bus.subscribe("bench.ping", lossless=True, start="latest") as subscription,
        scene.bus.publisher("bench.pong") as publisher,
    ):
        publish, wait = publisher.publish, _waiting(subscription, spin)
        samples = yield
        while True:
            for _ in range(samples):
                wait()
                publish(data)
            samples = yield None


def _waiting(subscription: shmbus.Subscription, spin: bool) -> Callable[[], object]:
    if not spin:
        return subscription.receive
    try_receive = subscription.try_receive

    def ask_again() -> None:
        while try_receive() is None:
            pass

    return ask_again


def write_at_pace(scene: Scene) -> Part:
    """Each step is told a number of messages and answers (processor time, time), ns."""
    rest = os.urandom(SIZE - 8)
    with scene.bus.publisher("bench.paced") as publisher:
        count = yield
        while True:
            cpu, wall = time.process_time_ns(), time.monotonic_ns()
            for at in range(wall + INTERVAL_NS, wall + (count + 1) * INTERVAL_NS, INTERVAL_NS):
                time.sleep(max(at - time.monotonic_ns(), 0) / 1e9)
                publisher.publish(time.monotonic_ns().to_bytes(8, "little") + rest)
            count = yield time.process_time_ns() - cpu, time.monotonic_ns() - wall


def sleep_and_read(scene: Scene) -> Part:
    """Each step is told a number of messages and answers (one way of each, processor time), ns."""
    with scene.bus.subscribe("bench.paced", lossless=True, start="latest") as subscription:
        count = yield
        while True:
            cpu, arrivals = time.process_time_ns(), []
            for _ in range(count):
                message = subscription.receive(PATIENCE_SECONDS)
                arrivals.append((time.monotonic_ns(), message))
            spent = time.process_time_ns() - cpu
            count = yield [at - int.from_bytes(m.payload[:8], "little") for at, m in arrivals], spent
