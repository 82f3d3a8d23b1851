"""Stop a bus: ask its coordinator to end in order, and wait until it has.

Collectors get a SIGTERM and their time; clients are told; nothing is left
behind.
"""

import argparse
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

from shmbus.control import ControlConnection, bearer_info, own_bearer
from shmbus.errors import ConnectionLost, ShmbusError
from shmbus.v1.control_pb2 import StopBus

from .options import add_bus, seconds

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
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop it and wait. 1: it does not run, or has not ended in time. Raises ConnectError, AccessDenied."""
    control, welcome = ControlConnection.connect(arguments.bus, "down", auth_info=bearer_info(own_bearer()))
    with control, welcome, _watched(welcome.message.coordinator_pid) as process:
        try:
            control.request(StopBus()).close()
        except ConnectionLost:
            pass  # it ends already
        if not select.select([process], [], [], arguments.timeout)[0]:
            raise StillRunning(arguments.bus, welcome.message.coordinator_pid, arguments.timeout)
    print(f"the bus '{arguments.bus}' (pid {welcome.message.coordinator_pid}) has stopped")
    return 0


class StillRunning(ShmbusError):
    """The coordinator of `bus`, process `pid`, has not ended `seconds` after it was asked to."""

    def __init__(self, bus: str, pid: int, seconds: float) -> None:
        self.bus, self.pid, self.seconds = bus, pid, seconds
        super().__init__(
            f"the bus '{bus}' (pid {pid}) has not ended within {seconds:g} s. It may wait for a collector: see what it "
            f"says, wait longer with --timeout, or end it with `kill -9 {pid}` and `shmbus doctor --clean`."
        )


@contextmanager
def _watched(pid: int) -> Iterator[int]:
    """A descriptor that is readable when the process has ended. Opened before it is told to, so it is no other's."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)
