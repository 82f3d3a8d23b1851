"""Cells of the README's table of guarantees and events that no other test is about, and that each cell has its test."""

import os
import re
import signal
from pathlib import Path

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.rings import small
from shmbus import Durable, Gap
from shmbus.errors import BackpressureError

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 4
EVENTS = 6

PUBLISHER = """
import os, signal, sys
import shmbus
bus = shmbus.connect(sys.argv[1])
bus.publisher("lab.x").publish_many([b"%d" % n for n in range(10)])
os.kill(os.getpid(), signal.SIGKILL)
"""

READER = """
import sys
import shmbus
with shmbus.connect(sys.argv[1], name="doomed") as bus:
    subscription = bus.subscribe("lab.x", lossless=sys.argv[2] == "lossless", start="earliest")
    print("reading", flush=True)
    print(subscription.receive(timeout=20).payload.decode(), flush=True)
    sys.stdin.read()
"""


def numbers(subscription):
    return [int(message.payload) for message in subscription.receive_many(timeout=20)]


def test_a_lossy_reader_gets_all_that_a_killed_publisher_committed_and_what_others_publish_after():
    with shmbus.embedded() as bus, bus.subscribe("lab.#") as subscription:
        for _ in range(2):
            with python(PUBLISHER, bus.address) as child:
                assert child.wait(20) == -signal.SIGKILL
            assert numbers(subscription) == [*range(10)]
        assert subscription.lost == 0


def test_nobody_waits_for_a_lossy_subscriber_that_was_killed_and_none_of_it_is_left():
    with shmbus.embedded(small()) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        with python(READER, bus.address, "lossy") as child:
            assert child.stdout.readline() == "reading\n"
            publisher.publish(b"0")
            assert child.stdout.readline() == "0\n"
            os.kill(child.pid, signal.SIGSTOP)  # neither while it is stopped
            assert publisher.publish_many([b"x"] * 100) == 100
            child.kill()
            assert publisher.publish_many([b"x"] * 100) == 100
            child.wait(20)
        eventually(lambda: [client.name for client in bus.status().clients if client.name == "doomed"] == [])


def test_a_lossy_reader_reads_and_is_told_of_gaps_without_a_coordinator_and_under_the_next(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus:
        subscription, publisher = bus.subscribe("lab.x"), bus.publisher("lab.x", timeout=0)
        first.end(signal.SIGKILL)
        publisher.publish_many([b"%d" % n for n in range(5)])
        assert numbers(subscription) == [*range(5)]
        publisher.publish_many([b"x"] * 10_000)
        gap, *rest = subscription.receive_many(10_000)
        assert isinstance(gap, Gap) and gap.count + len(rest) == 10_000 and gap.first == 6
        with coordinator(bus_name), shmbus.connect() as fresh, fresh.publisher("lab.x") as other:
            other.publish(b"5")
            assert numbers(subscription) == [5]


def test_a_lossless_reader_that_was_killed_begins_again_where_it_says():
    with shmbus.embedded(small()) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        publisher.publish_many([b"%d" % n for n in range(5)])
        for _ in range(2):
            with python(READER, bus.address, "lossless") as child:
                assert [child.stdout.readline() for _ in range(2)] == ["reading\n", "0\n"]
                child.kill()
                child.wait(20)
        with bus.subscribe("lab.x", lossless=True, start=shmbus.Last(2)) as subscription:
            assert numbers(subscription) == [3, 4]


def test_publishers_wait_for_who_reads_exactly_once_while_anybody_does():
    once = Durable("agent", exactly_once=True)
    with shmbus.embedded(small()) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.x", durable=once) as subscription:
            with pytest.raises(BackpressureError, match="durable subscription 'agent'") as full:
                publisher.publish_many([b"x"] * 20)
            assert full.value.published == 15
            subscription.ack(subscription.receive(timeout=20))
            publisher.publish(b"x")
        assert publisher.publish_many([b"x"] * 20) == 20


def cells():
    """The section of the table, and of each event its name and the cells."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## What happens when")[2].partition("\n## ")[0]
    _, *lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return section, [(name, rest) for name, *rest in rows]


def test_each_cell_of_the_table_names_a_test_that_there_is():
    section, rows = cells()
    links = dict(re.findall(r'^\[(\d+)\]: (\S+ "\w+")$', section, re.MULTILINE))
    assert len(rows) == EVENTS
    used = set()
    for event, row in rows:
        assert len(row) == COLUMNS
        for cell in row:
            named = re.findall(r"\[(\d+)\]", cell)
            assert named, f"{event}: {cell}"
            used.update(named)
    assert used == links.keys()
    for link in links.values():
        file, name = link.split()
        assert f"def {name[1:-1]}(" in (ROOT / file).read_text(encoding="utf-8"), link
