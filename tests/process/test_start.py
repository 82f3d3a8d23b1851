"""Where subscriptions begin: by time and by number, in one ring and across the generations of a resized topic."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

import shmbus
from shmbus import Last


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


def received(subscription):
    found = []
    while (message := subscription.try_receive()) is not None:
        found.append(int(message.payload))
    return found


def publish(bus, numbers, topic="lab.start"):
    with bus.publisher(topic) as publisher:
        for number in numbers:
            publisher.publish(b"%d" % number)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize(("count", "expected"), [(1, [9]), (4, [6, 7, 8, 9]), (10, [*range(10)]), (99, [*range(10)])])
def test_the_last_so_many(bus, count, expected, lossless):
    publish(bus, range(10))
    with bus.subscribe("lab.#", start=Last(count), lossless=lossless) as subscription:
        publish(bus, [10])
        assert received(subscription) == [*expected, 10]


def test_the_last_of_each_topic_and_all_of_a_later_one(bus):
    publish(bus, range(5), "lab.one")
    publish(bus, range(10, 15), "lab.two")
    with bus.subscribe("lab.#", start=Last(2)) as subscription:
        publish(bus, range(20, 25), "lab.three")
        assert sorted(received(subscription)) == [3, 4, 13, 14, 20, 21, 22, 23, 24]


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("count", [1, 5, 6, 12, 13, 20, 99])
def test_the_last_across_generations(bus, count, lossless):
    with bus.publisher("lab.start") as publisher:
        for generation in range(3):
            for number in range(generation * 5, generation * 5 + 5):
                publisher.publish(b"%d" % number)
            if generation < 2:
                bus.resize("lab.start", slots=2048 << generation)
        publisher.publish(b"15")
        with bus.subscribe("lab.start", start=Last(count), lossless=lossless) as subscription:
            publisher.publish(b"16")
            assert received(subscription) == [*range(16)][-count:] + [16]


@pytest.mark.parametrize("form", ["datetime", "timedelta"])
def test_a_time(bus, form):
    publish(bus, range(3))
    time.sleep(0.05)  # wall clock and CLOCK_MONOTONIC are compared to some microseconds
    moment = datetime.now(UTC)
    time.sleep(0.05)
    publish(bus, range(3, 6))
    bus.resize("lab.start", slots=2048)
    publish(bus, range(6, 8))
    start = moment if form == "datetime" else datetime.now(UTC) - moment
    with bus.subscribe("lab.start", start=start) as subscription:
        assert received(subscription) == [*range(3, 8)]
    with bus.subscribe("lab.start", start=timedelta(days=1)) as subscription:
        assert received(subscription) == [*range(8)]
    with bus.subscribe("lab.start", start=timedelta(0)) as subscription:
        publish(bus, [8])
        assert received(subscription) == [8]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (datetime(2026, 1, 1), "has no time zone"),
        (datetime(2199, 1, 1, tzinfo=UTC), "in the future"),
        (timedelta(seconds=-1), "in the future"),
        (0, "not 0"),
        (-3, "not -3"),
        (True, "not True"),
        (2**63, "a sequence from 1 up"),
        ("yesterday", "not 'yesterday'"),
        (1.5, "not 1.5"),
        (None, "not None"),
    ],
)
def test_no_such_start(bus, start, said):
    with pytest.raises(ValueError, match=said):
        bus.subscribe("lab.#", start=start)


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "3", 2**63])
def test_no_such_last(count):
    with pytest.raises(ValueError, match="from 1 up"):
        Last(count)


def test_async_begins_where_it_is_told():
    async def main():
        async with shmbus.embedded(name="lab") as bus, bus.publisher("lab.start") as publisher:
            await publisher.publish_many([b"%d" % number for number in range(5)])
            async with bus.subscribe("lab.start", start=Last(2)) as subscription:
                assert [(await subscription.receive()).payload for _ in range(2)] == [b"3", b"4"]

    asyncio.run(asyncio.wait_for(main(), 60))
