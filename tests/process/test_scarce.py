"""What a full /dev/shm, or too few descriptors, cost: a start, and nothing that was there before."""

import subprocess
import sys
from pathlib import Path

import pytest

from process import scarce

pytestmark = pytest.mark.skipif(not scarce.possible(), reason="a /dev/shm of our own takes root and mount namespaces")

TAKEN_OVER = """
import sys
sys.path.insert(0, sys.argv[1])
import pytest
import shmbus
from process import scarce
from process.buses import coordinator

def killed(running):
    running.process.kill()
    running.process.wait()

with coordinator("lab") as first, shmbus.connect("lab") as bus, bus.publisher("lab.x") as publisher:
    others = [bus.publisher(f"lab.other-{{number}}") for number in range(39)]
    subscription = bus.subscribe("lab.x", durable="agent")
    publisher.publish(b"before")
    killed(first)
    publisher.publish(b"while nobody coordinates")
    with {shortage}:
        with pytest.raises(AssertionError, match={reason!r}), coordinator("lab"):
            pass
    with coordinator("lab") as third:
        assert any("took over 40 topics from a killed coordinator; 1 clients live" in line for line in third.lines)
        publisher.publish(b"after")
        got = [subscription.receive(timeout=20) for _ in range(3)]
        assert [one.payload for one in got] == [b"before", b"while nobody coordinates", b"after"]
        assert subscription.ack_many(got) == 3
        assert [(one.published, one.delivered) for one in subscription.ledger()] == [(3, 3)]
"""


def run(program: str, tmp_path: Path) -> None:
    tests = str(Path(__file__).parent.parent)
    command = scarce.inside("256m", "env", f"SHMBUS_RUNTIME_DIR={tmp_path}", sys.executable, "-c", program, tests)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_coordinator_that_finds_no_room_leaves_what_it_would_take_over_to_the_next_one(tmp_path):
    run(TAKEN_OVER.format(shortage="scarce.full()", reason="/dev/shm is full"), tmp_path)


def test_a_coordinator_that_finds_too_few_descriptors_leaves_what_it_would_take_over_to_the_next_one(tmp_path):
    run(TAKEN_OVER.format(shortage="scarce.few_descriptors(32)", reason="Too many open files"), tmp_path)
