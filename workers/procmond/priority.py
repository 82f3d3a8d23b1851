"""Running at once when the kernel tells of a process, which may be gone a fraction of a millisecond later.

With leave to do so, procmond runs in real time (SCHED_RR, the lowest such priority), so that a busy machine does not
keep it waiting. That is for bursts: after `BURST_US` without a rest the kernel sends SIGXCPU, and it goes on as an
ordinary process of high priority until the next `restore`, so that a storm of forks cannot make it take a processor
for itself. Its threads do not inherit any of it.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
from types import FrameType

BURST_US = 500_000
"""At most so long in real time without sleeping, in microseconds."""

NICE = -20

_REALTIME = os.SCHED_RR | os.SCHED_RESET_ON_FORK
_log = logging.getLogger("procmond")


class Priority:
    """Raises our priority as far as it may while the context lasts. For the main thread."""

    def __init__(self) -> None:
        self._realtime = False
        self._dropped = False

    def __enter__(self) -> Priority:
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._limit = resource.getrlimit(resource.RLIMIT_RTTIME)
        self._handler = signal.signal(signal.SIGXCPU, self._drop)
        self._raise()
        return self

    def __exit__(self, *_: object) -> None:
        if self._realtime:
            self._ordinary()
            resource.setrlimit(resource.RLIMIT_RTTIME, self._limit)
        signal.signal(signal.SIGXCPU, self._handler)
        if os.getpriority(os.PRIO_PROCESS, 0) != self._nice:
            os.setpriority(os.PRIO_PROCESS, 0, self._nice)

    def restore(self) -> None:
        """Back to real time, if a burst has been too long."""
        if self._dropped:
            self._dropped = False
            self._raise()

    def _raise(self) -> None:
        try:
            hard = self._limit[1]
            resource.setrlimit(resource.RLIMIT_RTTIME, (BURST_US if hard < 0 else min(BURST_US, hard), hard))
            os.sched_setscheduler(0, _REALTIME, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
            self._realtime = True
        except OSError:
            self._be_nice()

    def _be_nice(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        except OSError:
            _log.info("no leave to raise our priority: under load more processes will be gone before they are read")

    def _drop(self, *_: int | FrameType | None) -> None:
        if not self._dropped:
            self._dropped = True
            self._ordinary()
            self._be_nice()
            _log.warning("busy for %g s without a rest: no longer in real time for now", BURST_US / 1e6)

    def _ordinary(self) -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
