"""Stop a bus: ask its coordinator to end in order, and wait until it has.

Collectors get a SIGTERM and their time; clients are told; nothing is left
behind. So it is with what a killed coordinator has left, its collectors among
it; with --left only that is done: a bus that runs is left alone.
"""

import argparse
import os
import select
from collections.abc import Iterator
from contextlib import closing, contextmanager

from shmbus import segment
from shmbus.control import ControlConnection, bearer_info, own_bearer
from shmbus.directory import Capacities, DirectoryReader
from shmbus.errors import ConnectError, ConnectionLost, ShmbusError
from shmbus.v1.control_pb2 import StopBus

from .options import add_bus_or_file, bus_of, seconds

PATIENCE_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help="wait at most that long for its end (default: %(default)g)",
    )
    parser.add_argument("--left", action="store_true", help="end what a killed coordinator has left, if anything")
    add_bus_or_file(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop it and wait. Raises ConnectError where there is nothing to be stopped, AccessDenied, StillRunning."""
    bus = bus_of(arguments)
    if arguments.left:
        end_left(bus)
        return 0
    try:
        control, welcome = ControlConnection.connect(bus, "down", auth_info=bearer_info(own_bearer()))
    except ConnectError:
        if end_left(bus):
            return 0
        raise
    with control, welcome, _watched(welcome.message.coordinator_pid) as process:
        try:
            control.request(StopBus()).close()
        except ConnectionLost:
            pass  # it ends already
        if not select.select([process], [], [], arguments.timeout)[0]:
            raise StillRunning(bus, welcome.message.coordinator_pid, arguments.timeout)
    print(f"the bus '{bus}' (pid {welcome.message.coordinator_pid}) has stopped")
    return 0


class StillRunning(ShmbusError):
    """The coordinator of `bus`, process `pid`, has not ended `seconds` after it was asked to."""

    def __init__(self, bus: str, pid: int, seconds: float) -> None:
        self.bus, self.pid, self.seconds = bus, pid, seconds
        super().__init__(
            f"the bus '{bus}' (pid {pid}) has not ended within {seconds:g} s. It may wait for a collector: see what it "
            f"says, wait longer with --timeout, or end it with `kill -9 {pid}` and `shmbus down` again."
        )


def end_left(bus: str) -> bool:
    """End and remove what a killed coordinator has left of a bus; False: there is nothing, or somebody runs it.

    Raises BusExists when somebody runs it by now, LayoutError.
    """
    try:
        with _directory(bus) as directory:
            if directory.is_alive():
                return False
            its = directory.capacities
    except ShmbusError:
        return _remove_left(bus)
    _take_over_and_stop(bus, its)
    print(f"the bus '{bus}', which nobody ran any more, has stopped")
    return True


def _take_over_and_stop(bus: str, its: Capacities) -> None:
    """By a coordinator that has no collectors which are to run, so that those which do are ended in order."""
    from shmbus.coordinator import Coordinator
    from shmbus.coordinator.settings import Settings

    settings = Settings(
        bus,
        max_topics=its.topics,
        max_sessions=its.sessions,
        max_collectors=its.collectors,
        max_descriptor_bytes=its.descriptor_bytes,
    )
    coordinator = Coordinator(settings, log=print, ready=lambda: coordinator.stop("nobody runs it"))
    coordinator.run()


def _remove_left(bus: str) -> bool:
    """Of a coordinator that was killed while it began or ended."""
    from .doctor import clean, examine

    found = examine(bus)
    if found.coordinator is not None or found.users or found.is_clean:
        return False
    print(clean(found))
    return True


@contextmanager
def _directory(bus: str) -> Iterator[DirectoryReader]:
    descriptor = segment.attach(segment.directory_name(bus))
    try:
        with closing(DirectoryReader(descriptor, boot_id=segment.boot_id())) as reader:
            yield reader
    finally:
        os.close(descriptor)


@contextmanager
def _watched(pid: int) -> Iterator[int]:
    """A descriptor that is readable when the process has ended. Opened before it is told to, so it is no other's."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)
