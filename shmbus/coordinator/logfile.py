"""Log lines to a descriptor, for a process that must not wait for whoever reads them.

A pipe whose reader stands still is full after 64 KiB, and a write to it sleeps until somebody reads: with it would
everything that the coordinator does. So it is written to only while it takes something; what it does not take waits
here, goes on when it does (on a running event loop at once, else with the next line), and is bounded. A line that was
taken at once is written when the call returns, so what is told before a death is told.
"""

import asyncio
import os
import select
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Final

MOST_LINES: Final = 4096  # that wait; what is logged meanwhile is counted, and that is told
PIECE_BYTES: Final = select.PIPE_BUF  # a pipe that is writable takes so much without a wait
LAST_SECONDS: Final = 1.0  # for what waits at the end


class LogFile:
    """Called with a line, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None  # tells when more can be written
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def __call__(self, line: str) -> None:
        """Write it now, or as soon as somebody reads. Errors of writing are nobody's concern: the line is dropped."""
        data = f"{line}\n".encode(errors="backslashreplace")
        with self._lock:
            if len(self._waiting) >= MOST_LINES:
                self._lost += 1
            else:
                self._waiting += [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
            self._write()
            self._watch()

    def close(self) -> None:
        """Give what waits a last chance."""
        with self._lock:
            deadline = monotonic() + LAST_SECONDS
            while self._waiting and self._poll.poll(max(0.0, deadline - monotonic()) * 1000):
                self._write()

    def _write(self) -> None:
        while self._waiting and self._poll.poll(0):
            with suppress(OSError):  # nobody will ever read it
                os.write(self._descriptor, self._waiting[0])
            self._waiting.popleft()
            if self._lost and not self._waiting:
                self._waiting.append(f"… {self._lost} lines of the log were too many, and are lost\n".encode())
                self._lost = 0

    def _watch(self) -> None:
        if not self._waiting or self._loop is not None:
            return
        with suppress(RuntimeError):  # no loop runs in this thread
            self._loop = asyncio.get_running_loop()
            self._loop.add_writer(self._descriptor, self._writable)

    def _writable(self) -> None:
        with self._lock:
            self._write()
            if not self._waiting and self._loop is not None:
                self._loop.remove_writer(self._descriptor)
                self._loop = None
