"""Collectors that a killed coordinator left running.

They go on publishing to whoever has their rings open. A coordinator that starts anew on the same bus makes rings of
its own, into which they cannot be moved while they run, and starts collectors of its own: so the old ones are ended
first, or every event would be collected twice, once for nobody.
"""

import os
import select
import signal
import time

from shmbus import segment
from shmbus.coordinator.post import Log
from shmbus.directory import DirectoryReader
from shmbus.errors import SegmentError
from shmbus.process import Identity, is_alive


def end_orphans(bus: str, grace_seconds: float, log: Log) -> None:
    """SIGTERM to the process group of each collector in the dead coordinator's directory, SIGKILL after the grace."""
    for name, process in _orphans(bus):
        log(f"{name}: ended pid {process.pid}, which a killed coordinator left running")
        _signal(process, signal.SIGTERM)
        if not _gone(process, grace_seconds):
            _signal(process, signal.SIGKILL)
            _gone(process, grace_seconds)


def _orphans(bus: str) -> list[tuple[str, Identity]]:
    try:
        descriptor = segment.attach(segment.directory_name(bus))
    except SegmentError:
        return []
    try:
        reader = DirectoryReader(descriptor, boot_id=segment.boot_id())
    except SegmentError:
        return []
    finally:
        os.close(descriptor)
    try:
        found = [(one.name, one.process) for one in reader.snapshot().collectors if one.process is not None]
    finally:
        reader.close()
    return [(name, process) for name, process in found if is_alive(process)]


def _signal(process: Identity, number: signal.Signals) -> None:
    if is_alive(process):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass


def _gone(process: Identity, seconds: float) -> bool:
    """Wait for its end, as long as that."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        while is_alive(process):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            poller.poll(remaining * 1000)
        return True
    finally:
        os.close(pidfd)
