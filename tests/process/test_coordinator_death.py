"""The coordinator is killed: who publishes and who reads notice nothing, and another one takes over what it left."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.collectors import collector, install, wait_for
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
    print("published", number, flush=True)
"""


def read(subscription, expected, count):
    for _ in range(count):
        payload = subscription.receive(timeout=20).payload
        if payload == b"x":
            continue  # of a collector
        name, number = payload.split()
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


def test_who_scribbles_over_names_in_a_ring_keeps_no_coordinator_from_taking_over(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.subscribe("lab.b", lossless=True) as subscription:
        publisher = bus.publisher("lab.b", name="other")
        with bus.publisher("lab.a", name="scribbler"):
            for path in Path("/dev/shm").glob(f"*.{bus_name}.ring.*"):
                with path.open("r+b") as ring:
                    if (place := ring.read(1 << 20).find(b"scribbler")) >= 0:
                        ring.seek(place)
                        ring.write(b"\xc6" * 9)
            publisher.publish(b"before")
            killed(first)
            with coordinator(bus_name), shmbus.connect() as fresh:
                assert {"lab.a", "lab.b"} <= {one.topic for one in fresh.topics()}
                publisher.publish(b"after")
                assert [subscription.receive(timeout=20).payload for _ in range(2)] == [b"before", b"after"]


def test_a_coordinator_that_takes_over_and_is_stopped_finds_its_clients_waiting_when_it_goes_on(bus_name, monkeypatch):
    monkeypatch.setattr("shmbus.bus.RESUME_SECONDS", 0.2)
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.subscribe("lab.x", lossless=True) as subscription:
        publisher = bus.publisher("lab.x")
        killed(first)
        with coordinator(bus_name) as second:
            second.process.send_signal(signal.SIGSTOP)
            for number in range(3):  # the first waits for an answer to its hello, the others look whether it came
                publisher.publish(b"%d" % number)
                assert subscription.receive(timeout=20).payload == b"%d" % number
                assert subscription.try_receive() is None
                with pytest.raises(ConnectionLost):
                    bus.publisher("lab.y")
            second.process.send_signal(signal.SIGCONT)
            eventually(lambda: subscription.try_receive() is None and not bus._control.lost)
            with bus.publisher("lab.y") as other, bus.subscribe("lab.y") as looking:
                other.publish(b"served")
                assert looking.receive(timeout=20).payload == b"served"
            assert [client.subscriptions for client in bus.status().clients] == [1]


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


@contextlib.contextmanager
def held_by_a_stranger(bus_name):
    """A full topic of this bus, held by a subscription of which a dead coordinator could not tell the publisher."""
    with coordinator(bus_name) as first, shmbus.connect() as client, client.publisher("lab.x") as publisher:
        client.set_limits("lab.x", max_messages=4)
        killed(first)
        with coordinator(bus_name) as second, shmbus.connect(name="reader") as other:
            with other.subscribe("lab.x", lossless=True) as subscription:
                killed(second)  # which the publisher never came to
                publisher.publish_many([b"%d" % number for number in range(4)])
                yield client, publisher, subscription


def read_five(subscription, publisher):
    """What was there already, and one more that finds room when somebody has read."""
    got = []
    timer = threading.Timer(0.2, lambda: got.extend(subscription.receive_many()))
    timer.start()
    publisher.publish(b"4", timeout=20)
    timer.join()
    got += [subscription.receive(timeout=20) for _ in range(5 - len(got))]
    assert [int(one.payload) for one in got] == list(range(5))


def test_a_publisher_finds_out_by_itself_who_holds_it_where_no_coordinator_could_tell(bus_name):
    with held_by_a_stranger(bus_name) as (_, publisher, subscription):
        with pytest.raises(BackpressureError, match=f"pid {os.getpid()}"):
            publisher.publish(b"too many", timeout=0.3)
        read_five(subscription, publisher)
    with coordinator(bus_name):
        pass  # takes away what there is


def test_a_publisher_that_may_not_find_out_who_holds_it_waits_for_the_next_coordinator(bus_name, monkeypatch):
    with held_by_a_stranger(bus_name) as (client, publisher, subscription):
        monkeypatch.setattr(client, "_look_up_session", lambda session: False)  # as another user's
        with pytest.raises(BackpressureError, match="session"):
            publisher.publish(b"too many", timeout=0.3)
        with coordinator(bus_name):
            read_five(subscription, publisher)


def test_a_publisher_whose_topic_was_moved_by_a_coordinator_that_it_never_met_waits_for_the_next_one(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(b"0")
        subscription = bus.subscribe("lab.x", durable="agent", start="earliest")
        killed(first)
        with coordinator(bus_name) as second, shmbus.connect() as other:
            other.resize("lab.x", slots=64)
            killed(second)
        with contextlib.ExitStack() as stack:
            timer = threading.Timer(6, lambda: stack.enter_context(coordinator(bus_name)))
            timer.start()
            publisher.publish(b"1", timeout=30)
            timer.join()
            for payload in (b"0", b"1"):
                message = subscription.receive(timeout=20)
                assert (message.payload, message.deliveries, subscription.ack(message)) == (payload, 1, True)


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


CHECKS = """
import select, sys, threading, shmbus
wanted, seen = {}, {}
def asked():
    words = sys.stdin.readline().split()
    wanted.update(zip(words[::2], map(int, words[1::2])))
with shmbus.connect(sys.argv[1], name="checks") as bus, bus.subscribe("lab.x", durable="checks") as subscription:
    threading.Thread(target=asked, daemon=True).start()
    print("ready", flush=True)
    while not wanted or any(seen.get(name, 0) < count for name, count in wanted.items()):
        try:
            message = subscription.receive(timeout=0.1)
        except shmbus.ReceiveTimeout:
            continue
        name, number = message.payload.decode().split()
        if int(number) != seen.get(name, 0) or message.deliveries != 1:
            sys.exit(f"{name} {number} came {message.deliveries} times where {seen.get(name, 0)} was expected")
        seen[name] = int(number) + 1
        if not subscription.ack(message):
            sys.exit(f"{name} {number} was another's")
    print("all", flush=True)
"""


def test_under_load_nothing_is_lost_and_no_collector_restarted_however_often_the_coordinator_is_killed(
    bus_name, tmp_path
):
    """In mid-operation, and while it takes over. The long form: SHMBUS_KILLS=300, and --timeout=3600 for pytest."""
    dice = random.Random(os.environ["SHMBUS_BUS"])
    kills = int(os.environ.get("SHMBUS_KILLS", "6"))
    installed, arguments = install(tmp_path), ("--collectors", "steady")
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        running = stack.enter_context(coordinator(bus_name, *arguments, **installed))
        start_seconds = time.monotonic() - began
        bus = stack.enter_context(shmbus.connect())
        collecting = wait_for(bus, "steady", "running").pid
        subscription = stack.enter_context(bus.subscribe("lab.#", lossless=True))
        children = []
        for program, name in ((CHECKS, "checks"), (PUBLISHER, "a"), (PUBLISHER, "b")):
            children.append(stack.enter_context(python(program, bus_name, name)))
            assert children[-1].stdout.readline() == "ready\n"
        durable, *publishers = children
        expected = {}
        for number in range(kills):
            read(subscription, expected, 100)
            asker = threading.Thread(target=ask_for_something, args=(bus_name,))
            asker.start()
            time.sleep(dice.random() * 0.02)  # into the middle of something
            killed(running)
            asker.join()
            read(subscription, expected, 100)
            if number % 2:
                killed_while_it_starts(bus_name, arguments, installed, start_seconds * dice.uniform(0.5, 1.1))
            running = stack.enter_context(coordinator(bus_name, *arguments, **installed))
            with shmbus.connect() as fresh, fresh.publisher(f"lab.new-{number}") as publisher:
                publisher.publish(b"n%d 0" % number)
                steady = collector(fresh, "steady")
                assert (steady.pid, steady.state, steady.restarts) == (collecting, "running", 0)
            read(subscription, expected, 200)
            while b"n%d" % number not in expected:  # a topic that is new reaches those who were there before
                read(subscription, expected, 1)
            assert subscription.lost == 0
        for child in publishers:
            child.stdin.close()
        while any(child.poll() is None for child in publishers):  # they may wait for this reader, too
            read(subscription, expected, 1)
        counts = {name: int(child.stdout.read().split()[-1]) for name, child in zip("ab", publishers, strict=True)}
        while any(expected[name.encode()] < count for name, count in counts.items()):
            read(subscription, expected, 1)
        said, _ = durable.communicate(" ".join(f"{name} {count}" for name, count in counts.items()) + "\n", timeout=60)
        assert (said, durable.returncode) == ("all\n", 0)


def killed_while_it_starts(bus, arguments, environment, seconds):
    command = [sys.executable, "-m", "shmbus.coordinator", "--bus", bus, *arguments]
    starting = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **environment})
    time.sleep(seconds)
    starting.kill()
    starting.wait()


def ask_for_something(bus_name):
    try:
        with shmbus.connect(timeout=2) as bus, bus.publisher("ask.it") as publisher:
            publisher.publish(b"asked 0")
            with bus.subscribe("ask.it", durable="asker", start="earliest") as subscription:
                subscription.ack_many([subscription.receive(timeout=5)])  # a gap may tell what went with older rings
            bus.resize("ask.it", slots=64)
    except shmbus.ShmbusError:
        pass


def sessions_of(bus):
    return [one.what for one in segment.list_segments(bus=bus) if one.what.startswith("session.")]


def test_who_closes_its_connection_while_there_is_no_coordinator_leaves_nothing_with_the_next_one(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as stays, shmbus.connect() as leaves:
        stays.publisher("lab.x").publish(b"1")
        leaves.publisher("lab.x").publish(b"2")
        leaves.subscribe("lab.#", lossless=True)
        killed(first)
        leaves.close()
        assert len(sessions_of(bus_name)) == 2
        with coordinator(bus_name) as second:
            assert any("1 clients live, 0 are dead, 1 have left" in line for line in second.lines)
            assert len(sessions_of(bus_name)) == 1
            stays.publisher("lab.y").publish(b"3")


def test_who_closes_its_connection_before_it_has_found_the_next_coordinator_is_let_go(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as leaves:
        leaves.publisher("lab.x").publish(b"1")
        killed(first)
        with coordinator(bus_name):
            assert len(sessions_of(bus_name)) == 1
            leaves.close()
            eventually(lambda: not sessions_of(bus_name))


@pytest.mark.parametrize("resized", (False, True), ids=("", "resized"))
@pytest.mark.parametrize("how", ({}, {"lossless": True}, {"durable": "agent"}), ids=("lossy", "lossless", "durable"))
def test_who_waited_for_a_topic_gets_all_of_one_that_the_next_coordinator_made_before_he_came_back(
    bus_name, how, resized
):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.subscribe("lab.#", **how) as subscription:
        first.end(signal.SIGKILL)
        with coordinator(bus_name), shmbus.connect() as other, other.publisher("lab.x") as publisher:
            expected = [b"%d" % n for n in range(20)]
            publisher.publish_many(expected[:10])
            if resized:
                other.resize("lab.x", slots=1024)
            publisher.publish_many(expected[10:])
            got = []
            while len(got) < 20:
                message = subscription.receive(timeout=20)
                got.append(message.payload)
                if "durable" in how:
                    subscription.ack(message)
            assert got == expected


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
