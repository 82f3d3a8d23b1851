"""The ring through its binding, where the machine of test_ring_machine.py does not reach: foreign memory, scribbled
memory, read-only mappings, sessions that are not known."""

import mmap
import os
import random
import struct

import crc32c as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shmbus
from shm.memory import BOOT, Raw, Shape, TestReader, TestWriter, Trouble, gap_of, make_bells, make_ring, make_session
from shmbus import _core
from shmbus._core import AttachError, Bells, Ring, Session


@pytest.fixture
def lab():
    """A ring, its bytes, a writer and the bells."""
    bells = make_bells()
    shape = Shape(slots=16, arena_bytes=8192)
    ring, descriptor = make_ring(shape)
    raw = Raw(descriptor, shape)
    yield ring, raw, TestWriter(ring, 1, bells), bells, descriptor
    raw.close()
    os.close(descriptor)


def reader_at(ring, bells, position):
    reader = TestReader(bells)
    reader.read(ring, position)
    return reader


# ---- checksums -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=5000), st.integers(0, 2**32 - 1))
def test_crc32c_is_the_reference_whatever_the_hardware(data, start):
    assert _core.crc32c(data) == _core.crc32c_portable(data) == reference.crc32c(data)
    assert _core.crc32c(data, start) == _core.crc32c_portable(data, start) == reference.crc32c(data, start)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 1023, 1024, 4096, 3 * 1024 + 5, 1 << 16, (1 << 20) + 3])
def test_crc32c_of_any_length_and_alignment(size):
    data = memoryview(random.Random(size).randbytes(size + 8))
    for offset in range(8):
        part = bytes(data[offset : offset + size])
        assert _core.crc32c(data[offset : offset + size]) == reference.crc32c(part) == _core.crc32c_portable(part)


def test_crc32c_goes_on_from_a_part():
    assert _core.crc32c(b"6789", _core.crc32c(b"12345")) == _core.crc32c(b"123456789") == 0xE3069283
    assert _core.crc32c_implementation()


# ---- who may write ---------------------------------------------------------------------------------------------------


def read_only(descriptor):
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)


def test_a_subscribers_descriptor_cannot_be_mapped_for_writing(lab):
    ring, _, writer, bells, descriptor = lab
    theirs = read_only(descriptor)
    mapped = Ring.attach(theirs, writable=False, boot_id=BOOT)
    writer.publish(b"x")
    assert reader_at(mapped, bells, 1).try_receive().payload == b"x"
    with pytest.raises(PermissionError):
        mmap.mmap(theirs, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    with pytest.raises(PermissionError):
        Ring.attach(theirs, writable=True, boot_id=BOOT)
    with pytest.raises(OSError):
        os.pwrite(theirs, b"x", 0)
    with pytest.raises(OSError):
        os.ftruncate(theirs, 0)
    uses = [
        lambda: mapped.retire(1, []), lambda: mapped.seal(1), lambda: mapped.repair(1), lambda: mapped.skip(1, 1),
        lambda: mapped.set_gate(0, 1, 0, 1), lambda: mapped.clear_gate(0), lambda: mapped.set_limits(1, 1, 1, 0, 0),
        lambda: mapped.set_producer(1, "x", 1, 1, 1, 1, 0), lambda: mapped.clear_producer(1), mapped.claims,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(PermissionError, match="the ring is mapped read-only"):
            use()
    with pytest.raises(ValueError, match="mapped writable"):
        TestWriter(mapped, 1, bells)
    os.close(theirs)


def test_the_descriptors_that_a_bus_hands_to_a_subscriber_are_read_only(monkeypatch):
    seen = []
    attach = Ring.attach
    watching = type("Spy", (), {"attach": staticmethod(lambda fd, **its: spy(fd, **its))})
    monkeypatch.setattr("shmbus.pages.Ring", watching)

    def spy(descriptor, *, writable, boot_id):
        seen.append(writable)
        if not writable:
            with pytest.raises(PermissionError):
                mmap.mmap(descriptor, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        return attach(descriptor, writable=writable, boot_id=boot_id)

    with shmbus.embedded() as bus, bus.subscribe("a.b") as subscription, bus.publisher("a.b") as publisher:
        publisher.publish(b"x")
        assert subscription.receive(timeout=5).payload == b"x"
    assert sorted(seen) == [False, True]


def test_a_closed_ring_says_so_and_keeps_its_memory_for_who_uses_it(lab):
    ring, _, writer, bells, _ = lab
    reader = reader_at(ring, bells, 1)
    ring.close()
    assert ring.closed
    writer.publish(b"x")
    assert reader.try_receive().payload == b"x"
    with pytest.raises(ValueError, match="open ring"):
        reader_at(ring, bells, 1)
    reader._close()
    writer._detach()
    with pytest.raises(ValueError, match="the ring is closed"):
        ring.head  # noqa: B018


# ---- memory that is not what it should be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw.set_u64(0, 0), "is still being created"),
        (lambda raw: raw.set_u64(0, 12345), "is not a shmbus segment of this kind"),
        (lambda raw: struct.pack_into("<I", raw.bytes, 8, 99), "another layout version"),
        (lambda raw: struct.pack_into("<I", raw.bytes, 12, 17), "a size that disagrees with its header"),
        (lambda raw: struct.pack_into("<I", raw.bytes, 12, 1 << 30), "a size that disagrees with its header"),
        (lambda raw: struct.pack_into("<I", raw.bytes, 16, 4000), "a size that disagrees with its header"),
        (lambda raw: raw.set_u64(24, 1 << 40), "a size that disagrees with its header"),
    ],
)
def test_a_segment_that_is_not_a_ring_is_refused_with_the_reason(lab, change, reason):
    _, raw, _, _, descriptor = lab
    change(raw)
    with pytest.raises(AttachError, match=reason):
        Ring.attach(descriptor, writable=True, boot_id=BOOT)


def test_a_segment_of_another_boot_or_size_is_refused(lab):
    _, _, _, _, descriptor = lab
    with pytest.raises(AttachError, match="before the last boot"):
        Ring.attach(descriptor, writable=False, boot_id=bytes(16))
    with pytest.raises(ValueError, match="exactly 16 bytes"):
        Ring.attach(descriptor, writable=False, boot_id=b"")
    os.ftruncate(descriptor, os.fstat(descriptor).st_size + 4096)
    with pytest.raises(AttachError, match="a size that disagrees"):
        Ring.attach(descriptor, writable=False, boot_id=BOOT)
    empty = os.memfd_create("empty")
    for attach in (lambda: Bells.attach(empty, BOOT), lambda: Session.attach(empty, writable=False, boot_id=BOOT)):
        with pytest.raises(AttachError, match="is still being created"):
            attach()
    os.close(empty)


@pytest.mark.parametrize("shape", [(3, 4096, 1, 1), (1, 4096, 1, 1), (2, 4095, 1, 1), (2, 2048, 1, 1), (2, 4096, 0, 1)])
def test_a_geometry_that_cannot_be_is_refused(shape):
    with pytest.raises(ValueError, match="no ring can have"):
        Ring.layout(*shape)


@pytest.mark.parametrize("field", [0, 8, 16, 24, 32, 36, 40, 44])
def test_a_changed_byte_anywhere_in_a_frame_is_one_corrupt_message(lab, field):
    ring, raw, writer, bells, _ = lab
    for number in range(3):
        writer.publish(b"message %d" % number)
    raw.flip(2, field)
    reader = reader_at(ring, bells, 1)
    assert reader.try_receive().payload == b"message 0"
    assert gap_of(reader.try_receive()) == (2, 1, "corrupt")
    assert reader.try_receive().payload == b"message 2"
    assert reader._counters()[0][5] == 1


class Told(Exception):
    """A reader asked for something that this ring cannot have."""


def test_no_scribbling_crashes_a_reader_or_fools_it():
    """Any bytes anywhere, while it reads: whole messages of those that were published, gaps, or nothing."""
    bells = make_bells()
    for seed in range(300):
        chance = random.Random(seed)
        shape = Shape(slots=8, arena_bytes=4096)
        ring, descriptor = make_ring(shape)
        raw, writer = Raw(descriptor, shape), TestWriter(ring, 1, bells)
        published = {}
        reader = reader_at(ring, bells, 1)
        for _ in range(30):
            payload = chance.randbytes(chance.randrange(0, 600))
            try:
                published[writer.publish(payload)] = payload
            except Trouble:
                pass
            for _ in range(chance.randrange(3)):
                at = chance.choice(
                    [chance.randrange(0x200, len(raw.bytes)), chance.randrange(raw.slots_at, raw.slots_at + 128),
                     chance.choice([0x200, 0x204, 0x208, 0x210, 0x220, 0x280, 0x300, 0x400]) + chance.randrange(8)]
                )  # fmt: skip
                raw.bytes[at] = chance.randrange(256)
            for _ in range(chance.randrange(6)):
                found = reader.try_receive() if not ring.sealed else None
                if found is not None and not gap_of(found):
                    assert published.get(found.sequence) == found.payload
        ring.claims(), ring.repair(1), ring.retire(100, []), ring.retire_expired(1, [])
        reader._close()
        raw.close()
        os.close(descriptor)


def test_a_head_that_was_turned_round_is_no_endless_loss(lab):
    ring, raw, writer, bells, _ = lab
    writer.publish_many([b"x"] * 5)
    reader = reader_at(ring, bells, 1)
    raw.set_u64(0x300, raw.u64(0x300) + (1000 << 24))
    found = [reader.try_receive() for _ in range(10)]
    assert all(one is None or gap_of(one) for one in found) and found[-1] is None


def test_a_gap_of_expired_messages_is_one_run_of_sequences(lab):
    ring, raw, writer, bells, _ = lab
    writer.publish_many([b"x"] * 2, ttl=0.000_001)
    raw.claim(3, 7, 1, helped=True)
    ring.repair(7)
    writer.publish_many([b"x"] * 3, ttl=0.000_001)
    writer.publish(b"y")
    reader = reader_at(ring, bells, 1)
    found = [reader.try_receive() for _ in range(4)]
    assert [gap_of(one) for one in found[:2]] == [(1, 2, "expired"), (4, 3, "expired")]
    assert found[2].payload == b"y" and found[3] is None
    assert reader._counters()[0][2:] == (1, 0, 5, 0, 1)


def test_a_full_ring_that_is_sealed_is_told_to_be_sealed(lab):
    ring, _, writer, _, _ = lab
    session = make_session(4)
    writer._set_sessions([session])
    ring.set_gate(0, 4, 0, 1)
    with pytest.raises(Trouble):
        writer.publish_many([b"x"] * 20)
    assert ring.seal(1) == 16
    with pytest.raises(Trouble) as told:
        writer.publish(b"x")
    assert told.value.result == _core.SEALED and ring.head == 1


# ---- gates and sessions ----------------------------------------------------------------------------------------------


def test_a_gate_of_an_unknown_session_is_told_with_its_number(lab):
    ring, _, writer, _, _ = lab
    session = make_session(77)
    ring.set_gate(0, 77, 3, 1)
    with pytest.raises(Trouble) as told:
        for _ in range(20):
            writer.publish(b"x")
    assert (told.value.result, told.value.session, told.value.cursor) == (_core.UNKNOWN_SESSION, 77, 3)
    writer._set_sessions([session])
    with pytest.raises(Trouble) as told:
        writer.publish(b"x")
    assert (told.value.result, told.value.by) == (_core.FULL, _core.BY_GATE)
    session.set_position(3, 6)
    assert [writer.publish(b"x") for _ in range(5)] == [16, 17, 18, 19, 20]
    assert ring.gates() == [(0, 77, 3, 1)] and ring.gate == 6
    ring.clear_gate(0)
    assert writer.publish(b"x") == 21 and ring.gates() == []


def test_a_cursor_that_its_session_does_not_have_counts_by_the_floor(lab):
    ring, _, writer, _, _ = lab
    writer._set_sessions([make_session(5, cursors=2)])
    ring.set_gate(0, 5, 2000, 4)
    with pytest.raises(Trouble):
        for _ in range(30):
            writer.publish(b"x")
    assert ring.head == 4


def test_tables_know_their_ends(lab):
    ring, _, _, bells, _ = lab
    for use in (
        lambda: ring.set_gate(99, 1, 0, 1), lambda: ring.set_gate(0, 0, 0, 1),
        lambda: ring.set_producer(99, "x", 1, 1, 1, 1, 0), lambda: ring.set_producer(1, "x", 0, 1, 1, 1, 0),
        lambda: bells.ring(99), lambda: bells.ring_space(99), lambda: make_session(1, cursors=4).cursor(4),
        lambda: make_session(1, cursors=4).cursor_subscription(4),
    ):  # fmt: skip
        with pytest.raises(IndexError):
            use()
    session = make_session(9, cursors=3)
    assert (session.session, session.capacity, session.bell, session.heartbeat) == (9, 3, 2, 0)
    assert session.identity == (os.getpid(), 1, 1)


def test_a_page_has_what_its_client_says_of_itself_and_whether_that_is_news():
    session = make_session(9, cursors=3)
    assert session.pulse == (0, 0)  # as on a page that an older version made
    assert [session.beat(health) for health in (1, 1, 3, 3, 0)] == [True, False, True, False, True]
    assert session.pulse == (5, 0) and session.heartbeat == 5
    session.beat(2)
    for wrong in (4, -1, 2**40):
        with pytest.raises(
            ValueError, match=f"{wrong} is nothing that a collector says of its own health: say UNKNOWN"
        ):
            session.beat(wrong)
    assert session.pulse == (6, 2)
    session.leave()
    session.beat(1)
    assert session.left


def test_a_page_has_why_its_client_is_ill_as_far_as_there_is_room():
    session = make_session(9, cursors=3)
    assert session.reason == b""
    said = [(2, "disk full"), (2, "disk full"), (3, "disk full"), (3, "disk"), (3,), (2, "x" * 111 + "€"), (1,)]
    assert [(session.beat(*one), session.reason) for one in said] == [
        (True, b"disk full"), (False, b"disk full"), (True, b"disk full"), (True, b"disk"), (True, b""),
        (True, b"x" * 111), (True, b""),
    ]  # fmt: skip
    for health, name in ((1, "HEALTHY"), (0, "UNKNOWN")):
        with pytest.raises(ValueError, match=f"for DEGRADED or UNHEALTHY, and this is {name}: leave out 'well'"):
            session.beat(health, "well")
    for wrong in ((), (1, "", ""), (2, b"bytes"), (2, None)):
        with pytest.raises(TypeError):
            session.beat(*wrong)
    with pytest.raises(UnicodeEncodeError):
        session.beat(2, "\ud800")
    assert session.pulse == (7, 1)


def test_a_producer_has_the_name_that_was_attested(lab):
    ring, _, writer, bells, _ = lab
    long = "é" * 20  # 40 bytes, 31 fit: never half a character
    ring.set_producer(1, long, 4711, 5, 6, 7, 8)
    assert ring.producer(1) == ("é" * 15, 4711, 5, 6, 7, 8)
    reader = reader_at(ring, bells, 1)
    writer.publish_many([b"x"] * 2)
    assert reader.try_receive().producer == ("é" * 15, 4711, 5, 6, 7, 8)
    ring.set_producer(1, "other", 1, 2, 3, 4, 5)
    assert reader.try_receive().producer.name == "other"
    ring.clear_producer(1)
    assert ring.producer(1) is None and ring.producer(99) is None
    writer.publish(b"x")
    assert reader.try_receive().producer is None


@pytest.fixture
def crowd(lab):
    _, _, _, bells, _ = lab
    ring, descriptor = make_ring(Shape())
    writers = []
    for number in range(1, 5):
        ring.begin_numbers(number, False)
        ring.set_producer(number, f"p{number}", 1, 1, 1, 1, 0)
        writers.append(TestWriter(ring, number, bells))
    yield ring, writers, bells
    os.close(descriptor)


def named(gaps):
    return [gap.producer and gap.producer.name for gap in gaps]


def read_with(session, place, ring, bells, position):
    reader = TestReader(bells)
    reader.gated = session, place
    reader.read(ring, position)
    return reader


def test_losses_beyond_the_rows_that_a_page_has_are_told_without_a_name(crowd):
    ring, writers, bells = crowd
    session = make_session(3, cursors=1, publishers=2)
    reader = read_with(session, 0, ring, bells, 1)
    for writer in writers * 5:
        writer.publish(b"x")
    found = [reader.try_receive() for _ in range(3)]
    assert named(found) == ["p1", "p2", None]
    assert sum(gap.count for gap in found) == ring.head - 1
    assert [row[0] for row in sorted(session.ledger(0))] == [1, 2]
    reader._close()


def test_who_left_before_a_reader_began_takes_no_row_and_no_blame(crowd):
    ring, writers, bells = crowd
    session = make_session(3, cursors=1, publishers=4)
    writers[0].publish_many([b"x"] * 20)
    ring.leave_producer(1, ring.tail)
    reader = read_with(session, 0, ring, bells, ring.tail)
    writers[1].publish_many([b"x"] * 10)
    ring.leave_producer(2, ring.tail)
    writers[2].publish_many([b"x"] * 20)
    found = [reader.try_receive() for _ in range(2)]
    assert named(found) == ["p2", "p3"] and found[0].count == 10
    assert sorted(row[0] for row in session.ledger(0)) == [2, 3, 4]
    reader._close()


def test_who_gets_a_row_late_is_not_blamed_for_what_it_published_before(crowd):
    ring, writers, bells = crowd
    session = make_session(3, cursors=2, publishers=1)
    other = read_with(session, 0, ring, bells, 1)  # has all the rows that there are
    for writer in writers * 5:
        writer.publish(b"x")
    reader = read_with(session, 1, ring, bells, ring.tail)
    other._close()
    session.bind_cursor(0, 0, 0)
    lost, begun = 0, ring.tail
    for _ in range(2):
        for writer in writers * 3:
            writer.publish(b"x")
        found = [reader.try_receive() for _ in range(20)]
        gaps = [one for one in found if gap_of(one)]
        assert named(gaps) == [None] if not lost else len(gaps) == 3 and gaps[-1].producer is None
        lost += sum(gap.count for gap in gaps)
        messages = [one for one in found if one is not None and not gap_of(one)]
        assert messages[-1].sequence == ring.tail - 1
    counters = reader._counters()[0]
    assert counters[2] + lost == ring.tail - begun
    rows = {row[0]: row for row in session.ledger(1)}
    assert {row[3] - row[2] for row in rows.values()} <= {3, 4, 5, 6} and len(rows) == 2
    reader._close()


def test_a_reader_that_is_closed_while_its_filter_looks_leaves_its_cursor_alone(lab):
    ring, _, writer, bells, _ = lab
    session = make_session(3)
    reader = TestReader(bells)
    reader.gated = session, 0
    reader.read(ring, 1)
    reader._set_filter(lambda message: reader._close() is None)
    writer.publish(b"once")
    before = session.cursor(0)
    assert reader.try_receive() is None  # the cursor may be another subscription's by now
    assert session.cursor(0) == before
