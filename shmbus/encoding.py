"""How an event becomes an EventBusMessage without building one.

What is constant for a publisher and an event type is serialised once: the constant half of the metadata, and what
stands before the event in its payload. The core writes the rest (message id, timestamp) and the event's own bytes
behind it. Concatenated protobuf merges, so the result parses as one envelope, and an event costs one serialisation.
"""

from typing import Any, Final, NamedTuple

from google.protobuf.message import Message as ProtobufMessage

from shmbus.v1.common_pb2 import EventType
from shmbus.v1.eventbus_pb2 import (
    CollectionEventPayload,
    EventBusMessage,
    MessageMetadata,
    MessageType,
    MessageVersion,
)

LENGTH_DELIMITED: Final = 2
TYPED: Final = 1  # in place of an event's tag: the event is the whole payload of its frame, without an envelope
VERSION: Final = MessageVersion(major=1, minor=1, patch=0, protocol_version="1.1.0")

_MESSAGE_TYPES: Final = {
    "collection_event": MessageType.COLLECTION_EVENT,
    "rpc_request": MessageType.RPC_REQUEST,
    "rpc_response": MessageType.RPC_RESPONSE,
    "control_message": MessageType.CONTROL_MESSAGE,
    "heartbeat": MessageType.HEARTBEAT,
    "alert": MessageType.ALERT,
    "registration": MessageType.REGISTRATION,
}
_EVENT_TYPES: Final = {
    "process_event": EventType.PROCESS_EVENT,
    "network_event": EventType.NETWORK_EVENT,
    "filesystem_event": EventType.FILESYSTEM_EVENT,
    "performance_event": EventType.PERFORMANCE_EVENT,
    "trigger_event": EventType.TRIGGER_EVENT,
}


class Envelope(NamedTuple):
    """What the core puts around an event: bytes before the metadata, bytes before the event, and the two tags."""

    prefix: bytes
    wrapper: bytes
    outer: int  # 0: the event is an envelope itself, or TYPED
    inner: int  # 0: the event is the payload


def _tag(number: int) -> int:
    return number << 3 | LENGTH_DELIMITED


def _by_type(message: type[ProtobufMessage], oneof: str) -> dict[str, Any]:
    """The fields of a oneof by the full names of their message types."""
    return {field.message_type.full_name: field for field in message.DESCRIPTOR.oneofs_by_name[oneof].fields}  # type: ignore[union-attr]


_PAYLOADS: Final = _by_type(EventBusMessage, "payload")
_COLLECTION: Final = _PAYLOADS[CollectionEventPayload.DESCRIPTOR.full_name]
_EVENTS: Final = _by_type(CollectionEventPayload, "event_data")


def envelope_for(kind: type[Any], topic: str, source: str, own_type: str | None) -> Envelope:
    """How events of class `kind` are wrapped on `topic` by the publisher `source`; `own_type` is the topic's own
    message type, if it has one. Raises TypeError for what cannot be published.
    """
    descriptor = getattr(kind, "DESCRIPTOR", None)
    name = getattr(descriptor, "full_name", None)
    if name is None or not issubclass(kind, ProtobufMessage):
        raise TypeError(
            f"cannot publish a {kind.__name__} on '{topic}': publish a protobuf message, or an object with the buffer "
            "protocol"
        )
    if own_type is not None:
        if name != own_type:
            raise TypeError(f"cannot publish a {name} on '{topic}': this publisher was opened for {own_type}")
        return Envelope(b"", b"", 0, TYPED)
    if name == EventBusMessage.DESCRIPTOR.full_name:
        return Envelope(_constant(topic, source, None), b"", 0, 0)
    if (payload := _PAYLOADS.get(name)) is not None:
        return Envelope(_constant(topic, source, _MESSAGE_TYPES[payload.name]), b"", _tag(payload.number), 0)
    if (event := _EVENTS.get(name)) is not None:
        wrapper = CollectionEventPayload(event_type=_EVENT_TYPES[event.name]).SerializeToString()
        return Envelope(
            _constant(topic, source, MessageType.COLLECTION_EVENT),
            wrapper,
            _tag(_COLLECTION.number),
            _tag(event.number),
        )
    known = sorted(one.rpartition(".")[2] for one in (*_PAYLOADS, *_EVENTS, EventBusMessage.DESCRIPTOR.full_name))
    raise TypeError(
        f"cannot publish a {name} on '{topic}': it is none of {', '.join(known)}. For a type of your own open the "
        f"publisher with type={kind.__name__}."
    )


def correlation_field(correlation: ProtobufMessage) -> bytes:
    """CorrelationMetadata as the field of an envelope that carries it."""
    return EventBusMessage(correlation=correlation).SerializeToString()  # type: ignore[arg-type]


def _constant(topic: str, source: str, message_type: Any) -> bytes:
    metadata = MessageMetadata(topic=topic, source_id=source, message_type=message_type, version=VERSION)
    return EventBusMessage(metadata=metadata).SerializeToString()
