"""Shared-memory segments: their names, how they come to be, how they go.

A segment of the bus `lab` of the user with uid 1000 is called

    /shmbus.1000.lab.directory
    /shmbus.1000.lab.bells
    /shmbus.1000.lab.ring.<topic id>.<lane>.<generation>
    /shmbus.1000.lab.session.<session id>
    /shmbus.1000.lab.group.<session id>             of a durable subscription; numbered with the sessions
    /shmbus.1000.lab.state.<topic id>               the last message of each key of a topic

and stands under that name in /dev/shm. While it is being made it is called <name>.tmp.<pid>.<start>.<namespace>, after
the process that makes it, so that one left behind by a killed process can be told from one that will be ready soon.

    create.opened       a temporary name, empty                      killed here: `doctor` and the next `up` remove it
    create.sized        every page allocated, nothing written yet    the same
    create.initialised  ready, still under the temporary name        the same
    create.named        under both names                             the same, the segment itself stays
    create.done         under its own name only                      belongs to the bus

A private bus takes the name away right after `create.opened`: its segments live as long as somebody has them open.

Names are for the coordinator, tools and repair. Everybody else is handed descriptors over the control socket, which
stands beside a lock file, <bus>.sock and <bus>.lock, in $SHMBUS_RUNTIME_DIR, or else in /run/shmbus (root),
$XDG_RUNTIME_DIR/shmbus, or /tmp/shmbus-<uid>.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import posix_ipc

from shmbus import _core
from shmbus._core import AttachError
from shmbus.errors import AccessDenied, ConfigurationError, SegmentError, StorageFull
from shmbus.process import Identity, identity_of, is_alive, own_identity

ROOT: Final = "/dev/shm"
OPENED: Final = "create.opened"
SIZED: Final = "create.sized"
INITIALISED: Final = "create.initialised"
NAMED: Final = "create.named"
DONE: Final = "create.done"
KILL_POINTS: Final = (OPENED, SIZED, INITIALISED, NAMED, DONE)

_BUS = re.compile(r"[a-z0-9_-]{1,32}")
_NAME = re.compile(
    r"/shmbus\.(?P<uid>\d{1,10})\.(?P<bus>[a-z0-9_-]{1,32})"
    r"\.(?P<what>directory|bells|ring\.\d{1,10}\.\d{1,3}\.\d{1,10}|(?:session|group|state)\.\d{1,10})"
    r"(?:\.tmp\.(?P<pid>\d{1,10})\.(?P<start>\d{1,20})\.(?P<namespace>\d{1,20}))?"
)
_Made = TypeVar("_Made")
Ranges = Sequence[tuple[int, int]]
"""Of a segment: the first byte of each, and how many bytes it is long."""


class SegmentName(NamedTuple):
    """What a name says. `maker` is the process that is still making it, None for a finished segment."""

    name: str
    uid: int
    bus: str
    what: str
    maker: Identity | None


def check_bus_name(bus: str) -> str:
    """The name itself, if it can be one. Raises ConfigurationError."""
    if not _BUS.fullmatch(bus):
        raise ConfigurationError(None, "bus.name", bus, "1 to 32 characters of a-z, 0-9, '_' and '-' are allowed")
    return bus


def directory_name(bus: str, uid: int | None = None) -> str:
    return _name(bus, "directory", uid)


def bells_name(bus: str, uid: int | None = None) -> str:
    return _name(bus, "bells", uid)


def ring_name(bus: str, topic_id: int, lane: int, generation: int, uid: int | None = None) -> str:
    return _name(bus, f"ring.{topic_id}.{lane}.{generation}", uid)


def session_name(bus: str, session: int, uid: int | None = None) -> str:
    return _name(bus, f"session.{session}", uid)


def group_name(bus: str, session: int, uid: int | None = None) -> str:
    return _name(bus, f"group.{session}", uid)


def state_name(bus: str, topic_id: int, uid: int | None = None) -> str:
    return _name(bus, f"state.{topic_id}", uid)


def parse_name(name: str) -> SegmentName | None:
    """What the name of a segment says; None for a name that is not ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    maker = Identity(int(match["pid"]), int(match["start"]), int(match["namespace"])) if match["pid"] else None
    return SegmentName(name, int(match["uid"]), match["bus"], match["what"], maker)


def runtime_directory() -> Path:
    """Where this user's control sockets stand; it may not exist yet."""
    if given := os.environ.get("SHMBUS_RUNTIME_DIR"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/run/shmbus")
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session, "shmbus")
    return Path(f"/tmp/shmbus-{os.geteuid()}")


def make_runtime_directory() -> Path:
    """The same, made if need be. Raises AccessDenied when others could put a socket of theirs there."""
    path = runtime_directory()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        remedy = f"It must be a directory of uid {os.geteuid()} that nobody else can write to: set SHMBUS_RUNTIME_DIR."
        raise AccessDenied("keep a control socket in", str(path), f"uid {os.geteuid()}", remedy)
    return path


def socket_path(bus: str) -> Path:
    """The control socket of a bus. Raises ConfigurationError for a name that cannot be one."""
    return runtime_directory() / f"{check_bus_name(bus)}.sock"


def lock_path(bus: str) -> Path:
    """The file whose lock the coordinator of a bus holds for life. Raises ConfigurationError."""
    return runtime_directory() / f"{check_bus_name(bus)}.lock"


def create(
    name: str, size: int, initialise: Callable[[int], _Made], *, private: bool = False, replace: bool = False,
    backed: Ranges | None = None,
) -> tuple[int, _Made]:  # fmt: skip
    """Make a segment of `size` zeroed bytes, readable and writable by this user only; its descriptor is the caller's.

    `initialise` is called with the descriptor and makes the segment what it is; what it returns is handed on. Only then
    does the segment get its name. A private one never does. With `replace` it takes the name from one that has it.
    If only what is `backed` is to have memory: whoever stores elsewhere gives that some first (`shmbus_back()` of the
    core), which fails where there is none, so that a full /dev/shm is no SIGBUS there either.

    Raises StorageFull, and SegmentError when the name is taken.
    """
    # The temporary name is ours alone, so one of that name is what a thread of this process is making right now.
    temporary = _temporary(name)
    descriptor = _open_new(temporary)
    try:
        _core.killpoint(OPENED)
        if private:
            _unlink(temporary)
        os.fchmod(descriptor, 0o600)  # the mode that was asked for at opening went through the umask
        os.ftruncate(descriptor, size)
        _allocate(descriptor, name, [(0, size)] if backed is None else backed)
        _core.killpoint(SIZED)
        made = initialise(descriptor)
        _core.killpoint(INITIALISED)
        if not private:
            _publish(temporary, name, replace)
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        _unlink(temporary)
    _core.killpoint(DONE)
    return descriptor, made


def open_read_only(descriptor: int) -> int:
    """A second descriptor of the same segment that can only be mapped for reading, to be handed to others.

    It keeps other users from writing. A process of the same user could open the segment again through its own /proc.
    """
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def attach(name: str, *, writable: bool = False) -> int:
    """A descriptor of an existing segment, for tools and for a coordinator that takes over.

    Raises SegmentError when there is none, or when it belongs to another user than its name says (anybody may make a
    file of any name in /dev/shm); AccessDenied when this user may not open it.
    """
    try:
        descriptor = int(posix_ipc.SharedMemory(name, read_only=not writable).fd)
    except posix_ipc.ExistentialError:
        raise SegmentError(name, "missing") from None
    except (posix_ipc.PermissionsError, PermissionError):
        raise AccessDenied("open", name, f"uid {os.geteuid()}", "Run as the user who runs the bus.") from None
    except OSError as error:
        raise _numbered(error, name) from None
    said = parse_name(name)
    if said is None or os.fstat(descriptor).st_uid != said.uid:
        os.close(descriptor)
        raise SegmentError(name, "foreign")
    return descriptor


def not_attached(name: str, error: AttachError) -> SegmentError:
    """What the core found wrong with the segment of that name, as an error that says what to do."""
    if error.reason == "layout":
        return other_layout(name, error.layout, *error.known)
    return SegmentError(name, error.reason)


def attached(fd: int, attach: Callable[[int], _Made], name: str) -> _Made:
    """Map what a descriptor holds and close the descriptor: a mapping needs it no longer."""
    try:
        return mapped(fd, attach, name)
    finally:
        os.close(fd)


def mapped(fd: int, attach: Callable[[int], _Made], name: str) -> _Made:
    """Map what a descriptor holds. Raises SegmentError."""
    try:
        return attach(fd)
    except AttachError as error:
        raise not_attached(name, error) from None


def check_layout(name: str, found: int, newest: int, oldest: int) -> None:
    """Of a segment that Python reads itself. Raises SegmentError for a layout that is not known."""
    if not oldest <= found <= newest:
        raise other_layout(name, found, newest, oldest)


def other_layout(name: str, found: int, newest: int, oldest: int) -> SegmentError:
    """It has a layout outside of what is known."""
    return SegmentError(name, "layout", found, newest if newest == oldest else f"{oldest} to {newest}")


def list_segments(uid: int | None = None, bus: str | None = None) -> list[SegmentName]:
    """The segments of this user (or of `uid`), of all buses or of one, sorted by name, unfinished ones included."""
    uid = os.geteuid() if uid is None else uid
    found = (parse_name("/" + entry) for entry in _entries())
    return sorted(one for one in found if one and one.uid == uid and bus in (None, one.bus))


def users(bus: str, uid: int | None = None) -> list[Identity]:
    """The processes that have a segment of the bus mapped, as far as this user may see that.

    For segments of another layout, which do not tell whose they are in a way that is known here.
    """
    prefix = f"{ROOT}{_name(bus, '', uid)}"
    found = (identity_of(int(entry)) for entry in os.listdir("/proc") if entry.isdecimal() and _maps(entry, prefix))
    return [one for one in found if one is not None]


def unfinished_leftovers(uid: int | None = None, bus: str | None = None) -> list[SegmentName]:
    """Segments whose maker died before they were finished."""
    return [one for one in list_segments(uid, bus) if one.maker and not is_alive(one.maker)]


def remove(name: str) -> bool:
    """Take a segment's name away; False: there is none. The memory goes with the last process that has it open."""
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    except (posix_ipc.PermissionsError, PermissionError):
        raise AccessDenied("remove", name, f"uid {os.geteuid()}", "Run as the user who runs the bus.") from None
    return True


def boot_id() -> bytes:
    """16 bytes that are different after every reboot: whatever says otherwise is older than this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


def _name(bus: str, what: str, uid: int | None) -> str:
    return f"/shmbus.{os.geteuid() if uid is None else uid}.{check_bus_name(bus)}.{what}"


def _temporary(name: str) -> str:
    return f"{name}.tmp.{'.'.join(map(str, own_identity()))}"


def _maps(pid: str, prefix: str) -> bool:
    try:
        with open(f"/proc/{pid}/maps") as lines:
            return any(prefix in line for line in lines)
    except OSError:  # it has ended meanwhile, or is another user's
        return False


def _entries() -> Iterator[str]:
    with os.scandir(ROOT) as entries:
        yield from (entry.name for entry in entries if entry.name.startswith("shmbus."))


def _open_new(name: str) -> int:
    try:
        return int(posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600).fd)
    except posix_ipc.ExistentialError:
        raise SegmentError(name, "exists") from None
    except OSError as error:
        raise _numbered(error, name) from None


def _numbered(error: OSError, name: str) -> OSError:
    """posix_ipc gives no number to the error of having too many descriptors, and to no other one."""
    number = errno.EMFILE if error.errno is None else error.errno
    return OSError(number, os.strerror(number), name)


def _allocate(descriptor: int, name: str, ranges: Ranges) -> None:
    """Every page now, so that a full /dev/shm is an error here and not a SIGBUS at some later store."""
    try:
        for first, count in ranges:
            os.posix_fallocate(descriptor, first, count)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # What the failed call took is given back first, so that the free space told is what there is without us.
        os.ftruncate(descriptor, 0)
        space = os.fstatvfs(descriptor)
        needed = sum(count for _, count in ranges)
        raise StorageFull(name, needed, space.f_bavail * space.f_frsize, ROOT) from None


def _publish(temporary: str, name: str, replace: bool) -> None:
    # A link, where nothing may be there already: a rename would silently replace a segment of that name.
    try:
        if replace:
            os.rename(ROOT + temporary, ROOT + name)
        else:
            os.link(ROOT + temporary, ROOT + name)
    except FileExistsError:
        raise SegmentError(name, "exists") from None
    _core.killpoint(NAMED)


def _unlink(name: str) -> None:
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        pass
