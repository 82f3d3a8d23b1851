"""Batches of a durable subscription: many messages are made ours at once, and come as single calls would give them."""

import time

import pytest

import shmbus


@pytest.fixture
def bus():
    with shmbus.embedded() as made:
        yield made


def test_a_batch_is_what_single_calls_would_have_given(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"gone"] * 2, ttl=0.05)
        publisher.publish_many([b"%d" % i for i in range(100)])
        publisher.publish_many([b"gone"] * 3, ttl=0.05)
        publisher.publish_many([b"%d" % i for i in range(100, 110)])
        time.sleep(0.1)
        found = []
        while len(found) < 112:
            batch = subscription.receive_many(limit=7, timeout=5)
            assert 1 <= len(batch) <= 7
            found += batch
        gaps = [one for one in found if isinstance(one, shmbus.Gap)]
        assert [(gap.count, gap.reason, gap.first) for gap in gaps] == [(2, "expired", 1), (3, "expired", 103)]
        assert [one.payload for one in found if not isinstance(one, shmbus.Gap)] == [b"%d" % i for i in range(110)]
        assert [found.index(gap) for gap in gaps] == [0, 101]
        assert subscription.ack_many(found) == 110 and subscription.delivered == 110
        assert subscription.try_receive() is None


def test_a_batch_settles_what_stands_in_a_row_and_what_does_not(bus):
    with bus.publisher("lab.x") as publisher, bus.publisher("lab.y") as other:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"%d" % i for i in range(20)])
            other.publish_many([b"%d" % i for i in range(20, 30)])
            found = subscription.receive_many(timeout=5)
            assert len(found) == 30
            assert subscription.nack(found[5]) and subscription.ack(found[6])
            shuffled = found[10:15] + found[0:8] + found[22:] + found[8:10] + found[15:22]
            assert subscription.ack_many(shuffled) == 28  # without those two, one of which is not its own any more
            (again,) = subscription.receive_many(timeout=5)
            assert (again.payload, again.deliveries) == (b"5", 2)
            assert subscription.ack_many([again, again, found[5]]) == 1
            assert subscription.try_receive() is None


def test_what_is_urgent_comes_before_the_rest_of_a_batch_that_is_larger(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"n"] * 200)
        publisher.publish(b"u", priority=shmbus.URGENT)
        found = subscription.receive_many(limit=100, timeout=5)
        assert [one.payload for one in found] == [b"u"] + [b"n"] * 99
        publisher.publish(b"u", priority=shmbus.URGENT)
        found = subscription.receive_many(timeout=5)
        assert [one.payload for one in found] == [b"u"] + [b"n"] * 101
        assert all(one.deliveries == 1 for one in found)
