"""The coordinator is killed: who publishes and who reads notice nothing, and another one can take its name."""

import signal
import threading

import pytest

import shmbus
from process.buses import coordinator, python
from shmbus.errors import BackpressureError, ConnectionLost

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
            with coordinator(bus_name), shmbus.connect() as fresh, fresh.subscribe("lab.#") as looking:
                with fresh.publisher("lab.x") as publisher:
                    publisher.publish(b"new")
                assert looking.receive(timeout=20).payload == b"new"
                read(subscription, expected, 500)
                with pytest.raises(ConnectionLost, match="Open topics go on; for anything new start a coordinator"):
                    bus.publisher("lab.y")
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
