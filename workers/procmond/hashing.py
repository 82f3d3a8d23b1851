"""SHA-256 of executables, off the hot path: a thread of low priority computes, a cache remembers.

A program is known by device, inode, times and size (`FileKey`), so each is read once until it changes. The descriptor
is opened when the process is seen, and so holds the very file that runs, even if it is deleted the moment after.
There is no ssdeep: `ssdeep_hash` is never set.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from .proc import FileKey

ALGORITHM = "sha256"
CACHE_ENTRIES = 8192
QUEUE_ENTRIES = 512
"""At most so many files wait, each with an open descriptor; others are asked for when their process is next read."""

_CHUNK_BYTES = 1024 * 1024
_NICE = 10

_log = logging.getLogger("procmond")


class Hashes(Protocol):
    """Where the tracker gets hashes from."""

    def lookup(self, key: FileKey) -> str | None:
        """The hash if it is known."""

    def request(self, key: FileKey, pid: int) -> bool:
        """Asks for the hash of what `pid` runs, to be told later; False: it will not be told."""


class NoHashes:
    """Hashes for who wants none."""

    def lookup(self, key: FileKey) -> str | None:
        return None

    def request(self, key: FileKey, pid: int) -> bool:
        return False


def digest(descriptor: int, stop: Callable[[], bool] = lambda: False) -> str | None:
    """The SHA-256 of an open file as hexadecimal digits; None when told to stop. OSError: it cannot be read."""
    state = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    position = 0
    while length := os.preadv(descriptor, [buffer], position):
        if stop():
            return None
        state.update(buffer[:length])
        position += length
    return state.hexdigest()


class Hasher:
    """A cache and a thread behind it. `fileno` is readable when `results` has something.

    `open_image` gives a descriptor of what a PID runs, which then is ours, or None.
    One thread calls all methods; the thread behind it shares two queues with it and nothing else.
    """

    def __init__(self, open_image: Callable[[int], int | None]) -> None:
        self._open_image = open_image
        self._cache: OrderedDict[FileKey, str] = OrderedDict()
        self._work: queue.Queue[tuple[FileKey, int] | None] = queue.Queue()
        self._done: queue.SimpleQueue[tuple[FileKey, str | None]] = queue.SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="procmond-hash", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._bell

    def lookup(self, key: FileKey) -> str | None:
        value = self._cache.get(key)
        if value is not None:
            self._cache.move_to_end(key)
        return value

    def request(self, key: FileKey, pid: int) -> bool:
        if self._work.qsize() >= QUEUE_ENTRIES:
            return False
        descriptor = self._open_image(pid)
        if descriptor is None:
            return False
        self._work.put((key, descriptor))
        return True

    def results(self) -> Iterator[tuple[FileKey, str | None]]:
        """What was computed since the last call; None for what could not be read or is another file by now."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        while True:
            try:
                key, value = self._done.get_nowait()
            except queue.Empty:
                return
            if value is not None:
                self._remember(key, value)
            yield key, value

    def close(self) -> None:
        """Ends the thread; what was not computed yet is not told."""
        self._closing = True
        self._work.put(None)
        self._thread.join()
        while not self._work.empty():
            left = self._work.get_nowait()
            if left is not None:
                os.close(left[1])
        os.close(self._bell)

    def _remember(self, key: FileKey, value: str) -> None:
        self._cache[key] = value
        if len(self._cache) > CACHE_ENTRIES:
            self._cache.popitem(last=False)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._closing and (item := self._work.get()) is not None:
            key, descriptor = item
            self._done.put((key, self._compute(key, descriptor)))
            os.eventfd_write(self._bell, 1)

    def _compute(self, key: FileKey, descriptor: int) -> str | None:
        try:
            if FileKey.of(os.fstat(descriptor)) != key:
                return None
            value = digest(descriptor, lambda: self._closing)
            return value if FileKey.of(os.fstat(descriptor)) == key else None
        except OSError as error:
            _log.debug("could not hash an executable: %s", error)
            return None
        finally:
            os.close(descriptor)
