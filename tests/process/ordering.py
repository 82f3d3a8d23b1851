"""Exact schedules for the order of producers: clients, topics, claims left open, and what may come at each moment.

Everything happens in one thread, and a publisher that stops in the middle of a message is one whose slot is put back to
CLAIMED behind its back. What may come is known at every moment, so a check sees not only what is out of order but also
what is late, and what is urgent and was not first.
"""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from hypothesis import strategies as st

import shmbus
from process.rings import small
from shm.memory import ABORTED, CLAIMED, COMMITTED, Raw, Shape
from shmbus import URGENT
from shmbus.errors import LimitError

CLIENTS, TOPICS, SLOTS, ARENA = 3, 3, 64, 1 << 16
NEVER = 10**13


@dataclass(eq=False)
class Sent:
    """A message that was published, and has not come yet."""

    number: int  # of all, in the order of publishing
    client: int
    lane: tuple[int, int]  # topic, lane
    sequence: int = 0


def raw_of(bus, ring):
    """The bytes of a ring of an embedded bus."""
    registry = bus._on_close.__self__.coordinator._registry
    descriptor = registry.lane(ring.topic_id, ring.lane).live.segment.open_writable()
    try:
        return Raw(descriptor, Shape(ring.slots, ring.arena_bytes, ring.producer_capacity, ring.gate_capacity))
    finally:
        os.close(descriptor)


class Scene:
    """A bus with a few clients, and what a subscription may hand out at this moment."""

    def __init__(self, stack, lossless=False, **options):
        self.bus = stack.enter_context(shmbus.embedded(small(SLOTS, arena_bytes=ARENA, claim_timeout_ns=NEVER)))
        self.clients = [stack.enter_context(shmbus.connect(self.bus.address)) for _ in range(CLIENTS)]
        self.subscription = self.bus.subscribe("s.#", lossless=lossless, order="producer", **options)
        self.publishers, self.left, self.stopped = {}, [], {}
        self.number = 0
        self.moved = False  # to another ring: what is urgent waits until the old one has been read
        stack.callback(self.close_raw)

    def publisher(self, client, topic):
        key = (client, topic)
        if key not in self.publishers:
            self.publishers[key] = self.clients[client].publisher(f"s.t{topic}")
        return self.publishers[key]

    def publish(self, client, topic, urgent, count=1):
        if any(sent.client == client for sent in self.stopped):
            return []  # it is in the middle of another
        payloads = [b"%d" % (self.number + n) for n in range(count)]
        publisher = self.publisher(client, topic)
        publisher.publish_many(payloads, priority=URGENT if urgent else 0)
        sent = [Sent(self.number + n, client, (topic, urgent)) for n in range(count)]
        self.number += count
        self.left += sent
        return sent

    def stop_in(self, client, topic):
        """The client publishes, and is stopped right before the commit."""
        if any(sent.lane[0] == topic for sent in self.stopped) or self.moved:
            return
        for sent in self.publish(client, topic, 0):
            ring = self.publishers[client, topic]._ring
            raw = raw_of(self.bus, ring)
            sent.sequence = ring.tail - 1
            raw.set_state(sent.sequence, CLAIMED)
            self.stopped[sent] = raw

    def go_on(self, state):
        """The one that stopped first commits, or it was dead and its claim is aborted."""
        if self.stopped:
            sent = next(iter(self.stopped))
            raw = self.stopped.pop(sent)
            raw.set_state(sent.sequence, state)
            raw.close()
            if state == ABORTED:
                self.left.remove(sent)

    def close_raw(self):
        for raw in self.stopped.values():
            raw.close()

    def resize(self, topic):
        if (topic in {key[1] for key in self.publishers}) and not self.stopped:
            with suppress(LimitError):  # for as long as what stands in the oldest ring is not settled
                self.bus.resize(f"s.t{topic}", slots=SLOTS)
            self.moved = True

    def may_come(self, sent):
        """Nothing stands before it in its lane or of its producer, and its lane is not blocked before it."""
        before = [one for one in self.left if one.number < sent.number]
        return sent not in self.stopped and not any(
            one.client == sent.client or one.lane == sent.lane for one in before
        )

    def receive(self, count):
        for _ in range(count):
            message = self.subscription.try_receive()
            if message is None:
                assert self.moved or not any(map(self.may_come, self.left)), "something is late"
                return
            (sent,) = (one for one in self.left if one.number == int(message.payload))
            assert self.may_come(sent), f"{sent} came before its turn"
            if not sent.lane[1] and not self.moved:
                urgent = [one for one in self.left if one.lane[1] and self.may_come(one)]
                assert not urgent, f"{sent} came before what is urgent"
            self.left.remove(sent)

    def finish(self):
        while self.stopped:
            self.go_on(COMMITTED)
        self.receive(self.number)
        assert not self.left and self.subscription.try_receive() is None


client, topic = st.integers(0, CLIENTS - 1), st.integers(0, TOPICS - 1)
publishes = st.tuples(st.just("publish"), client, topic, st.integers(0, 1), st.integers(1, 3))
receives = st.tuples(st.just("receive"), st.integers(1, 6))
stops = st.tuples(st.just("stop_in"), client, topic)
goes_on = st.tuples(st.just("go_on"), st.sampled_from([COMMITTED, ABORTED]))
resizes = st.tuples(st.just("resize"), topic)


def play(steps, kind=Scene, **options):
    """All steps, one after the other, and then to the end."""
    with ExitStack() as stack:
        scene = kind(stack, **options)
        for what, *how in steps:
            if scene.number > SLOTS // 2:
                break  # nothing is overrun
            getattr(scene, what)(*how)
        scene.finish()
