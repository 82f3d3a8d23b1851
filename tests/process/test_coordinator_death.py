"""The coordinator is killed: who publishes and who reads notice nothing, and another one takes over what it left."""

import contextlib
import os
import random
import signal
import threading
import time

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from shmbus import segment
from shmbus.errors import BackpressureError, ClosedError, ConnectionLost

PUBLISHER = """
import select, sys, shmbus
with shmbus.connect(sys.argv[1], name=sys.argv[2]) as bus, bus.publisher("lab.x", timeout=60) as publisher:
    number = 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.0002)[0]:
        publisher.publish(b"%s %d" % (sys.argv[2].encode(), number))
        number += 1
"""


def read(subscription, expected, count):
    for _ in range(count):
        name, number = subscription.receive(timeout=20).payload.split()
        assert int(number) == expected.setdefault(name, 0)
        expected[name] += 1


def test_publishing_and_reading_go_on_under_load_and_a_new_one_serves_the_same_name(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.subscribe("lab.#", lossless=True) as subscription:
        with python(PUBLISHER, bus_name, "a") as one, python(PUBLISHER, bus_name, "b") as other:
            assert [child.stdout.readline() for child in (one, other)] == ["ready\n"] * 2
            expected = {}
            read(subscription, expected, 500)
            first.end(signal.SIGKILL)
            read(subscription, expected, 500)
            other.kill()  # nobody repairs what it leaves
            other.wait()
            read(subscription, expected, 1000)
            with pytest.raises(ConnectionLost, match="Open topics go on; for anything new start a coordinator"):
                bus.publisher("lab.y")
            with coordinator(bus_name), shmbus.connect() as fresh, fresh.subscribe("lab.y") as looking:
                read(subscription, expected, 500)
                eventually(lambda: not bus._control.lost or subscription.try_receive() is None)
                with fresh.publisher("lab.y") as publisher:
                    publisher.publish(b"new")
                assert looking.receive(timeout=20).payload == b"new"
                seen = next(found for found in subscription if found.topic == "lab.y")
                assert seen.payload == b"new"
            assert subscription.lost == 0


def test_gating_waiting_and_waking_work_without_a_coordinator(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus:
        subscription, publisher = bus.subscribe("lab.x", lossless=True), bus.publisher("lab.x", timeout=0)
        publisher.publish(b"first")
        running.end(signal.SIGKILL)
        with pytest.raises(BackpressureError) as full:
            publisher.publish_many([bytes(60_000)] * 1000)
        timer = threading.Timer(0.2, subscription.receive_many)
        timer.start()
        assert publisher.publish(bytes(60_000), timeout=20) == full.value.published + 2
        timer.join()
        assert [len(message.payload) for message in subscription.receive_many()][-1] == 60_000
        timer = threading.Timer(0.2, publisher.publish, (b"last",))
        timer.start()
        assert subscription.receive(timeout=20).payload == b"last"
        timer.join()
    with coordinator(bus_name):
        pass


READER = """
import sys, shmbus
with shmbus.connect(sys.argv[1], name="reader") as bus:
    subscription = bus.subscribe("lab.#", durable="reader")
    print("ready", flush=True)
    for message in subscription:
        subscription.ack(message)
        print(message.payload.decode(), message.deliveries, flush=True)
"""


def killed(running):
    running.process.kill()
    running.process.wait()
    running.process.stderr.close()


def test_a_durable_subscription_goes_on_under_the_next_coordinator_though_its_reader_was_killed_too(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        with python(READER, bus_name) as reader:
            assert reader.stdout.readline() == "ready\n"
            publisher.publish(b"first")
            assert reader.stdout.readline() == "first 1\n"
            killed(first)
            publisher.publish(b"second")
            assert reader.stdout.readline() == "second 1\n"
        publisher.publish(b"third")  # nobody reads, nobody coordinates
        with coordinator(bus_name) as second:
            assert any(
                "2 clients live, 0 are dead" in line or "1 clients live, 1 are dead" in line for line in second.lines
            )
            publisher.publish(b"fourth")
            with shmbus.connect() as other, other.subscribe("lab.#", durable="reader") as subscription:
                found = [subscription.receive(timeout=20) for _ in range(2)]
                assert [(one.payload, one.deliveries) for one in found] == [(b"third", 1), (b"fourth", 1)]


def test_what_was_unacknowledged_comes_again_under_the_next_coordinator(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        subscription = bus.subscribe("lab.x", durable="agent")
        publisher.publish_many([b"%d" % number for number in range(5)])
        found = [subscription.receive(timeout=20) for _ in range(5)]
        assert subscription.ack_many(found[::2]) == 3
        killed(first)
        subscription.close()
        with coordinator(bus_name):
            with bus.subscribe("lab.x", durable="agent") as again:
                found = [again.receive(timeout=20) for _ in range(2)]
                assert [(one.payload, one.deliveries) for one in found] == [(b"1", 2), (b"3", 2)]


def test_a_publisher_and_a_lossless_reader_live_through_many_coordinators(bus_name):
    dice = random.Random(os.environ["SHMBUS_BUS"])
    kills = int(os.environ.get("SHMBUS_KILLS", "8"))  # hundreds in the long form
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(coordinator(bus_name))
        bus = stack.enter_context(shmbus.connect())
        subscription = stack.enter_context(bus.subscribe("lab.#", lossless=True))
        for name in ("a", "b"):
            child = stack.enter_context(python(PUBLISHER, bus_name, name))
            assert child.stdout.readline() == "ready\n"
        expected = {}
        for number in range(kills):
            read(subscription, expected, 100)
            asker = threading.Thread(target=ask_for_something, args=(bus_name,))
            asker.start()
            time.sleep(dice.random() * 0.02)  # into the middle of something
            killed(running)
            asker.join()
            read(subscription, expected, 100)
            running = stack.enter_context(coordinator(bus_name))
            with shmbus.connect() as fresh, fresh.publisher(f"lab.new-{number}") as publisher:
                publisher.publish(b"n%d 0" % number)
            read(subscription, expected, 200)
            while b"n%d" % number not in expected:  # a topic that is new reaches those who were there before
                read(subscription, expected, 1)
            assert subscription.lost == 0


def ask_for_something(bus_name):
    try:
        with shmbus.connect(timeout=2) as bus, bus.publisher("ask.it") as publisher:
            publisher.publish(b"asked 0")
            with bus.subscribe("ask.it", durable="asker", start="earliest") as subscription:
                subscription.ack(subscription.receive(timeout=5))
            bus.resize("ask.it", slots=64)
    except shmbus.ShmbusError:
        pass


def test_a_client_of_a_bus_that_begins_anew_is_told_so(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.subscribe("lab.x") as subscription:
        killed(first)
        for one in segment.list_segments(bus=bus_name):
            segment.remove(one.name)
        with coordinator(bus_name):
            with pytest.raises(ConnectionLost):
                bus.publisher("lab.y")
            with pytest.raises(ClosedError, match="knows nothing of it. Connect again"):
                subscription.receive(timeout=5)
