"""A change of a process as a message of the bus: `ProcessEventData`.

What the fields mean here, where the schema leaves it open:

```
process.user_id              the real user id; security_context.user_id and group_id are the effective ones
process.cpu_usage            percent of the whole machine, 0-100; performance.cpu_percent of one core, may exceed 100.
                             In a stop event over its whole life, else since the last metadata round
process.memory_usage         resident bytes, as performance.memory_bytes
process.accessible           all that we asked the kernel about the process it told; false also when it was gone by then
process.on_disk_mismatch     what runs is not the file of that name: replaced, deleted, or never was one
process.ssdeep_*             never set: no such hash is computed, so none failed either
tree_context.tree_depth      how many ancestors are known: 0 for the first process
performance.network_*        never set: the kernel does not count them by process
privilege_level              "root", "elevated" (a capability, or other ids than its user's), "user", or "kernel"
security_labels              "key=value": label (security module), cgroup, capabilities (hexadecimal, effective),
                             no_new_privs, seccomp, tracer (PID), exit_status, exit_signal, core_dumped,
                             truncated (a field that is not whole), and of procmond itself collector.*:
                             mode, misses, and what it has lost or could not publish
```

An executable's hash that is not known yet follows in a modify event.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from shmbus.v1 import common_pb2, eventbus_pb2

from .hashing import ALGORITHM
from .proc import Credentials
from .process import Change, Process

CHILDREN = 16384
"""At most so many children are listed; a message of the bus is at most 1 MiB by default."""

_PROCESSORS = os.cpu_count() or 1


def build(change: Change, now_unix_ns: int) -> eventbus_pb2.ProcessEventData:
    """The message for a change that is told at `now_unix_ns`."""
    process = change.process
    return eventbus_pb2.ProcessEventData(
        process=record(process, now_unix_ns),
        subtype=change.subtype.value,
        tree_context=_tree(change, now_unix_ns),
        security_context=_security(change),
        performance=_performance(process),
    )


def record(process: Process, now_unix_ns: int) -> common_pb2.ProcessRecord:
    """The process itself."""
    return common_pb2.ProcessRecord(
        pid=process.pid,
        ppid=process.ppid,
        name=process.name,
        executable_path=process.image.path,
        command_line=process.arguments.values,
        start_time=_seconds(process.start_unix_ns),
        cpu_usage=_of_machine(process.share),
        memory_usage=process.memory,
        executable_hash=process.digest,
        hash_algorithm=ALGORITHM if process.digest is not None else None,
        user_id=_text(process.credentials.user if process.credentials else None),
        accessible=process.accessible,
        file_exists=process.image.exists,
        collection_time=now_unix_ns // 1_000_000,
        on_disk_mismatch=process.image.replaced,
    )


def brief(process: Process, now_unix_ns: int) -> common_pb2.ProcessRecord:
    """The process as somebody's parent: who it is, not what it does."""
    return common_pb2.ProcessRecord(
        pid=process.pid,
        ppid=process.ppid,
        name=process.name,
        executable_path=process.image.path,
        start_time=_seconds(process.start_unix_ns),
        executable_hash=process.digest,
        hash_algorithm=ALGORITHM if process.digest is not None else None,
        user_id=_text(process.credentials.user if process.credentials else None),
        accessible=process.accessible,
        file_exists=process.image.exists,
        collection_time=now_unix_ns // 1_000_000,
        on_disk_mismatch=process.image.replaced,
    )


def privilege(process: Process) -> str | None:
    """How much the process may; None when not known."""
    if process.kernel_thread:
        return "kernel"
    credentials = process.credentials
    if credentials is None or credentials.effective_user is None:
        return None
    if credentials.effective_user == 0:
        return "root"
    other_ids = (credentials.user, credentials.group) != (credentials.effective_user, credentials.effective_group)
    return "elevated" if other_ids or credentials.capabilities else "user"


def _tree(change: Change, now_unix_ns: int) -> eventbus_pb2.ProcessTreeContext:
    process, parent = change.process, change.parent
    return eventbus_pb2.ProcessTreeContext(
        parent_process=brief(parent, now_unix_ns) if parent is not None else None,
        child_pids=sorted(process.children)[:CHILDREN],
        tree_depth=change.depth,
        session_id=_text(process.session),
        process_group_id=process.process_group,
    )


def _security(change: Change) -> eventbus_pb2.SecurityContext:
    credentials = change.process.credentials or Credentials()
    return eventbus_pb2.SecurityContext(
        user_id=_text(credentials.effective_user),
        group_id=_text(credentials.effective_group),
        security_labels=list(_labels(change, credentials)),
        privilege_level=privilege(change.process),
    )


def _labels(change: Change, credentials: Credentials) -> Iterator[str]:
    process = change.process
    if process.label is not None:
        yield f"label={process.label}"
    if process.cgroup is not None:
        yield f"cgroup={process.cgroup}"
    if credentials.capabilities:
        yield f"capabilities={credentials.capabilities:#x}"
    if credentials.no_new_privileges:
        yield "no_new_privs=1"
    if credentials.seccomp:
        yield f"seccomp={credentials.seccomp}"
    if credentials.tracer:
        yield f"tracer={credentials.tracer}"
    if process.arguments.truncated:
        yield "truncated=command_line"
    if len(process.children) > CHILDREN:
        yield "truncated=child_pids"
    if change.status is not None:
        yield from _end(change.status)
    yield from change.notes


def _end(status: int) -> Iterator[str]:
    """How it ended, from a status as wait(2) gives it."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        yield f"exit_signal={_signal_name(number)}"
    else:
        yield f"exit_status={os.WEXITSTATUS(status)}"
    if os.WCOREDUMP(status):
        yield "core_dumped=1"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else str(number)


def _performance(process: Process) -> eventbus_pb2.ProcessPerformanceMetrics:
    traffic = process.traffic
    return eventbus_pb2.ProcessPerformanceMetrics(
        cpu_percent=process.share * 100 if process.share is not None else None,
        memory_bytes=process.memory,
        io_read_bytes=traffic.read if traffic is not None else None,
        io_write_bytes=traffic.written if traffic is not None else None,
    )


def _of_machine(share: float | None) -> float | None:
    return min(100.0, share * 100 / _PROCESSORS) if share is not None else None


def _seconds(time_ns: int | None) -> int | None:
    return time_ns // 1_000_000_000 if time_ns is not None else None


def _text(number: int | None) -> str | None:
    return str(number) if number is not None else None
