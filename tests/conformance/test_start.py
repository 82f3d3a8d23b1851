"""Where subscriptions begin."""

from datetime import datetime, timedelta

import pytest

import shmbus
from conformance.reading import numbered, payloads, rest

CASES = [("latest", 10), ("earliest", 0), (1, 0), (7, 6), (1000, 10), (shmbus.Last(1), 9), (shmbus.Last(99), 0)]


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize(("start", "first"), CASES)
def test_a_subscription_begins_where_it_says(bus, start, first, lossless):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 10))
        with bus.subscribe("lab.#", start=start, lossless=lossless) as subscription:
            publisher.publish(b"10")
            assert payloads(rest(subscription)) == numbered(first, 11)


def test_earliest_is_what_is_retained(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 100))
        with bus.subscribe("lab.x", start="earliest") as subscription, bus.subscribe("lab.x", start=3) as third:
            assert payloads(rest(subscription)) == numbered(85, 100)
            gap, *found = rest(third)
            assert (gap.first, gap.count, gap.reason) == (3, 83, "overrun") and payloads(found) == numbered(85, 100)


def test_a_time_ago(bus, world):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 3))
        world.pass_time(0.3)
        publisher.publish_many(numbered(3, 6))
        world.pass_time(0.01)
        assert payloads(rest(bus.subscribe("lab.x", start=timedelta(seconds=0.2)))) == numbered(3, 6)
        assert payloads(rest(bus.subscribe("lab.x", start=timedelta(days=1)))) == numbered(0, 6)
        assert payloads(rest(bus.subscribe("lab.x", start=timedelta(0)))) == []


def test_a_time_of_day_that_a_message_told(bus, world):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(b"0")
        world.pass_time(0.3)
        publisher.publish(b"1")
        moment = subscription.receive_many()[1].time - timedelta(seconds=0.1)
        world.pass_time(0.1)
        assert payloads(rest(bus.subscribe("lab.x", start=moment))) == [b"1"]


def test_the_last_of_each_topic_and_all_of_a_later_one(bus):
    with bus.publisher("lab.one") as one, bus.publisher("lab.two") as two:
        one.publish_many(numbered(0, 5))
        two.publish_many(numbered(10, 15))
        with bus.subscribe("lab.#", start=shmbus.Last(2)) as subscription, bus.publisher("lab.three") as three:
            three.publish_many(numbered(20, 25))
            assert payloads(rest(subscription)) == [*numbered(3, 5), *numbered(13, 15), *numbered(20, 25)]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (datetime(2026, 1, 1), "has no time zone"),
        (datetime(2199, 1, 1).astimezone(), "in the future"),
        (timedelta(seconds=-1), "in the future"),
        (0, "not 0"),
        (True, "not True"),
        ("yesterday", "not 'yesterday'"),
        (None, "not None"),
    ],
)
def test_no_such_start_is_refused(bus, start, said):
    with pytest.raises(ValueError, match=said):
        bus.subscribe("lab.#", start=start)
