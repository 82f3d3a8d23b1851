"""Envelopes: what stands before an event, byte for byte what protobuf would have written."""

import pytest
from google.protobuf import descriptor_pb2

from shmbus import schema
from shmbus.correlation import new
from shmbus.encoding import TYPED, Envelope, correlation_field, envelope_for
from shmbus.v1.eventbus_pb2 import (
    AlertPayload,
    CollectionEventPayload,
    EventBusMessage,
    HeartbeatPayload,
    MessageType,
    ProcessEventData,
)

PAYLOADS = list(EventBusMessage.DESCRIPTOR.oneofs_by_name["payload"].fields)
EVENTS = list(CollectionEventPayload.DESCRIPTOR.oneofs_by_name["event_data"].fields)


def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(tag, data):
    return varint(tag) + varint(len(data)) + data


def assembled(envelope, event):
    """What the core makes of it, without what differs from message to message."""
    inner = field(envelope.inner, event) if envelope.inner else event
    return envelope.prefix + (field(envelope.outer, envelope.wrapper + inner) if envelope.outer else inner)


@pytest.mark.parametrize("one", EVENTS, ids=lambda one: one.name)
def test_an_event_parses_as_its_field_of_a_collection_event(one):
    kind = schema.class_of(one.message_type)
    envelope = envelope_for(kind, "a.b", "me", None)
    message = EventBusMessage.FromString(assembled(envelope, kind().SerializeToString()))
    assert message.collection_event.WhichOneof("event_data") == one.name
    assert (message.metadata.topic, message.metadata.source_id) == ("a.b", "me")
    assert message.metadata.message_type == MessageType.COLLECTION_EVENT


@pytest.mark.parametrize("one", PAYLOADS, ids=lambda one: one.name)
def test_a_payload_parses_as_its_field_of_the_envelope(one):
    kind = schema.class_of(one.message_type)
    message = EventBusMessage.FromString(assembled(envelope_for(kind, "a.b", "me", None), kind().SerializeToString()))
    assert message.WhichOneof("payload") == one.name
    assert message.metadata.message_type == MessageType.Value(one.name.upper())


def test_a_long_event_keeps_every_byte():
    event = ProcessEventData()
    event.process.name = "x" * 100_000
    message = EventBusMessage.FromString(
        assembled(envelope_for(ProcessEventData, "a.b", "me", None), event.SerializeToString())
    )
    assert message.collection_event.process_event == event


def test_an_envelope_of_ones_own_is_merged_with_ours():
    mine = EventBusMessage(heartbeat=HeartbeatPayload())
    mine.metadata.source_id = "elsewhere"
    envelope = envelope_for(EventBusMessage, "a.b", "me", None)
    message = EventBusMessage.FromString(assembled(envelope, mine.SerializeToString()))
    assert (message.metadata.topic, message.metadata.source_id) == ("a.b", "elsewhere")
    assert message.WhichOneof("payload") == "heartbeat"


def test_a_type_of_ones_own_has_no_envelope_and_takes_no_other():
    own = descriptor_pb2.FileDescriptorProto
    name = own.DESCRIPTOR.full_name
    assert envelope_for(own, "a.b", "me", name) == Envelope(b"", b"", 0, TYPED)
    with pytest.raises(TypeError, match=f"cannot publish a shmbus.v1.AlertPayload on 'a.b': .* opened for {name}"):
        envelope_for(AlertPayload, "a.b", "me", name)


@pytest.mark.parametrize("kind", [int, str, type(None), object])
def test_what_is_no_message_is_refused_with_what_is_one(kind):
    with pytest.raises(TypeError, match=f"cannot publish a {kind.__name__} on 'a.b': publish a protobuf message"):
        envelope_for(kind, "a.b", "me", None)


def test_a_message_that_the_schema_does_not_know_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match="it is none of AlertPayload, .*with type=FileDescriptorProto"):
        envelope_for(descriptor_pb2.FileDescriptorProto, "a.b", "me", None)


def test_a_correlation_is_a_field_of_the_envelope():
    root = new(stage="detect")
    assert EventBusMessage.FromString(correlation_field(root)).correlation == root
