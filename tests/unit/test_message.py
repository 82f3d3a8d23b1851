"""Messages and gaps: what is parsed, when, and out of which bytes."""

import os
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shm.memory import Shape, TestReader, TestWriter, make_bells, make_ring
from shmbus import Gap
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import (
    CollectionEventPayload,
    CorrelationMetadata,
    EventBusMessage,
    HeartbeatPayload,
    ProcessEventData,
)


class EnvelopeWriter(TestWriter):
    """Publishes envelopes as they are."""

    __test__ = False

    def _envelope(self, kind):
        return (b"", b"", 0, 0)

    def _correlate(self, given, whole):
        return None


def through_a_ring(envelope):
    bells = make_bells()
    ring, descriptor = make_ring(Shape(arena_bytes=1 << 16, max_message_bytes=1 << 15))
    os.close(descriptor)
    EnvelopeWriter(ring, 1, bells).publish(envelope)
    reader = TestReader(bells)
    reader.read(ring, 1)
    return reader.try_receive()


EVENT = ProcessEventData(process=ProcessRecord(pid=7, name="sleep"))


def test_the_event_is_found_without_parsing_the_envelope():
    message = through_a_ring(EventBusMessage(collection_event=CollectionEventPayload(process_event=EVENT)))
    assert message._locate()[:2] == (3, 3) and message.event == EVENT
    assert message.event is message.event and message.envelope is message.envelope
    beat = through_a_ring(EventBusMessage(heartbeat=HeartbeatPayload()))
    assert beat._locate()[:2] == (7, 0) and beat.event == HeartbeatPayload()


def test_an_envelope_without_an_event_has_none():
    assert through_a_ring(EventBusMessage()).event is None
    assert through_a_ring(EventBusMessage(collection_event=CollectionEventPayload())).event is None


class Twice:
    """An event of two encodings, one behind the other, as concatenation makes them: the parser merges them."""

    def __init__(self, *messages):
        self.data = b"".join(message.SerializeToString() for message in messages)

    def SerializeToString(self):
        return self.data


def test_what_is_encoded_in_two_pieces_is_merged_as_protobuf_does():
    first = EventBusMessage(collection_event=CollectionEventPayload(process_event=EVENT))
    second = EventBusMessage()
    second.collection_event.process_event.process.pid = 9
    message = through_a_ring(Twice(first, second))
    assert message._locate() is None
    assert (message.event.process.pid, message.event.process.name) == (9, "sleep")
    replaced = through_a_ring(Twice(first, EventBusMessage(heartbeat=HeartbeatPayload())))
    assert replaced._locate() is None and replaced.event == HeartbeatPayload()


@given(st.binary(max_size=300))
def test_looking_for_the_event_agrees_with_the_parser_on_any_bytes(data):
    class Any:
        def SerializeToString(self):
            return data

    message = through_a_ring(Any())
    found = message._locate()
    try:
        envelope = EventBusMessage.FromString(data)
    except Exception:
        return
    if found is not None:
        outer, inner, _ = found
        payload = envelope.WhichOneof("payload")
        assert payload is not None and envelope.DESCRIPTOR.fields_by_name[payload].number == outer
        body = getattr(envelope, payload)
        assert message.event == (getattr(body, body.WhichOneof("event_data")) if inner else body)


@given(st.binary(max_size=300))
@example(EventBusMessage(correlation=CorrelationMetadata(correlation_id="c")).SerializeToString())
@example(EventBusMessage(heartbeat=HeartbeatPayload()).SerializeToString())
def test_a_correlation_is_never_overlooked(data):
    class Any:
        def SerializeToString(self):
            return data

    message = through_a_ring(Any())
    try:
        envelope = EventBusMessage.FromString(data)
    except Exception:
        return
    assert message._correlated or not envelope.HasField("correlation")


def test_what_has_no_correlation_is_not_parsed_for_it():
    assert not through_a_ring(EventBusMessage(heartbeat=HeartbeatPayload()))._correlated
    assert through_a_ring(EventBusMessage(correlation=CorrelationMetadata(correlation_id="c")))._correlated


def test_the_time_of_day_is_that_of_the_clock():
    assert abs(through_a_ring(EventBusMessage()).time.timestamp() - time.time()) < 2


def test_messages_and_sources_are_made_by_the_core_only():
    message = through_a_ring(EventBusMessage())
    with pytest.raises(TypeError):
        type(message)()
    with pytest.raises((AttributeError, TypeError)):
        message.sequence = 2
    with pytest.raises(TypeError, match="read-only"):
        memoryview(through_a_ring(EventBusMessage(heartbeat=HeartbeatPayload())))[0] = 0


def test_a_payload_outlives_its_ring():
    message = through_a_ring(EventBusMessage(heartbeat=HeartbeatPayload()))
    view = memoryview(message)
    kept = [through_a_ring(EventBusMessage()) for _ in range(50)]
    assert EventBusMessage.FromString(bytes(view)).WhichOneof("payload") == "heartbeat" and len(kept) == 50
    del message
    assert EventBusMessage.FromString(bytes(view)).WhichOneof("payload") == "heartbeat"


def test_a_gap_is_a_plain_value():
    gap = Gap("a.b", "a.+", 10, 5, "overrun")
    assert gap.last == 14 and gap == Gap("a.b", "a.+", 10, 5, "overrun") and hash(gap)
    with pytest.raises(AttributeError):
        gap.count = 6
