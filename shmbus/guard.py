"""The lock of a connection, which the garbage collector may run into."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType


class Guard:
    """A re-entrant lock, and what is to be done when it is free.

    Publishers and subscriptions that nobody keeps are closed by the garbage collector, at any moment and in any thread,
    maybe inside this very lock: what that takes is done when the lock is left.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._later: deque[Callable[[], None]] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._depth == 1 and self._later:
                self._later.popleft()()
        finally:
            self._depth -= 1
            self._lock.release()
        if self._later:
            self._try()

    def soon(self, what: Callable[[], None]) -> None:
        """Done when this returns, unless somebody is inside: then, when they leave."""
        self._later.append(what)
        self._try()

    def _try(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                if self._depth == 0:
                    with self:
                        pass
            finally:
                self._lock.release()
