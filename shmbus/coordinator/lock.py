"""One coordinator a named bus: a lock file that its owner holds for life, and what a dead one left behind.

The kernel drops the lock with its owner, however that dies; the file itself may stay and says then who it was.
"""

import fcntl
import os
import select
import signal
from pathlib import Path

from shmbus.errors import BusExists

END_SECONDS = 10.0  # for a process that has been killed to be gone


class BusLock:
    """Held from acquire() to release()."""

    def __init__(self, bus: str, path: Path) -> None:
        self._bus, self._path = bus, path
        self._descriptor = -1

    def acquire(self, now: float) -> None:
        """`now` in Unix seconds is told to whoever comes second. Raises BusExists."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = read_owner(descriptor)
                os.close(descriptor)
                raise BusExists(self._bus, *owner) from None
            if self._is_at_path(descriptor):
                break
            os.close(descriptor)  # its last owner removed it between open and flock: that lock is no longer the bus's
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {now:.3f}\n".encode(), 0)
        self._descriptor = descriptor

    def end_owner(self, running: BusExists) -> None:
        """Kill the process that holds the lock, and wait until it has ended. Raises BusExists when it does not."""
        if running.pid is None or running.pid == os.getpid():
            raise running
        try:
            pidfd = os.pidfd_open(running.pid)
        except ProcessLookupError:
            return
        try:
            if not self._is_held_by(running.pid):
                return  # it has ended by itself, and the number may be another's by now
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not select.select([pidfd], [], [], END_SECONDS)[0]:
                raise running
        finally:
            os.close(pidfd)

    def _is_held_by(self, pid: int) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return read_owner(descriptor)[0] == pid
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Remove the file, then let go."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def read_owner(descriptor: int) -> tuple[int | None, float | None]:
    """Pid and start (Unix seconds) that a lock file tells, None where it does not."""
    words = os.pread(descriptor, 64, 0).split()
    try:
        return int(words[0]), float(words[1])
    except (IndexError, ValueError):
        return None, None


def file_owner(path: Path) -> int | None:
    """The pid that the lock file tells; whether the lock is held is not looked at."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return read_owner(descriptor)[0]
    finally:
        os.close(descriptor)


def remove_socket(path: Path) -> None:
    """Of a dead coordinator. The lock is held, so nobody listens there."""
    if path.is_socket():
        path.unlink(missing_ok=True)
