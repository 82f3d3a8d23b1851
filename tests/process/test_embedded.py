"""A private coordinator: quick to start, and gone without a trace however its process ends."""

import os
import signal
import subprocess
import sys
import threading

import pytest

import shmbus
from shmbus.bus import Bus
from shmbus.errors import ConnectError, StorageFull
from shmbus.private import start_embedded


def names():
    return {name for name in os.listdir("/dev/shm") if ".embedded." in name}


def test_an_embedded_bus_carries_a_message_and_leaves_nothing():
    with shmbus.embedded() as bus:
        subscription = bus.subscribe("lab.#", lossless=True)
        with bus.publisher("lab.a") as publisher:
            publisher.publish(b"hello")
        assert bytes(subscription.receive(timeout=5).payload) == b"hello"
    assert not [thread for thread in threading.enumerate() if "coordinator" in thread.name]


def test_its_segments_have_no_name():
    before = names()
    with shmbus.embedded() as bus, bus.publisher("lab.a"):
        assert names() <= before


def test_its_address_lets_another_process_in():
    with shmbus.embedded() as bus:
        subscription = bus.subscribe("lab.a", lossless=True)
        program = (
            "import sys, shmbus\nwith shmbus.connect(sys.argv[1]) as bus:\n bus.publisher('lab.a').publish(b'there')"
        )
        subprocess.run([sys.executable, "-c", program, bus.address], check=True, timeout=60)
        assert bytes(subscription.receive(timeout=5).payload) == b"there"


def test_two_embedded_buses_do_not_know_each_other():
    with shmbus.embedded() as one, shmbus.embedded() as two:
        assert one.address != two.address
        heard = two.subscribe("lab.a")
        with one.publisher("lab.a") as publisher:
            publisher.publish(b"x")
        assert heard.try_receive() is None


def test_after_its_stop_nobody_listens():
    address, stop = start_embedded()
    stop()
    stop()
    with pytest.raises(ConnectError):
        Bus(address, name="late", timeout=1)


def test_what_keeps_it_from_starting_is_raised(monkeypatch):
    def full(*_):
        raise StorageFull("/x", 10, 0)

    monkeypatch.setattr("shmbus.coordinator.coordinator.Listing", full)
    with pytest.raises(StorageFull):
        start_embedded()


def test_a_killed_process_leaves_nothing_of_its_bus():
    before = names()
    program = (
        "import shmbus, time\nbus = shmbus.embedded()\np = bus.publisher('a')\nprint('up', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert names() <= before


def test_an_unclosed_bus_does_not_keep_its_process_from_ending():
    subprocess.run([sys.executable, "-c", "import shmbus\nbus = shmbus.embedded()"], check=True, timeout=60)
