"""Reading /proc: one process, everything at once, with few system calls.

A process may live for less than a millisecond after its exec, so `Proc.snapshot` opens /proc/PID once and reads
relative to that descriptor: it names the process and not the number, a reused PID can never be mixed in. What is
worth most comes first. Whatever could not be read is None or empty, and `accessible` is False.

Parsing is apart from reading (`parse_*`, pure) and takes whatever a hostile process can put into its name or arguments.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

from .text import COMM_BYTES, readable, readable_comm, readable_prefix

T = TypeVar("T")

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ARGUMENTS_BYTES = 64 * 1024
"""At most this much of a command line is kept, in bytes; a message of the bus is at most 1 MiB by default."""

_KERNEL_THREAD = 0x00200000
_DELETED = " (deleted)"
_WORK = re.compile(rb"^(kworker/[^+-]*)[+-].*$", re.DOTALL)
"""A kernel worker shows what it works on behind its name: no part of it, and never the same."""
_STATUS = re.compile(rb"^(Uid|Gid|CapEff|NoNewPrivs|Seccomp|TracerPid):\t(.*)$", re.MULTILINE)
_IO = re.compile(rb"^(read_bytes|write_bytes): (\d+)$", re.MULTILINE)


class Stat(NamedTuple):
    """/proc/PID/stat. `start_ticks` since boot and `cpu_ticks` (user and system) in clock ticks, `memory` in bytes."""

    pid: int
    comm: bytes
    state: str
    ppid: int
    process_group: int
    session: int
    kernel_thread: bool
    cpu_ticks: int
    threads: int
    start_ticks: int
    memory: int

    @property
    def ended(self) -> bool:
        """Nothing of the process runs any more: it only waits to be reaped."""
        return self.state in "ZXx" and self.threads <= 1

    @property
    def reaped(self) -> bool:
        """It was reaped while it was read: its parent, session and process group are no longer told."""
        return self.process_group < 0


class Credentials(NamedTuple):
    """Who the process is and what it may: from /proc/PID/status. None: not known.

    `capabilities` are the effective ones, a bit set; `seccomp` 0 off, 1 strict, 2 filter; `tracer` a PID, 0: none.
    """

    user: int | None = None
    effective_user: int | None = None
    group: int | None = None
    effective_group: int | None = None
    capabilities: int | None = None
    no_new_privileges: bool = False
    seccomp: int = 0
    tracer: int = 0


class FileKey(NamedTuple):
    """An executable as it is: same key, same content (ctime cannot be set back). Times in ns, size in bytes."""

    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileKey:
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


class Image(NamedTuple):
    """The program that runs. `exists`: its path leads to a file; `replaced`: not, or no longer, to the one running."""

    path: str | None = None
    key: FileKey | None = None
    exists: bool = False
    replaced: bool = False


class Arguments(NamedTuple):
    """The command line; `truncated` when it was longer than `ARGUMENTS_BYTES`."""

    values: tuple[str, ...] = ()
    truncated: bool = False


class Traffic(NamedTuple):
    """Bytes that the process has caused to be read from and written to storage."""

    read: int
    written: int


class Snapshot(NamedTuple):
    """What could be read of a process in one go. `accessible`: everything that was asked was answered."""

    stat: Stat | None
    image: Image
    arguments: Arguments
    credentials: Credentials | None
    label: str | None
    cgroup: str | None
    accessible: bool


def parse_stat(raw: bytes) -> Stat:
    """The fields of /proc/PID/stat. The name may hold spaces, brackets and newlines. ValueError: not such a line."""
    left, right = raw.index(b"("), raw.rindex(b")")
    field = raw[right + 2 :].split(None, 22)
    if len(field) < 22:
        raise ValueError(f"/proc/PID/stat has {len(field)} fields after the name, not 22 or more")
    comm, kernel_thread = raw[left + 1 : right], bool(int(field[6]) & _KERNEL_THREAD)
    return Stat(
        pid=int(raw[:left]),
        comm=_WORK.sub(rb"\1", comm) if kernel_thread else comm,
        state=chr(field[0][0]),
        ppid=int(field[1]),
        process_group=int(field[2]),
        session=int(field[3]),
        kernel_thread=kernel_thread,
        cpu_ticks=int(field[11]) + int(field[12]),
        threads=int(field[17]),
        start_ticks=int(field[19]),
        memory=max(0, int(field[21])) * PAGE_BYTES,
    )


def parse_status(raw: bytes) -> Credentials:
    """The credentials in /proc/PID/status. ValueError: it lacks them."""
    value = dict(_STATUS.findall(raw))
    try:
        users, groups = value[b"Uid"].split(), value[b"Gid"].split()
        return Credentials(
            int(users[0]),
            int(users[1]),
            int(groups[0]),
            int(groups[1]),
            int(value.get(b"CapEff", b"0"), 16),
            value.get(b"NoNewPrivs", b"0") == b"1",
            int(value.get(b"Seccomp", b"0")),
            int(value.get(b"TracerPid", b"0")),
        )
    except (KeyError, IndexError) as error:
        raise ValueError(f"/proc/PID/status lacks {error}") from error


def parse_arguments(raw: bytes) -> Arguments:
    """The command line: each argument ends with a zero byte, unless the process wrote over it (setproctitle)."""
    if len(raw) > ARGUMENTS_BYTES:
        parts = raw[:ARGUMENTS_BYTES].split(b"\0")
        return Arguments((*map(readable, parts[:-1]), readable_prefix(parts[-1])), truncated=True)
    if not raw:
        return Arguments()
    parts = (raw[:-1] if raw.endswith(b"\0") else raw.rstrip(b"\0")).split(b"\0")
    return Arguments(tuple(map(readable, parts)))


def parse_cgroup(raw: bytes) -> str | None:
    """The unified control group; None when there is none but the root."""
    for line in raw.split(b"\n"):
        if line.startswith(b"0::"):
            return readable(line[3:]) if line != b"0::/" else None
    return None


def parse_traffic(raw: bytes) -> Traffic:
    """The bytes of /proc/PID/io. ValueError: it lacks them."""
    value = dict(_IO.findall(raw))
    try:
        return Traffic(int(value[b"read_bytes"]), int(value[b"write_bytes"]))
    except KeyError as error:
        raise ValueError(f"/proc/PID/io lacks {error}") from error


def full_name(comm: bytes, arguments: Arguments, image: Image) -> str:
    """The name of a process: the kernel's, and where that was cut at 15 bytes the program's that it begins."""
    name = readable_comm(comm)
    if len(comm) < COMM_BYTES:
        return name
    for path in (*arguments.values[:1], image.path or ""):
        base = path.rsplit("/", 1)[-1]
        if base.startswith(name):
            return base
    return name


class Proc:
    """The process table of this machine, mounted at `root`. No method raises OSError: what is not there is None."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._has_labels = bool(_read(f"{root}/self/attr/current", None, 4096))  # else no security module gives any

    def pids(self) -> list[int]:
        """The processes there are."""
        return [int(name) for name in os.listdir(self._root) if name.isdigit()]

    def listing(self) -> dict[int, Stat]:
        """The state of every process there is, zombies too."""
        found = ((pid, self.stat(pid)) for pid in self.pids())
        return {pid: stat for pid, stat in found if stat is not None}

    def stat(self, pid: int) -> Stat | None:
        """The state of `pid`; None when it is gone. A zombie still has one."""
        return _parsed(parse_stat, _read(f"{self._root}/{pid}/stat", None, 4096))

    def traffic(self, pid: int) -> Traffic | None:
        """What `pid` read and wrote; None when it is gone or not ours to see."""
        return _parsed(parse_traffic, _read(f"{self._root}/{pid}/io", None, 4096))

    def open_image(self, pid: int) -> int | None:
        """A descriptor of the program that `pid` runs, also when its file is deleted; None when not to be had."""
        try:
            return os.open(f"{self._root}/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None

    def snapshot(self, pid: int) -> Snapshot | None:
        """Everything there is to know about `pid` now; None when it is gone, and reaped."""
        try:
            directory = os.open(f"{self._root}/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return _snapshot(directory, self._has_labels)
        finally:
            os.close(directory)


def _snapshot(directory: int, has_labels: bool) -> Snapshot | None:
    """Reads first, and parses afterwards; and first what a process loses as it ends, its program and arguments."""
    link, running = _program(directory)
    raw_arguments = _arguments(directory)
    raw_stat = _read("stat", directory, 4096)
    raw_status = _read("status", directory, 16384)
    raw_label = _read("attr/current", directory, 4096) if has_labels else b""
    raw_cgroup = _read("cgroup", directory, 16384)
    if not raw_stat and running is None and not raw_arguments:
        return None
    stat = _parsed(parse_stat, raw_stat)
    credentials = _parsed(parse_status, raw_status)
    has_program = running is not None or (stat is not None and stat.kernel_thread)
    was_alive = bool(raw_arguments) or (stat is not None and stat.state not in "ZXx")
    return Snapshot(
        stat=stat,
        image=_compare(link, running, directory) if running is not None else Image(),
        arguments=parse_arguments(raw_arguments),
        credentials=credentials,
        label=readable(raw_label.rstrip(b"\0\n")) or None,
        cgroup=parse_cgroup(raw_cgroup),
        accessible=has_program and was_alive and stat is not None and credentials is not None,
    )


def _parsed(parse: Callable[[bytes], T], raw: bytes) -> T | None:
    try:
        return parse(raw)
    except ValueError:
        return None


def _read(name: str, directory: int | None, size: int) -> bytes:
    """At most `size` bytes of a file of /proc, nothing if it is not to be had; they come in one read."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _arguments(directory: int) -> bytes:
    """The raw command line, and of a very long one a little more than `ARGUMENTS_BYTES`."""
    try:
        descriptor = os.open("cmdline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return b""
    try:
        raw = chunk = os.read(descriptor, 4096)
        while chunk and 4096 <= len(raw) <= ARGUMENTS_BYTES:
            chunk = os.read(descriptor, ARGUMENTS_BYTES)
            raw += chunk
        return raw
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _program(directory: int) -> tuple[bytes, os.stat_result | None]:
    """The path of the program that runs, and its file as it runs; None: there is none, or it is not ours to see."""
    try:
        return os.readlink(b"exe", dir_fd=directory), os.stat("exe", dir_fd=directory)
    except OSError:
        return b"", None


def _compare(path: bytes, running: os.stat_result, directory: int) -> Image:
    """Holds the running program against the file of its name, in our file system and in the process's own."""
    key = FileKey.of(running)
    if _is_there(path, key, directory):
        return Image(readable(path), key, exists=True)
    suffix = _DELETED.encode()
    if path.endswith(suffix):
        path = path[: -len(suffix)]
    found = [_inode(path, None), _inode(b"root" + path, directory)]
    return Image(
        path=readable(path),
        key=key,
        exists=any(isinstance(each, tuple) for each in found),
        replaced=running.st_nlink == 0 or "refused" not in found,
    )


def _is_there(path: bytes, key: FileKey, directory: int) -> bool:
    inode = (key.device, key.inode)
    return _inode(path, None) == inode or _inode(b"root" + path, directory) == inode


def _inode(path: bytes, directory: int | None) -> tuple[int, int] | Literal["refused"] | None:
    """Device and inode of a path; None when there is no such file, "refused" when we may not look."""
    try:
        status = os.stat(path, dir_fd=directory)
    except OSError as error:
        return "refused" if error.errno in (errno.EACCES, errno.EPERM) else None
    return status.st_dev, status.st_ino
