"""Publishing through a real bus: what can be published, what an envelope holds, what happens when there is no room."""

import array
import os
import re
import signal
import threading
import time

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import shmbus
from process.buses import coordinator, eventually, python
from process.rings import small
from shmbus import _core, schema
from shmbus.config import parse
from shmbus.errors import (
    BackpressureError,
    BusyError,
    ClosedError,
    MessageTooLarge,
    PatternError,
    TopicNameError,
    TypeMismatch,
)
from shmbus.v1 import common_pb2, eventbus_pb2
from shmbus.v1.eventbus_pb2 import EventBusMessage

PROCESS = eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=7))
PAYLOADS = [
    (field.message_type.full_name, field.name) for field in EventBusMessage.DESCRIPTOR.oneofs_by_name["payload"].fields
]


def own_type(name="Reading", *fields):
    """A message class of a file that the bus has never seen."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name=f"lab/{name.lower()}.proto", package="lab", syntax="proto3")
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields or (("value", 3), ("unit", 9)), 1):
        message.field.add(name=field, number=number, type=kind, label=1)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"lab.{name}"))


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


def event_types():
    inner = eventbus_pb2.CollectionEventPayload.DESCRIPTOR.oneofs_by_name["event_data"].fields
    return {field.message_type.full_name: field.name for field in inner}


@pytest.mark.parametrize("full_name", sorted(event_types()))
def test_every_event_type_of_the_schema_comes_back_as_itself(bus, full_name):
    kind = schema.message_class(full_name)
    with bus.subscribe("e.x") as subscription, bus.publisher("e.x") as publisher:
        publisher.publish(kind())
        message = subscription.receive(timeout=5)
        assert type(message.event) is kind and message.event == kind()
        envelope = message.envelope
        assert envelope.WhichOneof("payload") == "collection_event"
        assert envelope.collection_event.WhichOneof("event_data") == event_types()[full_name]
        assert envelope.metadata.message_type == eventbus_pb2.MessageType.COLLECTION_EVENT
        name = event_types()[full_name].upper()
        assert common_pb2.EventType.Name(envelope.collection_event.event_type) == name


@pytest.mark.parametrize(("full_name", "field"), PAYLOADS)
def test_every_payload_of_the_envelope_can_be_published_by_itself(bus, full_name, field):
    kind = schema.message_class(full_name)
    with bus.subscribe("p.x") as subscription, bus.publisher("p.x") as publisher:
        publisher.publish(kind())
        message = subscription.receive(timeout=5)
        assert message.envelope.WhichOneof("payload") == field
        assert message.event is None if field == "collection_event" else message.event == kind()


def test_an_envelope_of_ones_own_gets_what_only_the_bus_knows(bus):
    mine = EventBusMessage(heartbeat=eventbus_pb2.HeartbeatPayload())
    mine.metadata.source_id = "elsewhere"
    with bus.subscribe("h.x") as subscription, bus.publisher("h.x") as publisher:
        publisher.publish(mine)
        message = subscription.receive(timeout=5)
    assert message.envelope.metadata.message_id
    assert message.envelope.metadata.topic == "h.x"
    assert message.envelope.WhichOneof("payload") == "heartbeat"
    assert message.event == mine.heartbeat


def test_the_envelope_is_whole_for_any_protobuf_parser(bus):
    before = time.time_ns() // 1_000_000
    event = PROCESS
    with bus.subscribe("e.x") as subscription, bus.publisher("e.x", name="probe") as publisher:
        publisher.publish(event, priority=130, ttl=2.5)
        publisher.publish(event)
        first, second = (EventBusMessage.FromString(subscription.receive(timeout=5).payload) for _ in range(2))
    its = first.metadata
    assert (its.topic, its.source_id, its.priority, its.ttl_ms) == ("e.x", "probe", 130, 2500)
    assert (its.version.major, its.version.minor, its.version.protocol_version) == (1, 1, "1.1.0")
    assert before - 1000 <= its.timestamp <= time.time_ns() // 1_000_000 + 1000
    assert first.collection_event.process_event == event
    assert (second.metadata.ttl_ms, second.metadata.priority) == (0, 0)
    assert not first.HasField("correlation")
    assert its.message_id != second.metadata.message_id


def test_message_ids_are_unique_over_publishers_and_restarts(bus):
    with bus.subscribe("e.x") as subscription:
        for _ in range(3):
            with bus.publisher("e.x") as one, bus.publisher("e.x") as other:
                for publisher in (one, other):
                    publisher.publish_many([PROCESS] * 20)
        ids = [message.envelope.metadata.message_id for message in subscription.receive_many()]
    assert len(ids) == len(set(ids)) == 120


def test_what_a_message_tells_of_itself(bus):
    with bus.subscribe("e.+") as subscription, bus.publisher("e.x", name="probe") as publisher:
        before = time.monotonic_ns()
        assert publisher.publish(b"first") == 1
        publisher.publish(b"payload", priority=9, ttl=60)
        subscription.receive(timeout=5)
        message = subscription.receive(timeout=5)
    assert (message.topic, message.pattern, message.sequence, message.producer_sequence) == ("e.x", "e.+", 2, 2)
    assert (message.payload, bytes(memoryview(message)), message.event) == (b"payload", b"payload", b"payload")
    assert (message.priority, message.kind, message.flags) == (9, 0, 0)
    assert before - 1_000_000 <= message.time_ns <= time.monotonic_ns()
    assert message.expires_ns == message.time_ns + 60_000_000_000
    assert abs(message.time.timestamp() - time.time()) < 5 and message.time.tzinfo is not None
    assert (message.producer.name, message.producer.pid, message.producer.uid) == ("probe", os.getpid(), os.geteuid())
    assert message.envelope is None
    assert repr(message) == "<Message e.x #2, 7 bytes>"
    assert memoryview(message).readonly


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: array.array("B", data)])
def test_anything_with_the_buffer_protocol_is_published_as_its_bytes(bus, make):
    with bus.subscribe("b.x") as subscription, bus.publisher("b.x") as publisher:
        publisher.publish(make(b"abc"))
        publisher.publish(make(b""))
        assert [subscription.receive(timeout=5).payload for _ in range(2)] == [b"abc", b""]


def test_a_type_of_ones_own_travels_without_an_envelope(bus):
    kind = own_type()
    with bus.publisher("lab.reading", type=kind) as publisher, bus.subscribe("lab.#", start="earliest") as subscription:
        publisher.publish(kind(value=42, unit="K"))
        message = subscription.receive(timeout=5)
        assert message.type_name == "lab.Reading"
        assert kind.FromString(message.payload) == kind(value=42, unit="K")
        assert message.envelope is None
        with pytest.raises(
            TypeError, match="cannot publish a .*ProcessEventData on 'lab.reading': .* opened for lab.Reading"
        ):
            publisher.publish(PROCESS)


@pytest.mark.parametrize("wrong", ["text", 7, None, ["list"], object()])
def test_what_cannot_be_published_is_a_type_error_that_says_what_can(bus, wrong):
    with bus.publisher("b.x") as publisher:
        with pytest.raises(TypeError, match=r"cannot publish a \w+ on 'b.x': publish a protobuf message, or an object"):
            publisher.publish(wrong)
        with pytest.raises(TypeError, match=r"cannot publish a lab.Reading on 'b.x'.*type=Reading"):
            publisher.publish(own_type()())
        assert publisher.published == 0


def test_options_out_of_range_are_refused_and_nothing_is_published(bus):
    with bus.publisher("b.x") as publisher:
        for wrong in ({"priority": 256}, {"priority": -1}, {"ttl": -1}, {"ttl": float("nan")}, {"timeout": -0.1}):
            with pytest.raises(ValueError, match=re.escape(str(next(iter(wrong.values()))))):
                publisher.publish(b"x", **wrong)
        with pytest.raises(
            TypeError, match="unexpected keyword argument 'prioriti' .there are correlation, key, number, priority"
        ):
            publisher.publish(b"x", prioriti=1)
        with pytest.raises(TypeError, match="takes one event"):
            publisher.publish()
        with pytest.raises(ValueError, match="on_full is 'block' or 'raise', not 'explode'"):
            bus.publisher("b.x", on_full="explode")
        assert publisher.published == 0


def test_an_incompatible_type_is_refused_with_the_fields_that_differ(bus):
    with bus.publisher("lab.reading", type=own_type()):
        with pytest.raises(TypeMismatch) as refused:
            bus.publisher("lab.reading", type=own_type("Reading", ("value", 9), ("unit", 9)))
        assert refused.value.differences == (
            "field 1 of lab.Reading is 'int64 value' in the topic, not 'string value'",
        )
        assert "topic 'lab.reading'" in str(refused.value) and "int64 value" in str(refused.value)
        with pytest.raises(
            TypeMismatch, match="carries lab.Reading, not shmbus.v1.EventBusMessage|carries lab.Reading"
        ):
            bus.publisher("lab.reading")
        with bus.publisher("lab.reading", type=own_type("Reading", ("value", 3), ("unit", 9), ("more", 3))) as newer:
            assert newer.topic == "lab.reading"


@pytest.mark.parametrize("topic", ["", "A.b", "a..b", "a.+", "#", "a." * 8 + "a", "a" * 201, "a b"])
def test_no_topic_name_is_refused_with_the_reason(bus, topic):
    with pytest.raises(TopicNameError) as refused:
        bus.publisher(topic)
    assert refused.value.topic == topic and refused.value.reason
    if "+" not in topic and "#" not in topic:
        with pytest.raises(PatternError):
            bus.subscribe(topic)


def test_a_message_above_the_limit_is_refused_with_both_sizes():
    with shmbus.embedded(small(max_message_bytes=1000)) as bus, bus.publisher("b.x") as publisher:
        publisher.publish(bytes(1000))
        with pytest.raises(
            MessageTooLarge, match="1001, the limit is 1000. Split it, or raise max_message_bytes"
        ) as big:
            publisher.publish(bytes(1001))
        assert (big.value.size, big.value.limit, big.value.topic) == (1001, 1000, "b.x")


def test_a_message_above_what_the_urgent_lane_holds_names_the_key_of_that_lane():
    with shmbus.embedded(parse({"defaults": {"urgent_arena_bytes": 4096}})) as bus, bus.publisher("b.x") as publisher:
        publisher.publish(bytes(4048), priority=shmbus.URGENT)
        with pytest.raises(MessageTooLarge, match="urgent lane of topic 'b.x': 4049.* raise urgent_arena_bytes") as big:
            publisher.publish(bytes(4049), priority=shmbus.URGENT)
        assert big.value.urgent and publisher.publish(bytes(4049)) == 1


def test_a_message_that_only_the_resized_topic_can_take_moves_its_publisher_over():
    with shmbus.embedded(small(arena_bytes=4096, max_bytes=4096)) as bus, bus.publisher("b.x") as publisher:
        with pytest.raises(MessageTooLarge):
            publisher.publish(bytes(4090))  # with its header it is more than the arena
        with bus.subscribe("b.x") as subscription:
            bus.resize("b.x", arena_bytes=65536)
            publisher.publish(bytes(4090))
            assert len(subscription.receive(timeout=5).payload) == 4090


def test_publish_many_takes_any_iterable_and_says_how_many(bus):
    with bus.subscribe("b.x") as subscription, bus.publisher("b.x") as publisher:
        assert publisher.publish_many(str(number).encode() for number in range(500)) == 500
        assert publisher.publish_many([]) == 0
        assert [int(m.payload) for m in subscription.receive_many()] == list(range(500))
        with pytest.raises(TypeError) as stopped:
            publisher.publish_many([b"a", b"b", 7, b"c"])
        assert stopped.value.published == 2
        assert publisher.published == 502


# ---- no room ---------------------------------------------------------------------------------------------------------


def test_a_full_topic_names_who_holds_it_how_far_behind_and_since_when():
    with shmbus.embedded(small(), name="slow-agent") as bus, bus.subscribe("b.x", lossless=True) as subscription:
        publisher = bus.publisher("b.x", timeout=0.05)
        assert publisher.publish_many([b"x"] * 15) == 15
        began = time.monotonic()
        with pytest.raises(BackpressureError, match="has read nothing since it joined") as full:
            publisher.publish(b"y")
        assert 0.05 <= time.monotonic() - began < 5
        assert (full.value.holder, full.value.pid, full.value.behind) == ("slow-agent", os.getpid(), 15)
        assert (full.value.topic, full.value.messages, full.value.has_moved) == ("b.x", 15, False)
        assert 0.05 <= full.value.since_seconds < 5
        assert len(subscription.receive_many()) == 15
        publisher.publish_many([b"x"] * 15)
        with pytest.raises(
            BackpressureError, match=r"'slow-agent' of pid \d+ is 15 messages behind, last read \d+\.\d s ago"
        ):
            publisher.publish(b"y", timeout=0)
        assert publisher.try_publish(b"y") is None
        assert len(subscription.receive_many()) == 15
        assert publisher.try_publish(b"y") == 31


def test_on_full_raise_does_not_wait():
    with shmbus.embedded(small()) as bus, bus.subscribe("b.x", lossless=True):
        publisher = bus.publisher("b.x", on_full="raise")
        with pytest.raises(BackpressureError) as full:
            publisher.publish_many([b"x"] * 20)
        assert full.value.published == 15


def test_a_blocked_publisher_goes_on_when_the_reader_does():
    with shmbus.embedded(small()) as bus, bus.subscribe("b.x", lossless=True) as subscription:
        publisher = bus.publisher("b.x", timeout=20)
        thread = threading.Thread(target=publisher.publish_many, args=([b"%d" % n for n in range(2000)],))
        thread.start()
        got = [int(subscription.receive(timeout=20).payload) for _ in range(2000)]
        thread.join()
        assert got == list(range(2000)) and subscription.lost == 0


def test_without_lossless_readers_nobody_waits_and_the_oldest_go():
    with shmbus.embedded(small()) as bus, bus.subscribe("b.x") as subscription:
        publisher = bus.publisher("b.x", timeout=0)
        publisher.publish_many([b"x"] * 100)
        gap = subscription.receive(timeout=5)
        assert (gap.reason, gap.first, gap.topic, gap.pattern) == ("overrun", 1, "b.x", "b.x")
        rest = subscription.receive_many()
        assert gap.count + len(rest) == 100 and gap.last + 1 == rest[0].sequence
        assert subscription.lost == gap.count and subscription.delivered == len(rest)


READER = """
import sys, shmbus
bus = shmbus.connect(sys.argv[1], name="doomed")
subscription = bus.subscribe("b.x", lossless=True)
print("reading", flush=True)
sys.stdin.read()
"""


def killed_in(child, publisher):
    """Milliseconds from the death of a subscriber that holds the ring to the end of the publish that it blocked."""
    blocked = threading.Thread(target=publisher.publish, args=(bytes(60_000),))
    blocked.start()
    time.sleep(0.15)  # it must be asleep when the reader dies
    assert blocked.is_alive()
    began = time.monotonic()
    child.kill()
    blocked.join(20)
    assert not blocked.is_alive()
    return (time.monotonic() - began) * 1000


def test_a_killed_lossless_subscriber_holds_nobody_any_more(record_property):
    with shmbus.embedded(small()) as bus, python(READER, bus.address) as child:
        assert child.stdout.readline() == "reading\n"
        publisher = bus.publisher("b.x", timeout=20)
        publisher.publish_many([b"x"] * 15)
        with pytest.raises(BackpressureError) as full:
            publisher.publish(b"y", timeout=0)
        assert (full.value.holder, full.value.pid) == ("doomed", child.pid)
        took = killed_in(child, publisher)
        record_property("milliseconds", took)
        assert took < 5000


def test_a_killed_lossless_subscriber_holds_nobody_even_when_the_coordinator_was_killed_before(
    bus_name, record_property
):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus, python(READER, bus_name) as child:
        assert child.stdout.readline() == "reading\n"
        publisher = bus.publisher("b.x", timeout=20)
        while publisher.try_publish(bytes(60_000)):
            pass
        running.end(signal.SIGKILL)
        took = killed_in(child, publisher)
        record_property("milliseconds", took)
        assert took < 5000
    with coordinator(bus_name):
        pass  # it removes what the killed one left


def test_closing_a_lossless_subscription_frees_its_publishers_also_without_a_coordinator(bus_name):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus, shmbus.connect(bus_name) as other:
        first, second = bus.subscribe("b.x", lossless=True), bus.subscribe("b.x", lossless=True)
        publisher = other.publisher("b.x", timeout=20)
        while publisher.try_publish(bytes(60_000)):
            pass
        running.end(signal.SIGKILL)
        first.close()
        assert publisher.try_publish(bytes(60_000)) is None
        second.close()
        assert publisher.publish(bytes(60_000))
    with coordinator(bus_name):
        pass


# ---- life ------------------------------------------------------------------------------------------------------------


def test_a_closed_publisher_says_so_and_closing_twice_is_fine(bus):
    publisher = bus.publisher("b.x")
    assert not publisher.closed and "0 published" in repr(publisher)
    publisher.close()
    publisher.close()
    assert publisher.closed and "closed" in repr(publisher)
    for use in (
        lambda: publisher.publish(b"x"),
        lambda: publisher.publish_many([b"x"]),
        lambda: publisher.try_publish(b""),
    ):
        with pytest.raises(ClosedError, match="the publisher of 'b.x' cannot be used: it has been closed"):
            use()


def test_closing_from_another_thread_ends_a_blocked_publish_at_once():
    with shmbus.embedded(small()) as bus, bus.subscribe("b.x", lossless=True):
        publisher = bus.publisher("b.x", timeout=None)
        publisher.publish_many([b"x"] * 15)
        found = []

        def publish():
            with pytest.raises(ClosedError) as closed:
                publisher.publish(b"y")
            found.append(closed.value)

        thread = threading.Thread(target=publish)
        thread.start()
        time.sleep(0.15)
        with pytest.raises(BusyError):
            publisher.publish(b"z")
        publisher.close()
        thread.join(10)
        assert len(found) == 1


BLOCKED = """
import sys, shmbus
bus = shmbus.connect(sys.argv[1])
publisher = bus.publisher("b.x", timeout=None)
print("blocked", flush=True)
try:
    while True:
        publisher.publish(b"x")
except KeyboardInterrupt:
    print("interrupted", flush=True)
bus.close()
"""


def test_ctrl_c_in_a_blocked_publish_is_a_keyboard_interrupt_at_once():
    with shmbus.embedded(small()) as bus, bus.subscribe("b.x", lossless=True) as subscription:
        with python(BLOCKED, bus.address) as child:
            assert child.stdout.readline() == "blocked\n"
            eventually(lambda: subscription._anything())
            time.sleep(0.3)  # it is asleep when the signal comes
            began = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            assert time.monotonic() - began < 2
            assert child.wait(10) == 0


def test_a_publisher_that_nobody_keeps_gives_its_id_back():
    with shmbus.embedded(small(producers=4)) as bus:
        for _ in range(50):
            bus.publisher("b.x").publish(b"x")


def test_a_gate_whose_session_has_ended_meanwhile_does_not_stop_a_publisher(bus):
    with bus.publisher("lab.gone") as publisher:
        # what the core asks for when it met the gate of a session that is neither known nor there any more
        publisher._trouble(_core.UNKNOWN_SESSION, 0, 0, False, _core.BY_GATE, 1, 1, 0, 4711, 0, 0)
        publisher.publish(b"goes on")
