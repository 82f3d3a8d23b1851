"""Publishers whose numbers outlive them: what is published again after a restart is told from what is new."""

import mmap
import os
import signal
import time
from contextlib import contextmanager

import pytest

import shmbus
from process.buses import coordinator, python
from shmbus import segment

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


UNTIL_TOLD = """
import mmap, sys, time, shmbus
with open(sys.argv[2], "r+b") as file:
    told = mmap.mmap(file.fileno(), 1)
with shmbus.connect(sys.argv[1]) as bus, bus.publisher("lab.x", name="source", durable=True) as publisher:
    print("ready", flush=True)
    payload = bytes(1 << 18)
    while not told[0]:
        publisher.publish(payload)
    print(publisher.last_number, publisher._ring.generation, flush=True)
    sys.stdin.readline()
"""


def stop(child):
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)


@contextmanager
def stopped_in_a_claim(bus_name, ring, told):
    """A durable publisher that stands still in the middle of a message, and publishes nothing after that one."""
    told.write_bytes(b"\0")
    with python(UNTIL_TOLD, bus_name, str(told)) as child:
        assert child.stdout.readline() == "ready\n"
        stop(child)
        while not ring.claims():
            child.send_signal(signal.SIGCONT)
            time.sleep(0.001)  # or it would not get far
            stop(child)
        with told.open("r+b") as file, mmap.mmap(file.fileno(), 1) as flag:
            flag[0] = 1
        yield child


def rings(bus_name):
    return [found.name for found in segment.list_segments(bus=bus_name)]


def opened_when_free(bus):
    while True:
        try:
            return bus.publisher("lab.x", name="source", durable=True)
        except shmbus.DurableError:  # the end of the one before has not been seen yet
            time.sleep(0.01)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("given_up", [False, True])
def test_what_is_committed_after_a_resize_but_claimed_before_it_counts(bus_name, tmp_path, killed, given_up):
    with coordinator(bus_name), shmbus.connect(bus_name) as bus, bus.publisher("lab.x") as other:
        old = segment.ring_name(bus_name, other._ring.topic_id, 0, 0)
        assert old in rings(bus_name)
        with stopped_in_a_claim(bus_name, other._ring, tmp_path / "told") as child:
            bus.resize("lab.x", slots=64)
            child.send_signal(signal.SIGCONT)
            last, generation = map(int, child.stdout.readline().split())
            assert generation == 0
            if killed:
                child.kill()
            else:
                child.stdin.write("now\n")
                child.stdin.flush()
            child.wait(20)
        if given_up:
            other.publish_many([b"x"] * 100)  # the successor has dropped some, so the old ring goes
            bus.resize("lab.x", slots=128)
            assert old not in rings(bus_name)
        with opened_when_free(bus) as publisher:
            assert publisher.last_number == last


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
