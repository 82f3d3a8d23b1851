"""procmond and the bus together: what the kernel tells one process reaches another through shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pytest

import shmbus
from shmbus.v1.eventbus_pb2 import ProcessEventData
from shmbus.workers.procmond.connector import Connector, Unavailable

WATCHDOG_S = 60


class Seen(NamedTuple):
    """An event, and the last part of its topic."""

    leaf: str
    event: ProcessEventData
    time_ns: int


Told = dict[int, list[Seen]]


@pytest.fixture
def bus() -> Iterator[shmbus.Bus]:
    with shmbus.embedded() as bus:
        yield bus


@pytest.fixture
def subscription(bus: shmbus.Bus) -> Iterator[shmbus.Subscription]:
    with bus.subscribe("events.process.+", lossless=True) as subscription:
        yield subscription


@pytest.fixture
def start(bus: shmbus.Bus, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts procmond on the bus and waits until it has its inventory."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        log = tmp_path / "log"
        command = [sys.executable, "-m", "shmbus.workers.procmond", "--bus", bus.address, *options]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stderr=file)
        running.append(process)
        deadline = time.monotonic() + WATCHDOG_S
        while "at the start" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def collect(subscription: shmbus.Subscription, done: Callable[[Told], bool]) -> Told:
    """What the subscription gets until `done`, by PID, in the order of its publication."""
    told: Told = defaultdict(list)
    deadline = time.monotonic() + WATCHDOG_S
    while not done(told):
        message = subscription.receive(timeout=max(0.0, deadline - time.monotonic()))
        assert isinstance(message, shmbus.Message), message
        assert message.producer.name == "procmond"
        event = message.event
        assert isinstance(event, ProcessEventData)
        seen = Seen(message.topic.rpartition(".")[2], event, message.time_ns)
        insort(told[event.process.pid], seen, key=attrgetter("time_ns"))  # each topic is a ring of its own
    return told


def test_a_process_that_lives_a_millisecond_is_seen_by_a_subscriber(
    start: Callable[..., subprocess.Popen[bytes]], subscription: shmbus.Subscription
) -> None:
    try:
        Connector().close()
    except Unavailable as error:
        pytest.skip(f"the kernel does not let us listen: {error}")
    procmond = start("--mode", "connector")
    processes = [subprocess.Popen(["/bin/true"]) for _ in range(100)]
    for process in processes:
        process.wait()
    pids = {process.pid for process in processes}
    both = {"start", "stop"}
    told = collect(subscription, lambda told: all(both <= {seen.leaf for seen in told[pid]} for pid in pids))
    for pid in pids:
        assert [seen.leaf for seen in told[pid] if seen.leaf in both] == ["start", "stop"]
        assert told[pid][0].event.process.ppid == os.getpid()
    procmond.send_signal(signal.SIGTERM)
    assert procmond.wait(WATCHDOG_S) == 0


def test_a_scan_reaches_the_bus_too(
    start: Callable[..., subprocess.Popen[bytes]], subscription: shmbus.Subscription
) -> None:
    procmond = start("--mode", "scan", "--interval", "0.05")
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        collect(subscription, lambda told: any(seen.leaf == "start" for seen in told[process.pid]))
        process.kill()
    told = collect(subscription, lambda told: any(seen.leaf == "stop" for seen in told[process.pid]))
    assert told[process.pid][-1].event.process.name == "sleep"
    procmond.send_signal(signal.SIGINT)
    assert procmond.wait(WATCHDOG_S) == 0


def test_without_a_bus_it_says_so_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shmbus.workers.procmond", "--bus", f"no-such-bus-{os.getpid()}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WATCHDOG_S, cwd=tmp_path)
    assert ended.returncode == 1
    assert "no coordinator runs the bus" in ended.stderr and "Traceback" not in ended.stderr
