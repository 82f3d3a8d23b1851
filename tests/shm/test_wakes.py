"""Whom a member of a group wakes: told from the words that are rung, so no clock decides.

The model is tests/model/wake.pml. A bell counts its rings above its waiting bit; a test sets the bit, as sleepers do.
"""

import mmap
import os
import struct

import pytest

from shm.memory import BOOT, Raw, Shape, TestReader, TestWriter, make_ring, memory
from shmbus._core import Bells, Group

RING_BELL, BUS_BELL = 1, 0
BELLS_AT, BELL_BYTES, SPACE_AT = 0x1000, 128, 64
WAITING = 1


class Words:
    """The words of bells, for whoever plays a sleeper."""

    def __init__(self, descriptor):
        self._bytes = mmap.mmap(descriptor, 0)

    def sleep(self, bell, offset=0):
        """A sleeper on that word; whether it has been woken."""
        at = BELLS_AT + bell * BELL_BYTES + offset
        (word,) = struct.unpack_from("<I", self._bytes, at)
        struct.pack_into("<I", self._bytes, at, word | WAITING)
        return lambda: struct.unpack_from("<I", self._bytes, at)[0] != word | WAITING

    def close(self):
        self._bytes.close()


class Member(TestReader):
    """Reads for a group."""

    owner_is_dead = False

    def join(self, ring, group, number):
        self._add(ring, "lab.#", ring.first_sequence, False, group=group, lane=0, member=number)

    def _stuck(self, ring, position, producer, since_ns):
        return self.owner_is_dead


class Lab:
    """A ring of 32 messages at most, and a group with a window of 4 that two members may read for."""

    def __init__(self):
        descriptor = memory(Bells.layout(8))
        self.bells, self.words = Bells.create(descriptor, 8, BOOT), Words(descriptor)
        os.close(descriptor)
        shape = Shape(slots=64, arena_bytes=16384, max_messages=32)
        self.ring, self._descriptor = make_ring(shape, bell=RING_BELL)
        self.raw = Raw(self._descriptor, shape)
        self.writer = TestWriter(self.ring, 1, self.bells)
        descriptor = memory(Group.layout(1, 4, 0, 9))
        self.group = Group.create(descriptor, session=5, lanes=1, window=4, producers=0, rows=9, bell=0, boot_id=BOOT)
        os.close(descriptor)
        self.group.place(0, self.ring.first_sequence, self.ring)

    def member(self, number=0):
        member = Member(self.bells)
        member.join(self.ring, self.group, number)
        return member

    def close(self):
        self.raw.close()
        self.words.close()
        os.close(self._descriptor)


@pytest.fixture
def lab():
    lab = Lab()
    yield lab
    lab.close()


def test_what_is_settled_while_the_receiver_rests_is_told_to_publishers_at_once(lab):
    member = lab.member()
    lab.writer.publish(b"only")
    message = member.try_receive()
    assert member.try_receive() is None  # it rests: it would sleep now, and another thread settles
    woken = lab.words.sleep(RING_BELL, SPACE_AT)
    assert member.ack(message) and woken()


def test_what_is_settled_between_two_messages_is_told_first_at_once_then_an_eighth_of_the_ring_at_a_time(lab):
    member = lab.member()
    lab.writer.publish_many([b"message"] * 16)
    message = member.try_receive()
    for expected in (1, 32 // 8, 32 // 8):
        woken, settled = lab.words.sleep(RING_BELL, SPACE_AT), 0
        while not woken():
            assert member.ack(message)
            message, settled = member.try_receive(), settled + 1
        assert settled == expected


def test_a_message_that_is_given_back_wakes_members_whichever_word_they_sleep_on(lab):
    member = lab.member()
    lab.writer.publish(b"only")
    message = member.try_receive()
    of_ring, of_bus = lab.words.sleep(RING_BELL), lab.words.sleep(BUS_BELL)
    assert member.nack(message) and of_ring() and of_bus()


def test_a_message_that_is_given_out_again_wakes_no_publisher_for_it_makes_no_room(lab):
    member = lab.member()
    lab.writer.publish(b"only")
    message = member.try_receive()
    woken = lab.words.sleep(RING_BELL, SPACE_AT)
    assert member.nack(message) and member.try_receive().deliveries == 2 and not woken()


def test_room_in_the_window_wakes_members_whichever_word_they_sleep_on(lab):
    one, other = lab.member(0), lab.member(1)
    lab.writer.publish_many([b"message"] * 5)
    held = [one.try_receive() for _ in range(4)]
    assert other.try_receive() is None and not other._anything()  # the window is full, and it says that it waits
    of_ring, of_bus = lab.words.sleep(RING_BELL), lab.words.sleep(BUS_BELL)
    assert one.ack(held[0]) and of_ring() and of_bus()
    assert other.try_receive().sequence == held[-1].sequence + 1


def test_what_the_coordinator_rings_wakes_members_whichever_word_they_sleep_on(lab):
    of_ring, of_bus = lab.words.sleep(RING_BELL), lab.words.sleep(BUS_BELL)
    lab.bells.ring(RING_BELL)
    assert of_ring() and of_bus()


def test_a_message_whose_filter_raises_is_given_back_and_wakes_the_other_members(lab):
    member = lab.member()

    def judge(message):
        raise ZeroDivisionError

    member._set_filter(judge)
    lab.writer.publish(b"only")
    woken = lab.words.sleep(RING_BELL)
    with pytest.raises(ZeroDivisionError):
        member.try_receive()
    assert woken() and lab.member(1).try_receive().payload == b"only"


def test_a_dead_owner_s_claim_behind_a_full_window_is_not_stepped_over_before_there_is_room(lab):
    member = lab.member()
    lab.writer.publish_many([b"message"] * 4)
    first = lab.ring.first_sequence
    lab.raw.claim(first + 4, producer=2, units=1, helped=True)
    held = [member.try_receive() for _ in range(4)]
    member.owner_is_dead = True
    with pytest.raises(TimeoutError):
        member.receive(timeout=0.01)
    lab.writer.publish(b"behind")
    for message in held:
        assert member.ack(message)
    assert member.receive(timeout=30).payload == b"behind"
    assert lab.group.state(0)[0] == first + 5  # nothing is left behind that holds the ring for ever
    assert member._counters()[0][-1] == 1
