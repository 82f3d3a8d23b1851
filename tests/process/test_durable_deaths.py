"""A durable subscription when something ends: its object, its process, the publisher, the coordinator, the bus."""

import gc
import os
import queue
import signal
import threading
import time

import psutil
import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.durables import first_ring_mapped, impatient, maps, payloads, rest
from process.rings import small
from shmbus.errors import (
    BackpressureError,
    ClosedError,
    ForkedError,
)


@pytest.fixture
def bus():
    with shmbus.embedded(small()) as bus:
        yield bus


def test_one_that_nobody_keeps_gives_back_what_it_held(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"0", b"1"])
        for message in bus.subscribe("lab.#", durable="agent", start="earliest"):
            assert message.payload == b"0"
            break
        gc.collect()
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert [(m.payload, m.deliveries) for m in rest(subscription)] == [(b"0", 2), (b"1", 1)]


def test_other_threads_may_settle_while_one_receives(bus):
    received, settled = queue.SimpleQueue(), []
    with bus.publisher("lab.x", timeout=30) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:

        def settle():
            for message in iter(received.get, None):
                settled.append(subscription.ack(message))

        def publish():
            publisher.publish_many([b"x"] * 3000)

        threads = [threading.Thread(target=one) for one in (settle, settle, publish)]
        for thread in threads:
            thread.start()
        for _ in range(3000):
            received.put(subscription.receive(timeout=20))
        received.put(None), received.put(None)
        for thread in threads:
            thread.join(20)
        assert settled == [True] * 3000 and subscription.lost == 0


def test_a_demoted_one_counts_what_went_with_a_generation_that_was_given_up():
    with shmbus.embedded(impatient()) as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"%d" % n for n in range(15)])
            held = subscription.receive(timeout=0)
            publisher.publish_many([b"%d" % n for n in range(15, 40)])  # demoted
            mapped = first_ring_mapped()  # by the coordinator, the publisher, and this one
            bus.resize("lab.x", slots=32)
            publisher.publish_many([b"%d" % n for n in range(40, 200)])
            eventually(lambda: first_ring_mapped() == mapped // 3)
            told = rest(subscription)
            gaps = [one for one in told if isinstance(one, shmbus.Gap)]
            # The one that is held counts, too: nobody can be given it again, and it cannot be settled any more.
            assert held.payload == b"0" and sum(gap.count for gap in gaps) + len(told) - len(gaps) == 200
            assert not subscription.ack(held)


def groups_mapped():
    """How often segments of durable subscriptions are mapped here."""
    return sum(".group." in line for line in maps())


def test_opening_and_closing_many_times_leaks_nothing(bus):
    gc.collect()
    before = groups_mapped()
    with bus.publisher("lab.x", timeout=0) as publisher:
        for number in range(300):
            with bus.subscribe("lab.#", durable="agent") as subscription:
                publisher.publish(b"%d" % number)
                message = subscription.receive(timeout=20)
                assert message.payload == b"%d" % number and subscription.ack(message)
        del subscription, message
        gc.collect()
        mapped = groups_mapped()
        assert mapped <= before + 2, "the coordinator's, and the publisher's, which waited for it"
        for number in range(100):
            bus.subscribe("lab.#", durable=f"other{number}").close()
            bus.forget(f"other{number}")
        bus.subscribe("lab.#").close()  # takes in what was pushed last
        gc.collect()
        assert groups_mapped() <= mapped
        publisher.publish_many([b"x"] * 40)  # no gate was left


def test_a_forked_child_can_neither_read_nor_settle(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"0", b"1"])
        message = subscription.receive(timeout=0)
        child = os.fork()
        if child == 0:
            failed = 0
            for what in (
                lambda: subscription.ack(message),
                lambda: subscription.nack(message),
                lambda: subscription.extend(message),
                lambda: subscription.ack_many([message]),
                subscription.try_receive,
            ):
                try:
                    what()
                    failed = 1
                except ForkedError:
                    pass
            subscription.close()
            os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0
        assert subscription.ack(message) is True, "the child gave nothing back"
        assert subscription.receive(timeout=0).payload == b"1"


def test_the_end_of_the_bus_is_told():
    with shmbus.embedded(small()) as bus:
        with shmbus.connect(bus.address) as other, other.subscribe("lab.#", durable="agent") as subscription:
            with bus.publisher("lab.x") as publisher:
                publisher.publish(b"x")
            message = subscription.receive(timeout=20)
            bus.stop()
            with pytest.raises(ClosedError, match="asked for by"):
                for _ in range(2):  # what it holds may come again before the end is told
                    assert subscription.receive(timeout=20).payload == message.payload


READS = """
import os, signal, sys
import shmbus
with shmbus.connect(sys.argv[1], name="member") as bus, bus.subscribe("lab.#", durable="agent") as subscription:
    print("ready", flush=True)
    for message in subscription:
        print(message.payload.decode(), message.deliveries, flush=True)
        if message.payload == b"ack":
            print(subscription.ack(message), flush=True)
        if message.payload == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_held_comes_again_to_the_next(bus):
    with bus.publisher("lab.x") as publisher:
        with python(READS, bus.address) as member:
            assert member.stdout.readline() == "ready\n"
            publisher.publish_many([b"ack", b"held", b"kill", b"after"])
            assert [line.strip() for line in member.stdout] == ["ack 1", "True", "held 1", "kill 1"]
        with bus.subscribe("lab.#", durable="agent") as subscription:
            found = [subscription.receive(timeout=20) for _ in range(3)]
            assert [(m.payload, m.deliveries) for m in found] == [(b"held", 2), (b"kill", 2), (b"after", 1)]


def test_a_killed_process_holds_publishers_no_more(bus):
    with bus.publisher("lab.x", timeout=30) as publisher, python(READS, bus.address) as member:
        assert member.stdout.readline() == "ready\n"
        publisher.publish_many([b"held"] * 15)
        for _ in range(15):
            assert member.stdout.readline() == "held 1\n"
        with pytest.raises(BackpressureError):
            publisher.publish(b"no room", timeout=0)
        member.kill()
        assert publisher.publish_many([b"x"] * 40) == 40


def test_what_a_killed_publisher_committed_comes_and_what_it_did_not_is_stepped_over(bus):
    program = """
import os, signal, sys
import shmbus
bus = shmbus.connect(sys.argv[1])
publisher = bus.publisher("lab.x")
publisher.publish_many([b"%d" % n for n in range(10)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    with bus.subscribe("lab.#", durable="agent") as subscription, python(program, bus.address) as child:
        child.wait(20)
        assert payloads(rest(subscription)) == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("coordinated", [True, False], ids=["coordinated", "alone"])
def test_a_stopped_process_keeps_what_it_has_until_its_deadline(bus_name, coordinated):
    seconds, patience = 3.0, 20.0  # whoever does not go by the deadline is early, or far too late
    program = READS.replace('durable="agent"', f'durable=shmbus.Durable("agent", ack_deadline={seconds})')
    with coordinator(bus_name) as running, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        with python(program, bus_name) as member:
            assert member.stdout.readline() == "ready\n"
            published = time.monotonic()
            publisher.publish(b"held")
            assert member.stdout.readline() == "held 1\n"
            os.kill(member.pid, signal.SIGSTOP)
            eventually(lambda: psutil.Process(member.pid).status() == psutil.STATUS_STOPPED)
            with bus.subscribe("lab.#", durable=shmbus.Durable("agent", ack_deadline=seconds)) as subscription:
                if not coordinated:
                    running.end(signal.SIGKILL)
                again = subscription.receive(timeout=patience)
                assert time.monotonic() - published >= seconds
                assert again.payload == b"held" and again.deliveries >= 2 and subscription.ack(again)
    if not coordinated:
        with coordinator(bus_name):
            pass  # removes what was left


def test_it_goes_on_without_a_coordinator(bus_name):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        with (
            bus.publisher("lab.x") as publisher,
            bus.subscribe("lab.#", durable="agent") as one,
            bus.subscribe("lab.#", durable="agent") as two,
        ):
            publisher.publish_many([b"0", b"1"])
            held = one.receive(timeout=0)
            running.end(signal.SIGKILL)
            assert one.nack(held)
            again = two.receive(timeout=20)
            assert (again.payload, again.deliveries) == (b"0", 2) and two.ack(again)
            held = one.receive(timeout=20)
            assert held.payload == b"1"
            one.close()
            again = two.receive(timeout=20)
            assert (again.payload, again.deliveries) == (b"1", 2) and two.ack(again)
        with coordinator(bus_name):
            pass  # removes what was left


def test_a_member_that_dies_after_the_coordinator_keeps_its_messages_until_their_deadline(bus_name):
    program = READS.replace('durable="agent"', 'durable=shmbus.Durable("agent", ack_deadline=1.0)')
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        with (
            bus.publisher("lab.x") as publisher,
            python(program, bus_name) as member,
        ):
            assert member.stdout.readline() == "ready\n"
            publisher.publish(b"held")
            assert member.stdout.readline() == "held 1\n"
            with bus.subscribe("lab.#", durable=shmbus.Durable("agent", ack_deadline=1.0)) as subscription:
                running.end(signal.SIGKILL)
                member.kill()
                member.wait(20)
                again = subscription.receive(timeout=20)
                assert again.payload == b"held" and again.deliveries >= 2 and subscription.ack(again)
            publisher.publish_many([b"x"] * 20_000)  # nobody is a member any more, so nobody is waited for
        with coordinator(bus_name):
            pass  # removes what was left
