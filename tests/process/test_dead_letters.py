"""What nobody settles goes to the dead letters after so many deliveries, unchanged and with where it came from."""

import pytest

import shmbus
from process.buses import eventually, python
from process.rings import small
from process.test_groups import rest
from shmbus import Durable
from shmbus.coordinator.settings import Grant, Settings, TopicPlan
from shmbus.errors import DurableError
from shmbus.v1 import common_pb2, eventbus_pb2
from shmbus.v1.delivery_pb2 import DeadLetter

TWICE = Durable("agent", max_deliveries=2)


@pytest.fixture
def bus():
    with shmbus.embedded(small(), name="lab") as bus:
        yield bus


def refuse(subscription, times):
    """Be given something and give it back, so often."""
    for deliveries in range(1, times + 1):
        message = subscription.receive(timeout=0)
        assert message.deliveries == deliveries and subscription.nack(message)
    return message


def test_after_so_many_deliveries_a_message_is_a_dead_letter_and_is_settled(bus):
    with (
        bus.publisher("lab.x", name="source") as publisher,
        bus.subscribe("dead.agent") as dead,
        bus.subscribe("lab.#", durable=TWICE) as subscription,
    ):
        publisher.publish(b"good")
        assert subscription.ack(subscription.receive(timeout=0))
        publisher.publish(b"bad", priority=7)
        message = refuse(subscription, 2)
        assert subscription.try_receive() is None
        letter = dead.receive(timeout=0).event
        assert isinstance(letter, DeadLetter)
        assert letter == DeadLetter(
            durable="agent",
            topic="lab.x",
            lane=0,
            sequence=2,
            deliveries=2,
            producer="source",
            producer_pid=message.producer.pid,
            producer_sequence=2,
            timestamp=letter.timestamp,
            priority=7,
            kind=0,
            type_name=message.type_name,
            payload=b"bad",
        )
        assert abs(letter.timestamp - message.time.timestamp() * 1e3) < 50
    with bus.subscribe("lab.#", durable=TWICE) as subscription:
        assert subscription.try_receive() is None


def test_an_event_can_be_parsed_from_its_dead_letter_and_published_again(bus):
    event = eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=7))
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("dead.+") as dead,
        bus.subscribe("lab.#", durable=TWICE) as subscription,
    ):
        publisher.publish(event, priority=shmbus.URGENT)
        refuse(subscription, 2)
        assert subscription.try_receive() is None
        letter = dead.receive(timeout=0).event
        assert (letter.lane, letter.kind) == (1, 1)
        envelope = eventbus_pb2.EventBusMessage.FromString(letter.payload)
        assert envelope.collection_event.process_event == event


def test_deliveries_count_whoever_was_given_it(bus):
    program = """
import os, signal, sys
import shmbus
with shmbus.connect(sys.argv[1]) as bus:
    subscription = bus.subscribe("lab.#", durable=shmbus.Durable("agent", max_deliveries=2))
    print(subscription.receive(timeout=20).deliveries, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    bus.subscribe("lab.#", durable=TWICE).close()
    with bus.publisher("lab.x") as publisher, bus.subscribe("dead.agent") as dead:
        publisher.publish(b"poison")
        for deliveries in (1, 2):
            with python(program, bus.address) as member:
                assert member.stdout.readline() == f"{deliveries}\n"
                member.wait(20)
                eventually(lambda: len(bus.status().clients) == 1)
        with bus.subscribe("lab.#", durable=TWICE) as subscription:
            assert subscription.try_receive() is None
        assert dead.receive(timeout=20).event.payload == b"poison"


def test_a_deadline_counts_as_a_delivery(bus):
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("dead.agent") as dead,
        bus.subscribe("lab.#", durable=Durable("agent", ack_deadline=0.05, max_deliveries=3)) as subscription,
    ):
        publisher.publish(b"x")
        assert [subscription.receive(timeout=20).deliveries for _ in range(3)] == [1, 2, 3]
        with pytest.raises(shmbus.errors.ReceiveTimeout):
            subscription.receive(timeout=0.5)
        assert dead.receive(timeout=0).event.deliveries == 3


def test_many_dead_letters_in_a_row_hide_nothing_behind_them(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("dead.agent") as dead:
        once = Durable("agent", max_deliveries=1)
        with bus.subscribe("lab.#", durable=once) as subscription:
            publisher.publish_many([b"%d" % n for n in range(10)])
            found = rest(subscription)
            assert all(subscription.nack(message) for message in found)
            publisher.publish(b"new")
            assert subscription.try_receive().payload == b"new"
            assert [m.event.payload for m in rest(dead)] == [b"%d" % n for n in range(10)]


def test_another_topic_can_be_named(bus):
    durable = Durable("agent", max_deliveries=1, dead_letter="letters.of.agent")
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("letters.#") as dead,
        bus.subscribe("lab.#", durable=durable) as subscription,
    ):
        publisher.publish(b"x")
        refuse(subscription, 1)
        assert subscription.try_receive() is None and dead.receive(timeout=0).event.payload == b"x"


def test_dead_letters_that_would_come_back_are_refused_and_others_not(bus):
    with pytest.raises(DurableError, match="its dead letters on 'dead.agent' would come back to it by '#'"):
        bus.subscribe("#", durable=TWICE)
    bus.subscribe("#", durable="agent").close()  # it has none


def test_dead_letters_can_be_read_durably(bus):
    with bus.subscribe("dead.#", durable="undertaker") as undertaker, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=TWICE) as subscription:
            publisher.publish(b"x")
            refuse(subscription, 2)
            assert subscription.try_receive() is None
        letter = undertaker.receive(timeout=20)
        assert letter.event.payload == b"x" and undertaker.ack(letter)


def test_a_letter_that_cannot_be_published_is_given_out_once_more(bus):
    with bus.publisher("dead.agent", type=common_pb2.ProcessRecord), bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=TWICE) as subscription:
            publisher.publish(b"x")
            message = refuse(subscription, 4)
            assert message.payload == b"x"


def test_a_full_topic_of_dead_letters_keeps_the_message_until_there_is_room(bus):
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("dead.agent", lossless=True) as dead,
        bus.subscribe("lab.#", durable=Durable("agent", max_deliveries=1)) as subscription,
    ):
        for number in range(15):
            publisher.publish(b"%d" % number)
            refuse(subscription, 1)
            assert subscription.try_receive() is None
        publisher.publish(b"15")
        refuse(subscription, 3)
        assert len(rest(dead)) == 15
        assert subscription.try_receive() is None and dead.receive(timeout=0).event.payload == b"15"


def test_without_a_limit_it_comes_for_ever(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x")
        for number in range(1, 300):
            message = subscription.receive(timeout=0)
            assert message.deliveries == min(number, 255) and subscription.nack(message)


def test_the_topic_is_published_to_by_the_rules_of_access(bus):
    plan = TopicPlan(small().default.ring)
    settings = Settings(default=plan, subscribe=(Grant("lab.#", users=frozenset({0})),))
    with shmbus.embedded(settings) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=TWICE) as subscription:
            publisher.publish(b"x")
            refuse(subscription, 2)
            assert subscription.try_receive() is None


def test_many_members_make_one_letter_of_a_message(bus):
    once = Durable("agent", max_deliveries=1)
    with bus.publisher("lab.x") as publisher, bus.subscribe("dead.agent") as dead:
        members = [bus.subscribe("lab.#", durable=once) for _ in range(4)]
        publisher.publish_many([b"%d" % n for n in range(12)])
        for member in members:
            for message in [member.receive(timeout=0) for _ in range(3)]:
                assert member.nack(message)
        for member in members:
            assert rest(member) == []
            member.close()
        assert sorted(int(m.event.payload) for m in rest(dead)) == list(range(12))
