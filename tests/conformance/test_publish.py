"""What is published comes, as it was published, once and in order."""

import os

import pytest

import shmbus
from conformance.reading import numbered, payloads, rest
from shmbus.errors import ReceiveTimeout
from shmbus.v1 import common_pb2, eventbus_pb2
from shmbus.v1.eventbus_pb2 import EventBusMessage, HeartbeatPayload, ProcessEventData

EVENT = ProcessEventData(process=common_pb2.ProcessRecord(pid=7))


def test_what_is_published_comes(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        assert publisher.publish(b"hello") == 1
        assert subscription.receive(timeout=5).payload == b"hello"


def test_messages_of_a_topic_come_in_the_order_of_their_publishing_whoever_published(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as one, bus.publisher("lab.x") as two:
        sequences = [
            publisher.publish(payload) for payload, publisher in zip(numbered(0, 10), [one, two] * 5, strict=True)
        ]
        found = rest(subscription)
        assert sequences == [message.sequence for message in found] == list(range(1, 11))
        assert payloads(found) == numbered(0, 10)
        assert [message.producer_sequence for message in found] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_several_subscriptions_get_everything_each(bus):
    with bus.subscribe("lab.x") as one, bus.subscribe("lab.+") as two, bus.publisher("lab.x") as publisher:
        assert publisher.publish_many(numbered(0, 5)) == 5
        assert payloads(rest(one)) == payloads(rest(two)) == numbered(0, 5)


def test_nothing_is_there_when_nothing_was_published(bus):
    with bus.subscribe("lab.x") as subscription:
        assert subscription.try_receive() is None
        with pytest.raises(ReceiveTimeout, match=r"no message on 'lab.x' within 0.01 s"):
            subscription.receive(timeout=0.01)
        with pytest.raises(TimeoutError):
            subscription.receive_many(timeout=0)


def test_a_batch_is_received_up_to_its_limit(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many(payload for payload in numbered(0, 10))
        assert payloads(subscription.receive_many(limit=3)) == numbered(0, 3)
        assert payloads(subscription.receive_many(timeout=1)) == numbered(3, 10)


def test_an_event_comes_in_an_envelope(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x", name="probe") as publisher:
        publisher.publish(EVENT, priority=9, ttl=2.5)
        message = subscription.receive(timeout=5)
        metadata = message.envelope.metadata
        assert message.event == EVENT and isinstance(message.envelope, EventBusMessage)
        assert (metadata.topic, metadata.source_id, metadata.priority, metadata.ttl_ms) == ("lab.x", "probe", 9, 2500)
        assert metadata.message_id.endswith("-1") and abs(metadata.timestamp - message.time.timestamp() * 1e3) < 1000
        assert message.envelope.collection_event.event_type == common_pb2.PROCESS_EVENT
        assert metadata.message_type == eventbus_pb2.MessageType.COLLECTION_EVENT


def test_a_type_of_ones_own_comes_bare(bus):
    with bus.subscribe("lab.#") as subscription, bus.publisher("lab.own", type=HeartbeatPayload) as publisher:
        publisher.publish(HeartbeatPayload())
        message = subscription.receive(timeout=5)
        assert (message.event, message.envelope, message.payload) == (HeartbeatPayload(), None, b"")
        assert message.type_name == HeartbeatPayload.DESCRIPTOR.full_name


def test_a_message_tells_all_of_itself(bus):
    with bus.subscribe("lab.#") as subscription, bus.publisher("lab.x", name="probe") as publisher:
        publisher.publish(memoryview(b"bytes"), priority=3)
        message = subscription.receive(timeout=5)
        assert isinstance(message, shmbus.Message)
        assert (message.topic, message.pattern, message.lane, message.sequence) == ("lab.x", "lab.#", 0, 1)
        assert (message.priority, message.kind, message.flags, message.deliveries) == (3, 0, 0, 1)
        assert (message.envelope, message.event, bytes(message)) == (None, b"bytes", b"bytes")
        assert (message.expires_ns, message.producer_sequence) == (0, 1)
        assert message.type_name == EventBusMessage.DESCRIPTOR.full_name and message.time_ns > 0
        assert isinstance(message.producer, shmbus.Producer)
        assert (message.producer.name, message.producer.pid, message.producer.uid) == (
            "probe",
            os.getpid(),
            os.getuid(),
        )
        assert repr(message) == "<Message lab.x #1, 5 bytes>"


def test_a_received_message_can_be_published_on_as_bytes(bus):
    with bus.subscribe("lab.#") as subscription, bus.publisher("lab.x") as publisher, bus.publisher("lab.y") as other:
        publisher.publish(b"once")
        other.publish(subscription.receive(timeout=5))
        assert subscription.receive(timeout=5).payload == b"once"


def test_a_producer_has_the_name_of_the_client_unless_it_has_its_own(bus):
    with bus.subscribe("lab.#") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(b"x")
        assert subscription.receive(timeout=5).producer.name == bus.client_name == "lab"


def test_publishers_and_subscriptions_count(bus):
    with bus.subscribe("lab.#") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 4))
        publisher.publish(b"urgent", priority=shmbus.URGENT)
        rest(subscription)
        assert (publisher.published, publisher.last_number) == (5, 4)
        assert (subscription.delivered, subscription.lost, subscription.filtered) == (5, 0, 0)
        assert subscription.topics == ["lab.x"] and subscription.patterns == ("lab.#",)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", 10**10])
def test_a_timeout_that_is_no_number_of_seconds_is_refused_when_the_publisher_is_opened(bus, timeout):
    with pytest.raises(ValueError, match="a number of seconds from 0 to 10"):
        bus.publisher("lab.x", timeout=timeout)
    for fine in (None, 0, 0.5):
        bus.publisher("lab.x", timeout=fine).close()


@pytest.mark.parametrize("topic", [None, 5, b"lab.x"])
def test_a_topic_that_is_no_text_is_told(bus, topic):
    with pytest.raises(TypeError, match="a topic is a text such as"):
        bus.publisher(topic)
    with pytest.raises(TypeError, match="a pattern is a text such as"):
        bus.subscribe(topic)


def test_a_correlation_that_is_none_is_told(bus):
    with bus.publisher("lab.x") as publisher:
        with pytest.raises(TypeError, match=r"as correlation.new\(\) makes it, or False; not 'abc'"):
            publisher.publish(EVENT, correlation="abc")
