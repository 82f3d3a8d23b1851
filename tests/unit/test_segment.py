"""Segments: nobody ever sees one that is not ready, and a failed one leaves nothing."""

import mmap
import os
import re
import stat

import pytest

from shmbus import process, segment
from shmbus.errors import AccessDenied, ConfigurationError, SegmentError, StorageFull
from shmbus.process import Identity


@pytest.fixture
def made(bus_name):
    """Makes segments of this test's bus, and takes them away afterwards."""
    descriptors = []

    def make(name=None, size=8192, initialise=lambda descriptor: None, private=False):
        name = name or segment.directory_name(bus_name)
        descriptor, result = segment.create(name, size, initialise, private=private)
        descriptors.append(descriptor)
        return descriptor, result

    yield make
    for descriptor in descriptors:
        os.close(descriptor)
    for one in segment.list_segments(bus=bus_name):
        segment.remove(one.name)


def names(bus_name):
    return [one.name for one in segment.list_segments(bus=bus_name)]


def test_a_segment_gets_its_name_only_after_it_has_been_initialised(made, bus_name):
    name = segment.directory_name(bus_name)

    def initialise(descriptor):
        assert name not in names(bus_name)
        assert os.fstat(descriptor).st_size == 8192
        os.pwrite(descriptor, b"ready", 0)
        return "what was made"

    descriptor, result = made(initialise=initialise)
    assert result == "what was made"
    assert names(bus_name) == [name]
    reader = segment.attach(name)
    assert os.pread(reader, 5, 0) == b"ready"
    os.close(reader)


def test_the_umask_has_no_say_in_who_may_read_a_segment(made):
    before = os.umask(0o277)
    try:
        descriptor, _ = made()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600


def test_every_page_is_allocated_when_a_segment_is_made(made):
    descriptor, _ = made(size=1 << 20)
    assert os.fstat(descriptor).st_blocks * 512 >= 1 << 20


def test_a_descriptor_is_not_inherited_by_programs_that_are_started(made):
    descriptor, _ = made()
    second = segment.open_read_only(descriptor)
    assert not os.get_inheritable(descriptor) and not os.get_inheritable(second)
    os.close(second)


def test_a_private_segment_never_has_its_name_and_needs_no_removal(made, bus_name):
    seen = []
    descriptor, _ = made(private=True, initialise=lambda descriptor: seen.append(names(bus_name)))
    assert seen == [[]] and names(bus_name) == []
    assert os.fstat(descriptor).st_nlink == 0


def test_a_taken_name_is_refused_and_what_stands_there_is_untouched(made, bus_name):
    made(initialise=lambda descriptor: os.pwrite(descriptor, b"first", 0))
    with pytest.raises(SegmentError) as caught:
        made(initialise=lambda descriptor: os.pwrite(descriptor, b"other", 0))
    assert caught.value.reason == "exists"
    assert names(bus_name) == [segment.directory_name(bus_name)]
    reader = segment.attach(segment.directory_name(bus_name))
    assert os.pread(reader, 5, 0) == b"first"
    os.close(reader)


def test_a_failing_initialisation_leaves_neither_name_nor_descriptor(made, bus_name):
    opened = []

    def fail(descriptor):
        opened.append(descriptor)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        made(initialise=fail)
    assert names(bus_name) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_a_full_dev_shm_is_an_error_that_says_how_much_is_needed_and_free(made, bus_name):
    with pytest.raises(StorageFull, match="remount,size=") as caught:
        made(size=1 << 50)
    assert caught.value.needed == 1 << 50
    assert 0 < caught.value.free < 1 << 50
    assert names(bus_name) == []


def test_a_read_only_descriptor_cannot_be_mapped_for_writing(made):
    descriptor, _ = made()
    reader = segment.open_read_only(descriptor)
    with mmap.mmap(reader, 0, access=mmap.ACCESS_READ) as view:
        os.pwrite(descriptor, b"x", 0)
        assert view[:1] == b"x"
    with pytest.raises(PermissionError):
        mmap.mmap(reader, 0)
    os.close(reader)


def test_attaching_to_nothing_says_so(bus_name):
    with pytest.raises(SegmentError) as caught:
        segment.attach(segment.directory_name(bus_name))
    assert caught.value.reason == "missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_a_segment_of_another_user_than_its_name_says_is_not_trusted(made, bus_name):
    made()
    name = segment.directory_name(bus_name)
    os.chown(segment.ROOT + name, 12345, -1)
    with pytest.raises(SegmentError) as caught:
        segment.attach(name)
    assert caught.value.reason == "foreign"


def test_a_segment_that_may_not_be_opened_is_an_access_error(monkeypatch, bus_name):
    def refuse(*args, **kwargs):
        raise segment.posix_ipc.PermissionsError

    monkeypatch.setattr(segment.posix_ipc, "SharedMemory", refuse)
    with pytest.raises(AccessDenied):
        segment.attach(segment.directory_name(bus_name))


def test_removing_tells_whether_there_was_something(made, bus_name):
    made()
    assert segment.remove(segment.directory_name(bus_name))
    assert not segment.remove(segment.directory_name(bus_name))


def test_segments_are_listed_by_bus(made, bus_name):
    other = bus_name[:-1] + ("0" if bus_name[-1] != "0" else "1")
    made(segment.ring_name(bus_name, 3, 0, 7))
    made(segment.session_name(bus_name, 12))
    made(segment.state_name(bus_name, 3))
    assert names(bus_name) == [
        segment.ring_name(bus_name, 3, 0, 7), segment.session_name(bus_name, 12), segment.state_name(bus_name, 3),
    ]  # fmt: skip
    assert names(other) == []
    assert segment.list_segments(uid=os.geteuid() + 1, bus=bus_name) == []


def test_a_name_says_what_it_is_for():
    said = segment.parse_name("/shmbus.1000.lab.ring.3.0.7")
    assert said == ("/shmbus.1000.lab.ring.3.0.7", 1000, "lab", "ring.3.0.7", None)
    said = segment.parse_name("/shmbus.1000.lab.bells.tmp.4121.99.4026531836")
    assert said is not None and said.maker == Identity(4121, 99, 4026531836)


@pytest.mark.parametrize("name", ["/other", "/shmbus.1000.lab", "/shmbus.x.lab.bells", "/shmbus.1.lab.bells.tmp", "x"])
def test_other_names_are_nobodys_business(name):
    assert segment.parse_name(name) is None


@pytest.mark.parametrize("bus", ["", "Lab", "a.b", "../x", "a" * 33, "a\n"])
def test_a_bus_name_that_cannot_be_is_refused(bus):
    with pytest.raises(ConfigurationError, match="1 to 32 characters"):
        segment.directory_name(bus)


def test_an_unfinished_segment_is_a_leftover_once_its_maker_is_dead(made, bus_name, monkeypatch):
    def look(descriptor):
        return segment.unfinished_leftovers(bus=bus_name), names(bus_name)

    _, (leftovers, seen) = made(initialise=look)
    assert leftovers == [] and len(seen) == 1
    own = process.own_identity()
    monkeypatch.setattr(segment, "own_identity", lambda: own._replace(start_time=own.start_time - 1))
    _, (leftovers, seen) = made(name=segment.bells_name(bus_name), initialise=look)
    assert [one.name for one in leftovers] == seen[:1]


def test_creating_passes_every_kill_point_in_order(made, bus_name, monkeypatch):
    passed = []
    monkeypatch.setattr(segment._core, "killpoint", passed.append)
    made()
    assert tuple(passed) == segment.KILL_POINTS


def test_a_maker_killed_at_any_point_leaves_only_what_can_be_told_and_removed(bus_name, monkeypatch):
    name = segment.directory_name(bus_name)
    for site in segment.KILL_POINTS:
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(
                segment._core, "killpoint", lambda at, site=site: at == site and os.kill(os.getpid(), 9)
            )
            segment.create(name, 4096, lambda descriptor: None)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
        leftovers = segment.unfinished_leftovers(bus=bus_name)
        assert len(leftovers) == (0 if site == segment.DONE else 1), site
        for one in leftovers:
            segment.remove(one.name)
        assert names(bus_name) == ([name] if site in (segment.NAMED, segment.DONE) else []), site
        segment.remove(name)


def test_the_boot_id_is_the_kernels():
    with open("/proc/sys/kernel/random/boot_id") as file:
        text = file.read().strip()
    assert re.sub("(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", segment.boot_id().hex()) == text


def test_control_sockets_stand_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(tmp_path / "a" / "b"))
    assert segment.socket_path("lab") == tmp_path / "a" / "b" / "lab.sock"
    assert segment.lock_path("lab") == tmp_path / "a" / "b" / "lab.lock"
    assert stat.S_IMODE(segment.make_runtime_directory().stat().st_mode) == 0o700
    assert segment.make_runtime_directory() == tmp_path / "a" / "b"


@pytest.mark.parametrize(
    ("uid", "session", "path"),
    [(0, "/run/user/0", "/run/shmbus"), (7, "/run/user/7", "/run/user/7/shmbus"), (7, None, "/tmp/shmbus-7")],
)
def test_without_a_word_each_user_has_a_place_of_its_own(monkeypatch, uid, session, path):
    monkeypatch.delenv("SHMBUS_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if session:
        monkeypatch.setenv("XDG_RUNTIME_DIR", session)
    assert str(segment.runtime_directory()) == path


def test_a_place_that_others_can_write_to_is_refused(monkeypatch, tmp_path):
    place, link = tmp_path / "place", tmp_path / "link"
    place.mkdir()
    link.symlink_to(place)
    place.chmod(0o770)
    for path in (place, link):
        monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(path))
        with pytest.raises(AccessDenied, match="set SHMBUS_RUNTIME_DIR"):
            segment.make_runtime_directory()
