"""The table of processes: fed with what the kernel tells or a scan finds, it says what a user is to hear.

A user hears of a process once when it starts, with the program it runs, and once when it ends:

```
fork, exec within 50 ms      start (CREATED) at the exec, with the new program
fork, no exec for 50 ms      start (CREATED), with the program of its parent
fork, exit                   start, stop
exec, later                  modify (UPDATED)
ids, session, tracer         modify (UPDATED) at once, if they did change
name (prctl)                 modify (UPDATED) after 50 ms, once for all renames in that time
stopped, continued           modify (SUSPENDED, RESUMED), when a scan or a metadata round sees it
executable hashed            in the start if known; else modify (UPDATED) when it is, even after the stop
                             (of a process that was there before us: metadata, as nothing about it changed)
exit                         stop (TERMINATED)
```

A parent's start comes before its children's. A process ends with its last thread; the first may end earlier.

A process is known by PID and start time. An event about a PID whose start differs means that we missed an end: it is
told, without a status, before the new process. What was lost altogether is found by `reconcile`, which compares the
table with the list of processes. There is no clock and no I/O in here but what is handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from .clock import SECOND, Clock
from .event import Comm, Event, Exec, Exit, Fork, Ids, Kind, Session, ThreadExit, Trace
from .hashing import Hashes
from .proc import TICKS_PER_SECOND, Credentials, FileKey, Snapshot, Stat, Traffic
from .process import Change, Process, Subtype, Topic

GRACE_NS = 50_000_000
"""How long a new process has to execute its program before it is announced with its parent's, in nanoseconds."""

SAME_BIRTH_NS = SECOND
"""A fork event and a start time of /proc no further apart than this, in nanoseconds, are the same birth."""

WAITERS = 65536
"""At most so many processes wait for a hash; the others get it in their next metadata event."""

DEPTH = 1024
"""No chain of parents is followed further than this."""


class Reader(Protocol):
    """What the tracker asks of /proc; see `proc.Proc`."""

    def stat(self, pid: int) -> Stat | None: ...

    def snapshot(self, pid: int) -> Snapshot | None: ...

    def traffic(self, pid: int) -> Traffic | None: ...


class Tracker:
    """The processes of this machine. `emit` gets each change as it is found; it may not call back."""

    def __init__(
        self, proc: Reader, hashes: Hashes, emit: Callable[[Change], None], clock: Clock, grace_ns: int = GRACE_NS
    ) -> None:
        self._proc = proc
        self._hashes = hashes
        self._emit = emit
        self._clock = clock
        self._grace_ns = grace_ns
        self._table: dict[int, Process] = {}
        self._due: deque[tuple[int, Process]] = deque()
        self._waiting: dict[FileKey, dict[int, Process]] = {}
        self._waiters = 0

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, pid: object) -> bool:
        return pid in self._table

    def pids(self) -> list[int]:
        """The processes in the table."""
        return list(self._table)

    def get(self, pid: int) -> Process | None:
        """The living process of that number."""
        return self._table.get(pid)

    # ---- events ------------------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Takes one event of the kernel, in the order it told them."""
        match event:
            case Fork():
                self._forked(event)
            case Exec():
                self._executed(event)
            case Exit():
                self._exited(event)
            case ThreadExit():
                self._thread_exited(event)
            case Ids():
                self._set_ids(event)
            case Session():
                self._set_session(event)
            case Comm():
                self._renamed(event)
            case Trace():
                self._traced(event)

    def deadline(self) -> int | None:
        """When `tick` has something to do next, in nanoseconds of the monotonic clock."""
        return self._due[0][0] if self._due else None

    def tick(self) -> None:
        """Announces what has waited long enough."""
        now = self._clock.monotonic_ns()
        while self._due and self._due[0][0] <= now:
            process = self._due.popleft()[1]
            if self._table.get(process.pid) is not process:
                continue
            if not process.announced:
                self._announce_forked(process)
            elif process.renamed:
                process.renamed = False
                self._modify(process)

    def flush(self) -> None:
        """Announces what still waits, because we end."""
        while self._due:
            process = self._due.popleft()[1]
            if self._table.get(process.pid) is process and not process.announced:
                self._announce_forked(process)

    def _forked(self, event: Fork) -> None:
        known = self._table.get(event.child)
        if known is not None:
            if self._is_birth_of(known, event.time_ns):
                known.forked_ns = event.time_ns
                return
            self._stop(known)
        start = self._clock.unix_of_monotonic(event.time_ns)
        parent = self._table.get(event.parent)
        if parent is None:
            child = Process(event.child, event.parent, start, forked_ns=event.time_ns)
        else:
            child = parent.forked(event.child, start, event.time_ns)
        self._insert(child)
        self._due.append((event.time_ns + self._grace_ns, child))

    def _executed(self, event: Exec) -> None:
        process = self._table.get(event.pid)
        if process is None:
            process = Process(event.pid)
            self._insert(process)
        process.forget_image()
        self._read(process)
        if process.announced:
            self._want_digest(process)
            self._modify(process)
        else:
            self._announce(process)

    def _exited(self, event: Exit) -> None:
        process = self._table.get(event.pid)
        if process is None:
            process = Process(event.pid, event.parent, announced=True)
            self._insert(process)
            return self._stop(process, event.status)
        self._move(process, event.parent)
        stat = self._stat(process)
        if stat is not None and stat.state not in "ZXx":
            return None  # an exec by another thread took the place of the first, or the number is used again
        if stat is not None and not stat.ended:
            process.leader_status = event.status
            return None
        return self._stop(process, event.status, stat)

    def _thread_exited(self, event: ThreadExit) -> None:
        process = self._table.get(event.pid)
        if process is None or process.leader_status is None:
            return
        stat = self._stat(process)
        if stat is None or stat.ended:
            self._stop(process, process.leader_status, stat)

    def _set_ids(self, event: Ids) -> None:
        process = self._table.get(event.pid)
        if process is None:
            return
        before = process.credentials
        self._read(process)
        process.credentials = _with_ids(process.credentials, event)
        if process.announced and process.credentials != before:
            self._modify(process)

    def _set_session(self, event: Session) -> None:
        process = self._table.get(event.pid)
        if process is None or process.session == process.pid == process.process_group:
            return
        process.session = process.process_group = process.pid
        if process.announced:
            self._modify(process)

    def _renamed(self, event: Comm) -> None:
        process = self._table.get(event.pid)
        if process is None:
            return
        before = process.name
        process.rename(event.name)
        if process.announced and not process.renamed and process.name != before:
            process.renamed = True
            self._due.append((self._clock.monotonic_ns() + self._grace_ns, process))

    def _traced(self, event: Trace) -> None:
        process = self._table.get(event.pid)
        if process is None:
            return
        credentials = process.credentials or Credentials()
        if credentials.tracer != event.tracer:
            process.credentials = credentials._replace(tracer=event.tracer)
            if process.announced:
                self._modify(process)

    # ---- scans -------------------------------------------------------------------------------------------------------

    def reconcile(self, listing: Mapping[int, Stat], initial: bool = False) -> None:
        """Makes the table agree with a list of all processes: what is missing in either is told.

        The list may be older than the events fed so far, so /proc is asked again where the two differ. `initial`: what
        is new was there before us and is told as metadata.
        """
        for pid, stat in listing.items():
            process = self._table.get(pid)
            if process is not None and self._differs(process, stat):
                self._end_unless_there(process)
                process = None
            if process is not None:
                self._compare(process, stat)
            elif pid not in self._table and not stat.ended:
                self._discover(pid, initial)
        for process in [each for pid, each in self._table.items() if pid not in listing]:
            self._end_unless_there(process)

    def refresh(self, pid: int, notes: tuple[str, ...] = ()) -> None:
        """Reads a process anew and tells what it is as metadata, and what has changed, if anything, as a change."""
        process = self._table.get(pid)
        if process is None or not process.announced:
            return
        before, state = process.look(), process.state
        snapshot = self._proc.snapshot(pid)
        if snapshot is None or snapshot.stat is None or self._differs(process, snapshot.stat) or snapshot.stat.ended:
            return  # its end is on its way, or `reconcile` finds it
        self._take(process, snapshot)
        process.traffic = self._proc.traffic(pid) or process.traffic
        self._sample(process, snapshot.stat)
        self._want_digest(process)
        self._tell_state(process, state)
        if process.look() != before:
            self._modify(process)
        self._tell(Topic.METADATA, Subtype.UPDATED, process, notes=notes)

    def hashed(self, key: FileKey, digest: str | None) -> None:
        """The executable `key` has this SHA-256; None: it could not be read."""
        processes = self._waiting.pop(key, {})
        self._waiters -= len(processes)
        for process in processes.values():
            if digest is not None and process.image.key == key and process.digest is None:
                process.digest = digest
                topic = Topic.METADATA if process.found else Topic.MODIFY
                self._tell(topic, Subtype.UPDATED, process)

    def _discover(self, pid: int, initial: bool) -> None:
        snapshot = self._proc.snapshot(pid)
        if snapshot is None or snapshot.stat is None or snapshot.stat.ended:
            return
        process = Process(pid)
        self._insert(process)
        self._take(process, snapshot)
        if initial:
            process.announced = process.found = True
            self._want_digest(process)
            self._tell(Topic.METADATA, Subtype.UPDATED, process)
        else:
            self._announce(process)

    def _compare(self, process: Process, stat: Stat) -> None:
        """A process that both know: an exec shows in its name, a stop in its state."""
        if not process.announced:
            return
        if stat.ended:
            return self._end_unless_there(process)
        self._tell_state(process, process.state, stat.state)
        before = process.look()
        if process.shows_change(stat):
            self._read(process)
            self._want_digest(process)
            if process.look() != before:
                self._modify(process)
        return None

    def _end_unless_there(self, process: Process) -> None:
        stat = self._stat(process)
        if stat is None or stat.ended:
            self._stop(process, process.leader_status, stat)

    def _tell_state(self, process: Process, before: str, now: str | None = None) -> None:
        process.state = now or process.state
        if (before == "T") != (process.state == "T"):
            self._tell(Topic.MODIFY, Subtype.SUSPENDED if process.state == "T" else Subtype.RESUMED, process)

    # ---- what becomes of a process -----------------------------------------------------------------------------------

    def _insert(self, process: Process) -> None:
        self._table[process.pid] = process
        self._adopt(process)

    def _adopt(self, process: Process) -> None:
        parent = self._table.get(process.ppid) if process.ppid is not None else None
        if parent is not None and parent is not process:
            parent.children.add(process.pid)

    def _disown(self, process: Process) -> None:
        parent = self._table.get(process.ppid) if process.ppid is not None else None
        if parent is not None:
            parent.children.discard(process.pid)

    def _read(self, process: Process) -> bool:
        snapshot = self._proc.snapshot(process.pid)
        if snapshot is None or (snapshot.stat is not None and self._differs(process, snapshot.stat)):
            process.accessible = False
            return False
        self._take(process, snapshot)
        return True

    def _take(self, process: Process, snapshot: Snapshot) -> None:
        self._disown(process)
        process.take(snapshot)
        self._adopt(process)
        if not process.announced and process.start_ticks is not None:
            process.start_unix_ns = self._clock.unix_of_ticks(process.start_ticks)

    def _announce_forked(self, process: Process) -> None:
        """It goes on with its parent's program."""
        self._read(process)
        self._announce(process)

    def _announce(self, process: Process) -> None:
        for ancestor in reversed(list(self._unannounced_ancestors(process))):
            self._read(ancestor)
            self._announce_alone(ancestor)
        self._announce_alone(process)

    def _announce_alone(self, process: Process) -> None:
        process.announced = True
        self._want_digest(process)
        self._tell(Topic.START, Subtype.CREATED, process)

    def _unannounced_ancestors(self, process: Process) -> Iterator[Process]:
        for ancestor in self._ancestors(process):
            if ancestor.announced:
                return
            yield ancestor

    def _ancestors(self, process: Process) -> Iterator[Process]:
        seen = process
        for _ in range(DEPTH):
            parent = self._table.get(seen.ppid) if seen.ppid else None
            if parent is None or parent is process:
                return
            yield parent
            seen = parent

    def _stop(self, process: Process, status: int | None = None, stat: Stat | None = None) -> None:
        if not process.announced:
            self._announce(process)
        if stat is not None:
            self._sample(process, stat, whole_life=True)
        self._tell(Topic.STOP, Subtype.TERMINATED, process, status)
        self._disown(process)
        del self._table[process.pid]
        for pid in process.children:
            self._reparent(pid)

    def _reparent(self, pid: int) -> None:
        child = self._table.get(pid)
        stat = self._stat(child) if child is not None else None
        if child is not None and stat is not None:
            self._move(child, stat.ppid)

    def _move(self, process: Process, parent: int) -> None:
        if parent and parent != process.ppid:
            self._disown(process)
            process.ppid = parent
            self._adopt(process)

    def _modify(self, process: Process) -> None:
        self._tell(Topic.MODIFY, Subtype.UPDATED, process)

    def _tell(
        self,
        topic: Topic,
        subtype: Subtype,
        process: Process,
        status: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        parent = self._table.get(process.ppid) if process.ppid else None
        depth = sum(1 for _ in self._ancestors(process))
        self._emit(Change(topic, subtype, process, parent, depth, status, notes))

    # ---- identity, samples, hashes -----------------------------------------------------------------------------------

    def _stat(self, process: Process) -> Stat | None:
        """The state of this very process; None when it is gone, also when another has its number."""
        stat = self._proc.stat(process.pid)
        return None if stat is None or self._differs(process, stat) else stat

    def _differs(self, process: Process, stat: Stat) -> bool:
        if process.start_ticks is not None:
            return process.start_ticks != stat.start_ticks
        if process.forked_ns is None:
            return False
        return abs(self._clock.monotonic_of_ticks(stat.start_ticks) - process.forked_ns) > SAME_BIRTH_NS

    def _is_birth_of(self, process: Process, time_ns: int) -> bool:
        """A fork event of a process that a scan found first."""
        if process.forked_ns is not None or process.start_ticks is None:
            return False
        return abs(self._clock.monotonic_of_ticks(process.start_ticks) - time_ns) <= SAME_BIRTH_NS

    def _sample(self, process: Process, stat: Stat, whole_life: bool = False) -> None:
        """How busy it was since the last sample, or since its start."""
        now = self._clock.monotonic_ns()
        begin, ticks = process.sampled_ns, process.cpu_ticks
        if begin is None or whole_life:
            begin, ticks = process.forked_ns or self._clock.monotonic_of_ticks(stat.start_ticks), 0
        elapsed_ns = max(now - begin, SECOND // TICKS_PER_SECOND)
        process.share = max(0, stat.cpu_ticks - ticks) * SECOND / TICKS_PER_SECOND / elapsed_ns
        process.cpu_ticks, process.sampled_ns = stat.cpu_ticks, now

    def _want_digest(self, process: Process) -> None:
        key = process.image.key
        if key is None or process.digest is not None:
            return
        process.digest = self._hashes.lookup(key)
        if process.digest is not None or self._waiters >= WAITERS:
            return
        if key in self._waiting or self._hashes.request(key, process.pid):
            self._wait_for(key, process)

    def _wait_for(self, key: FileKey, process: Process) -> None:
        waiting = self._waiting.setdefault(key, {})
        if id(process) not in waiting:
            waiting[id(process)] = process
            self._waiters += 1


def _with_ids(credentials: Credentials | None, event: Ids) -> Credentials:
    known = credentials or Credentials()
    if event.kind is Kind.USER:
        return known._replace(user=event.real, effective_user=event.effective)
    return known._replace(group=event.real, effective_group=event.effective)
