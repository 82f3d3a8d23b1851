"""Publishing to one topic of a bus in memory."""

import operator
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from google.protobuf.message import Message as ProtobufMessage

from shmbus import encoding
from shmbus._core import KEY_BYTES, KIND_RAW, MAX_NUMBER
from shmbus.errors import BackpressureError, BusyError, ClosedError
from shmbus.publisher import URGENT, URGENT_LANE, Backpressure
from shmbus.testing.envelope import metadata_field, wrapped
from shmbus.testing.hub import SLEEP_SECONDS
from shmbus.testing.lane import Lane, Numbers
from shmbus.testing.message import Content, MemoryMessage

if TYPE_CHECKING:
    from shmbus.testing.bus import MemoryClient


class Asked(NamedTuple):
    """How a publisher was opened."""

    type: type[ProtobufMessage] | None
    name: str
    on_full: str | None
    timeout: float | None | EllipsisType
    durable: bool


class MemoryPublisher:
    """As `shmbus.Publisher`. Made by `MemoryBus.publisher`."""

    def __init__(
        self, bus: "MemoryClient", lane: Lane, asked: Asked, configured: Backpressure, numbers: Numbers
    ) -> None:
        self.topic: Final = lane.topic
        self.name: Final = asked.name
        self.lane: Final = lane
        self.durable: Final = asked.durable
        self._configured = configured
        self._bus, self._hub, self._asked, self._numbers = bus, bus.hub, asked, numbers
        self.client: Final = bus.client
        self.producer: Final = bus.client.producer(asked.name)
        if self.producer not in lane.producers:
            lane.producers.append(self.producer)
        lane.publishers.add(self)
        self._ids = os.urandom(8).hex() + "-"
        self._urgent: MemoryPublisher | None = None
        self._closed = False
        self._waits = False  # some thread, for room
        self._seen = 0

    def publish(
        self,
        event: Any,
        /,
        *,
        correlation: Any = None,
        number: int | None = None,
        key: str | None = None,
        priority: int = 0,
        ttl: float | None = None,
        timeout: float | None | EllipsisType = ...,
    ) -> int:
        """Its sequence; 0: it was published before under that number."""
        options = _Options(self, correlation, number, key, priority, ttl, timeout)
        with self._writing(options) as writer:
            return writer._publish(event, options, options.number)

    def publish_many(
        self,
        events: Iterable[Any],
        /,
        *,
        correlation: Any = None,
        number: int | None = None,
        key: str | None = None,
        priority: int = 0,
        ttl: float | None = None,
        timeout: float | None | EllipsisType = ...,
    ) -> int:
        """How many; an error says so in its attribute `published`."""
        options = _Options(self, correlation, number, key, priority, ttl, timeout)
        batch = list(events)
        with self._writing(options) as writer:
            for done, event in enumerate(batch):
                try:
                    writer._publish(event, options, options.number and options.number + done)
                except Exception as error:
                    error.published = done  # type: ignore[attr-defined]
                    raise
        return len(batch)

    def try_publish(self, event: Any, **options: Any) -> int | None:
        """Publish without waiting: the sequence, or None when the topic is full."""
        try:
            return self.publish(event, **{**options, "timeout": 0})
        except BackpressureError:
            return None

    @property
    def published(self) -> int:
        """Messages so far, of both lanes."""
        return self.last_number + (self._urgent.published if self._urgent else 0)

    @property
    def last_number(self) -> int:
        """Of the last message of the normal lane. A durable publisher's go on from those of the one before it."""
        return self._numbers.published

    @property
    def closed(self) -> bool:
        """Closed, or its bus is."""
        return self._closed

    def close(self) -> None:
        """What has been published stays."""
        with self._hub.changed:
            self._closed = True
            if self._urgent is not None:
                self._urgent.close()
            self._hub.tell()

    async def ready(self, timeout: float | None) -> None:
        """Return when there may be room, or `timeout` seconds have passed."""
        await self._hub.told(self._seen, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.published} published"
        return f"<Publisher {self.topic}, {state}>"

    def patience(self) -> float | None:
        """How many seconds it waits for room, unless it is told; None: for ever."""
        return self._configured.limit(self._asked.timeout) if self._configured.waits(self._asked.on_full) else 0.0

    # ---- one message -------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, options: "_Options") -> "Iterator[MemoryPublisher]":
        """Whoever publishes that: this one, or the one of the urgent lane. One thread at a time."""
        with self._hub.changed:
            self._check_usable()
            writer = self._urgent_writer() if options.priority >= URGENT else self
            writer._check_usable()
            yield writer

    def _check_usable(self) -> None:
        if self._closed:
            raise ClosedError(f"the publisher of '{self.topic}'")
        if self._waits:
            raise BusyError(f"the publisher of '{self.topic}'")

    def _urgent_writer(self) -> "MemoryPublisher":
        if self.lane.number == URGENT_LANE:
            return self
        if self._urgent is None:
            self._urgent = self._bus.urgent_publisher(self.topic, self._asked)
        return self._urgent

    def _publish(self, event: Any, options: "_Options", number: int | None) -> int:
        before = self._numbers.published
        if number is not None and number <= before:
            return 0
        content = self._content(event, options, before + 1 if number is None else number)
        self.lane.check_size(len(content.payload))
        sequence = self._put(content, options.timeout)
        self._numbers.published = content.producer_sequence
        self._hub.tell()
        return sequence

    def _content(self, event: Any, options: "_Options", number: int) -> Content:
        now = self._hub.clock.now_ns()
        kind, payload = self._serialised(event, options, number, now)
        expires = now + options.ttl_ns if options.ttl_ns else 0
        place = next(self._hub.places)
        return Content(payload, kind, options.priority, now, expires, self.producer, number, place)

    def _serialised(self, event: Any, options: "_Options", number: int, now: int) -> tuple[int, bytes]:
        if (raw := _bytes_of(event)) is not None:
            if options.correlation is not None:
                raise TypeError("bytes have no envelope to carry a correlation: publish a protobuf message")
            options.check_keyless()
            return KIND_RAW, raw
        own = self._asked.type.DESCRIPTOR.full_name if self._asked.type else None
        envelope = encoding.envelope_for(type(event), self.topic, self.name, own)
        if own is not None:
            options.check_keyless()
        metadata = metadata_field(f"{self._ids}{number:x}", options.priority, now, options.ttl_ns, options.key)
        return wrapped(envelope, metadata, event, options.correlation)

    def _put(self, content: Content, timeout: float | None) -> int:
        """Now, or as soon as there is room."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (sequence := self.lane.put(content)) is None:
            self._seen = self._hub.version
            left = SLEEP_SECONDS if deadline is None else min(deadline - time.monotonic(), SLEEP_SECONDS)
            if left <= 0:
                raise self.lane.backpressure()
            self._wait(left)
            self.lane.check_size(len(content.payload))  # the limits may have been lowered meanwhile
        return sequence

    def _wait(self, seconds: float) -> None:
        self._waits = True
        try:
            self._hub.changed.wait(seconds)
        finally:
            self._waits = False
        self._check_usable()


class _Options:
    """What was asked for with one call, checked. Raises TypeError, ValueError."""

    def __init__(
        self,
        publisher: MemoryPublisher,
        correlation: Any,
        number: int | None,
        key: str | None,
        priority: int,
        ttl: float | None,
        timeout: float | None | EllipsisType,
    ) -> None:
        self.correlation, self.key = correlation, _key(key)
        self.priority = operator.index(priority)
        if not 0 <= self.priority <= 255:
            raise ValueError(f"priority {priority} is not within 0 (lowest) and 255 (highest)")
        self.ttl_ns = 0 if ttl is None else int(_seconds(ttl) * 1e9)
        self.number = None if number is None else _number(number, publisher.durable)
        self.timeout = publisher.patience() if isinstance(timeout, EllipsisType) else _patience(timeout)

    def check_keyless(self) -> None:
        """Raises TypeError."""
        if self.key is not None:
            raise TypeError("a key stands in the envelope, and this has none: publish a message of the schema")


def _patience(timeout: float | None) -> float | None:
    return None if timeout is None else _seconds(timeout)


def _seconds(value: float) -> float:
    if not 0 <= value < 1e9:
        raise ValueError(f"{value!r} is no number of seconds from 0 to 10^9")
    return float(value)


def _key(key: str | None) -> str | None:
    if key is not None and not 1 <= len(key.encode()) <= KEY_BYTES:
        raise ValueError(f"a key has 1 to {KEY_BYTES} bytes of UTF-8, {key[:32]!r} has {len(key.encode())}")
    return key


def _number(value: int, durable: bool) -> int:
    if not 1 <= operator.index(value) <= MAX_NUMBER:
        raise ValueError(f"the number of a message is from 1 to 2^48 - 1, not {value!r}")
    if not durable:
        raise ValueError("only a durable publisher numbers its messages: open it with durable=True")
    return value


def _bytes_of(event: Any) -> bytes | None:
    """Of what has the buffer protocol."""
    if type(event) is MemoryMessage:
        return event.payload
    try:
        return bytes(memoryview(event))
    except TypeError:
        return None
