"""procmond reads /proc: names and arguments are whatever a hostile process likes, and messages must stay valid."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.workers.procmond import proc
from shmbus.workers.procmond.text import readable, readable_comm, readable_prefix

FIELDS = b"S 7 8 9 0 -1 4194560 1 2 3 4 15 5 0 0 20 0 3 0 4711 1000 25 18446744073709551615 1 1 0 0 0 0 0 0 0 0"
READY = "print('ready', flush=True); input()"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "60"])
    wait_until_it_runs(process)
    yield process
    process.kill()
    process.wait()


def wait_until_it_runs(process: subprocess.Popen[bytes]) -> None:
    """Popen returns while the exec is still under way."""
    deadline = time.monotonic() + 60
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(
    "name", [b"sh", b"a) b (c", b") R 1 1 1", b"two\nlines", b"", b"((((", b"\xff\xfe\x80", b"1 (2) S 3"]
)
def test_stat_is_parsed_whatever_the_name_holds(name: bytes) -> None:
    stat = proc.parse_stat(b"1234 (" + name + b") " + FIELDS)
    assert (stat.pid, stat.comm, stat.state, stat.ppid) == (1234, name, "S", 7)
    assert (stat.process_group, stat.session, stat.threads, stat.start_ticks) == (8, 9, 3, 4711)
    assert (stat.cpu_ticks, stat.memory, stat.kernel_thread) == (20, 25 * proc.PAGE_BYTES, False)


@pytest.mark.parametrize("raw", [b"", b"1", b"1 (a", b"1 (a) S 1 2", b"x (a) " + FIELDS])
def test_what_is_no_stat_line_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        proc.parse_stat(raw)


def test_what_a_kernel_worker_works_on_is_no_part_of_its_name() -> None:
    fields = FIELDS.replace(b"4194560", str(0x00200000).encode())
    assert proc.parse_stat(b"9 (kworker/u8:1-events_unbound) " + fields).comm == b"kworker/u8:1"
    assert proc.parse_stat(b"9 (kworker/0:1H+kblockd) " + fields).comm == b"kworker/0:1H"
    assert proc.parse_stat(b"9 (kworker/u8:1-x) " + FIELDS).comm == b"kworker/u8:1-x", "anybody may call itself so"


def test_status_gives_ids_capabilities_and_restrictions() -> None:
    raw = (
        b"Name:\tUid:\\n\nUid:\t1000\t0\t0\t0\nGid:\t100\t101\t101\t101\nTracerPid:\t55\n"
        b"CapEff:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    )
    assert proc.parse_status(raw) == proc.Credentials(1000, 0, 100, 101, 0x1FFFFFFFFFF, True, 2, 55)
    with pytest.raises(ValueError):
        proc.parse_status(b"Name:\tx\n")


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (b"", ()),
        (b"ls\0", ("ls",)),
        (b"ls\0-l\0", ("ls", "-l")),
        (b"sh\0-c\0\0", ("sh", "-c", "")),
        (b"postgres: writer\0\0\0\0", ("postgres: writer", "", "", "")),
        (b"nginx: master", ("nginx: master",)),
        (b"x\0\xff\xfe\0", ("x", r"\xff\xfe")),
        ("x\0grün\0日本".encode(), ("x", "grün", "日本")),
        (b"a\nb\0", ("a\nb",)),
    ],
)
def test_arguments_are_split_at_zero_bytes(raw: bytes, values: tuple[str, ...]) -> None:
    assert proc.parse_arguments(raw) == proc.Arguments(values)


@pytest.mark.parametrize("shift", range(4))
def test_a_very_long_command_line_is_never_cut_inside_a_character(shift: int) -> None:
    raw = b"x" * shift + "𝄞".encode() * proc.ARGUMENTS_BYTES
    found = proc.parse_arguments(raw)
    assert found.truncated
    assert found.values[0].strip("x") == "𝄞" * ((proc.ARGUMENTS_BYTES - shift) // 4)
    ProcessRecord(command_line=found.values).SerializeToString()


def test_every_byte_becomes_text_that_protobuf_takes() -> None:
    raw = bytes(range(256))
    for text in (readable(raw), readable_prefix(raw), readable_comm(raw)):
        assert ProcessRecord.FromString(ProcessRecord(name=text).SerializeToString()).name == text


def test_a_character_that_the_kernel_cut_at_15_bytes_is_left_out() -> None:
    whole = "aäöüäöüäöü".encode()
    assert readable_comm(whole[:15]) == "aäöüäöüä"
    assert readable_comm("ab\u00e4".encode()[:3]) == r"ab\xc3", "a short name was not cut"


def test_a_name_that_was_cut_is_completed_from_the_program() -> None:
    image = proc.Image("/usr/bin/systemd-timesyncd", None)
    assert proc.full_name(b"systemd-timesyn", proc.Arguments(), image) == "systemd-timesyncd"
    assert proc.full_name(b"systemd-timesyn", proc.Arguments(("other",)), proc.Image()) == "systemd-timesyn"
    assert proc.full_name(b"short", proc.Arguments(("shorter",)), image) == "short"


def test_a_snapshot_agrees_with_psutil(sleeper: subprocess.Popen[bytes]) -> None:
    snapshot, other = proc.Proc().snapshot(sleeper.pid), psutil.Process(sleeper.pid)
    assert snapshot is not None and snapshot.stat is not None and snapshot.credentials is not None
    assert snapshot.image.path == other.exe()
    assert list(snapshot.arguments.values) == other.cmdline()
    assert (snapshot.credentials.user, snapshot.credentials.effective_user) == other.uids()[:2]
    assert (snapshot.credentials.group, snapshot.credentials.effective_group) == other.gids()[:2]
    assert (snapshot.stat.ppid, snapshot.stat.threads) == (os.getpid(), 1)
    assert snapshot.stat.session == os.getsid(sleeper.pid)
    assert snapshot.accessible and snapshot.image.exists and not snapshot.image.replaced


def test_a_process_that_is_gone_has_no_snapshot() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert proc.Proc().snapshot(process.pid) is None
    assert proc.Proc().stat(process.pid) is None
    assert proc.Proc().traffic(process.pid) is None
    assert proc.Proc().open_image(process.pid) is None


def test_a_zombie_has_a_snapshot_that_says_so() -> None:
    process = subprocess.Popen(["/bin/true"])
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        snapshot = proc.Proc().snapshot(process.pid)
        assert snapshot is not None and snapshot.stat is not None
        assert snapshot.stat.ended and not snapshot.accessible and snapshot.image == proc.Image()
    finally:
        process.wait()


@pytest.mark.parametrize("name", ["program", "with (deleted)", "new\nline", "grün", os.fsdecode(b"\xff\xfe")])
def test_an_executable_that_was_deleted_or_replaced_is_told(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    try:
        wait_until_it_runs(process)
        assert _image(process.pid) == (readable(os.fsencode(program)), True, False)
        program.unlink()
        assert _image(process.pid) == (readable(os.fsencode(program)), False, True)
        shutil.copy("/bin/sleep", program)
        assert _image(process.pid) == (readable(os.fsencode(program)), True, True)
    finally:
        process.kill()
        process.wait()


def _image(pid: int) -> tuple[str | None, bool, bool]:
    snapshot = proc.Proc().snapshot(pid)
    assert snapshot is not None
    return snapshot.image.path, snapshot.image.exists, snapshot.image.replaced


def test_a_long_command_line_is_read_in_full_up_to_the_limit() -> None:
    for size in (4095, 4096, 4097, 60_000, 120_000):
        process = subprocess.Popen(
            [sys.executable, "-c", READY, "x" * size], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            snapshot = proc.Proc().snapshot(process.pid)
            assert snapshot is not None
            assert snapshot.arguments.truncated == (size > proc.ARGUMENTS_BYTES)
            if size < proc.ARGUMENTS_BYTES:
                assert snapshot.arguments.values[-1] == "x" * size
        finally:
            process.communicate(b"\n")
