"""Sending never blocks: what a client does not read waits, up to a bound."""

import errno
import os
import socket

import pytest

from shmbus.coordinator import outbox
from shmbus.coordinator.outbox import Outbox, Overflow
from shmbus.packet import close_all, receive_packet
from shmbus.v1.control_pb2 import Goodbye, ServerPacket


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def packet(number):
    return ServerPacket(id=number, goodbye=Goodbye(reason="x" * 1000))


def received(channel):
    ids = []
    try:
        while (got := receive_packet(channel, ServerPacket, "x")) is not None:
            close_all(got[1])
            ids.append(got[0].id)
    except BlockingIOError:
        pass
    return ids


def fill(box, openers=()):
    number = 0
    while box.post(packet(number), openers):
        number += 1
    return number + 1


def test_what_the_socket_does_not_take_is_sent_later_in_order(pair):
    box = Outbox(pair[0])
    posted = fill(box)
    for extra in range(posted, posted + 5):
        assert not box.post(packet(extra))
    assert not box.flush()
    ids = received(pair[1])
    while len(box):
        box.flush()
        ids += received(pair[1])
    assert ids == list(range(posted + 5))


def test_a_packet_that_waits_holds_no_descriptors(pair):
    opened = []

    def opener():
        opened.append(os.open("/dev/null", os.O_RDONLY))
        return opened[-1]

    box = Outbox(pair[0])
    fill(box, [opener])
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        box.post(packet(number), [opener])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_client_that_never_reads_is_an_overflow(pair, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING_PACKETS", 10)
    box = Outbox(pair[0])
    fill(box)
    with pytest.raises(Overflow, match="does not read"):
        for number in range(20):
            box.post(packet(number))


def test_a_packet_about_something_that_is_gone_is_not_sent(pair):
    def gone():
        raise LookupError("ring")

    box = Outbox(pair[0])
    assert box.post(packet(1), [gone])
    assert box.post(packet(2))
    assert received(pair[1]) == [2]


def test_missing_descriptors_are_waited_for(pair):
    errors = [OSError(errno.EMFILE, "none left")]

    def opener():
        if errors:
            raise errors.pop()
        return os.open("/dev/null", os.O_RDONLY)

    box = Outbox(pair[0])
    assert not box.post(packet(1), [opener])
    assert box.starved
    assert box.flush()
    assert received(pair[1]) == [1]


def test_a_client_that_is_gone_is_an_error(pair):
    pair[1].close()
    with pytest.raises(OSError, match="pipe"):
        Outbox(pair[0]).post(packet(1))
