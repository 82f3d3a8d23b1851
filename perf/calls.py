"""Single calls, by pyperf: publish, receive, encode, observe, match, crc.

python perf/calls.py [-o FILE] [--fast] [--benchmarks NAME,...]
"""

import itertools
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import pyperf
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

import shmbus
from shmbus import _core, correlation, tracing
from shmbus.order import Order
from shmbus.state import StateWriter, size_of
from shmbus.tools.measure.payload import SIZES, build_event, opaque, process_facts
from shmbus.topic import PatternTrie

PATTERNS: Final = (10, 1_000, 100_000)
BATCH: Final = 1_024
HELD: Final = 4_000  # messages that fit into a topic of the default size
TimeFunction = Callable[[int], float]


def publish(bus: shmbus.Bus, size: int) -> TimeFunction:
    """Opaque bytes, one call a message."""
    publisher, data = bus.publisher(f"perf.publish.{size}"), opaque(size)

    def timed(loops: int) -> float:
        call = publisher.publish
        started = time.perf_counter()
        for _ in itertools.repeat(None, loops):
            call(data)
        return time.perf_counter() - started

    return timed


def publish_within(bus: shmbus.Bus, size: int) -> TimeFunction:
    """The same with a budget that is never spent."""
    publisher, data = bus.publisher(f"perf.within.{size}"), opaque(size)
    publisher._set_budget(_core.Budget(10**9, 10**12))

    def timed(loops: int) -> float:
        call = publisher.publish
        started = time.perf_counter()
        for _ in itertools.repeat(None, loops):
            call(data)
        return time.perf_counter() - started

    return timed


def publish_many(bus: shmbus.Bus, size: int) -> TimeFunction:
    """Opaque bytes, 256 in a call; a loop is one message."""
    publisher, block = bus.publisher(f"perf.batch.{size}"), [opaque(size)] * 256

    def timed(loops: int) -> float:
        call, (calls, rest) = publisher.publish_many, divmod(loops, len(block))
        started = time.perf_counter()
        for _ in itertools.repeat(None, calls):
            call(block)
        call(block[:rest])
        return time.perf_counter() - started

    return timed


def encode(bus: shmbus.Bus, event: Any, **options: Any) -> TimeFunction:
    """An event into its envelope and out: serialise, metadata, publish."""
    publisher = bus.publisher("perf.encode")

    def timed(loops: int) -> float:
        call = publisher.publish
        started = time.perf_counter()
        for _ in itertools.repeat(None, loops):
            call(event, **options)
        return time.perf_counter() - started

    return timed


def encode_correlated(bus: shmbus.Bus, event: Any) -> TimeFunction:
    """The same for a child of a message that is being handled."""
    timed, root = encode(bus, event), correlation.new(stage="detect", tags={"host": "web-1", "case": "7"})

    def handled(loops: int) -> float:
        with correlation.handling(root):
            return timed(loops)

    return handled


def encode_traced(bus: shmbus.Bus, event: Any) -> TimeFunction:
    """The same inside a span."""
    timed = encode(bus, event)
    span = NonRecordingSpan(SpanContext(trace_id=1, span_id=1, is_remote=False))

    def traced(loops: int) -> float:
        tracing.enable()
        with use_span(span):
            return timed(loops)

    return traced


def observe(bus: shmbus.Bus, event: Any) -> TimeFunction:
    """Children with a stage and two tags, by a tracker that is full."""
    root = correlation.handling(correlation.new(stage="detect", tags={"host": "web-1", "case": "7"}))
    with root, bus.publisher("perf.observe") as publisher, bus.subscribe("perf.observe", lossless=True) as subscription:
        publisher.publish_many([event] * HELD)
        messages = subscription.receive_many(HELD)
    tracker = shmbus.CorrelationTracker()

    def timed(loops: int) -> float:
        call = tracker.observe
        started = time.perf_counter()
        for message in itertools.islice(itertools.cycle(messages), loops):
            call(message)
        return time.perf_counter() - started

    return timed


def fold(bus: shmbus.Bus, event: Any, keys: int) -> TimeFunction:
    """What the keeper does with a batch of messages; a loop is one message."""
    publisher, subscription = bus.publisher("perf.fold"), bus.subscribe("perf.fold", lossless=True)
    for number in range(BATCH):
        publisher.publish(event, key=f"key {number % keys}")
    found = subscription.receive_many(BATCH)
    descriptor, boot_id, most_bytes = os.memfd_create("fold"), bytes(16), 1 << 20
    os.ftruncate(descriptor, size_of(most_bytes))
    StateWriter.initialise(
        descriptor, topic_id=1, topic="perf.fold", type_name="", keys=keys, most_bytes=most_bytes, boot_id=boot_id
    )

    def timed(loops: int) -> float:
        spent = 0.0
        for _ in itertools.repeat(None, -(-loops // BATCH)):
            writer = StateWriter(descriptor, boot_id=boot_id)
            writer._last = writer._last._replace(folded=(0, 0))  # so that they are new to it
            started = time.perf_counter()
            writer.fold(found)
            spent += time.perf_counter() - started
            writer.close()
        return spent * loops / (-(-loops // BATCH) * BATCH)

    return timed


def receive(bus: shmbus.Bus, size: int) -> TimeFunction:
    """What stands in the ring, one call a message; publishing between is not timed."""
    data = opaque(size)
    block = [data] * max(1, min(HELD, (2 << 20) // (size + 64)))
    publisher, subscription = (
        bus.publisher(f"perf.receive.{size}"),
        bus.subscribe(f"perf.receive.{size}", lossless=True),
    )

    def timed(loops: int) -> float:
        call, spent = subscription.try_receive, 0.0
        while loops > 0:
            count = min(loops, len(block))
            publisher.publish_many(block[:count])
            started = time.perf_counter()
            for _ in itertools.repeat(None, count):
                call()
            spent += time.perf_counter() - started
            loops -= count
        return spent

    return timed


def receive_in_order(bus: shmbus.Bus, order: Order | None, topics: int, durable: bool) -> TimeFunction:
    """The same from several topics, published in turn: roots of correlation groups, one call a message.

    What is durable is settled afterwards, which is not in the figure.
    """
    event, area = build_event(process_facts()[0]), f"perf.order.{order}.{topics}.{durable}".lower()
    publishers = [bus.publisher(f"{area}.t{number}") for number in range(topics)]
    named = shmbus.Durable("perf", window=4096) if durable else None
    subscription = bus.subscribe(f"{area}.#", lossless=True, durable=named, order=order)

    def timed(loops: int) -> float:
        call, spent = subscription.try_receive, 0.0
        while loops > 0:
            count = min(loops, HELD)
            for publisher in itertools.islice(itertools.cycle(publishers), count):
                publisher.publish(event, correlation=correlation.new())
            started = time.perf_counter()
            if durable:
                found = [call() for _ in itertools.repeat(None, count)]
            else:
                for _ in itertools.repeat(None, count):
                    call()
            spent += time.perf_counter() - started
            if durable:
                subscription.ack_many(found)
            loops -= count
        return spent

    return timed


def match(patterns: int) -> TimeFunction:
    """Which of so many patterns match a topic: two do, whatever their number."""
    trie: PatternTrie[int] = PatternTrie()
    for i in range(patterns - 2):
        trie.insert(f"events.kind{i % 1000}.source{i}.+", i)
    trie.insert("events.#", -1)
    trie.insert("events.process.+", -2)

    def timed(loops: int) -> float:
        started = time.perf_counter()
        for _ in itertools.repeat(None, loops):
            list(trie.match("events.process.start"))
        return time.perf_counter() - started

    return timed


def main() -> None:
    runner = pyperf.Runner()
    with ExitStack() as stack:
        # Every worker process of pyperf runs one of the benchmarks: nothing is made before it is its turn.
        def bus() -> shmbus.Bus:
            return stack.enter_context(shmbus.embedded())

        for size in SIZES:
            _time(runner, f"publish {size} B", lambda size=size: publish(bus(), size))
            _time(runner, f"publish {size} B within a budget", lambda size=size: publish_within(bus(), size))
            _time(runner, f"publish {size} B in a batch", lambda size=size: publish_many(bus(), size))
            _time(runner, f"receive {size} B", lambda size=size: receive(bus(), size))
        event = build_event(process_facts()[0])
        _time(runner, "encode a process event", lambda: encode(bus(), event))
        _time(runner, "encode a process event with a key", lambda: encode(bus(), event, key="procmond"))
        _time(runner, "encode it as a child", lambda: encode_correlated(bus(), event))
        _time(runner, "encode it in a span", lambda: encode_traced(bus(), event))
        _time(runner, "observe it", lambda: observe(bus(), event))
        for keys in (4, 256):
            _time(runner, f"keep one of {keys} keys", lambda keys=keys: fold(bus(), event, keys))
        for how in itertools.product((None, "producer", "correlation"), (1, 10), (False, True)):
            name = f"receive from {how[1]} topics, order {how[0]}{', durable' if how[2] else ''}"
            _time(runner, name, lambda how=how: receive_in_order(bus(), *how))
        for patterns in PATTERNS:
            _time(runner, f"match among {patterns:,} patterns", lambda patterns=patterns: match(patterns))
        for size in SIZES:
            runner.bench_func(f"crc32c of {size} B", _core.crc32c, opaque(size))


def _time(runner: pyperf.Runner, name: str, make: Callable[[], TimeFunction]) -> None:
    made: list[TimeFunction] = []

    def timed(loops: int) -> float:
        if not made:
            made.append(make())
        return made[0](loops)

    runner.bench_time_func(name, timed)


if __name__ == "__main__":
    main()
