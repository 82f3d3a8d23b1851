"""Where a coordinator is reached: a socket file under a lock (named bus), or an abstract socket (private bus)."""

import os
import secrets
import socket
from pathlib import Path

from shmbus import segment
from shmbus._core import killpoint
from shmbus.coordinator.layouts import check_layouts
from shmbus.coordinator.lock import BusLock, remove_socket
from shmbus.errors import BusExists

BACKLOG = 256


class Endpoint:
    """The listening socket. A private one is bound at once, so that its address is known before the loop runs."""

    def __init__(self, bus: str, *, private: bool, open_to_others: bool, take_over: bool = False) -> None:
        """`open_to_others`: the access rules name other users, so the socket file lets anybody try.

        `take_over`: a coordinator that runs the bus is ended, as if it had been killed.
        """
        self._bus, self._private, self._open_to_others, self._take_over = bus, private, open_to_others, take_over
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
        """Listen. A named bus is locked first, and taken over from whoever ran it; `now` in Unix seconds.

        Raises BusExists, LayoutError (then nothing has been changed), AccessDenied, OSError.
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
        self._lock = self._locked(now)
        killpoint("adopt.checked")
        path = Path(self.address)
        remove_socket(path)
        self.listener.bind(self.address)
        self._permit()

    def _locked(self, now: float) -> BusLock:
        lock = BusLock(self._bus, segment.lock_path(self._bus))
        try:
            lock.acquire(now)
        except BusExists as running:
            if not self._take_over:
                raise
            check_layouts(self._bus)  # before anybody is ended for it
            lock.end_owner(running)
            killpoint("adopt.ended")
            lock.acquire(now)
        try:
            check_layouts(self._bus)
        except BaseException:
            lock.release()
            raise
        return lock

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
