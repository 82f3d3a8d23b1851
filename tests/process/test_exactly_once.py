"""Exactly once: what a publisher published twice under one number is handed out once, whoever restarts meanwhile.

A second publisher object with the first one's ring and producer id plays the one that tries again: it counts from 1.
"""

import signal
import time
from collections import Counter
from contextlib import contextmanager

import pytest

import shmbus
from process.buses import python
from process.rings import small
from process.test_groups import Members, rest
from shmbus.errors import LimitError
from shmbus.publisher import Publisher

ONCE = shmbus.Durable("agent", exactly_once=True)


@pytest.fixture
def bus():
    with shmbus.embedded(small(256)) as bus:
        yield bus


@contextmanager
def again(bus, publisher):
    """The same producer, which begins to count anew."""
    twin = Publisher(
        bus,
        publisher.topic,
        publisher._ring,
        publisher._producer_id,
        name=publisher.name,
        own_type=None,
        configured=publisher._configured,
        on_full=None,
        timeout=30,
    )
    twin._set_sessions(list(bus._pages.foreign.values()))
    try:
        yield twin
    finally:
        twin._detach()
        twin._gone = True  # the producer id is not its own to give back


def numbered(first, last):
    return [b"%d" % n for n in range(first, last)]


def payloads(messages):
    return [message.payload for message in messages]


def duplicates(bus):
    """How many were removed, over all lanes."""
    return sum(group.state(lane)[3] for group in bus._pages.groups.values() for lane in range(group.capacity))


def test_a_second_publish_of_a_number_is_removed(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=ONCE) as subscription:
        publisher.publish_many(numbered(0, 10))
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(0, 10))
            twin.publish_many(numbered(10, 15))
        found = rest(subscription)
        assert payloads(found) == numbered(0, 15) and subscription.lost == 0
        assert [m.producer_sequence for m in found] == list(range(1, 16)) and duplicates(bus) == 10
        assert subscription.ack_many(found) == 15


def test_without_it_both_are_handed_out(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many(numbered(0, 3))
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(0, 3))
        assert payloads(rest(subscription)) == numbered(0, 3) * 2


def test_publishers_are_told_apart(bus):
    with (
        bus.publisher("lab.x") as one,
        bus.publisher("lab.x") as two,
        bus.publisher("lab.x") as three,
        bus.subscribe("lab.#", durable=ONCE) as subscription,
    ):
        for number in range(20):
            one.publish(b"1 %d" % number)
            two.publish(b"2 %d" % number)
        with again(bus, two) as twin:
            twin.publish_many([b"2 %d" % number for number in range(25)])
        three.publish(b"3 0")
        seen = Counter(payloads(rest(subscription)))
        assert set(seen.values()) == {1} and len(seen) == 20 + 25 + 1


def test_duplicates_hold_nobody_back(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable=ONCE) as subscription:
        publisher.publish(b"0")
        assert subscription.ack(subscription.receive(timeout=0))
        for _ in range(4):
            for _ in range(255):
                with again(bus, publisher) as twin:
                    twin.publish(b"0", timeout=0)
            assert subscription.try_receive() is None
        assert duplicates(bus) == 4 * 255


def test_a_redelivered_message_is_no_duplicate(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=ONCE) as subscription:
        publisher.publish_many(numbered(0, 3))
        found = rest(subscription)
        assert all(subscription.nack(message) for message in found)
        assert [(m.payload, m.deliveries) for m in rest(subscription)] == [(b"0", 2), (b"1", 2), (b"2", 2)]


def test_it_is_remembered_across_restarts_of_the_subscriber(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=ONCE) as subscription:
            publisher.publish_many(numbered(0, 10))
            found = rest(subscription)
            assert subscription.ack_many(found[:5]) == 5
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(0, 12))
        with bus.subscribe("lab.#", durable=ONCE) as subscription:
            found = rest(subscription)
            assert [(m.payload, m.deliveries) for m in found] == [
                *((payload, 2) for payload in numbered(5, 10)),
                *((payload, 1) for payload in numbered(10, 12)),
            ]
            assert subscription.ack_many(found) == 7
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(0, 12))
        with bus.subscribe("lab.#", durable=ONCE) as subscription:
            assert rest(subscription) == [] and duplicates(bus) == 10 + 12


def test_it_is_remembered_when_a_subscriber_is_killed(bus):
    program = """
import os, signal, sys
import shmbus
once = shmbus.Durable("agent", exactly_once=True)
with shmbus.connect(sys.argv[1]) as bus, bus.subscribe("lab.#", durable=once) as subscription:
    print("ready", flush=True)
    for message in subscription:
        if message.payload == b"5":
            os.kill(os.getpid(), signal.SIGKILL)
        subscription.ack(message)
"""
    with bus.publisher("lab.x") as publisher, python(program, bus.address) as member:
        assert member.stdout.readline() == "ready\n"
        publisher.publish_many(numbered(0, 10))
        assert member.wait(20) == -signal.SIGKILL
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(0, 12))
        with bus.subscribe("lab.#", durable=ONCE) as subscription:
            found = [subscription.receive(timeout=20) for _ in range(7)]
            assert payloads(found) == numbered(5, 12) and found[0].deliveries == 2
            assert subscription.try_receive() is None


def test_a_publisher_that_restarts_counts_anew_and_loses_nothing(bus):
    with bus.subscribe("lab.#", durable=ONCE) as subscription:
        for _ in range(300):  # more than once through the producer ids
            with bus.publisher("lab.x") as publisher:
                publisher.publish_many(numbered(0, 3))
            found = rest(subscription)
            assert payloads(found) == numbered(0, 3) and subscription.ack_many(found) == 3


def test_an_id_that_is_somebody_elses_in_the_successor_loses_nothing(bus):
    with bus.subscribe("lab.#", durable=ONCE) as subscription:
        with bus.publisher("lab.x") as publisher:
            publisher.publish_many([b"first %d" % n for n in range(10)])
        bus.resize("lab.x", slots=512)
        with bus.publisher("lab.x") as publisher:
            publisher.publish_many([b"second %d" % n for n in range(10)])
            seen = []
            while found := rest(subscription):
                seen += payloads(found)
                assert subscription.ack_many(found) == len(found)
            assert seen == [b"%s %d" % (who, n) for who in (b"first", b"second") for n in range(10)]


def test_a_number_is_remembered_across_a_resize(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=ONCE) as subscription:
        publisher.publish_many(numbered(0, 5))
        bus.resize("lab.x", slots=512)
        publisher.publish(b"5")  # moves over
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(0, 8))
        seen = []
        while found := rest(subscription):
            seen += payloads(found)
            assert subscription.ack_many(found) == len(found)
        assert seen == numbered(0, 8)


def test_ids_whose_messages_are_not_judged_yet_are_nobody_elses():
    with shmbus.embedded(small(256, producers=4)) as bus, bus.subscribe("lab.#", durable=ONCE) as subscription:
        opened = 0
        with pytest.raises(LimitError, match="'agent' has not settled"):
            while opened < 50:
                with bus.publisher("lab.x") as publisher:
                    publisher.publish(b"%d" % opened)
                opened += 1
        assert opened >= 4
        seen = []
        while found := rest(subscription):
            seen += payloads(found)
            assert subscription.ack_many(found) == len(found)
        assert seen == numbered(0, opened)
        with bus.publisher("lab.x") as publisher:
            publisher.publish(b"new")
        assert subscription.receive(timeout=20).payload == b"new"


def test_members_judge_together_and_hand_out_each_message_once(bus):
    handle = lambda subscription, message: subscription.ack(message)  # noqa: E731
    with bus.publisher("lab.x", timeout=30) as publisher, Members(bus, 4, handle, ONCE) as members:
        with again(bus, publisher) as twin:
            for start in range(0, 3000, 50):
                publisher.publish_many(numbered(start, start + 50))
                twin.publish_many(numbered(start, start + 50))
            members.wait_for(3000)
        assert Counter(members.all()) == Counter(numbered(0, 3000)) and not members.gaps


def test_what_has_expired_is_told_and_its_duplicate_after_others_is_removed(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=ONCE) as subscription:
        publisher.publish(b"0", ttl=0.001)
        publisher.publish(b"1")
        time.sleep(0.01)
        with again(bus, publisher) as twin:
            twin.publish_many(numbered(1, 4))
        gap, *found = rest(subscription)
        assert (gap.reason, gap.first, gap.count) == ("expired", 1, 1)
        assert [m.producer_sequence for m in found] == [2, 3] and subscription.ack_many(found) == 2
