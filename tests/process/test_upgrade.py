"""Segments of another layout, and a bus of which another version goes on: taken over in place, or left as it is."""

import hashlib
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.collectors import collector, install, wait_for
from shmbus import segment
from shmbus.coordinator.layouts import LAYOUTS, check_layouts
from shmbus.coordinator.lock import BusLock, file_owner
from shmbus.directory import DirectoryReader
from shmbus.errors import BusExists, LayoutError, SegmentError

KINDS = ("directory", "bells", "session", "group", "ring", "state")


def of_kind(bus, kind):
    return [one.name for one in segment.list_segments(bus=bus) if one.what.partition(".")[0] == kind]


def place(memory, kind):
    """Where the number of the layout stands; a group's own part begins with one of its own, behind the session's."""
    if kind != "group":
        return 8
    (lanes,) = struct.unpack_from("<I", memory, 16)
    return (0x100 + 64 * lanes + 4095) // 4096 * 4096 + 8


def renumber(name, kind, number):
    """What another version would have written there. The layout itself is today's."""
    path = Path(segment.ROOT + name)
    with path.open("r+b") as file:
        at = place(file.read(), kind)
        file.seek(at)
        (before,) = struct.unpack("<I", file.read(4))
        file.seek(at)
        file.write(struct.pack("<I", number))
    return before


def picture(bus):
    """All that there is of a bus, but for what its clients change by living."""
    found = {}
    for one in segment.list_segments(bus=bus):
        path = Path(segment.ROOT + one.name)
        found[one.name] = path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def start(bus, *arguments):
    command = [sys.executable, "-m", "shmbus.coordinator", "--bus", bus, "--collectors", ",", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def killed(running):
    running.process.kill()
    running.rest()


@pytest.fixture
def keeps(tmp_path):
    path = tmp_path / "bus.toml"
    path.write_text('[[topics]]\ntopic = "lab.#"\nkeep_last = 4\n')
    return "--config", str(path)


LIVES = """
import sys, shmbus
from shmbus.v1.eventbus_pb2 import HeartbeatPayload
with shmbus.connect(sys.argv[1], name="lives") as bus, bus.publisher("lab.x") as publisher:
    subscription = bus.subscribe("lab.x", durable="agent")
    publisher.publish(HeartbeatPayload(component_id="one"), key="a")
    print(subscription.receive(timeout=20).event.component_id, flush=True)
    for line in sys.stdin:
        publisher.publish(HeartbeatPayload(component_id=line.strip()), key="b")
        message = subscription.receive(timeout=20)
        subscription.ack(message)
        print(message.event.component_id, flush=True)
"""


def say(child, text):
    child.stdin.write(text + "\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def test_the_table_says_what_each_number_was():
    assert tuple(LAYOUTS) == KINDS
    for layout in LAYOUTS.values():
        assert set(layout.meanings) == set(range(1, layout.newest + 1)) and 1 <= layout.oldest <= layout.newest
        assert layout.meaning(layout.newest + 1) == "made by a newer version"


@pytest.mark.parametrize("kind", KINDS)
def test_a_bus_of_a_layout_that_is_not_known_is_left_as_it_is_and_its_own_version_goes_on(bus_name, keeps, kind):
    with coordinator(bus_name, *keeps) as first, python(LIVES, bus_name) as child:
        assert child.stdout.readline() == "one\n"
        killed(first)
        number = LAYOUTS[kind].newest + 1
        before = renumber(of_kind(bus_name, kind)[0], kind, number)
        there = picture(bus_name)
        refused = start(bus_name, *keeps)
        assert refused.returncode == 1
        name = of_kind(bus_name, kind)[0]
        known = LAYOUTS[kind].known
        assert f"segment '{name}' has layout {number} (made by a newer version), known here: {known}" in refused.stderr
        assert "was left as it is" in refused.stderr and f"shmbus down --bus {bus_name}" in refused.stderr
        assert picture(bus_name) == there
        assert say(child, "two") == "two"  # whoever uses it goes on

        renumber(name, kind, before)  # the version that made it
        with coordinator(bus_name, *keeps) as again:
            assert any("took over 1 topics" in line for line in again.lines)
            assert say(child, "three") == "three"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if LAYOUTS[kind].oldest < LAYOUTS[kind].newest])
def test_a_bus_of_an_older_layout_that_is_known_is_taken_over_in_place(bus_name, keeps, kind):
    with coordinator(bus_name, *keeps) as first, python(LIVES, bus_name) as child:
        assert child.stdout.readline() == "one\n"
        killed(first)
        for name in of_kind(bus_name, kind):
            renumber(name, kind, LAYOUTS[kind].oldest)
        with coordinator(bus_name, *keeps) as again, shmbus.connect(bus_name) as bus:
            assert any("took over 1 topics" in line for line in again.lines)
            assert say(child, "two") == "two"
            eventually(lambda: [message.event.component_id for message in bus.last("lab.x")] == ["one", "two"])
            with bus.subscribe("lab.x", durable="agent") as subscription:
                child.kill()
                child.wait()
                assert subscription.receive(timeout=20).event.component_id == "one"  # it was never settled


@pytest.mark.parametrize("kind", KINDS)
def test_older_than_the_oldest_is_refused_with_what_it_was(bus_name, keeps, kind):
    with coordinator(bus_name, *keeps) as first, python(LIVES, bus_name) as child:
        assert child.stdout.readline() == "one\n"
        killed(first)
        name, layout = of_kind(bus_name, kind)[0], LAYOUTS[kind]
        renumber(name, kind, layout.oldest - 1)
        with pytest.raises(LayoutError) as raised:
            check_layouts(bus_name)
        its = raised.value
        assert (its.segment, its.found, its.known, its.count) == (name, layout.oldest - 1, layout.known, 1)
        assert its.meaning == layout.meanings.get(layout.oldest - 1, "no number of ours")
    for one in segment.list_segments(bus=bus_name):
        segment.remove(one.name)


def test_a_running_coordinator_is_taken_over_from_and_its_clients_and_collectors_go_on(bus_name, tmp_path, keeps):
    installed = install(tmp_path)
    steady = ("--collectors", "steady", *keeps)
    with coordinator(bus_name, *steady, **installed) as first, python(LIVES, bus_name) as child:
        with shmbus.connect(bus_name) as bus:
            pid = wait_for(bus, "steady", "running").pid
            subscription = bus.subscribe("lab.steady", lossless=True)
            assert child.stdout.readline() == "one\n"
            with coordinator(bus_name, "--take-over", *steady, **installed) as second:
                assert first.process.wait(20) == -signal.SIGKILL
                assert any("took over 3 topics" in line for line in second.lines)
                assert f"steady: goes on as pid {pid}, which a killed coordinator left running" in second.lines
                assert say(child, "two") == "two"
                for _ in range(20):
                    assert subscription.receive(timeout=20).payload == b"x"
                assert subscription.lost == 0
                with shmbus.connect(bus_name) as fresh:
                    assert fresh.status().pid == second.process.pid
                    assert collector(fresh, "steady").pid == pid


def test_what_cannot_be_taken_over_goes_on_under_the_coordinator_that_it_has(bus_name):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus, bus.publisher("lab.x") as publisher:
        subscription = bus.subscribe("lab.x", lossless=True)
        (ring,) = of_kind(bus_name, "ring")
        renumber(ring, "ring", LAYOUTS["ring"].newest + 1)
        refused = start(bus_name, "--take-over")
        assert (refused.returncode, running.process.poll()) == (1, None)
        assert "cannot take it over" in refused.stderr
        publisher.publish(b"on")
        assert subscription.receive(timeout=20).payload == b"on"
        assert bus.status().pid == running.process.pid
    assert not segment.list_segments(bus=bus_name)


def test_taking_over_a_bus_that_nobody_runs_is_starting_it(bus_name):
    with coordinator(bus_name, "--take-over"), shmbus.connect(bus_name) as bus:
        assert bus.status().pid


def test_a_number_that_was_given_out_again_is_not_killed(bus_name):
    with python("import time; time.sleep(600)") as innocent:
        lock = BusLock(bus_name, segment.lock_path(bus_name))
        lock.end_owner(BusExists(bus_name, innocent.pid))
        assert innocent.poll() is None
        with coordinator(bus_name) as running:
            lock.end_owner(BusExists(bus_name, innocent.pid))  # another one has the lock
            assert (innocent.poll(), running.process.poll()) == (None, None)
            assert file_owner(segment.lock_path(bus_name)) == running.process.pid
            with pytest.raises(BusExists):
                lock.end_owner(BusExists(bus_name, None))
            with pytest.raises(BusExists):
                lock.end_owner(BusExists(bus_name, os.getpid()))


@pytest.mark.parametrize(
    ("kind", "attach", "name"),
    [
        ("bells", lambda bus: shmbus.connect(), "bells"),
        ("ring", lambda bus: bus.publisher("lab.x"), "ring of lab.x"),
        ("ring", lambda bus: bus.subscribe("lab.x"), "ring of lab.x"),
        ("group", lambda bus: bus.subscribe("lab.x", durable="agent"), "durable subscription"),
        ("state", lambda bus: bus.last("lab.x"), "last messages of lab.x"),
    ],
)
def test_a_client_that_is_handed_another_layout_says_which_and_what_to_do(bus_name, keeps, kind, attach, name):
    with coordinator(bus_name, *keeps), python(LIVES, bus_name) as child, shmbus.connect() as bus:
        assert child.stdout.readline() == "one\n"
        number = LAYOUTS[kind].newest + 1
        for one in of_kind(bus_name, kind):
            renumber(one, kind, number)
        with pytest.raises(SegmentError, match="Stop the bus with the version of shmbus that runs it") as raised:
            attach(bus)
        assert f"(layout {number}, known here: {LAYOUTS[kind].known})" in str(raised.value)
        assert raised.value.name.startswith(name) and raised.value.reason == "layout"


def test_tools_say_so_instead_of_showing_nothing(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus, bus.publisher("lab.x"):
        for kind in ("ring", "directory"):
            (name,) = of_kind(bus_name, kind)
            before = renumber(name, kind, 99)
            command = [sys.executable, "-m", "shmbus.tools", "topics", "--bus", bus_name]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode and f"segment '{name}' (layout 99, known here: {LAYOUTS[kind].known})" in done.stderr
            renumber(name, kind, before)


def doctor(*arguments):
    command = [sys.executable, "-m", "shmbus.tools", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_doctor_leaves_alone_what_is_used_though_it_cannot_read_it_and_removes_it_when_nobody_does(bus_name):
    with coordinator(bus_name) as running, python(LIVES, bus_name) as child:
        assert child.stdout.readline() == "one\n"
        for kind in ("directory", "session"):
            for name in of_kind(bus_name, kind):
                renumber(name, kind, 99)
        there = set(picture(bus_name))
        told = doctor("--bus", bus_name, "--clean")
        assert f"bus '{bus_name}' is run by pid {running.process.pid}" in told and "cannot take it over" in told
        killed(running)
        told = doctor("--bus", bus_name, "--clean")
        assert f"used by pid {child.pid}, which may go on" in told
        assert set(picture(bus_name)) == there
        child.kill()
        child.wait()
        eventually(lambda: not segment.users(bus_name))
        assert "removed 5 segments" in doctor("--bus", bus_name, "--clean")
    assert not segment.list_segments(bus=bus_name)


def test_a_group_of_another_layout_is_never_taken_for_the_page_of_a_dead_client(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus, bus.publisher("lab.x") as publisher, shmbus.connect() as other:
        with other.subscribe("lab.x", durable="agent"):
            (name,) = of_kind(bus_name, "group")
            renumber(name, "group", 99)
            descriptor = segment.attach(name)
            with pytest.raises(SegmentError, match="layout 99"):
                bus._pages.map_holder(descriptor, 1)
            os.close(descriptor)
            assert publisher.topic == "lab.x"


def test_a_directory_is_refused_by_its_own_numbers(bus_name):
    with coordinator(bus_name):
        name = segment.directory_name(bus_name)
        before = renumber(name, "directory", 77)
        descriptor = segment.attach(name)
        try:
            with pytest.raises(SegmentError) as raised:
                DirectoryReader(descriptor, boot_id=segment.boot_id(), name=name)
        finally:
            os.close(descriptor)
            renumber(name, "directory", before)
        assert (raised.value.found, raised.value.expected) == (77, LAYOUTS["directory"].known)
