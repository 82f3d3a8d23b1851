"""What a lane retains, and what a subscription makes of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import ref

from shmbus._core import FRAME_HEADER_BYTES, UNIT
from shmbus.message import Message, Producer, parse_envelope, parse_event, time_of_day

if TYPE_CHECKING:
    from shmbus.testing.lane import Lane
    from shmbus.testing.subscription import MemorySubscription


class Content(NamedTuple):
    """What a publisher gives a lane."""

    payload: bytes
    kind: int
    priority: int
    time_ns: int
    expires_ns: int  # 0: never
    producer: Producer
    producer_sequence: int
    place: int  # among all that was published on the bus

    @property
    def units(self) -> int:
        """What it takes of a ring's arena."""
        return units_of(len(self.payload))


def units_of(length: int) -> int:
    """What a payload takes of a ring's arena, its header included."""
    return -(-(FRAME_HEADER_BYTES + length) // UNIT)


@dataclass(frozen=True, slots=True)
class Source:
    """A lane as one subscription sees it."""

    lane: "Lane"
    pattern: str
    subscription: "ref[MemorySubscription]"  # a message that is kept does not keep it


class MemoryMessage:
    """One received message, with all that `shmbus.Message` tells of itself; `isinstance` takes it for one.

    `memoryview(message)` takes Python 3.12; `bytes(message)` and `payload` are there before.
    """

    flags = 0

    def __init__(self, source: Source, sequence: int, content: Content, deliveries: int = 1) -> None:
        self._source, self._content = source, content
        self.sequence, self.deliveries = sequence, deliveries
        self._envelope: Any = None
        self._event: Any = None

    @property  # type: ignore[misc]
    def __class__(self) -> type[Message]:  # type: ignore[override]
        """What `isinstance` goes by."""
        return Message

    @property
    def topic(self) -> str:
        """Where it was published."""
        return self._source.lane.topic

    @property
    def lane(self) -> int:
        """0: normal, 1: urgent. Sequences are of a topic and lane."""
        return self._source.lane.number

    @property
    def pattern(self) -> str:
        """The most specific pattern of the subscription that matched."""
        return self._source.pattern

    @property
    def type_name(self) -> str:
        """Of what the topic carries."""
        return self._source.lane.type_name

    @property
    def payload(self) -> bytes:
        """The bytes of an envelope, of a message of the topic's own type, or that were published."""
        return self._content.payload

    @property
    def kind(self) -> int:
        """Bytes, an envelope, or a message of the topic's own type."""
        return self._content.kind

    @property
    def priority(self) -> int:
        """0 to 255."""
        return self._content.priority

    @property
    def producer(self) -> Producer:
        """Who published it."""
        return self._content.producer

    @property
    def producer_sequence(self) -> int:
        """Its number among its producer's."""
        return self._content.producer_sequence

    @property
    def time_ns(self) -> int:
        """When it was published, by the bus's clock."""
        return self._content.time_ns

    @property
    def expires_ns(self) -> int:
        """When its time to live is over; 0: never."""
        return self._content.expires_ns

    @property
    def time(self) -> datetime:
        """When it was published, time of day (UTC)."""
        return time_of_day(self.time_ns)

    @property
    def envelope(self) -> Any:
        """The EventBusMessage; None for what came without one."""
        if self._envelope is None:
            self._envelope = parse_envelope(cast(Message, self))
        return self._envelope

    @property
    def event(self) -> Any:
        """What was published."""
        if self._event is None:
            self._event = parse_event(cast(Message, self))
        return self._event

    @property
    def key(self) -> str | None:
        """What it is the latest word about, as its publisher said."""
        envelope = self.envelope
        return envelope.metadata.key if envelope is not None and envelope.metadata.HasField("key") else None

    @property
    def source(self) -> Source:
        """Where it is settled."""
        return self._source

    def _locate(self) -> None:
        """Where the event stands in the envelope: the parser finds it."""

    def __bytes__(self) -> bytes:
        return self.payload

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self.payload)

    def __repr__(self) -> str:
        return f"<Message {self.topic} #{self.sequence}, {len(self.payload)} bytes>"
