"""Where a coordinator is reached: a socket file under a lock (named bus), or an abstract socket (private bus)."""

import os
import secrets
import socket
from pathlib import Path

from shmbus import segment
from shmbus.coordinator.lock import BusLock, remove_socket

BACKLOG = 256


class Endpoint:
    """The listening socket. A private one is bound at once, so that its address is known before the loop runs."""

    def __init__(self, bus: str, *, private: bool, open_to_others: bool) -> None:
        """`open_to_others`: the access rules name other users, so the socket file lets anybody try."""
        self._bus, self._private, self._open_to_others = bus, private, open_to_others
        self.listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        self._lock: BusLock | None = None
        if private:
            name = f"shmbus.{os.getpid()}.{secrets.token_hex(8)}"
            self.listener.bind("\0" + name)
            self.address = "@" + name
        else:
            self.address = str(segment.socket_path(bus))

    def open(self, now: float) -> None:
        """Listen. A named bus is locked first and cleared of what a dead coordinator left; `now` in Unix seconds.

        Raises BusExists, AccessDenied, OSError.
        """
        if not self._private:
            self._open_named(now)
        self.listener.listen(BACKLOG)

    def close(self) -> None:
        """Nobody can connect any more; nothing is left."""
        self.listener.close()
        if self._lock is not None:
            Path(self.address).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _open_named(self, now: float) -> None:
        segment.make_runtime_directory()
        lock = BusLock(self._bus, segment.lock_path(self._bus))
        lock.acquire(now)
        self._lock = lock
        path = Path(self.address)
        remove_socket(path)
        self.listener.bind(self.address)
        self._permit()

    def open_to(self, others: bool) -> None:
        """The access rules name other users from now on, or do not."""
        if others is not self._open_to_others:
            self._open_to_others = others
            if self._lock is not None:
                self._permit()

    def _permit(self) -> None:
        path = Path(self.address)
        if self._open_to_others:
            path.parent.chmod(0o711)
        path.chmod(0o666 if self._open_to_others else 0o600)
