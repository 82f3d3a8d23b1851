"""What a subscription hands out: messages, and gaps where messages are missing.

A `Message` lives in the native core; what needs Python (the parsed envelope, the event, the time of day) is made here
on first use. A `Gap` stands in the stream where messages were lost, exactly counted, so that an agent can raise an
alert on it.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from shmbus import _core, schema
from shmbus._core import KIND_EVENT, KIND_TYPED, Message
from shmbus.correlation import HANDLING
from shmbus.process import Identity
from shmbus.v1.eventbus_pb2 import CollectionEventPayload, EventBusMessage

__all__ = ["Gap", "Message", "Producer"]

_COLLECTION_FIELD: Final = 3


class Producer(NamedTuple):
    """Who published a message, as the coordinator attested it when the publisher was opened."""

    name: str
    pid: int
    start_time: int  # clock ticks since boot
    pid_namespace: int
    session: int
    uid: int

    @property
    def process(self) -> Identity:
        """The one that it was opened in."""
        return Identity(self.pid, self.start_time, self.pid_namespace)


@dataclass(frozen=True, slots=True)
class Gap:
    """`count` messages of `topic`, by `producer`, that will not come. `first` is where the stream stood.

    One gap speaks of one producer. It is None where that cannot be known any more: who published them had left, and
    another publisher had its place in the ring, before this subscription came to them; then `count` is that of
    sequences, which is at least that of messages.

    overrun: the ring went round before they were read. expired: they were past their time. corrupt: their checksum or
    bounds were wrong. demoted: nothing is missing yet (`count` is 0), but this lossless subscription held the full
    topic up for too long, and from `first` on it is read as by a lossy one. order: what comes next in the correlation
    group `group` has been held back for `order_wait` seconds, or there was no room to hold more; `first` and `count`
    are sequence_numbers of the group that may still come, late, and `topic` is that of the message behind the gap.
    """

    topic: str
    pattern: str
    first: int
    count: int
    reason: Literal["overrun", "expired", "corrupt", "demoted", "order"]
    producer: Producer | None = None
    group: str = ""

    @property
    def last(self) -> int:
        """The last sequence that is missing, if what is missing stood one after the other."""
        return self.first + self.count - 1


def _make_gap(
    source: _core.Source, first: int, count: int, reason: Any, producer: Producer | None, group: str = ""
) -> Gap:
    return Gap(source.topic, source.pattern, first, count, reason, producer, group)


def time_of_day(time_ns: int) -> datetime:
    """CLOCK_MONOTONIC as the time of day, by the clocks' present distance."""
    return datetime.fromtimestamp((time.time_ns() - time.monotonic_ns() + time_ns) / 1e9, UTC)


def parse_envelope(message: Message) -> EventBusMessage | None:
    """The envelope that was published; None for what came without."""
    return EventBusMessage.FromString(message.payload) if message.kind == KIND_EVENT else None


def parse_event(message: Message) -> Any:
    """The event inside: the typed payload of an envelope, a message of the topic's own type, or the bytes."""
    if message.kind == KIND_TYPED:
        return schema.message_class(message.type_name).FromString(message.payload)
    if message.kind != KIND_EVENT:
        return message.payload
    place = message._locate()
    if place is None:
        return _event_of(message.envelope)
    outer, inner, data = place
    return _PARSERS[outer, inner](data)


def _event_of(envelope: EventBusMessage) -> Any:
    payload = envelope.WhichOneof("payload")
    if payload is None:
        return None
    body = getattr(envelope, payload)
    if not isinstance(body, CollectionEventPayload):
        return body
    event = body.WhichOneof("event_data")
    return None if event is None else getattr(body, event)


def _parsers() -> dict[tuple[int, int], Any]:
    """What parses what stands in each (payload field, event field)."""
    outer = EventBusMessage.DESCRIPTOR.oneofs_by_name["payload"].fields
    inner = CollectionEventPayload.DESCRIPTOR.oneofs_by_name["event_data"].fields
    classes = {(field.number, 0): schema.class_of(field.message_type) for field in outer}
    classes |= {(_COLLECTION_FIELD, field.number): schema.class_of(field.message_type) for field in inner}
    return {place: kind.FromString for place, kind in classes.items()}


_PARSERS: Final = _parsers()

_core.configure(
    make_gap=_make_gap,
    make_producer=Producer,
    make_time=time_of_day,
    parse_envelope=parse_envelope,
    parse_event=parse_event,
    parsers=_PARSERS,
    context=HANDLING,
)
