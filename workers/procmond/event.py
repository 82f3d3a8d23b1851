"""What the kernel tells of a process: one small tuple an event. Threads are no processes, only their end is told.

Every `time_ns` is CLOCK_MONOTONIC in nanoseconds, taken by the kernel when it happened.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """Which pair of ids an `Ids` event is about."""

    USER = "user"
    GROUP = "group"


class Fork(NamedTuple):
    """`parent` made the process `child`; it runs its parent's program until it executes another."""

    time_ns: int
    parent: int
    child: int


class Exec(NamedTuple):
    """`pid` runs another program from here on."""

    time_ns: int
    pid: int


class Exit(NamedTuple):
    """The first thread of `pid` ended with `status` (as from wait(2)); other threads may still live."""

    time_ns: int
    pid: int
    status: int
    parent: int


class ThreadExit(NamedTuple):
    """Another thread of `pid` than its first ended."""

    time_ns: int
    pid: int


class Ids(NamedTuple):
    """`pid` set its user or group ids. The kernel tells it also when they stay what they were."""

    time_ns: int
    pid: int
    kind: Kind
    real: int
    effective: int


class Session(NamedTuple):
    """`pid` leads a new session and a new process group, both numbered like itself."""

    time_ns: int
    pid: int


class Comm(NamedTuple):
    """`pid` renamed itself. `name` is at most 15 bytes, in no particular encoding."""

    time_ns: int
    pid: int
    name: bytes


class Trace(NamedTuple):
    """`tracer` attached to `pid` with ptrace(2); 0: it detached."""

    time_ns: int
    pid: int
    tracer: int


Event = Fork | Exec | Exit | ThreadExit | Ids | Session | Comm | Trace
