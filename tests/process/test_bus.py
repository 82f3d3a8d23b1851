"""Whole buses: the programs of the README, many processes at once, and nothing left of a thousand of them."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.rings import small
from shmbus.errors import BackpressureError, ClosedError, ConnectError, ConnectionLost
from shmbus.v1 import common_pb2, eventbus_pb2

README = Path(__file__).resolve().parents[2] / "README.md"

PROCESS_EVENTS = """
from shmbus.v1 import common_pb2, eventbus_pb2
process_events = [eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=pid)) for pid in (4, 5, 6)]
process_event = process_events[0]
"""

PUBLISH = """
import shmbus

with shmbus.connect() as bus:                                # the running coordinator of this user; bus name optional
    with bus.publisher("events.process.start") as publisher:
        publisher.publish(process_event)                     # a protobuf message of the schema, or bytes
        publisher.publish_many(process_events)
"""

SUBSCRIBE = """
import shmbus

with shmbus.connect() as bus:
    for message in bus.subscribe("events.process.+", "events.network.#"):
        print(message.topic, message.sequence, message.event.process.pid)
"""

ASYNC_PUBLISH = """
import asyncio, shmbus

async def main():
    async with shmbus.connect() as bus:
        async with bus.publisher("events.process.start") as publisher:
            await publisher.publish(process_event)
            await publisher.publish_many(process_events)

asyncio.run(main())
"""

ASYNC_SUBSCRIBE = """
import asyncio, shmbus

async def main():
    async with shmbus.connect() as bus:
        async for message in bus.subscribe("events.process.+", "events.network.#"):
            print(message.topic, message.sequence, message.event.process.pid)

asyncio.run(main())
"""

EMBEDDED = """
import shmbus

with shmbus.embedded() as bus:
    subscription = bus.subscribe("events.process.+")
    with bus.publisher("events.process.start") as publisher:
        publisher.publish_many(process_events)
    for message in subscription.receive_many():
        print(message.topic, message.sequence, message.event.process.pid)
"""

EXPECTED = [f"events.process.start {sequence} {pid}\n" for sequence, pid in enumerate((4, 4, 5, 6), 1)]


def test_the_programs_in_the_readme_itself_work(bus_name):
    programs = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    connected = [one for one in programs if "shmbus.connect()" in one]
    (read,) = [one for one in connected if "subscribe(" in one]
    (write,) = [one for one in connected if "publisher(" in one]
    with coordinator(bus_name), shmbus.connect() as bus, python(read, PYTHONUNBUFFERED="1") as reader:
        eventually(lambda: any(client.subscriptions for client in bus.status().clients))
        with python(write) as writer:
            assert writer.wait(20) == 0
        assert reader.stdout.readline() == "events.process.start 1 4711\n"


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL))
def test_the_programs_in_the_readme_that_need_no_bus_work_as_they_stand(program):
    if "shmbus.connect()" in program:
        pytest.skip("it is one of the two that are run together")
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("publish", [PUBLISH, ASYNC_PUBLISH])
@pytest.mark.parametrize("subscribe", [SUBSCRIBE, ASYNC_SUBSCRIBE])
def test_the_first_programs_work_as_they_stand(bus_name, publish, subscribe):
    with coordinator(bus_name), shmbus.connect() as bus, python(subscribe, PYTHONUNBUFFERED="1") as reader:
        eventually(lambda: any(client.subscriptions for client in bus.status().clients))
        with python(PROCESS_EVENTS + publish) as writer:
            assert writer.wait(20) == 0
        assert [reader.stdout.readline() for _ in EXPECTED] == EXPECTED


def test_the_embedded_program_works_as_it_stands():
    program = PROCESS_EVENTS + EMBEDDED
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    expected = [f"events.process.start {sequence} {pid}\n" for sequence, pid in enumerate((4, 5, 6), 1)]
    assert (done.stdout, done.stderr) == ("".join(expected), "")


def test_a_bus_that_nobody_runs_says_how_to_start_one(bus_name):
    with pytest.raises(ConnectError, match=f"no coordinator runs the bus '{bus_name}' .*shmbus up --bus {bus_name}`"):
        shmbus.connect()


def test_a_bus_knows_itself(bus_name):
    with shmbus.embedded(name="me") as bus:
        assert bus.name == "embedded" and bus.address.startswith("@shmbus.")
        assert (bus.client_name, repr(bus), bus.closed) == ("me", "<Bus embedded>", False)
        status = bus.status()
        assert [(client.name, client.pid) for client in status.clients] == [("me", os.getpid())]
        assert (status.bus, status.pid) == ("embedded", os.getpid())
    assert repr(bus) == "<Bus embedded, closed>" and bus.closed


def test_everything_of_a_closed_bus_says_so():
    bus = shmbus.embedded()
    publisher, subscription = bus.publisher("a.b"), bus.subscribe("a.b")
    bus.close()
    bus.close()
    uses = [
        lambda: bus.publisher("a.b"), lambda: bus.subscribe("a.b"), lambda: bus.resize("a.b", slots=64), bus.status,
        bus.stop, lambda: publisher.publish(b"x"), subscription.receive,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(ClosedError):
            use()


def test_the_end_of_the_bus_is_told_to_whoever_waits(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus:
        subscription = bus.subscribe("a.b")
        with bus.publisher("a.b") as publisher:
            publisher.publish(b"last")
        bus.stop()
        running.rest()
        found = []
        thread = threading.Thread(target=lambda: found.extend(message.payload for message in subscription))
        thread.start()
        thread.join(10)
        assert found == [b"last"]
        with pytest.raises(ClosedError, match="asked for by"):
            subscription.receive()
        with pytest.raises(ConnectionLost):
            bus.publisher("c.d")


def test_the_limits_of_a_topic_count_for_its_publishers():
    with shmbus.embedded(small(16)) as bus, bus.subscribe("a.b", lossless=True):
        with bus.publisher("a.b", on_full="raise") as publisher, pytest.raises(BackpressureError):
            publisher.publish_many([b"x"] * 16)
        bus.resize("a.b", slots=64)
        with bus.publisher("a.b", on_full="raise") as publisher, pytest.raises(BackpressureError) as full:
            publisher.publish_many([b"x"] * 64)
        assert full.value.published == 63


MANY = """
import sys, shmbus
with shmbus.connect(sys.argv[1], name=sys.argv[2]) as bus:
    publishers = [bus.publisher(f"many.{sys.argv[2]}.t{n}", timeout=60) for n in range(10)]
    for number in range(200):
        for publisher in publishers:
            publisher.publish(b"%d" % number)
"""


def test_ten_processes_with_ten_publishers_each_are_all_heard():
    with shmbus.embedded() as bus, bus.subscribe("many.#", lossless=True) as subscription:
        command = [sys.executable, "-c", MANY, bus.address]
        children = [subprocess.Popen([*command, f"p{n}"]) for n in range(10)]
        found = {}
        for _ in range(10 * 10 * 200):
            message = subscription.receive(timeout=60)
            found.setdefault(message.topic, []).append(int(message.payload))
        assert [child.wait(30) for child in children] == [0] * 10
        assert len(found) == 100 and all(got == list(range(200)) for got in found.values())
        assert subscription.lost == 0


SHARED = """
import sys, shmbus
with shmbus.connect(sys.argv[1], name=sys.argv[2]) as bus:
    publishers = [bus.publisher("shared.topic", timeout=60) for n in range(10)]
    for number in range(100):
        for place, publisher in enumerate(publishers):
            publisher.publish(b"%d %d" % (place, number))
"""


def test_a_hundred_publishers_of_one_topic_each_keep_their_order():
    with shmbus.embedded(small(64)) as bus, bus.subscribe("shared.topic", lossless=True) as subscription:
        command = [sys.executable, "-c", SHARED, bus.address]
        children = [subprocess.Popen([*command, f"p{n}"]) for n in range(10)]
        found, last = {}, 0
        for _ in range(10 * 10 * 100):
            message = subscription.receive(timeout=60)
            place, number = message.payload.split()
            found.setdefault((message.producer.pid, place), []).append((int(number), message.producer_sequence))
            assert message.sequence == last + 1
            last = message.sequence
        assert [child.wait(30) for child in children] == [0] * 10
        assert len(found) == 100
        assert all(got == [(n, n + 1) for n in range(100)] for got in found.values())


# ---- leaks -----------------------------------------------------------------------------------------------------------


class Resources:
    """Descriptors, threads, mappings and memory of this process at one moment."""

    def __init__(self):
        process = psutil.Process()
        self.descriptors, self.threads = process.num_fds(), process.num_threads()
        self.mappings, self.memory = len(process.memory_maps(grouped=False)), process.memory_info().rss

    def grown(self):
        """What there is more of now, by more than the allocator's ups and downs."""
        now = Resources()
        steps = {"descriptors": 0, "threads": 0, "mappings": 8, "memory": 4 << 20}
        return {name for name, step in steps.items() if getattr(now, name) > getattr(self, name) + step}


def test_a_thousand_publishers_and_subscriptions_leave_nothing():
    event = eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=1))
    with shmbus.embedded(small(producers=32)) as bus:

        def cycle(number):
            with bus.publisher(f"a.t{number % 5}") as publisher, bus.subscribe("a.#", lossless=True) as subscription:
                publisher.publish(event)
                assert subscription.receive(timeout=5).event == event

        for number in range(100):
            cycle(number)
        before = Resources()
        for number in range(1000):
            cycle(number)
        assert before.grown() == set()


def test_a_hundred_connections_leave_nothing():
    with shmbus.embedded(small()) as keeper:

        def cycle():
            with shmbus.connect(keeper.address) as bus, bus.publisher("a.b") as publisher:
                with bus.subscribe("a.b", lossless=True) as subscription:
                    for _ in range(20):
                        publisher.publish(b"x")
                        assert subscription.receive(timeout=5).payload == b"x"

        for _ in range(20):
            cycle()
        before = Resources()
        for _ in range(100):
            cycle()
        # The coordinator looks after a publisher that hung up until the ring has moved on, and looks once a second.
        eventually(lambda: before.grown() == set())
        assert len(keeper.status().clients) == 1


def test_a_hundred_embedded_buses_leave_nothing():
    def cycle():
        with shmbus.embedded() as bus, bus.publisher("a.b") as publisher, bus.subscribe("a.b") as subscription:
            publisher.publish(b"x")
            assert subscription.receive(timeout=5).payload == b"x"

    for _ in range(20):
        cycle()
    before = Resources()
    for _ in range(100):
        cycle()
    eventually(lambda: before.grown() == set())  # a thread that was joined is still on its way out of the kernel
