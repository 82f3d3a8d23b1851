"""What a topic keeps of each key, in its segment: folded, turned over, continued by the next writer, read meanwhile."""

import contextlib
import mmap
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmbus
from shmbus import _core, state
from shmbus.errors import SegmentError
from shmbus.message import Gap, Producer
from shmbus.state import StateReader, StateWriter, size_of
from shmbus.v1.eventbus_pb2 import EventBusMessage, HeartbeatPayload, MessageMetadata

BOOT = bytes(range(16))
WHO = Producer("lab", 7, 8, 9, 10, 11)


def frame(sequence, payload, time_ns=1, expires_ns=0):
    """A frame's header as the core writes it."""

    def packed(crc):
        words = (sequence, time_ns, expires_ns, sequence)
        rest = (
            len(payload).to_bytes(4, "little")
            + crc.to_bytes(4, "little")
            + bytes((1, 0, 0, _core.KIND_EVENT))
            + bytes(4)
        )
        return b"".join(one.to_bytes(8, "little") for one in words) + rest

    return packed(_core.crc32c(payload, _core.crc32c(packed(0))))


def message(sequence, key, text="", lane=0, *, forgotten=False, **times):
    envelope = EventBusMessage(metadata=MessageMetadata(key=key) if key else None)
    if not forgotten:
        envelope.heartbeat.CopyFrom(HeartbeatPayload(component_id=text))
    payload = envelope.SerializeToString()
    source = _core.Source("lab.x", "", lane, "lab.x")
    return _core.restore(source, frame(sequence, payload, **times), payload, WHO)


@contextlib.contextmanager
def segment(keys=8, most_bytes=4096):
    descriptor = os.memfd_create("state")
    try:
        os.ftruncate(descriptor, size_of(most_bytes))
        StateWriter.initialise(
            descriptor, topic_id=3, topic="lab.x", type_name="t", keys=keys, most_bytes=most_bytes, boot_id=BOOT
        )
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened(kind, descriptor):
    with contextlib.closing(kind(descriptor, boot_id=BOOT)) as one:
        yield one


def kept(descriptor):
    with opened(StateReader, descriptor) as reader:
        found = reader.snapshot()
        return {one.key: one.event.component_id for one in found.messages()}, found


def test_the_last_of_each_key_with_everything_that_a_message_says():
    with segment() as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(4, "a", "1"), message(5, None, "no key"), message(6, "b", "2"), message(7, "a", "3")])
        texts, found = kept(descriptor)
        assert texts == {"a": "3", "b": "2"} and found.folded == (8, 0)
        last = found.messages()[-1]
        assert (last.topic, last.sequence, last.key, last.producer, last.lane) == ("lab.x", 7, "a", WHO, 0)


def test_what_was_folded_comes_again_and_changes_nothing():
    with segment() as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(4, "a", "new")])
        writer.fold([message(3, "a", "old"), message(4, "a", "again"), message(2, "b", "old")])
        assert kept(descriptor)[0] == {"a": "new"}


def test_of_two_lanes_the_later_one_counts():
    with segment() as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(1, "a", "urgent", 1, time_ns=5), message(9, "a", "normal", 0, time_ns=4)])
        assert kept(descriptor)[0] == {"a": "urgent"}
        writer.fold([message(10, "a", "normal", 0, time_ns=6)])
        texts, found = kept(descriptor)
        assert texts == {"a": "normal"} and found.folded == (11, 2)


def test_a_forgotten_key_is_gone_and_makes_room_for_another():
    with segment(keys=1) as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(1, "a"), message(2, "b")])
        assert kept(descriptor)[0].keys() == {"a"} and writer.refused == 1
        writer.fold([message(3, "a", forgotten=True), message(4, "b", "x"), message(5, "c", forgotten=True)])
        assert kept(descriptor)[0] == {"b": "x"} and writer.refused == 1


def test_a_message_that_does_not_fit_takes_the_older_one_of_its_key_along():
    with segment(most_bytes=512) as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(1, "a", "x"), message(2, "b", "y")])
        writer.fold([message(3, "a", "z" * 400)])
        assert kept(descriptor)[0] == {"b": "y"} and writer.refused == 1  # never what is not the last
        writer.fold([message(4, "a", "small")])
        assert kept(descriptor)[0] == {"a": "small", "b": "y"}


def test_what_is_past_its_time_is_not_handed_out():
    with segment() as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(1, "a", expires_ns=1), message(2, "b", expires_ns=2**62)])
        assert kept(descriptor)[0].keys() == {"b"}


def test_what_was_missed_is_counted():
    with segment() as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([Gap("lab.x", "#", 1, 5, "overrun"), message(6, "a")])
        assert kept(descriptor)[1].missed == writer.missed == 5


class Killed(BaseException):
    """In place of SIGKILL: nothing that would be done afterwards is."""


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 300), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 8),
    st.sampled_from([state.APPENDED, state.COMMITTING, state.TURNED, state.COMMITTED]),
    st.integers(1, 12),
)
def test_whoever_is_killed_wherever_the_next_one_goes_on(changes, batch, site, count):
    """The writer dies at the count-th pass of a place; what it had not acknowledged comes again to the next one."""
    left = count

    def killpoint(name):
        nonlocal left
        left -= name == site
        if left == 0 and name == site:
            raise Killed

    messages = [
        message(n, key, "x" * size, forgotten=forgotten) for n, (key, size, forgotten) in enumerate(changes, start=1)
    ]
    batches = [messages[start : start + batch] for start in range(0, len(messages), batch)]
    with segment(most_bytes=2400) as descriptor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_core, "killpoint", killpoint)
        acknowledged, at = 0, 0
        writer = StateWriter(descriptor, boot_id=BOOT)
        while at < len(batches):
            try:
                writer.fold(batches[at])
                at += 1
                acknowledged = batches[at - 1][-1].sequence
            except Killed:
                writer.close()
                _, found = kept(descriptor)
                assert found.folded[0] >= acknowledged + (acknowledged > 0)
                check(found, messages)
                writer = StateWriter(descriptor, boot_id=BOOT)
        writer.close()
        _, found = kept(descriptor)
        assert found.folded[0] == len(messages) + 1
        check(found, messages)


def check(found, messages):
    """Before `folded` every key that is not forgotten has its last message; nothing else is there."""
    last = {one.key: one for one in messages if one.sequence < found.folded[0]}
    for key, one in last.items():
        record = found.records.get(key)
        if record is None:
            later = any(more.key == key and more.sequence >= found.folded[0] for more in messages)
            assert one.event is None or later
        else:
            assert record.sequence >= one.sequence
    for key, record in found.records.items():
        assert key in last or record.sequence >= found.folded[0]


def test_a_reader_sees_only_whole_pictures_while_they_are_made():
    with segment(keys=4, most_bytes=2048) as descriptor, opened(StateWriter, descriptor) as writer:
        stop, wrong = threading.Event(), []

        def read():
            with opened(StateReader, descriptor) as reader:
                before = 0
                while not stop.is_set():
                    found = reader.snapshot()
                    numbers = {
                        int(one.payload[-9:]) for one in found.records.values() if one.sequence < found.folded[0]
                    }
                    if len(numbers) > 1 or found.folded[0] < before:
                        wrong.append((numbers, found.folded))
                    before = found.folded[0]

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(3000):  # all keys say the same number in every picture
            writer.fold([message(3 * number + n, key, f"{number:09}") for n, key in enumerate("abc", start=1)])
        stop.set()
        thread.join()
        assert not wrong


@pytest.mark.parametrize(
    ("offset", "data", "reason"),
    [
        (0, b"\0", "foreign"),
        (0, bytes(8), "early"),
        (8, b"\7", "layout"),
        (16, b"\7\7", "boot"),
        (40, b"\xff", "corrupt"),
        (0x1000, b"\xff\xff\xff\xff", "corrupt"),
        (0x1040, b"\7", "corrupt"),
        (0x200, bytes(200), "corrupt"),
    ],
)
def test_memory_that_is_not_what_it_should_be_is_an_error(offset, data, reason):
    with segment() as descriptor:
        with opened(StateWriter, descriptor) as writer:
            writer.fold([message(1, "a", "text")])
        with mmap.mmap(descriptor, 0) as memory:
            memory[offset : offset + len(data)] = data
        for kind in (StateReader, StateWriter):
            with pytest.raises(SegmentError) as raised:
                kept(descriptor) if kind is StateReader else StateWriter(descriptor, boot_id=BOOT)
            assert raised.value.reason == reason


def test_any_flipped_byte_of_a_record_is_noticed():
    with segment() as descriptor:
        with opened(StateWriter, descriptor) as writer:
            writer.fold([message(1, "a", "text")])
            size = writer._end
        with mmap.mmap(descriptor, 0) as memory:
            for at in range(0x1000, 0x1000 + size):
                memory[at] ^= 0x55
                with pytest.raises(SegmentError):
                    kept(descriptor)
                memory[at] ^= 0x55
        assert kept(descriptor)[0] == {"a": "text"}


def test_a_segment_of_another_size_is_an_error():
    with segment() as descriptor:
        os.ftruncate(descriptor, size_of(4096) + 8)
        with pytest.raises(SegmentError, match="real size"):
            StateReader(descriptor, boot_id=BOOT)
        os.ftruncate(descriptor, 100)
        with pytest.raises(shmbus.SegmentError, match="still being created"):
            StateReader(descriptor, boot_id=BOOT)


def test_what_does_not_count_any_more_is_left_behind():
    with segment(keys=4, most_bytes=1 << 20) as descriptor, opened(StateWriter, descriptor) as writer:
        for number in range(1, 5000):
            writer.fold([message(number, "abc"[number % 3], "x" * 50)])
        assert writer._end <= 32 << 10
        assert kept(descriptor)[0] == dict.fromkeys("abc", "x" * 50)
        writer.fold([message(5000, "a", "y" * 500_000)])
        assert writer._end < 600_000 and len(kept(descriptor)[0]["a"]) == 500_000


def test_a_half_that_is_written_again_under_a_reader_is_looked_at_again(monkeypatch):
    copy = StateReader._copy
    with segment(most_bytes=1024) as descriptor, opened(StateWriter, descriptor) as writer:
        writer.fold([message(n, key, "before") for n, key in enumerate("abc", start=1)])
        with opened(StateReader, descriptor) as reader:

            def slow(commit):
                monkeypatch.undo()
                for number in range(4, 60, 3):  # records of the same sizes, so that each is whole where it stands
                    writer.fold([message(number + n, key, f"now {number:02}") for n, key in enumerate("abc")])
                assert writer._last.turns >= 2
                return copy(reader, commit)

            monkeypatch.setattr(reader, "_copy", slow)
            found = reader.snapshot()
            assert found.folded == writer.folded
            assert {one.event.component_id for one in found.messages()} == {"now 58"}


def test_a_writer_that_turns_twice_and_is_killed_leaves_what_was_committed(monkeypatch):
    def killpoint(name):
        if name == state.APPENDED:
            raise Killed

    keys = [f"key {number:03}" for number in range(200)]
    with segment(keys=200, most_bytes=1 << 20) as descriptor:
        with opened(StateWriter, descriptor) as writer:
            for first in (1, 201):
                writer.fold([message(first + n, key, "x" * 400) for n, key in enumerate(keys)])
            before = kept(descriptor)[0]
            turns = writer._last.turns
            again = [message(401 + n, key, "x" * 400) for n, key in enumerate(keys[:100])]
            gone = [message(501 + n, key, forgotten=True) for n, key in enumerate(keys[100:])]
            monkeypatch.setattr(_core, "killpoint", killpoint)
            with pytest.raises(Killed):
                writer.fold([*again, *gone])
            monkeypatch.undo()
            assert writer._last.turns >= turns + 2
        with opened(StateWriter, descriptor) as writer:
            assert writer.folded == (401, 0)
            writer.fold([*again, *gone])
            assert kept(descriptor)[0] == {key: before[key] for key in keys[:100]}
