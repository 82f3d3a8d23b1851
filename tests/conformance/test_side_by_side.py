"""The same random use of both, side by side: what one answers, the other answers."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import shmbus
from process.rings import small
from shmbus import URGENT, Durable, Filter, Gap, Last
from shmbus.errors import BackpressureError, ShmbusError
from shmbus.testing import ManualClock, MemoryBus
from shmbus.v1 import common_pb2
from shmbus.v1.eventbus_pb2 import AlertPayload, CorrelationMetadata, EventBusMessage, ProcessEventData

UNSWEPT_SECONDS = 0.8  # once a second the real bus drops what is past its time, which is then told as overrun

TOPICS = st.sampled_from(["lab.x", "lab.y", "lab.x.z"])
PATTERNS = st.sampled_from([("lab.#",), ("lab.x",), ("lab.+", "lab.x.z"), ("lab.+", "#"), ("lab.y", "lab.x.+")])
STARTS = st.sampled_from(["latest", "earliest", 1, 5, 20, Last(1), Last(4)])
KINDS = st.sampled_from(["lossy", "lossless", "patient", "eager", "narrow"])
ORDERS = st.sampled_from([None, None, "producer", "correlation"])
DURABLES = {
    "patient": Durable("patient", ack_deadline=None),
    "eager": Durable("eager", ack_deadline=None, max_deliveries=2, dead_letter="letters"),
    "narrow": Durable("narrow", ack_deadline=None, window=4, exactly_once=True),
}
DURABLE_PUBLISHERS = st.sampled_from(["p", "q"])
WHICH = st.integers(0, 7)
OPERATIONS = st.one_of(
    st.tuples(st.just("publish"), TOPICS, st.sampled_from([0, 7, 200]), st.sampled_from([None, None, 1e-9])),
    st.tuples(st.just("publish_many"), TOPICS, st.integers(0, 25)),
    st.tuples(st.just("publish_numbered"), TOPICS, st.integers(1, 30), st.integers(1, 4), DURABLE_PUBLISHERS),
    st.tuples(st.just("publish_onwards"), TOPICS, st.integers(0, 3), st.integers(1, 25), DURABLE_PUBLISHERS),
    st.tuples(st.just("publish_too_much"), TOPICS, st.integers(1, 9), DURABLE_PUBLISHERS),
    st.tuples(st.just("begin_again"), TOPICS, DURABLE_PUBLISHERS),
    st.tuples(st.just("subscribe"), PATTERNS, KINDS, STARTS, st.sampled_from([0, 0, 5]), ORDERS),
    st.tuples(st.just("publish_child"), TOPICS, st.sampled_from(["g", "h"]), st.integers(0, 6), st.booleans()),
    st.tuples(st.just("receive"), WHICH, st.integers(1, 20)),
    st.tuples(st.just("receive"), WHICH, st.integers(1, 20)),
    st.tuples(st.just("settle"), st.sampled_from(["ack", "ack", "nack", "extend"]), WHICH),
    st.tuples(st.just("settle_all")),
    st.tuples(st.just("close"), WHICH),
    st.tuples(st.just("forget"), st.sampled_from(list(DURABLES))),
    st.tuples(st.just("set_limits"), TOPICS, st.integers(1, 16)),
)


def payload_of(found: Any) -> Any:
    """Of an envelope only what both write."""
    return found.payload if found.envelope is None else found.envelope.correlation.SerializeToString(deterministic=True)


def told(found: Any) -> Any:
    """What can be compared of a message or gap."""
    if found is None:
        return None
    if isinstance(found, Gap):
        whose = None if found.producer is None else found.producer.name
        return found.topic, found.pattern, found.first, found.count, found.reason, whose
    return (
        found.topic, found.lane, found.pattern, found.sequence, payload_of(found), found.kind, found.priority,
        found.deliveries, found.producer_sequence, found.flags, found.type_name, found.producer.name,
    ) if found.topic != "letters" else (found.sequence, found.event.payload, found.event.deliveries)  # fmt: skip


@dataclass
class Side:
    """One of the two, and what is open there."""

    bus: Any
    publishers: dict[Any, Any] = field(default_factory=dict)
    subscriptions: list[Any] = field(default_factory=list)
    held: list[tuple[Any, Any]] = field(default_factory=list)  # (subscription, message)

    def do(self, what: str, *arguments: Any) -> Any:
        """The answer, or what was raised."""
        try:
            return getattr(self, what)(*arguments)
        except BackpressureError as error:
            return (
                error.topic,
                error.behind,
                error.messages,
                error.capacity_bytes,
                getattr(error, "published", None),
            )  # any holder will do
        except ShmbusError as error:
            return type(error), str(error).partition(":")[0]

    def publisher(self, topic: str, durable: str = "") -> Any:
        key = topic, durable
        if key not in self.publishers:
            its = {"name": durable, "durable": True} if durable else {"name": "passing"}
            self.publishers[key] = self.bus.publisher(topic, timeout=0, **its)
        return self.publishers[key]

    def publish(self, topic: str, priority: int, ttl: float | None) -> Any:
        return self.publisher(topic).publish_many([b"one"], priority=priority, ttl=ttl)

    def publish_many(self, topic: str, count: int) -> Any:
        return self.publisher(topic).publish_many([b"%d" % number for number in range(count)])

    def publish_numbered(self, topic: str, number: int, count: int, durable: str) -> Any:
        publisher = self.publisher(topic, durable)
        return publisher.publish_many([b"numbered"] * count, number=number), publisher.last_number

    def publish_onwards(self, topic: str, leap: int, count: int, durable: str) -> Any:
        publisher = self.publisher(topic, durable)
        for _ in range(count):  # every message leaves out as many
            publisher.publish(b"onwards", number=publisher.last_number + 1 + leap)
        return publisher.last_number

    def publish_too_much(self, topic: str, leap: int, durable: str) -> Any:
        publisher = self.publisher(topic, durable)
        return publisher.publish(bytes(2**21), number=publisher.last_number + 1 + leap)  # its number comes to nothing

    def begin_again(self, topic: str, durable: str) -> Any:
        if publisher := self.publishers.pop((topic, durable), None):
            publisher.close()
        return self.publisher(topic, durable).last_number

    def publish_child(self, topic: str, root: str, number: int, urgent: bool) -> Any:
        its = CorrelationMetadata(correlation_id=f"{root}{number}", root_correlation_id=root, sequence_number=number)
        return self.publisher(topic).publish(ProcessEventData(), correlation=its, priority=URGENT if urgent else 0)

    def subscribe(self, patterns: tuple[str, ...], kind: str, start: Any, least: int, order: Any) -> Any:
        wanted = Filter(min_priority=least) if least else None
        durable = DURABLES.get(kind)
        self.subscriptions.append(
            self.bus.subscribe(
                *patterns,
                lossless=kind == "lossless",
                durable=durable,
                start=start,
                filter=wanted,
                order=order,
                order_wait=1000,
            )
        )
        return self.subscriptions[-1].topics

    def receive(self, which: int, limit: int) -> Any:
        if not self.subscriptions:
            return None
        subscription = self.subscriptions[which % len(self.subscriptions)]
        found = [subscription.try_receive() for _ in range(limit)]
        if subscription.durable:
            self.held += [(subscription, one) for one in found if one is not None and not isinstance(one, Gap)]
        counted = subscription.delivered, subscription.lost, subscription.filtered, subscription.topics
        held = subscription.held_back, subscription.released_early
        return [told(one) for one in found], counted, held

    def settle(self, how: str, which: int) -> Any:
        if not self.held:
            return None
        subscription, message = self.held[which % len(self.held)]
        return getattr(subscription, how)(message)

    def settle_all(self) -> Any:
        held, self.held = self.held, []
        return [subscription.ack_many([message]) for subscription, message in held]

    def close(self, which: int) -> None:
        if self.subscriptions:
            self.subscriptions.pop(which % len(self.subscriptions)).close()

    def forget(self, durable: str) -> None:
        self.bus.forget(durable)

    def set_limits(self, topic: str, messages: int) -> None:
        self.bus.set_limits(topic, max_messages=messages)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, min_size=1, max_size=40))
@example(  # what is past its time has its turn all the same
    [
        ("publish", "lab.x", 0, None),
        ("publish", "lab.x", 200, 1e-9),
        ("subscribe", ("lab.#",), "lossy", 1, 0, "producer"),
        ("receive", 0, 1),
    ]
)
@example(  # what has been dropped is told first
    [
        ("set_limits", "lab.x", 1),
        ("publish", "lab.y", 0, None),
        ("publish", "lab.x", 0, None),
        ("publish", "lab.x", 0, None),
        ("set_limits", "lab.x", 1),
        ("subscribe", ("lab.#",), "lossy", 1, 0, "producer"),
        ("receive", 0, 1),
    ]
)
@example(  # whose numbers have gaps is not blamed for what others have lost
    [
        ("publish_numbered", "lab.x", 2, 1, "p"),
        ("publish", "lab.x", 0, None),
        ("set_limits", "lab.x", 1),
        ("publish", "lab.x", 0, None),
        ("subscribe", ("lab.#",), "lossy", 1, 0, None),
        ("receive", 0, 9),
    ]
)
@example(  # nor is a member of a durable subscription told so
    [
        ("publish_numbered", "lab.x", 2, 1, "p"),
        ("publish", "lab.x", 0, None),
        ("set_limits", "lab.x", 1),
        ("publish", "lab.x", 0, None),
        ("subscribe", ("lab.#",), "patient", 1, 0, None),
        ("receive", 0, 9),
    ]
)
@example(  # nor for what another one has lost whose numbers have gaps as well
    [
        ("publish_numbered", "lab.x", 9, 1, "p"),
        ("publish_numbered", "lab.x", 1, 4, "q"),
        ("set_limits", "lab.x", 1),
        ("publish", "lab.x", 0, None),
        ("subscribe", ("lab.#",), "lossy", 1, 0, None),
        ("subscribe", ("lab.#",), "patient", 1, 0, None),
        ("receive", 0, 9),
        ("receive", 1, 9),
    ]
)
@example(  # nor while messages of both are there yet
    [
        ("subscribe", ("lab.#",), "lossy", "latest", 0, None),
        ("publish_onwards", "lab.x", 3, 12, "p"),
        ("publish_numbered", "lab.x", 20, 3, "q"),
        ("publish_too_much", "lab.x", 9, "q"),
        ("begin_again", "lab.x", "p"),
        ("publish_onwards", "lab.x", 2, 3, "p"),
        ("publish_onwards", "lab.x", 1, 3, "q"),
        ("receive", 0, 20),
    ]
)
def test_both_answer_the_same_whatever_is_done(operations):
    clock = ManualClock()
    with shmbus.embedded(small(), name="lab") as real, MemoryBus(small(), clock=clock, name="lab") as memory:
        sides = Side(real), Side(memory)
        began = time.monotonic()
        for operation in operations:
            answers = [side.do(*operation) for side in sides]
            if time.monotonic() - began > UNSWEPT_SECONDS:
                break
            assert answers[0] == answers[1], operation
            clock.advance(1e-6)


@pytest.mark.parametrize(
    "event",
    [
        ProcessEventData(process=common_pb2.ProcessRecord(pid=7)),
        AlertPayload(title="x" * 300),
        EventBusMessage(alert=AlertPayload(title="whole")),
    ],
)
@pytest.mark.parametrize("options", [{}, {"priority": 200, "ttl": 2.5}, {"ttl": 1.0006}])
def test_both_write_the_same_envelope(event, options):
    payloads = []
    related = shmbus.correlation.new(correlation_id="c", tags={"case": "7"})
    for bus in (shmbus.embedded(name="lab"), MemoryBus(name="lab")):
        with bus, bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
            publisher.publish(event, correlation=related, **options)
            message = subscription.receive(timeout=5)
            assert message.event == (event if not isinstance(event, EventBusMessage) else event.alert)
            envelope = message.envelope
            assert abs(envelope.metadata.timestamp - message.time.timestamp() * 1e3) < 200
            envelope.metadata.message_id = envelope.metadata.message_id[17:]
            envelope.metadata.timestamp = len(message.payload)
            payloads.append(envelope.SerializeToString(deterministic=True))
    assert payloads[0] == payloads[1]
