"""kill -9 of publishers in a loop, at random moments, under load: the lossless subscriber neither stops nor is fooled.

Short by default; SHMBUS_LONG=1 for thousands of kills.
"""

import os
from collections import Counter

import pytest

import shmbus
from process.buses import python
from process.rings import small
from shmbus.private import start_embedded

KILLS = 2000 if os.environ.get("SHMBUS_LONG") else 150  # by each of two killers

# Forks a publisher, lets it go on for a random while, kills it, and tells how many messages it knew to be published.
KILLER = """
import mmap, os, random, signal, sys, time
import shmbus

bus, name, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
acknowledged, begun = 0, 1
shared = memoryview(mmap.mmap(-1, 16)).cast("Q")

def content(life, number):
    filler = b"%d." % number * (number * 31 % 90)
    return b"%s %d %d %s" % (name.encode(), life, number, filler)

def live(life):
    with shmbus.connect(bus, name=name) as connection, connection.publisher("kill.loop", timeout=60) as publisher:
        shared[begun] = 1
        number = 0
        while True:
            batch = 1 + number % 7
            if batch == 1:
                publisher.publish(content(life, number))
            else:
                publisher.publish_many([content(life, number + n) for n in range(batch)])
            number += batch
            shared[acknowledged] = number

for life in range(kills):
    shared[acknowledged] = shared[begun] = 0
    pid = os.fork()
    if pid == 0:
        live(life)
    while not shared[begun]:
        time.sleep(0.0005)
    time.sleep(chance.random() ** 2 * 0.012)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(shared[acknowledged], flush=True)
"""

STEADY = """
import sys, shmbus
with shmbus.connect(sys.argv[1], name="steady") as bus, bus.publisher("kill.loop", timeout=60) as publisher:
    number = 0
    print("ready", flush=True)
    import select
    while not select.select([sys.stdin], [], [], 0.0002)[0]:
        publisher.publish(b"steady 0 %d %s" % (number, b"%d." % number * (number * 31 % 90)))
        number += 1
    publisher.publish(b"end %d" % number)
"""


class Stream:
    """What came of every life of every publisher: without a hole, in order, unchanged."""

    def __init__(self):
        self.next = Counter()
        self.sequence = 0

    def take(self, message):
        assert message.sequence > self.sequence
        self.sequence = message.sequence
        name, life, number, filler = message.payload.split(b" ")
        key = (name.decode(), int(life))
        assert int(number) == self.next[key], f"{key}: {number} came where {self.next[key]} was expected"
        assert filler == b"%d." % int(number) * (int(number) * 31 % 90)
        assert message.producer_sequence == int(number) + 1 and message.producer.name == key[0]
        self.next[key] += 1


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("slots", [64, 8192])
def test_a_killed_publisher_never_stops_or_fools_a_lossless_subscriber(slots, capsys):
    address, stop = start_embedded(small(slots))
    try:
        with shmbus.connect(address) as bus, bus.subscribe("kill.#", lossless=True) as subscription:
            stream, reports = play(bus, subscription)
            check(stream, reports)
            assert subscription.lost == 0
            status = bus.status()
        with capsys.disabled():
            print(
                f" [{2 * KILLS} kills, {stream.next.total()} messages, {status.repaired_claims} repairs] ",
                end="",
            )
    finally:
        stop()


def play(bus, subscription):
    """Two killers and a steady publisher; what was read, and what the killers say."""
    stream, last = Stream(), None
    with python(STEADY, bus.address) as steady:
        killers = [python(KILLER, bus.address, f"k{n}", str(KILLS), str(n)) for n in range(2)]
        with killers[0] as first, killers[1] as second:
            assert steady.stdout.readline() == "ready\n"
            while first.poll() is None or second.poll() is None:
                for message in subscription.receive_many(timeout=60):
                    stream.take(message)
            reports = {f"k{n}": list(map(int, killer.stdout)) for n, killer in enumerate((first, second))}
        steady.stdin.write("end\n")
        steady.stdin.flush()
        while last is None:
            for message in subscription.receive_many(timeout=60):
                if message.payload.startswith(b"end"):
                    last = int(message.payload.split()[1])
                else:
                    stream.take(message)
    assert stream.next["steady", 0] == last
    return stream, reports


def check(stream, reports):
    """Lost is at most what a dead one had not been told is published; it may have committed more than it was told."""
    for name, reported in reports.items():
        assert len(reported) == KILLS
        for life, acknowledged in enumerate(reported):
            assert acknowledged <= stream.next[name, life] <= acknowledged + 7
