"""The loop of procmond: sleeps until the kernel tells something, a hash is ready, a time has come or a signal came."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, HealthStatus

from .clock import SECOND, Clock
from .connector import Connector
from .hashing import Hasher, NoHashes
from .priority import Priority
from .proc import Proc
from .process import Change, Process
from .record import build, record
from .rounds import Rounds
from .sink import Sink
from .tracker import Tracker

if TYPE_CHECKING:
    from shmbus.rpc import Mailbox

RECOVERY_NS = SECOND
"""After a loss the table is compared with /proc; at most once in this many nanoseconds."""

SCAN_PATIENCE = 100
"""Between two scans passes at least this many times as long as one takes: 1 % of a core, however many processes."""

_log = logging.getLogger("procmond")


class Intervals(NamedTuple):
    """In seconds: between two scans (where there is no connector), and for one metadata round."""

    scan: float = 1.0
    metadata: float = 30.0


class Signals:
    """Which signals came; `fileno` becomes readable when one does. To be used in the main thread, as a context."""

    HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self._ours, self._kernels = socket.socketpair()
        self.stop: str | None = None  # who or what asks for it
        self.rescan = False

    def __enter__(self) -> Signals:
        self._ours.setblocking(False)
        self._kernels.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._kernels.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._note) for number in self.HANDLED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._ours.close()
        self._kernels.close()

    def fileno(self) -> int:
        return self._ours.fileno()

    def clear(self) -> None:
        """Makes `fileno` unreadable again; the notes stay."""
        try:
            self._ours.recv(4096)
        except BlockingIOError:
            pass

    def ask_to_stop(self, who: str) -> None:
        """Not at once: what has been told by then is published."""
        self.stop = who

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.rescan = True
        else:
            self.ask_to_stop(signal.Signals(number).name)


class Monitor:
    """Watches processes and publishes what they do, until a signal ends it. Without a `connector` it scans."""

    def __init__(
        self,
        sink: Sink,
        connector: Connector | None,
        priority: Priority | None,
        hashes: bool,
        intervals: Intervals,
    ) -> None:
        self._sink = sink
        self._connector = connector
        self._intervals = intervals
        self._clock = Clock()
        self._proc = Proc()
        self._hasher = Hasher(self._proc.open_image) if hashes else None
        self._tracker = Tracker(self._proc, self._hasher or NoHashes(), self._publish, self._clock)
        self._priority = priority
        self._rounds = Rounds(self._tracker, self._clock, intervals.metadata, self._begin_round, self.notes)
        self._scan_due_ns: int | None = None
        self._scan_cost_ns = 0
        self._known_loss = (0, 0)
        self._mailbox: Mailbox | None = None
        self.paused = False
        self.waiting = False  # paused until it is told to begin
        self._suppressed = 0  # changes that were not published because it was paused
        self._recovered_ns = 0
        self._beat_interval_ns: int | None = None
        self._beat_due_ns: int | None = None
        self._said: HealthStatus = HEALTHY

    # ---- steering, on the loop ---------------------------------------------------------------------------------------

    def attend(self, mailbox: Mailbox) -> None:
        """Answer what comes there, from `run` on."""
        self._mailbox = mailbox

    def pause(self) -> None:
        """Publish nothing; go on watching."""
        self.paused, self.waiting = True, False

    def wait(self) -> None:
        """The same, until it is told to begin: nothing is wrong with it."""
        self.paused = self.waiting = True

    def resume(self) -> None:
        """Publish again, and tell at once what there is."""
        if self.paused:
            self.paused = self.waiting = False
            self._reconcile()
            self._rounds.restart()

    def change(self, interval: float | None = None, metadata_interval: float | None = None) -> None:
        """Other intervals from now on, in seconds."""
        scan, metadata = interval or self._intervals.scan, metadata_interval or self._intervals.metadata
        self._intervals = Intervals(scan, metadata)
        if self._scan_due_ns is not None:
            self._scan_due_ns = min(self._scan_due_ns, self._clock.monotonic_ns() + int(scan * SECOND))
        self._rounds.change(metadata)

    def records(self, wanted: Callable[[Process], bool]) -> Iterator[ProcessRecord]:
        """The processes that fit, as they are now."""
        self._reconcile()
        now = self._clock.unix_ns()
        for process in filter(None, map(self._tracker.get, self._tracker.pids())):
            if wanted(process):
                yield record(process, now)

    @property
    def mode(self) -> str:
        """How it watches."""
        return "scan" if self._connector is None else "connector"

    @property
    def loses(self) -> bool:
        """Have events been lost, and not been made up for yet?"""
        return self._loss_is_new()

    @property
    def health(self) -> HealthStatus:
        """How it judges itself."""
        return DEGRADED if self.loses or (self.paused and not self.waiting) else HEALTHY

    @property
    def reason(self) -> str:
        """Why that is no better."""
        if self.health == HEALTHY:
            return ""
        return "paused" if self.paused and not self.waiting else "events were lost lately"

    def figures(self) -> dict[str, float]:
        """For its health."""
        lost = self._connector.lost if self._connector is not None else 0
        return {
            "processes": float(len(self._tracker)),
            "events_lost": float(lost),
            "events_refused": float(self._sink.refused),
            "events_suppressed": float(self._suppressed),
            "scan_seconds": self._intervals.scan,
            "metadata_seconds": self._intervals.metadata,
        }

    def run(self, signals: Signals) -> None:
        """Runs until `signals` say stop. SinkGone: there is nowhere to publish any more."""
        try:
            with selectors.EpollSelector() as selector:
                self._register(selector, signals)
                self._take_inventory()
                self._announce()
                while signals.stop is None:
                    for key, _ in selector.select(self._timeout_s()):
                        key.data()
                    self._work(signals)
                self._finish()
            _log.info("ended by %s", signals.stop)
        finally:
            if self._hasher is not None:
                self._hasher.close()

    def notes(self) -> tuple[str, ...]:
        """How we work and what we have missed, as it stands in the event about ourselves."""
        refused = f"collector.refused={self._sink.refused}"
        if self._connector is None:
            return (
                refused,
                "collector.mode=scan",
                f"collector.interval_seconds={self._scan_interval_s():g}",
                f"collector.scan_milliseconds={self._scan_cost_ns / 1e6:.1f}",
                f"collector.misses={scan_misses(self._scan_interval_s())}",
            )
        return (
            refused,
            "collector.mode=connector",
            f"collector.lost_events={self._connector.lost}",
            f"collector.overruns={self._connector.overruns}",
            f"collector.misses={connector_misses()}",
        )

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def _register(self, selector: selectors.EpollSelector, signals: Signals) -> None:
        def register(file: Signals | Connector | Hasher | Mailbox, action: Callable[[], object]) -> None:
            selector.register(file, selectors.EVENT_READ, action)

        register(signals, signals.clear)
        if self._connector is not None:
            register(self._connector, self._listen)
        if self._hasher is not None:
            register(self._hasher, self._take_hashes)
        if self._mailbox is not None:
            register(self._mailbox, self._mailbox.work)

    def _work(self, signals: Signals) -> None:
        """What is to be done by time, or because a signal asks for it."""
        self._tracker.tick()
        if signals.rescan:
            signals.rescan = False
            self._announce()
            _log.info("rescan, as SIGHUP asks for")
            self._reconcile()
            self._rounds.restart()
        now = self._clock.monotonic_ns()
        if self._scan_due_ns is not None and self._scan_due_ns <= now:
            self._scan()
        if self._loss_is_new() and now - self._recovered_ns >= RECOVERY_NS:
            self._recover()
        if self._rounds.due_ns <= now:
            self._rounds.run()
        self._beat()  # last: a loss that has been made up for at once is nothing to tell

    def _timeout_s(self) -> float:
        due = [self._rounds.due_ns, self._scan_due_ns, self._tracker.deadline()]
        if self._loss_is_new():
            due.append(self._recovered_ns + RECOVERY_NS)
        due.append(self._beat_due_ns)
        first = min(each for each in due if each is not None)
        return max(0.0, (first - self._clock.monotonic_ns()) / SECOND)

    def _listen(self) -> bool:
        """Feeds what the kernel has told; False when there was nothing."""
        if self._connector is None:
            return False
        some = False
        for event in self._connector.read():
            self._tracker.feed(event)
            some = True
        return some

    def _take_hashes(self) -> None:
        if self._hasher is not None:
            for key, digest in self._hasher.results():
                self._tracker.hashed(key, digest)

    def _publish(self, change: Change) -> None:
        if self.paused:
            self._suppressed += 1
        else:
            self._sink.publish(change.topic, build(change, self._clock.unix_ns()))

    # ---- whoever started us ------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        """We work from now on; how often somebody wants to see that we do may have changed, too."""
        interval = self._sink.ready()
        self._beat_interval_ns = None if interval is None else int(interval * SECOND / 2)
        self._beat_due_ns = None if interval is None else self._clock.monotonic_ns()

    def _beat(self) -> None:
        if self._beat_due_ns is None or self._beat_interval_ns is None:
            return
        now, health = self._clock.monotonic_ns(), self.health
        if self._beat_due_ns <= now or health != self._said:
            self._said = health
            self._sink.beat(health, self.reason)
            self._beat_due_ns = now + self._beat_interval_ns

    # ---- scans -------------------------------------------------------------------------------------------------------

    def _take_inventory(self) -> None:
        self._tracker.reconcile(self._proc.listing(), initial=True)
        self._rounds.tell(os.getpid())
        if self._connector is None:
            self._scan_due_ns = self._clock.monotonic_ns() + int(self._intervals.scan * SECOND)
        _log.info("%d processes at the start", len(self._tracker))

    def _scan(self) -> None:
        begun = self._clock.monotonic_ns()
        self._tracker.reconcile(self._proc.listing())
        self._scan_cost_ns = self._clock.monotonic_ns() - begun
        self._scan_due_ns = begun + int(self._scan_interval_s() * SECOND)

    def _scan_interval_s(self) -> float:
        return max(self._intervals.scan, SCAN_PATIENCE * self._scan_cost_ns / SECOND)

    def _reconcile(self) -> None:
        """Compares with /proc; what the kernel told until the list was made is fed first."""
        listing = self._proc.listing()
        for _ in range(64):
            if not self._listen():
                break
        self._tracker.reconcile(listing)

    def _begin_round(self) -> None:
        if self._priority is not None:
            self._priority.restore()
        if self._connector is not None:
            self._reconcile()

    def _loss_is_new(self) -> bool:
        connector = self._connector
        return connector is not None and (connector.lost, connector.overruns) != self._known_loss

    def _recover(self) -> None:
        assert self._connector is not None
        before = self._known_loss[0]
        self._recovered_ns = self._clock.monotonic_ns()
        self._reconcile()
        self._known_loss = (self._connector.lost, self._connector.overruns)
        _log.warning(
            "%d events of the kernel were lost (%d since the start); the table was compared with /proc",
            self._connector.lost - before,
            self._connector.lost,
        )
        self._rounds.tell(os.getpid())
        self._rounds.restart()

    def _finish(self) -> None:
        """Publishes what has been told up to now."""
        for _ in range(64):
            if not self._listen():
                break
        self._tracker.flush()
        self._take_hashes()


def scan_misses(interval_s: float) -> str:
    """What a scan cannot see, in words."""
    return (
        f"processes that live less than {interval_s:g} s; exit statuses; times of exit to within {interval_s:g} s; "
        "programs executed under the same name; details of other users' processes unless root"
    )


def connector_misses() -> str:
    """What the process connector does not tell, in words."""
    missing = "SIGSTOP and SIGCONT between two metadata rounds; the program of a process that ends before it is read"
    return missing if os.geteuid() == 0 else f"{missing}; details of other users' processes"
