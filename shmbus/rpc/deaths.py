"""The deaths of processes, told as they happen: one thread sleeps on the pidfds of all that are watched."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from shmbus.process import Identity, is_alive, own_namespace

REMEMBERED: Final = 1024


class Deaths:
    """Calls `tell` in its own thread, once for each process that dies. The thread begins with the first watched."""

    def __init__(self, tell: Callable[[Identity], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._watched: dict[int, Identity] = {}  # by pidfd
        self._known: set[Identity] = set()
        self._dead: set[Identity] = set()
        self._bell = -1
        self._epoll: select.epoll | None = None
        self._thread: threading.Thread | None = None

    def watch(self, process: Identity) -> bool:
        """False: it is dead. A process that cannot be seen from here counts as alive, and its death is not told."""
        if process in self._known:  # first: most are. One that dies just now is told of after this
            return True
        if process in self._dead:
            return False
        with self._lock:
            return process in self._known or self._begin(process)

    def close(self) -> None:
        """Ends the thread; nothing is told any more."""
        if self._thread is not None:
            os.eventfd_write(self._bell, 1)
            self._thread.join()
            self._thread = None

    def _begin(self, process: Identity) -> bool:
        pidfd = -1
        if process.namespace == own_namespace():  # elsewhere that number is another process's here
            with suppress(OSError, OverflowError):
                pidfd = os.pidfd_open(process.pid)
        if not is_alive(process):  # asked after the descriptor is held: its number cannot be another's any more
            if pidfd >= 0:
                os.close(pidfd)
            self._remember(process)
            return False
        self._known.add(process)
        if pidfd >= 0:
            self._watched[pidfd] = process
            self._polling().register(pidfd, select.EPOLLIN)
        return True

    def _remember(self, process: Identity) -> None:
        """So that it is not looked for again; of very many, the next look finds them dead again."""
        if len(self._dead) >= REMEMBERED:
            self._dead.clear()
        self._dead.add(process)

    def _polling(self) -> select.epoll:
        if self._epoll is None:
            self._epoll, self._bell = select.epoll(), os.eventfd(0, os.EFD_CLOEXEC)
            self._epoll.register(self._bell, select.EPOLLIN)
            self._thread = threading.Thread(target=self._run, name="shmbus-deaths", daemon=True)
            self._thread.start()
        return self._epoll

    def _run(self) -> None:
        epoll = self._epoll
        assert epoll is not None
        while True:
            for descriptor, _ in epoll.poll():
                if descriptor == self._bell:
                    return self._end(epoll)
                self._died(epoll, descriptor)

    def _died(self, epoll: select.epoll, pidfd: int) -> None:
        epoll.unregister(pidfd)
        os.close(pidfd)
        with self._lock:
            process = self._watched.pop(pidfd)
            self._remember(process)
            self._known.discard(process)
        self._tell(process)

    def _end(self, epoll: select.epoll) -> None:
        with self._lock:
            for descriptor in (self._bell, *self._watched):
                os.close(descriptor)
            self._watched.clear()
            epoll.close()
