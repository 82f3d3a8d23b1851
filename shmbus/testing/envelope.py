"""The bytes of an envelope, as the core writes them around an event."""

from google.protobuf.message import Message as ProtobufMessage

from shmbus import correlation, encoding
from shmbus._core import KIND_EVENT, KIND_TYPED
from shmbus.encoding import Envelope
from shmbus.message import time_of_day
from shmbus.v1.eventbus_pb2 import EventBusMessage, MessageMetadata


def metadata_field(message_id: str, priority: int, time_ns: int, ttl_ns: int, key: str | None = None) -> bytes:
    """What differs from message to message, as the field of an envelope that carries it."""
    metadata = MessageMetadata(message_id=message_id, timestamp=int(time_of_day(time_ns).timestamp() * 1e3))
    if priority:
        metadata.priority = priority
    if ttl_ns >= 1_000_000:
        metadata.ttl_ms = ttl_ns // 1_000_000
    if key is not None:
        metadata.key = key
    return EventBusMessage(metadata=metadata).SerializeToString()


def wrapped(envelope: Envelope, metadata: bytes, event: ProtobufMessage, given: object) -> tuple[int, bytes]:
    """Kind and payload of an event. `given` is its correlation. Raises CorrelationError."""
    data = event.SerializeToString()
    related = correlation.resolve(given)  # type: ignore[arg-type]
    if envelope.outer == 0 and envelope.inner == encoding.TYPED:
        return KIND_TYPED, data
    if envelope.inner:
        data = envelope.wrapper + _field(envelope.inner, data)
    if envelope.outer:
        data = _field(envelope.outer, data)
    field = b"" if related is None else encoding.correlation_field(related)
    return KIND_EVENT, envelope.prefix + metadata + field + data


def _field(tag: int, data: bytes) -> bytes:
    return _varint(tag) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    low = b""
    while value >= 0x80:
        low += bytes([value & 0x7F | 0x80])
        value >>= 7
    return low + bytes([value])
