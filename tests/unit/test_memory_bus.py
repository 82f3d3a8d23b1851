"""What only a bus in memory has: a clock that a test moves, and clients that share it."""

import threading
from datetime import timedelta

import pytest

import shmbus
from shmbus.config import parse
from shmbus.errors import ClosedError, ReceiveTimeout
from shmbus.testing import Clock, ManualClock, MemoryBus, MemoryMessage


@pytest.fixture
def clock():
    return ManualClock()


def test_time_stands_still_until_it_is_moved(clock):
    before = clock.now()
    clock.advance(3600)
    assert abs(clock.now() - before - timedelta(hours=1)) < timedelta(seconds=5)
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="a clock goes forward"):
            clock.advance(wrong)


def test_a_day_passes_at_once(clock):
    with MemoryBus(clock=clock) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.x", durable=shmbus.Durable("agent", ack_deadline=86400)) as subscription:
            publisher.publish(b"short", ttl=3600)
            publisher.publish(b"long")
            assert len(subscription.receive_many()) == 2
            clock.advance(86399)
            assert subscription.try_receive() is None
            clock.advance(1)
            gap, message = subscription.receive_many()
            assert (gap.reason, message.payload, message.deliveries) == ("expired", b"long", 2)


def test_a_moved_clock_wakes_who_waits(clock):
    with MemoryBus(clock=clock) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.x", durable="agent") as subscription:
            publisher.publish(b"x")
            subscription.receive()
            timer = threading.Timer(0.05, clock.advance, (30,))
            timer.start()
            assert subscription.receive(timeout=20).deliveries == 2
            timer.join()


def test_a_bus_without_a_clock_of_its_own_goes_by_the_machines():
    with MemoryBus() as bus, bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
        before = Clock().now_ns()
        publisher.publish(b"x")
        assert before <= subscription.receive().time_ns <= Clock().now_ns()


def test_times_of_day_are_those_of_the_clock(clock):
    with MemoryBus(clock=clock) as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(b"before")
        clock.advance(7200)
        publisher.publish(b"after")
        with bus.subscribe("lab.x", start=clock.now() - timedelta(hours=1)) as subscription:
            assert subscription.receive().payload == b"after"
        wanted = shmbus.Filter(times=(None, clock.now() - timedelta(hours=1)))
        with bus.subscribe("lab.x", start="earliest", filter=wanted) as subscription:
            assert [one.payload for one in subscription.receive_many()] == [b"before"]


def test_clients_share_a_bus_and_close_what_is_theirs():
    with MemoryBus(name="test") as bus:
        with bus.connect(name="agent") as agent, agent.subscribe("lab.x") as subscription:
            bus.publisher("lab.x").publish(b"x")
            assert subscription.receive().producer.name == "test"
            agent.publisher("lab.y").publish(b"y")
        assert not bus.closed and subscription.closed
        message = bus.subscribe("lab.y", start="earliest").receive(timeout=0)
        assert message.producer.name == "agent"


def test_the_end_of_the_bus_is_told_to_its_other_clients():
    bus = MemoryBus()
    agent = bus.connect()
    subscription, loop = agent.subscribe("lab.x"), agent.subscribe("lab.x")
    with pytest.raises(ReceiveTimeout):
        subscription.receive(timeout=0)
    bus.close()
    assert subscription.ended and list(loop) == []
    with pytest.raises(ClosedError, match="the bus was closed"):
        subscription.receive(timeout=20)
    with pytest.raises(ClosedError):
        agent.publisher("lab.x")


def test_it_goes_by_a_configuration():
    config = parse({"topics": [{"topic": "lab.#", "slots": 4}]})
    with MemoryBus(config) as bus, bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"x"] * 10)
        assert len(bus.subscribe("lab.x", start="earliest").receive_many()) == 3


def test_a_message_offers_what_a_real_one_offers():
    offered = {name for name in dir(shmbus.Message) if not name.startswith("_")}
    with MemoryBus() as bus, bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
        publisher.publish(b"x")
        message = subscription.receive()
        assert {name for name in offered if not hasattr(message, name)} == set()
        assert isinstance(message, shmbus.Message) and type(message) is MemoryMessage


@pytest.mark.parametrize(
    ("real", "memory", "missing"),
    [
        (
            shmbus.Bus,
            shmbus.testing.MemoryBus,
            {"last", "ledger", "reload_config", "resize", "status", "stop", "topics", "directory_fd"},
        ),
        (shmbus.Publisher, shmbus.testing.MemoryPublisher, {"forget_key"}),
        (shmbus.Subscription, shmbus.testing.MemorySubscription, {"borrow"}),
    ],
)
def test_the_faces_are_the_real_ones_but_for_what_is_named(real, memory, missing):
    offered = {name for name in dir(real) if not name.startswith("_")}
    assert {name for name in offered if not hasattr(memory, name)} == missing
