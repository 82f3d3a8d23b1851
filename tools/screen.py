"""The thread that shows a running bus: a live table on a terminal, in the journal what is logged, else log lines.

A thread of its own, because a terminal that is stopped (Ctrl-S) or a pipe that nobody reads must not hold up the
coordinator. It looks once a second, and shows at once what is logged.
"""

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from shmbus.coordinator.journal import for_journal, is_journal
from shmbus.errors import ShmbusError

from .lines import Lines, log_line
from .output import abandon
from .text import printable

if TYPE_CHECKING:
    from .meter import Meter, View
    from .snapshot import Probe

PERIOD_SECONDS: Final = 1.0
SHORTEST_SECONDS: Final = 0.1  # between two looks, however much is logged
KEPT_LINES: Final = 1000
PATIENCE_SECONDS: Final = 1.0  # with an output that takes nothing, at the end


class Face(Protocol):
    """How it is shown."""

    wants_views: bool
    """Or only what is logged?"""

    def show(self, view: "View | None", new: Sequence[str]) -> None:
        """Show it, with what was logged since the last time. No view: the one before still holds."""

    def close(self) -> None:
        """The last view has been shown."""


class Screen:
    """Shows the bus of that name until it is closed. `log` may be called from any thread."""

    def __init__(self, bus: str, face: Face) -> None:
        self._bus, self._face = bus, face
        self._logged: deque[str] = deque(maxlen=KEPT_LINES)
        self._started, self._ended, self._wake = threading.Event(), threading.Event(), threading.Event()
        # A daemon: an output that is stuck must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._thread.start()

    def log(self, text: str) -> None:
        """Say something. Never blocks."""
        self._logged.append(text)
        self._wake.set()

    def ready(self) -> None:
        """The bus can be looked at from now on."""
        self._started.set()

    def redraw(self) -> None:
        """The terminal has another size."""
        self._wake.set()

    def close(self) -> bool:
        """Show what is still to be said, and end. False: the output takes nothing, and its thread is stuck there."""
        self._ended.set()
        self._started.set()
        self._wake.set()
        self._thread.join(PATIENCE_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._show_until_ended()
            self._face.close()
        except OSError:
            abandon()  # whoever looked has gone; the bus goes on

    def _show_until_ended(self) -> None:
        probe = meter = None
        if self._face.wants_views:
            self._started.wait()
            self._show(None)
            if not self._ended.is_set():
                from .meter import Meter  # what looks at a bus is loaded when there is one to look at
                from .snapshot import Probe

                try:
                    probe, meter = Probe(self._bus), Meter()
                except ShmbusError:
                    pass  # it ended before it could be looked at: what it says of that is shown all the same
        period = math.inf if probe is None else PERIOD_SECONDS
        try:
            while not self._ended.is_set():
                self._show(self._look(probe, meter))
                due = time.monotonic() + period
                while not self._ended.is_set() and (left := due - time.monotonic()) > 0:
                    if self._wake.wait(min(left, threading.TIMEOUT_MAX)):
                        self._wake.clear()
                        self._show(None)
                        self._ended.wait(SHORTEST_SECONDS)
            self._show(self._look(probe, meter))  # what the probe has mapped is still there
        finally:
            if probe is not None:
                probe.close()

    @staticmethod
    def _look(probe: "Probe | None", meter: "Meter | None") -> "View | None":
        if probe is None or meter is None:
            return None
        try:
            return meter.update(probe.read(), time.time())
        except ShmbusError:
            return None

    def _show(self, view: "View | None") -> None:
        self._face.show(view, [self._logged.popleft() for _ in range(len(self._logged))])


class PlainFace:
    """Log lines."""

    wants_views = True

    def __init__(self, output: TextIO) -> None:
        self._output, self._lines = output, Lines()

    def show(self, view: "View | None", new: Sequence[str]) -> None:
        now = time.time()
        told = [log_line(text, now) for text in new]
        if view is not None:
            told += self._lines.changes(view, now)
        _write(self._output, told)

    def close(self) -> None:
        """Nothing is left to say."""


class JournalFace:
    """What is logged, with its priority. The journal has the time, and no use for counters that change every second."""

    wants_views = False

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def show(self, view: "View | None", new: Sequence[str]) -> None:
        _write(self._output, [for_journal(type(one)(printable(one))) for one in new])

    def close(self) -> None:
        """Nothing is left to say."""


class LiveFace:
    """A table that is drawn anew, on the terminal's other screen; at the end the last one stays on its first."""

    wants_views = True

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")
        self._log: deque[str] = deque(maxlen=KEPT_LINES)
        self._view: View | None = None

    def show(self, view: "View | None", new: Sequence[str]) -> None:
        from .dashboard import dashboard

        self._log.extend(f"{time.strftime('%H:%M:%S')} {text}" for text in new)
        self._view = view or self._view
        if self._view is None:
            return
        if not self._live.is_started:
            self._live.start()
        width, height = self._console.size
        self._live.update(dashboard(self._view, list(self._log), width, height), refresh=True)

    def close(self) -> None:
        """Leave the last view where the shell goes on."""
        from .dashboard import dashboard

        self._live.stop()
        if self._view is None:
            return
        width, height = self._console.size
        self._console.print(dashboard(self._view, list(self._log), width, height - 2))


def _write(output: TextIO, lines: Sequence[str]) -> None:
    if lines:
        output.write("".join(f"{one}\n" for one in lines))
        output.flush()


def face_for(*, plain: bool) -> Face:
    """A live table on a terminal that can draw one, unless plain lines are wanted."""
    if is_journal(sys.stdout):
        return JournalFace(sys.stdout)
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return PlainFace(sys.stdout) if plain or dumb or not sys.stdout.isatty() else LiveFace()
