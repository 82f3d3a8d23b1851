"""The directory: readers see whole entries of one moment, whatever happens to the writer, and believe nothing."""

import itertools
import os
import signal
import struct
import threading
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmbus import directory, segment
from shmbus.directory import (
    BusState,
    Capacities,
    CollectorEntry,
    CollectorState,
    DirectoryReader,
    DirectoryWriter,
    Health,
    Lane,
    SessionEntry,
    TopicEntry,
    leftovers,
    size_of,
)
from shmbus.errors import LimitError, SegmentError
from shmbus.process import Identity, own_identity

BOOT = bytes(range(16))
CAPACITIES = Capacities(topics=4, sessions=3, collectors=2, descriptor_bytes=100)
TOPIC = TopicEntry(
    topic_id=7,
    name="events.process.start",
    lanes=(Lane(generation=3, bell=9, slots=8192, arena_bytes=1 << 22),),
    max_messages=8191,
    max_bytes=1 << 22,
    max_message_bytes=1 << 20,
    retention_ns=0,
    claim_timeout_ns=10**9,
    producers=128,
    gates=64,
    on_full="shed",
    block_timeout_ns=5 * 10**9,
    type_name="shmbus.v1.EventBusMessage",
    fingerprint=b"f" * 32,
    created_ns=1_700_000_000_000_000_000,
)
SESSION = SessionEntry(session=12, client="agent", process=Identity(41, 99, 4026531836), uid=1000, bell=5, cursors=64)
COLLECTOR = CollectorEntry(
    "procmond", CollectorState.RUNNING, Health.HEALTHY, Identity(42, 98, 4026531836), 5, 1, "sees all"
)


@pytest.fixture
def descriptor():
    number = os.memfd_create("directory")
    os.ftruncate(number, size_of(CAPACITIES))
    yield number
    os.close(number)


@pytest.fixture
def writer(descriptor):
    with closing(make_writer(descriptor)) as made:
        yield made


@pytest.fixture
def reader(writer, descriptor):
    with closing(DirectoryReader(descriptor, boot_id=BOOT)) as made:
        yield made


def make_writer(descriptor, coordinator=None, boot_id=BOOT):
    return DirectoryWriter(
        descriptor,
        bus="lab",
        address="/run/shmbus/lab.sock",
        coordinator=coordinator or own_identity(),
        capacities=CAPACITIES,
        boot_id=boot_id,
    )


def poke(descriptor, offset, value, form="<Q"):
    os.pwrite(descriptor, struct.pack(form, value), offset)


def test_the_picture_and_the_code_agree():
    layout = directory._Layout.of(CAPACITIES)
    assert (layout.topics.stride, layout.sessions.stride, layout.collectors.stride) == (512, 128, 256)
    assert directory._HEADER.size == 0x130 < directory._TABLES
    assert all(offset % 8 == 0 for offset in directory._WORD.values())
    assert layout.descriptors == 0x200 + 4 * 512 + 3 * 128 + 2 * 256
    data = TOPIC.pack()
    assert data[0x170:0x174] == struct.pack("<I", 7)
    assert data[0x1C8:0x1CC] == struct.pack("<I", 3)
    assert SESSION.pack()[0x30:0x35] == b"agent"
    assert COLLECTOR.pack()[0x70:0x78] == b"sees all"
    said = replace(COLLECTOR, health=Health.UNHEALTHY, seen=Health.HEALTHY, said=Health.UNHEALTHY)
    assert said.pack()[0xF8:0xFC] == bytes((1, 0, 3, 0)) and CollectorEntry.unpack(said.pack()) == said
    ending = replace(said, state=CollectorState.STOPPING, again=True, given_up=True)
    assert ending.pack()[0xF8:0xFC] == bytes((1, 3, 3, 0)) and CollectorEntry.unpack(ending.pack()) == ending
    assert COLLECTOR.pack()[0xF8:0xFC] == bytes(4)  # as what another layout wrote: only the whole is known


def test_the_header_says_whose_bus_it_is(reader):
    assert (reader.bus, reader.address) == ("lab", "/run/shmbus/lab.sock")
    assert reader.coordinator == own_identity()
    assert reader.capacities == CAPACITIES
    assert reader.is_alive()
    assert reader.snapshot().state is BusState.STARTING


def test_what_is_written_is_read(writer, reader):
    writer.set_state(BusState.RUNNING)
    writer.put_topic(TOPIC)
    writer.put_session(SESSION)
    writer.put_collector(COLLECTOR)
    found = reader.snapshot()
    assert found.topics == (TOPIC,)
    assert found.sessions == (SESSION,)
    assert found.collectors == (COLLECTOR,)
    assert found.state is BusState.RUNNING and not found.torn


def test_an_entry_is_replaced_where_it_stands(writer, reader):
    writer.put_topic(TOPIC)
    writer.put_topic(replace(TOPIC, topic_id=8, name="other"))
    moved = replace(TOPIC, lanes=(Lane(4, 9, 16384, 1 << 23), Lane(0, 10, 64, 1 << 16)))
    writer.put_topic(moved)
    assert [entry.name for entry in reader.snapshot().topics] == ["events.process.start", "other"]
    assert reader.snapshot().topics[0] == moved


def test_removed_entries_are_free_again_and_the_lowest_is_taken_first(writer, reader):
    for session in (1, 2, 3):
        writer.put_session(replace(SESSION, session=session))
    writer.remove_session(2)
    writer.remove_session(1)
    writer.remove_session(77)
    assert [entry.session for entry in reader.snapshot().sessions] == [3]
    writer.put_session(replace(SESSION, session=4))
    assert [entry.session for entry in reader.snapshot().sessions] == [4, 3]
    writer.put_topic(TOPIC)
    writer.remove_topic(TOPIC.topic_id)
    writer.put_collector(COLLECTOR)
    writer.remove_collector("procmond")
    found = reader.snapshot()
    assert (found.topics, found.collectors, found.torn) == ((), (), False)


def test_a_full_table_names_the_key_that_enlarges_it(writer, reader):
    for number in range(4):
        writer.put_topic(replace(TOPIC, topic_id=number))
    with pytest.raises(LimitError, match=r"topics of the bus: 5, the limit is 4. Raise bus.max_topics."):
        writer.put_topic(TOPIC)
    assert len(reader.snapshot().topics) == 4
    for name in ("a", "b"):
        writer.put_collector(replace(COLLECTOR, name=name))
    with pytest.raises(LimitError, match="bus.max_collectors"):
        writer.put_collector(COLLECTOR)


def test_descriptors_are_kept_once_for_a_fingerprint(writer, reader):
    writer.add_descriptors(b"f" * 32, b"first")
    writer.add_descriptors(b"g" * 32, b"second")
    writer.add_descriptors(b"f" * 32, b"never stored")
    assert writer.has_descriptors(b"g" * 32) and not writer.has_descriptors(b"h" * 32)
    writer.put_topic(TOPIC)
    writer.put_topic(replace(TOPIC, topic_id=8, fingerprint=b"g" * 32))
    writer.put_topic(replace(TOPIC, topic_id=9, fingerprint=b"h" * 32))
    found = [reader.descriptors(entry) for entry in reader.snapshot().topics]
    assert found == [b"first", b"second", b""]


def test_descriptors_that_do_not_fit_are_refused(writer, reader):
    with pytest.raises(LimitError, match=r"bytes of message descriptors on the bus: 101, .*bus.max_descriptor_bytes"):
        writer.add_descriptors(b"f" * 32, bytes(101))
    assert not writer.has_descriptors(b"f" * 32)
    assert not reader.snapshot().torn


def test_a_name_that_does_not_fit_is_refused_and_a_detail_is_cut_between_characters(writer, reader):
    with pytest.raises(LimitError, match="bytes of the client name"):
        writer.put_session(replace(SESSION, client="x" * 65))
    writer.put_collector(replace(COLLECTOR, detail="x" * 127 + "é"))
    assert reader.snapshot().collectors[0].detail == "x" * 127


def test_the_rings_of_a_topic_are_named_after_its_live_generations():
    two = replace(TOPIC, lanes=(Lane(3, 9, 64, 4096), Lane(5, 10, 64, 4096)))
    assert two.ring_names("lab", 1000) == ["/shmbus.1000.lab.ring.7.0.3", "/shmbus.1000.lab.ring.7.1.5"]
    assert SESSION.segment_name("lab", 1000) == "/shmbus.1000.lab.session.12"


def test_several_changes_are_one_generation(writer, reader):
    before = reader.generation
    with writer.change():
        writer.put_topic(TOPIC)
        writer.put_session(SESSION)
        assert reader.generation == before + 1
    assert reader.generation == before + 2


def test_a_failing_change_does_not_leave_the_generation_odd(writer, reader):
    with pytest.raises(RuntimeError, match="no"), writer.change():
        raise RuntimeError("no")
    assert reader.generation % 2 == 0 and not reader.snapshot().torn


def test_a_reader_never_sees_half_of_a_change(writer, reader):
    enough = threading.Event()

    def write():
        for number in itertools.count():
            if enough.is_set():
                return
            with writer.change():
                for topic_id in range(4):
                    writer.put_topic(replace(TOPIC, topic_id=topic_id, created_ns=number))

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    try:
        while len(seen) < 20:
            found = reader.snapshot()
            created = {entry.created_ns for entry in found.topics}
            assert found.torn or len(created) <= 1
            seen |= created
    finally:
        enough.set()
        thread.join()


def test_a_writer_that_stands_still_in_a_change_does_not_hold_a_reader(writer, reader):
    writer.put_topic(TOPIC)
    with writer.change():
        found = reader.snapshot()
    assert found.torn and found.topics == (TOPIC,)


@pytest.mark.parametrize("site", directory.KILL_POINTS)
def test_what_a_writer_killed_in_a_change_has_written_can_be_read(site, descriptor, monkeypatch):
    child = os.fork()
    if child == 0:
        with closing(make_writer(descriptor)) as writer:
            writer.put_topic(TOPIC)
            monkeypatch.setattr(directory._core, "killpoint", lambda at: at == site and os.kill(os.getpid(), 9))
            writer.put_topic(replace(TOPIC, name="new"))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with closing(DirectoryReader(descriptor, boot_id=BOOT)) as reader:
        found = reader.snapshot()
        assert found.torn and not reader.is_alive()
        assert [entry.name for entry in found.topics] == [TOPIC.name if site == directory.CHANGING else "new"]


def test_an_entry_that_is_not_whole_is_left_out_and_told(writer, reader, descriptor):
    writer.put_topic(TOPIC)
    writer.put_topic(replace(TOPIC, topic_id=8))
    poke(descriptor, 0x200 + 0x180, 1, "<I")
    found = reader.snapshot()
    assert found.torn
    assert [entry.topic_id for entry in found.topics] == [8]


@pytest.mark.parametrize(
    ("offset", "value", "form", "reason"),
    [
        (0x00, 0, "<Q", "early"),
        (0x00, 1, "<Q", "foreign"),
        (0x08, 99, "<I", "layout"),
        (0x10, 99, "<Q", "boot"),
        (0x40, 2**32 - 1, "<I", "size"),
        (0x50, 2**64 - 1, "<Q", "size"),
        (0x58, 2**64 - 1, "<Q", "size"),
    ],
)
def test_a_header_that_cannot_be_is_refused(writer, descriptor, offset, value, form, reason):
    poke(descriptor, offset, value, form)
    with pytest.raises(SegmentError) as caught:
        DirectoryReader(descriptor, boot_id=BOOT)
    assert caught.value.reason == reason


@pytest.mark.parametrize("size", [0, 100, 513, size_of(CAPACITIES) - 8, size_of(CAPACITIES) + 8])
def test_a_segment_of_another_size_is_refused(writer, descriptor, size):
    os.ftruncate(descriptor, size)
    with pytest.raises(SegmentError):
        DirectoryReader(descriptor, boot_id=BOOT)
    os.ftruncate(descriptor, size_of(CAPACITIES))


@pytest.mark.parametrize("word", ["topics", "sessions", "collectors", "state"])
def test_a_count_beyond_its_table_is_not_believed(writer, reader, descriptor, word):
    writer.put_topic(TOPIC)
    poke(descriptor, directory._WORD[word], 2**64 - 1)
    found = reader.snapshot()
    assert found.torn and found.topics == (TOPIC,)


@pytest.mark.parametrize(("offset", "length"), [(0, 101), (2**64 - 1, 1), (0, 2**64 - 1), (6, 1)])
def test_descriptors_out_of_bounds_are_not_believed(writer, reader, offset, length):
    writer.add_descriptors(b"f" * 32, b"first")
    with pytest.raises(SegmentError) as caught:
        reader.descriptors(replace(TOPIC, descriptor_offset=offset, descriptor_length=length))
    assert caught.value.reason == "corrupt"


@settings(max_examples=60)
@given(st.binary(max_size=size_of(CAPACITIES)), st.integers(0, size_of(CAPACITIES) - 1))
def test_no_bytes_at_all_can_make_a_reader_fail_otherwise_than_with_its_own_error(noise, offset):
    descriptor = os.memfd_create("directory")
    try:
        os.ftruncate(descriptor, size_of(CAPACITIES))
        # A dead coordinator, so that a generation that the noise has made odd is not waited for.
        with closing(make_writer(descriptor, Identity(2**30, 1, own_identity().namespace))) as writer:
            writer.put_topic(TOPIC)
            os.pwrite(descriptor, noise[: size_of(CAPACITIES) - offset], offset)
            with closing(DirectoryReader(descriptor, boot_id=BOOT)) as reader:
                for entry in reader.snapshot().topics:
                    reader.descriptors(entry)
    except SegmentError:
        pass
    finally:
        os.close(descriptor)


@pytest.fixture
def named(bus_name):
    """Makes named directories and other segments of this test's bus."""
    descriptors = []

    def make(name, coordinator=None, sessions=(), boot_id=None):
        def initialise(descriptor):
            if name.endswith(".directory"):
                with closing(make_writer(descriptor, coordinator, boot_id or segment.boot_id())) as writer:
                    for number, process in enumerate(sessions):
                        writer.put_session(replace(SESSION, session=number, process=process))

        descriptors.append(segment.create(name, size_of(CAPACITIES), initialise)[0])

    yield make
    for descriptor in descriptors:
        os.close(descriptor)
    for one in segment.list_segments(bus=bus_name):
        segment.remove(one.name)


def dead():
    own = own_identity()
    return own._replace(start_time=own.start_time - 1)


def left(bus_name):
    return [one.what for one in leftovers(bus=bus_name)]


def test_the_segments_of_a_running_bus_are_no_leftovers(named, bus_name):
    named(segment.directory_name(bus_name))
    named(segment.bells_name(bus_name))
    assert left(bus_name) == []


def test_the_segments_of_a_dead_bus_are_leftovers(named, bus_name):
    named(segment.directory_name(bus_name), coordinator=dead(), sessions=[dead()])
    named(segment.ring_name(bus_name, 1, 0, 0))
    assert left(bus_name) == ["directory", "ring.1.0.0"]


def test_segments_that_a_living_client_still_uses_are_no_leftovers(named, bus_name):
    named(segment.directory_name(bus_name), coordinator=dead(), sessions=[dead(), own_identity()])
    named(segment.ring_name(bus_name, 1, 0, 0))
    assert left(bus_name) == []


def test_segments_without_a_directory_are_leftovers(named, bus_name):
    named(segment.ring_name(bus_name, 1, 0, 0))
    named(segment.session_name(bus_name, 3))
    assert left(bus_name) == ["ring.1.0.0", "session.3"]


def test_segments_from_before_a_reboot_are_leftovers(named, bus_name):
    named(segment.directory_name(bus_name), boot_id=BOOT)
    assert left(bus_name) == ["directory"]


def test_a_living_session_keeps_a_bus_without_a_directory(bus_name, named):
    core = pytest.importorskip("shmbus._core")
    if not hasattr(core, "Session"):
        pytest.skip("the native core is not built")

    def initialise(descriptor):
        own, boot = own_identity(), segment.boot_id()
        core.Session.create(
            descriptor, session=3, cursors=4, publishers=1, bell=1, boot_id=boot, pid=own.pid,
            start_time=own.start_time, pid_namespace=own.namespace,
        ).close()  # fmt: skip

    named(segment.ring_name(bus_name, 1, 0, 0))
    number, _ = segment.create(segment.session_name(bus_name, 3), core.Session.layout(4, 1)[0], initialise)
    os.close(number)
    assert left(bus_name) == []
