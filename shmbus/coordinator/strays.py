"""What a collector started and left behind.

Most of it ends with the collector's process group. What has left the group (a daemon, a session of its own) still has
the variables that the collector was started with in its environment, as the kernel keeps it for each program.
"""

import os
import signal
from collections.abc import Iterator

COLLECTOR_VARIABLE = "SHMBUS_COLLECTOR"
BUS_VARIABLE = "SHMBUS_BUS"
_ROUNDS = 10  # against one that starts others while it is looked for


def end_strays(bus: str, collector: str) -> int:
    """SIGKILL to every process that a dead collector of that bus left; how many there were."""
    marks = _marks(bus, collector)
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        found = pids_of(bus, collector) - ended
        if not found:
            break
        for pid in found:
            _kill(pid, marks)
        ended |= found
    return len(ended)


def pids_of(bus: str, collector: str) -> set[int]:
    """All processes that belong to a collector of that bus, wherever they have gone."""
    return set(_marked(_marks(bus, collector)))


def _marks(bus: str, collector: str) -> set[bytes]:
    return {f"{BUS_VARIABLE}={bus}".encode(), f"{COLLECTOR_VARIABLE}={collector}".encode()}


def _marked(marks: set[bytes]) -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != os.getpid() and _has(int(entry), marks):
            yield int(entry)


def _has(pid: int, marks: set[bytes]) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return marks <= set(file.read().split(b"\0"))
    except OSError:
        return False  # gone, a zombie, or somebody else's


def _kill(pid: int, marks: set[bytes]) -> None:
    """By its pidfd, so that the number is not another's meanwhile."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _has(pid, marks):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
