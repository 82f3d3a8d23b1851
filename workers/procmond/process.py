"""A process as procmond knows it: one entry of its table, and what is said of it when it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from .proc import Arguments, Credentials, Image, Snapshot, Stat, Traffic, full_name
from .text import readable_comm


@dataclass(slots=True, eq=False)
class Process:
    """One life of a PID. Its identity is (pid, start): `start_ticks` once /proc told it, `forked_ns` before that.

    `start_unix_ns` is in Unix nanoseconds, `forked_ns` and `sampled_ns` on the monotonic clock, `cpu_ticks` in clock
    ticks, `memory` in bytes. `share` is how much of one core it used over the last sample, 1.0 being all of it.
    `announced`: the bus has heard of it. `found`: it was there
    before us. `leader_status`: its first thread has ended so, others live on.
    """

    pid: int
    ppid: int | None = None
    start_unix_ns: int | None = None
    start_ticks: int | None = None
    forked_ns: int | None = None
    announced: bool = False
    found: bool = False
    leader_status: int | None = None
    renamed: bool = False
    comm: bytes = b""
    name: str = ""
    state: str = "R"
    kernel_thread: bool = False
    image: Image = Image()
    arguments: Arguments = Arguments()
    credentials: Credentials | None = None
    session: int | None = None
    process_group: int | None = None
    label: str | None = None
    cgroup: str | None = None
    accessible: bool = False
    digest: str | None = None
    cpu_ticks: int = 0
    share: float | None = None
    memory: int | None = None
    traffic: Traffic | None = None
    sampled_ns: int | None = None
    children: set[int] = field(default_factory=set)

    def forked(self, pid: int, start_unix_ns: int, forked_ns: int) -> Process:
        """A child as it is at its birth: a copy of this process, of which nothing was read yet."""
        return Process(
            pid=pid,
            ppid=self.pid,
            start_unix_ns=start_unix_ns,
            forked_ns=forked_ns,
            comm=self.comm,
            name=self.name,
            image=self.image,
            arguments=self.arguments,
            credentials=self.credentials,
            session=self.session,
            process_group=self.process_group,
            label=self.label,
            cgroup=self.cgroup,
            digest=self.digest,
        )

    def look(self) -> tuple[object, ...]:
        """What a user would call the same process unchanged as long as it stays the same."""
        return (
            self.name,
            self.image,
            self.arguments,
            self.credentials,
            self.session,
            self.process_group,
            self.label,
            self.cgroup,
        )

    def forget_image(self) -> None:
        """It executes another program, of which nothing is known yet."""
        self.comm, self.name, self.image, self.arguments, self.digest = b"", "", Image(), Arguments(), None
        self.accessible = self.found = False
        self.leader_status = None

    def take(self, snapshot: Snapshot) -> None:
        """Takes over what was read; what could not be read, because it has ended meanwhile, stays."""
        self.accessible = snapshot.accessible
        if snapshot.stat is not None:
            self.take_stat(snapshot.stat)
        if snapshot.image.path is not None:
            self._take_image(snapshot.image)
        if snapshot.arguments.values:
            self.arguments = snapshot.arguments
        if snapshot.stat is not None:
            self.name = full_name(snapshot.stat.comm, self.arguments, self.image)
        elif not self.name and self.image.path is not None:
            self.name = self.image.path.rsplit("/", 1)[-1]
        self.credentials = snapshot.credentials or self.credentials
        self.label = snapshot.label or self.label
        self.cgroup = snapshot.cgroup or self.cgroup

    def _take_image(self, image: Image) -> None:
        if image.key != self.image.key:
            self.digest = None
        self.image = image

    def take_stat(self, stat: Stat) -> None:
        """Takes over what /proc/PID/stat says, but not the name and not the sample of CPU time."""
        self.start_ticks = stat.start_ticks
        if not stat.reaped:
            self.ppid = stat.ppid
            self.session = stat.session
            self.process_group = stat.process_group
        self.kernel_thread = stat.kernel_thread
        self.memory = stat.memory or None  # right after an exec the kernel has not counted yet
        self.comm = stat.comm
        if not stat.ended:
            self.state = stat.state

    def shows_change(self, stat: Stat) -> bool:
        """An exec, a new name, session or process group since it was read last."""
        known = (self.comm, self.session, self.process_group)
        return known != (stat.comm, stat.session, stat.process_group)

    def rename(self, comm: bytes) -> None:
        """It gave itself another name."""
        self.comm, self.name = comm, readable_comm(comm)


class Topic(Enum):
    """Where a change is published."""

    START = "events.process.start"
    STOP = "events.process.stop"
    MODIFY = "events.process.modify"
    METADATA = "events.process.metadata"


class Subtype(Enum):
    """What a change is; the names are those of `ProcessEventSubtype`."""

    CREATED = "PROCESS_CREATED"
    UPDATED = "PROCESS_UPDATED"
    TERMINATED = "PROCESS_TERMINATED"
    SUSPENDED = "PROCESS_SUSPENDED"
    RESUMED = "PROCESS_RESUMED"


class Change(NamedTuple):
    """Something to publish of `process` as it is at this moment. `depth`: how many ancestors are known.

    `status` is that of wait(2), of a process that ended; `notes` are further facts as "key=value".
    """

    topic: Topic
    subtype: Subtype
    process: Process
    parent: Process | None = None
    depth: int = 0
    status: int | None = None
    notes: tuple[str, ...] = ()
