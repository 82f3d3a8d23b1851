"""Wrong use, closing, threads and the end of the bus."""

import threading
import time

import pytest

from conformance.reading import numbered, payloads, rest
from shmbus.errors import BusyError, ClosedError
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN, UNRESPONSIVE


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"priority": 256}, ValueError, "priority 256 is not within 0"),
        ({"priority": "high"}, TypeError, "integer"),
        ({"ttl": -1}, ValueError, "-1 is no number of seconds"),
        ({"timeout": -1}, ValueError, "-1 is no number of seconds"),
        ({"colour": "red"}, TypeError, "unexpected keyword argument 'colour'"),
    ],
)
def test_options_that_make_no_sense_are_refused(bus, options, error, said):
    with bus.publisher("lab.x") as publisher:
        with pytest.raises(error, match=said):
            publisher.publish(b"x", **options)
        assert publisher.published == 0


def test_what_is_no_health_is_refused(bus):
    for health in (UNKNOWN, HEALTHY, DEGRADED, UNHEALTHY):
        bus.beat(health)
    for wrong in (UNRESPONSIVE, -1):
        with pytest.raises(ValueError, match=rf"{wrong} is nothing that .* of its own health: say UNKNOWN \(0\)"):
            bus.beat(wrong)
    with pytest.raises(TypeError):
        bus.beat("well")
    bus.beat(DEGRADED, reason="disk full")
    for well in (HEALTHY, UNKNOWN):
        with pytest.raises(
            ValueError, match="a reason is given for DEGRADED or UNHEALTHY, and this is .*'all is well'"
        ):
            bus.beat(well, reason="all is well")


@pytest.mark.parametrize("event", ["text", 7, None, object()])
def test_what_cannot_be_published_is_refused(bus, event):
    with bus.publisher("lab.x") as publisher, pytest.raises(TypeError, match="cannot publish a"):
        publisher.publish(event)


def test_a_batch_that_fails_in_the_middle_says_how_many_went_out(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
        with pytest.raises(TypeError, match="cannot publish a str") as failed:
            publisher.publish_many([b"0", b"1", "text", b"3"])
        assert failed.value.published == 2 and payloads(rest(subscription)) == numbered(0, 2)
        assert publisher.publish_many([]) == 0


def test_waits_that_make_no_sense_are_refused(bus):
    with bus.subscribe("lab.x") as subscription:
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match="is no number of seconds"):
                subscription.receive(timeout=wrong)
        with pytest.raises(ValueError, match="limit of at least 1, not 0"):
            subscription.receive_many(limit=0)


def test_what_is_closed_says_so(bus):
    subscription, publisher = bus.subscribe("lab.x"), bus.publisher("lab.x")
    for thing in (subscription, publisher):
        assert not thing.closed
        thing.close()
        thing.close()
        assert thing.closed and "closed" in repr(thing)
    for call in (subscription.receive, subscription.try_receive, subscription.receive_many):
        with pytest.raises(ClosedError, match="it has been closed"):
            call()
    with pytest.raises(ClosedError, match="the publisher of 'lab.x' cannot be used: it has been closed. Open it again"):
        publisher.publish(b"x")
    assert list(subscription) == []


def test_a_closed_bus_closes_what_was_opened_with_it(world):
    with world.open() as bus:
        subscription, publisher = bus.subscribe("lab.x"), bus.publisher("lab.x")
    assert bus.closed and subscription.closed and publisher.closed
    bus.close()
    for call in (lambda: bus.publisher("lab.x"), lambda: bus.subscribe("lab.x"), lambda: bus.forget("agent")):
        with pytest.raises(ClosedError, match="closed"):
            call()


def test_what_was_published_stays_when_its_publisher_closes(bus):
    with bus.subscribe("lab.x") as subscription:
        with bus.publisher("lab.x") as publisher:
            publisher.publish_many(numbered(0, 3))
        assert payloads(rest(subscription)) == numbered(0, 3)
        assert [m.sequence for m in rest(bus.subscribe("lab.x", start="earliest"))] == [1, 2, 3]


def test_a_loop_ends_when_its_subscription_is_closed_by_another_thread(bus):
    with bus.subscribe("lab.x") as subscription:
        timer = threading.Timer(0.1, subscription.close)
        timer.start()
        assert list(subscription) == []
        timer.join()


def test_a_waiting_receive_is_told_that_its_subscription_was_closed(bus):
    with bus.subscribe("lab.x") as subscription:
        timer = threading.Timer(0.1, subscription.close)
        timer.start()
        with pytest.raises(ClosedError):
            subscription.receive(timeout=20)
        timer.join()


def test_a_waiting_receive_wakes_for_a_message_and_for_a_topic_that_did_not_exist(bus):
    with bus.subscribe("lab.#") as subscription:
        for topic in ("lab.x", "lab.new"):
            timer = threading.Timer(0.05, lambda topic=topic: bus.publisher(topic).publish(b"x"))
            timer.start()
            assert subscription.receive(timeout=20).topic == topic
            timer.join()


def test_two_threads_cannot_receive_from_one_subscription(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        thread = threading.Thread(target=subscription.receive, kwargs={"timeout": 20})
        thread.start()
        time.sleep(0.1)
        with pytest.raises(BusyError, match="another thread or task is using it"):
            subscription.receive(timeout=0)
        publisher.publish(b"x")
        thread.join(20)
        assert not thread.is_alive()


def test_a_lossless_reader_in_another_thread_gets_everything_in_order(bus):
    found = []

    def read(subscription):
        while len(found) < 500:
            found.append(int(subscription.receive(timeout=20).payload))

    with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x", timeout=20) as publisher:
        thread = threading.Thread(target=read, args=(subscription,))
        thread.start()
        publisher.publish_many(numbered(0, 500))
        thread.join(20)
        assert found == list(range(500)) and subscription.lost == 0
