"""What a bus in memory takes the time from: for when messages were published, expire, and come again."""

import time
from collections.abc import Callable
from datetime import datetime
from weakref import WeakMethod

from shmbus.message import time_of_day


class Clock:
    """CLOCK_MONOTONIC, as the real bus has it."""

    def now_ns(self) -> int:
        """Nanoseconds."""
        return time.monotonic_ns()

    def now(self) -> datetime:
        """The time of day (UTC) that a message published now has."""
        return time_of_day(self.now_ns())

    def tell(self, moved: Callable[[], None]) -> None:
        """Call that bound method whenever the time has jumped, as long as its object is there. This one never jumps."""


class ManualClock(Clock):
    """A clock that stands still at the present time until a test moves it."""

    def __init__(self) -> None:
        self._now_ns = time.monotonic_ns()
        self._told: list[WeakMethod[Callable[[], None]]] = []

    def now_ns(self) -> int:
        """Where it stands."""
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Move it on, and wake whoever waits for what that brings. Raises ValueError."""
        if not seconds >= 0:
            raise ValueError(f"a clock goes forward: {seconds!r} is no number of seconds from 0 up")
        self._now_ns += round(seconds * 1e9)
        for reference in list(self._told):
            if (moved := reference()) is not None:
                moved()

    def tell(self, moved: Callable[[], None]) -> None:
        """Call that bound method after every move, as long as its object is there."""
        self._told.append(WeakMethod(moved))
