"""Throughput: so many writers to so many readers, lossless or acknowledged, counted where it is read.

A round lasts from before the first publish until the last reader has its last message. Before the timed rounds comes
one in which every message carries its number and is looked at; after each, the subscription's own account must say
that nothing was lost.
"""

import asyncio
import itertools
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import shmbus
from shmbus import AsyncBus

from . import payload
from .figure import BenchError
from .peer import Part, Peer, Scene
from .stage import Stage

BATCH: Final = 256
CHECKED: Final = 2_000  # messages of each writer in the round that looks at all of them
PROBE: Final = 20_000  # messages that tell how many make a round
_NUMBER: Final = struct.Struct("<QQ")


@dataclass(frozen=True)
class Shape:
    """Who talks to whom, and how. `size` 0: real process events.

    `ack`: "each" message by itself, "many" (256 with one call), or "" for a lossless subscription that acknowledges
    nothing; `once`: duplicates are removed; `aio`: the readers are coroutines.
    """

    writers: int
    readers: int
    size: int
    batch: bool
    ack: str = ""
    once: bool = False
    aio: bool = False

    @property
    def topic(self) -> str:
        how = (
            f"{'batch' if self.batch else 'each'}-{self.ack}-{'once' if self.once else ''}{'-aio' if self.aio else ''}"
        )
        return f"bench.t{self.writers}-{self.readers}-{self.size}-{how}"

    def __str__(self) -> str:
        what = f"{self.size} B" if self.size else "process events"
        name = f"{self.writers}→{self.readers}, {what}, {'batch calls' if self.batch else 'one call a message'}"
        acked = {"": "", "each": ", ack() each", "many": ", ack_many()"}[self.ack]
        return f"{name}{acked}{', exactly once' if self.once else ''}{', asyncio' if self.aio else ''}"


def rates(stage: Stage, shape: Shape) -> list[float]:
    """Messages a second of each round, every reader having received them all. Raises BenchError when one was lost."""
    stage.say(f"throughput {shape}")
    with _cast(stage, shape) as (readers, writers):
        _round(readers, writers, "check", CHECKED)
        probe = PROBE if shape.size <= 1024 else PROBE // 10
        probed = _round(readers, writers, "time", min(probe, max(int(stage.effort.seconds * 1e5), 100)))
        count = max(int(probed * stage.effort.seconds / shape.writers), 100)
        return [_round(readers, writers, "time", count) for _ in range(stage.effort.rounds)]


@contextmanager
def _cast(stage: Stage, shape: Shape) -> Iterator[tuple[list[Peer], list[Peer]]]:
    with ExitStack() as stack:
        readers = [stage.reader, *stack.enter_context(stage.more("reader", shape.readers - 1))]
        writers = [stage.writer, *stack.enter_context(stage.more("writer", shape.writers - 1))]
        for peer in readers:
            stack.enter_context(stage.playing(peer, read_async if shape.aio else read, shape))
        for number, peer in enumerate(writers):
            stack.enter_context(stage.playing(peer, write, shape, number))
        yield readers, writers


def _round(readers: Sequence[Peer], writers: Sequence[Peer], how: str, count: int) -> float:
    total = count * len(writers)
    for reader in readers:
        reader.tell((how, total))
    for writer in writers:
        writer.tell((how, count))
    started: int = min(writer.answer() for writer in writers)
    ended: int = max(reader.answer() for reader in readers)
    return total * 1e9 / (ended - started)


# ---- parts -----------------------------------------------------------------------------------------------------------


def write(scene: Scene, shape: Shape, number: int) -> Part:
    """Each step is told (how, count) and answers when it began."""
    facts = payload.process_facts() if shape.size == 0 else []
    data = payload.opaque(shape.size)
    with scene.bus.publisher(shape.topic) as publisher:
        how, count = yield
        while True:
            started = time.monotonic_ns()
            if facts:
                _publish_events(publisher, facts, count, shape.batch)
            elif how == "check":
                for i in range(count):
                    publisher.publish(_NUMBER.pack(number, i) + data[_NUMBER.size :])
            else:
                _publish_bytes(publisher, data, count, shape.batch)
            how, count = yield started


def read(scene: Scene, shape: Shape) -> Part:
    """Each step is told (how, count) and answers when the last of them was there."""
    with _subscribed(scene.bus, shape) as subscription:
        how, count = yield
        while True:
            if how == "check":
                _read_checked(subscription, count, shape)
            elif shape.ack:
                _read_acked(subscription, count, shape)
            elif shape.batch:
                _read_many(subscription, count, shape.size == 0)
            else:
                _read_each(subscription, count, shape.size == 0)
            ended = time.monotonic_ns()
            if subscription.lost:
                raise BenchError(f"{subscription.lost} of {count} messages were lost: {shape}")
            how, count = yield ended


def read_async(scene: Scene, shape: Shape) -> Part:
    """As `read`, by coroutines; what is in the messages is not looked at."""
    with asyncio.Runner() as runner:
        subscription = runner.run(_subscribed_async(scene.bus, shape.topic))
        how, count = yield
        while True:
            runner.run(_read_async(subscription, count, shape.batch))
            ended = time.monotonic_ns()
            if subscription.lost:
                raise BenchError(f"{subscription.lost} of {count} messages were lost: {shape}")
            how, count = yield ended


async def _subscribed_async(bus: shmbus.Bus, topic: str) -> shmbus.AsyncSubscription:
    return AsyncBus(bus).subscribe(topic, lossless=True, start="latest")


async def _read_async(subscription: shmbus.AsyncSubscription, count: int, batch: bool) -> None:
    left = count
    if batch:
        while left > 0:
            left -= len(await subscription.receive_many(min(left, 1024)))
    else:
        async for _ in subscription:
            left -= 1
            if not left:
                break


def _subscribed(bus: shmbus.Bus, shape: Shape) -> shmbus.Subscription:
    if not shape.ack:
        return bus.subscribe(shape.topic, lossless=True, start="latest")
    durable = shmbus.Durable(shape.topic.replace(".", "_"), exactly_once=shape.once)
    return bus.subscribe(shape.topic, durable=durable)


def _read_acked(subscription: shmbus.Subscription, count: int, shape: Shape) -> None:
    if shape.batch:
        left = count
        while left > 0:
            messages = subscription.receive_many(min(left, 1024))
            subscription.ack_many(messages)
            left -= len(messages)
    elif shape.ack == "each":
        ack = subscription.ack
        for message in itertools.islice(subscription, count):
            ack(message)
    else:
        held: list[shmbus.Message] = []
        for message in itertools.islice(subscription, count):
            held.append(message)
            if len(held) == BATCH:
                subscription.ack_many(held)
                held.clear()
        subscription.ack_many(held)


def _publish_bytes(publisher: shmbus.Publisher, data: bytes, count: int, batch: bool) -> None:
    if batch:
        block, publish_many = [data] * BATCH, publisher.publish_many
        for _ in range(count // BATCH):
            publish_many(block)
        publish_many(block[: count % BATCH])
    else:
        publish = publisher.publish
        for _ in range(count):
            publish(data)


def _publish_events(publisher: shmbus.Publisher, facts: list[payload.Facts], count: int, batch: bool) -> None:
    kinds, build, publish = len(facts), payload.build_event, publisher.publish
    if batch:
        for first in range(0, count, BATCH):
            publisher.publish_many([build(facts[i % kinds]) for i in range(first, min(first + BATCH, count))])
    else:
        for i in range(count):
            publish(build(facts[i % kinds]))


def _read_each(subscription: shmbus.Subscription, count: int, parse: bool) -> None:
    left = count
    if parse:
        for message in subscription:
            message.event  # noqa: B018 - parsed on first use
            left -= 1
            if not left:
                break
    else:
        for message in subscription:  # noqa: B007
            left -= 1
            if not left:
                break


def _read_many(subscription: shmbus.Subscription, count: int, parse: bool) -> None:
    left = count
    while left > 0:
        messages = subscription.receive_many(min(left, 1024))
        if parse:
            for message in messages:
                message.event  # noqa: B018 - parsed on first use
        left -= len(messages)


def _read_checked(subscription: shmbus.Subscription, count: int, shape: Shape) -> None:
    """Every message of every writer, once, in its order, and whole."""
    expected = [0] * shape.writers
    first = 0
    for received, message in enumerate(itertools.islice(subscription, count)):
        if isinstance(message, shmbus.Gap):
            raise BenchError(f"a lossless subscription was told of a gap: {message}")
        if shape.ack:
            subscription.ack(message)
        first = first or message.sequence
        if message.sequence != first + received:
            raise BenchError(f"message {first + received} did not come, but number {message.sequence}: {shape}")
        if shape.size == 0:
            whole = message.event.process.pid >= 0
        else:
            writer, number = _NUMBER.unpack_from(message.payload)
            whole = number == expected[writer] and len(message.payload) == shape.size
            expected[writer] += 1
        if not whole:
            raise BenchError(f"message {message.sequence} is not what was published: {shape}")
