"""Collectors as children of a coordinator: started, started again, stopped, and left alone when it is killed."""

import os
import signal

import psutil
import pytest

import shmbus
from process.buses import coordinator, eventually
from shmbus import segment

MODULE = """
import os, subprocess, sys, time
import shmbus

def steady():
    print("I am here", flush=True)
    with shmbus.connect(name="steady") as bus, bus.publisher("lab.steady") as publisher:
        while True:
            publisher.publish(b"x")
            print("published")
            time.sleep(0.02)

def crashing():
    sys.exit("out of luck")

def stubborn():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"])
    print("I stay", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def installed(tmp_path):
    """The collectors, where a child process finds them by the entry-point group."""
    (tmp_path / "labcollectors.py").write_text(MODULE)
    info = tmp_path / "labcollectors-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labcollectors\nVersion: 1\n")
    names = ("steady", "crashing", "stubborn")
    (info / "entry_points.txt").write_text(
        "[shmbus.collectors]\n" + "".join(f"{name} = labcollectors:{name}\n" for name in names)
    )
    return {"PYTHONPATH": str(tmp_path)}


def collector(bus, name):
    return next(one for one in bus.status().collectors if one.name == name)


def test_a_collector_is_started_told_of_and_stopped_with_the_bus(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running:
        running.read_until("steady: I am here")
        with shmbus.connect() as bus:
            eventually(lambda: collector(bus, "steady").state == "running")
            assert psutil.pid_exists(collector(bus, "steady").pid)
        assert "steady: stopped" in running.end()


def test_a_crash_keeps_its_reason_and_is_followed_by_a_restart(bus_name, installed):
    with coordinator(bus_name, "--collectors", "crashing", **installed) as running, shmbus.connect() as bus:
        assert "starting it again in" in running.read_until("ended with status 1: out of luck")
        assert collector(bus, "crashing").reason == "ended with status 1: out of luck"
        running.read_until("crashing: started")
        eventually(lambda: collector(bus, "crashing").restarts == 1)


def test_a_collector_is_stopped_and_started_on_request(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        running.read_until("steady: I am here")
        for action, state in ((wire_action("STOP"), "stopped"), (wire_action("START"), "running")):
            bus._control.request(action).close()
            eventually(lambda state=state: collector(bus, "steady").state == state)


def test_one_that_ignores_sigterm_is_killed_after_the_grace_with_all_it_started(bus_name, installed, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text("[bus]\ngrace_seconds = 0.2\n")
    arguments = ("--config", str(config), "--collectors", "stubborn")
    with coordinator(bus_name, *arguments, **installed) as running:
        running.read_until("I stay")
        group = psutil.Process(running.process.pid).children(recursive=True)
        assert {one.name() for one in group} >= {"sleep"}
        assert "did not end within 0.2 s" in running.end()
        assert not [one for one in group if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_collector_goes_on_publishing_when_the_coordinator_is_killed(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        subscription = bus.subscribe("lab.steady", lossless=True)
        subscription.receive(timeout=20)
        pid = collector(bus, "steady").pid
        running.end(signal.SIGKILL)
        for _ in range(20):  # it prints, too, and nobody reads that any more
            subscription.receive(timeout=10)
        os.kill(pid, signal.SIGKILL)
    for found in segment.list_segments(bus=bus_name):
        segment.remove(found.name)


def wire_action(name):
    from shmbus.v1.control_pb2 import ControlCollector

    return ControlCollector(name="steady", action=ControlCollector.Action.Value(f"ACTION_{name}"))


def test_a_new_coordinator_ends_the_collectors_that_a_killed_one_left(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as first:
        first.read_until("steady: published")
        with shmbus.connect() as bus:
            eventually(lambda: collector(bus, "steady").pid)
            orphan = collector(bus, "steady").pid
        first.end(signal.SIGKILL)
        assert psutil.pid_exists(orphan)
        with coordinator(bus_name, **installed) as second:
            assert f"steady: ended pid {orphan}, which a killed coordinator left running" in "\n".join(second.lines)
            eventually(lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE)
