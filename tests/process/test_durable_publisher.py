"""Publishers whose numbers outlive them: what is published again after a restart is told from what is new."""

import signal

import pytest

import shmbus
from process.buses import coordinator, python

PROGRAM = """
import os, signal, sys, shmbus
bus_name, die_at, until = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with shmbus.connect(bus_name) as bus, bus.publisher("lab.x", name="source", durable=True) as publisher:
    print(publisher.last_number, flush=True)
    for number in range(1, until + 1):
        publisher.publish(b"%d" % number, number=number)
        if number == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def run(bus_name, die_at, until):
    with python(PROGRAM, bus_name, str(die_at), str(until)) as child:
        return int(child.stdout.readline()), child.wait()


def everything(subscription):
    return [int(message.payload) for message in subscription.receive_many(timeout=5)]


def test_a_killed_publisher_that_publishes_everything_again_doubles_nothing(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus, bus.subscribe("lab.#") as subscription:
        assert run(bus_name, 3, 9) == (0, -signal.SIGKILL)
        assert run(bus_name, 7, 9) == (3, -signal.SIGKILL)
        assert run(bus_name, 0, 9) == (7, 0)
        assert run(bus_name, 0, 9) == (9, 0)
        assert everything(subscription) == list(range(1, 10))


def test_numbers_go_on_in_a_resized_topic_and_under_the_next_coordinator(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.subscribe("lab.#", lossless=True) as subscription:
        assert run(bus_name, 3, 9) == (0, -signal.SIGKILL)
        bus.resize("lab.x", slots=64)
        assert run(bus_name, 5, 9) == (3, -signal.SIGKILL)
        first.process.kill()
        first.rest()
        with coordinator(bus_name):
            assert run(bus_name, 0, 9) == (5, 0)
            assert everything(subscription) == list(range(1, 10))


def test_a_live_one_keeps_its_name_for_itself_and_a_closed_one_gives_it_back():
    with shmbus.embedded() as bus:
        with bus.publisher("lab.x", name="source", durable=True) as publisher:
            publisher.publish(b"1")
            with pytest.raises(shmbus.DurableError, match="publishes to 'lab.x' under this name. Close that one"):
                bus.publisher("lab.x", name="source", durable=True)
            with bus.publisher("lab.y", name="source", durable=True) as other, bus.publisher("lab.x", name="source"):
                assert other.last_number == 0
        with bus.publisher("lab.x", name="source", durable=True) as publisher:
            assert publisher.last_number == 1
            publisher.publish(b"2")
            assert publisher.last_number == 2


def test_numbers_may_have_holes_but_do_not_go_back():
    with shmbus.embedded() as bus, bus.publisher("lab.x", durable=True) as publisher:
        with bus.subscribe("lab.x") as subscription:
            assert publisher.publish(b"10", number=10) == 1
            assert publisher.publish(b"7", number=7) == 0
            assert publisher.publish(b"12", number=12) == 2
            assert publisher.publish_many([b"11", b"12", b"13", b"14"], number=11) == 4
            assert everything(subscription) == [10, 12, 13, 14]
            assert publisher.last_number == 14


@pytest.mark.parametrize("number", [0, -1, 2**48, "1"])
def test_nonsense_numbers_are_refused(number):
    with shmbus.embedded() as bus, bus.publisher("lab.x", durable=True) as publisher:
        with pytest.raises((ValueError, TypeError)):
            publisher.publish(b"x", number=number)
        assert publisher.last_number == 0


def test_others_do_not_number_their_messages():
    with shmbus.embedded() as bus, bus.publisher("lab.x") as publisher:
        with pytest.raises(ValueError, match="open it with durable=True"):
            publisher.publish(b"x", number=1)


def test_a_message_that_found_no_room_keeps_its_number():
    with shmbus.embedded() as bus, bus.publisher("lab.x", durable=True) as publisher:
        with bus.subscribe("lab.x", lossless=True) as subscription:
            with pytest.raises(shmbus.BackpressureError) as full:
                publisher.publish_many([bytes(60_000)] * 1000, timeout=0)
            last = publisher.last_number
            assert last == full.value.published
            subscription.receive_many()
            publisher.publish(b"x", number=last + 1)
            assert publisher.last_number == last + 1


def test_ids_of_durable_publishers_are_not_given_to_others():
    with shmbus.embedded() as bus, bus.subscribe("lab.x") as subscription:
        bus.publisher("lab.x", name="kept", durable=True).close()
        for _ in range(300):  # more than there are ids
            with bus.publisher("lab.x") as publisher:
                publisher.publish(b"x")
            subscription.receive_many()
        with bus.publisher("lab.x", name="kept", durable=True) as kept:
            kept.publish(b"mine")
            assert subscription.receive(timeout=5).producer.name == "kept"
