"""Metadata rounds: every process is read once an interval, in slices spread over it, so that there is no burst."""

from __future__ import annotations

import os
from collections.abc import Callable

from .clock import SECOND, Clock
from .tracker import Tracker

SLICE = 32
"""So many processes are read at once, then events get their turn."""

PATIENCE = 200
"""After a slice nothing is read for this many times as long as it took: 0.5 % of a core, however many processes."""


class Rounds:
    """`due_ns` is when `run` has something to do next. `begin` is called as each round begins.

    `notes` says of procmond itself, in its own event, how it works and what it has missed.
    """

    def __init__(
        self,
        tracker: Tracker,
        clock: Clock,
        interval_s: float,
        begin: Callable[[], None],
        notes: Callable[[], tuple[str, ...]],
    ) -> None:
        self._tracker = tracker
        self._clock = clock
        self._interval_ns = int(interval_s * SECOND)
        self._begin = begin
        self._notes = notes
        self._left: list[int] = []
        self._spacing_ns = self._interval_ns
        self.due_ns = clock.monotonic_ns() + self._interval_ns

    def restart(self) -> None:
        """Begins a round now."""
        self._left = []
        self.due_ns = self._clock.monotonic_ns()

    def change(self, interval_s: float) -> None:
        """Another interval, from now on."""
        self._interval_ns = int(interval_s * SECOND)
        self.due_ns = min(self.due_ns, self._clock.monotonic_ns() + self._interval_ns)

    def run(self) -> None:
        """Reads the next slice."""
        begun = self._clock.monotonic_ns()
        if not self._left:
            self._begin()
            self._left = sorted(self._tracker.pids(), reverse=True)
            self._spacing_ns = self._interval_ns // max(1, -(-len(self._left) // SLICE))
        for _ in range(min(SLICE, len(self._left))):
            self.tell(self._left.pop())
        ended = self._clock.monotonic_ns()
        self.due_ns = max(begun + self._spacing_ns, ended + PATIENCE * (ended - begun))

    def tell(self, pid: int) -> None:
        """Publishes the metadata of one process."""
        self._tracker.refresh(pid, self._notes() if pid == os.getpid() else ())
