"""Name what an unclean end left behind, and remove it with --clean.

Looked at are this user's segments in /dev/shm and the sockets and locks in the
runtime directory, of all buses or of one. What belongs to a running bus is left
alone, and so is what a process still uses whose coordinator has died. The status
is 1 if anything is left behind.
"""

import argparse
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from shmbus import segment
from shmbus.coordinator.cgroups import remove_left
from shmbus.coordinator.layouts import check_layouts
from shmbus.coordinator.lock import BusLock, file_owner
from shmbus.directory import DirectoryReader, leftovers, owners
from shmbus.errors import BusExists, ConfigurationError, LayoutError, SegmentError, ShmbusError
from shmbus.process import Identity, is_alive

from . import text

SHOWN = 6
RECORD = ".cgroup"
FOR_THE_NEXT = (".changes", ".changes-new", RECORD)  # what a coordinator leaves to the one that goes on with its bus
FILES = (".sock", ".lock", *FOR_THE_NEXT)  # of a bus, in the runtime directory


@dataclass(slots=True)
class Findings:
    """What there is of one bus. `users` are living processes; without a coordinator it is not run.

    `refusal` is why a coordinator of this version could not take it over.
    """

    bus: str
    coordinator: int | None = None
    users: list[int] = field(default_factory=list)
    refusal: str | None = None
    segments: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.segments and not self.files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--bus", metavar="NAME", help="look at this bus only (default: all of this user)")
    parser.add_argument("--clean", action="store_true", help="remove what is left behind")


def run(arguments: argparse.Namespace) -> int:
    """Look, tell, and clean. Raises ConfigurationError, AccessDenied."""
    only = None if arguments.bus is None else segment.check_bus_name(arguments.bus)
    found = [examine(bus) for bus in buses(only)]
    for line in (line for findings in found for line in told(findings)):
        print(line)
    ill = [findings for findings in found if not findings.is_clean]
    if not ill:
        print(
            "nothing is left behind" if found else f"no bus of uid {os.geteuid()} runs, and none left anything behind"
        )
        return 0
    if not arguments.clean:
        print(f"remove it with: shmbus doctor --clean{'' if only is None else f' --bus {only}'}")
        return 1
    for findings in ill:
        print(clean(findings))
    return 0


def buses(only: str | None = None) -> list[str]:
    """The names of all buses of this user that anything is left of, or run; or only that one."""
    if only is not None:
        return [only]
    return sorted({one.bus for one in segment.list_segments()} | {path.stem for path in _files()})


def examine(bus: str) -> Findings:
    """What there is of a bus."""
    findings = Findings(bus, *_owners(bus))
    findings.segments = [one.name for one in leftovers(bus=bus)]
    try:
        check_layouts(bus)
    except LayoutError as error:
        findings.refusal = str(error)
    if findings.coordinator is None and not _listens(segment.socket_path(bus)):
        still_wanted = FOR_THE_NEXT if findings.users else ()
        findings.files = [path for path in _files() if path.stem == bus and path.suffix not in still_wanted]
    return findings


def told(findings: Findings) -> Iterator[str]:
    """The findings in words."""
    bus = f"bus '{findings.bus}'"
    if findings.coordinator is not None:
        yield f"{bus} is run by pid {findings.coordinator}"
    elif findings.users:
        users = ", ".join(map(str, findings.users))
        yield f"{bus} has lost its coordinator; used by pid {users}, which may go on. Run it again with `shmbus up`"
    elif not findings.is_clean:
        yield f"{bus} is run by nobody"
    if findings.refusal is not None:
        yield f"  {findings.refusal}"
    if findings.segments:
        yield f"  left behind: {text.plural(len(findings.segments), 'segment')}, {text.size(_bytes(findings.segments))}"
        yield from (f"    {segment.ROOT}{name}" for name in findings.segments[:SHOWN])
        if len(findings.segments) > SHOWN:
            yield f"    … and {len(findings.segments) - SHOWN} more"
    yield from (f"  left behind: {path}" for path in findings.files)


def clean(findings: Findings) -> str:
    """Remove it, unless the bus is run again meanwhile; what was done."""
    if findings.coordinator is not None:
        return _removed(findings, 0)  # what a dead process was making of a running bus is nobody's
    segment.make_runtime_directory()
    lock = BusLock(findings.bus, segment.lock_path(findings.bus))
    try:
        lock.acquire(time.time())  # as long as we have it nobody runs the bus
    except BusExists as error:
        return f"left alone: {error}"
    try:
        again = examine(findings.bus)
        for path in findings.files:
            if path.suffix not in (".lock", RECORD):
                path.unlink(missing_ok=True)
        busy = remove_left(findings.bus) if any(path.suffix == RECORD for path in findings.files) else []
        removed = _removed(again, len(findings.files) - bool(busy))
        return removed + "".join(f"; {path} has processes in it" for path in busy)
    finally:
        lock.release()


def _removed(findings: Findings, files: int) -> str:
    segments = sum(segment.remove(name) for name in findings.segments)
    return f"bus '{findings.bus}': removed {text.plural(segments, 'segment')} and {text.plural(files, 'file')}"


def _owners(bus: str) -> tuple[int | None, list[int]]:
    """The pid of the living coordinator, if any, and of living clients."""
    try:
        descriptor = segment.attach(segment.directory_name(bus))
    except ShmbusError:
        return None, []
    try:
        with closing(DirectoryReader(descriptor, boot_id=segment.boot_id())) as reader:
            coordinator, *clients = owners(reader)
            return _living(coordinator), sorted({one.pid for one in clients if is_alive(one)})
    except SegmentError as error:
        if error.reason == "layout":
            return _owners_by_maps(bus)
        return None, []  # from before a reboot, or never finished
    finally:
        os.close(descriptor)


def _owners_by_maps(bus: str) -> tuple[int | None, list[int]]:
    """Of a bus whose directory cannot be read: who has any of it mapped, and whose socket it is."""
    coordinator = file_owner(segment.lock_path(bus)) if _listens(segment.socket_path(bus)) else None
    return coordinator, sorted({one.pid for one in segment.users(bus)} - {coordinator})


def _living(process: Identity) -> int | None:
    return process.pid if is_alive(process) else None


def _files() -> Iterator[Path]:
    """What buses have in the runtime directory."""
    with suppress(OSError):
        for path in sorted(segment.runtime_directory().iterdir()):
            with suppress(ConfigurationError):
                if path.suffix in FILES and segment.check_bus_name(path.stem):
                    yield path


def _listens(path: Path) -> bool:
    """Does anybody? A coordinator that starts has its socket before its directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        try:
            channel.settimeout(1.0)
            channel.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def _bytes(names: list[str]) -> int:
    total = 0
    for name in names:
        with suppress(OSError):
            total += os.stat(segment.ROOT + name).st_blocks * 512  # some have room that was never used
    return total
