"""Three clocks of Linux brought together: monotonic (events), since boot (/proc), Unix time (messages)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .proc import TICKS_PER_SECOND

SECOND = 1_000_000_000
"""Nanoseconds in a second."""


def _since_boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clock:
    """All in nanoseconds. The differences are taken when asked, so a clock that is set, or a suspend, does no harm."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    boot_ns: Callable[[], int] = _since_boot_ns
    unix_ns: Callable[[], int] = time.time_ns

    def unix_of_monotonic(self, time_ns: int) -> int:
        """The Unix time of a moment on the monotonic clock."""
        return time_ns + self.unix_ns() - self.monotonic_ns()

    def unix_of_ticks(self, ticks: int) -> int:
        """The Unix time of a start time of /proc, which counts clock ticks since boot."""
        return self._boot_of_ticks(ticks) + self.unix_ns() - self.boot_ns()

    def monotonic_of_ticks(self, ticks: int) -> int:
        """A start time of /proc on the monotonic clock."""
        return self._boot_of_ticks(ticks) + self.monotonic_ns() - self.boot_ns()

    @staticmethod
    def _boot_of_ticks(ticks: int) -> int:
        return ticks * SECOND // TICKS_PER_SECOND
