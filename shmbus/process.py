"""Who a process is, so that a pid that was given out again is never mistaken for it.

An identity is (pid, start time, pid namespace). The start time is field 22 of /proc/<pid>/stat, in clock ticks since
boot; the namespace is the inode number of /proc/<pid>/ns/pid, because a pid means nothing outside its own namespace.
"""

import os
from typing import NamedTuple

from shmbus.blame import is_own

_STATE, _START_TIME = 3, 22  # numbers of the fields in proc(5); the first two are the pid and the command name
_STOPPED_STATES = b"Tt"
_DEAD_STATES = b"ZXx"  # a zombie has given everything back but its exit status


class Identity(NamedTuple):
    """One process: its pid, its start in clock ticks since boot, and the inode of its pid namespace."""

    pid: int
    start_time: int
    namespace: int


def identity_of(pid: int) -> Identity | None:
    """The identity of a running process; None when there is none of that pid, or only its zombie.

    The namespace of a process of another user may not be readable; it is then taken to be our own, in which the pid was
    found after all.
    """
    stat = _stat(pid)
    if stat is None or stat[0] in _DEAD_STATES:
        return None
    return Identity(pid, stat[1], _namespace(pid) or own_namespace())


def own_identity() -> Identity:
    """The identity of this process. Read anew each time: a fork changes it."""
    identity = identity_of(os.getpid())
    if identity is None:
        raise RuntimeError("/proc has no entry for this process: mount proc (`mount -t proc proc /proc`)")
    return identity


def own_namespace() -> int:
    """The pid namespace of this process; 0 where the kernel has none."""
    return _namespace(os.getpid()) or 0


def is_alive(identity: Identity) -> bool:
    """Is it still that process? Zombies are dead, and so is a pid that has been given to another process.

    A process that cannot be seen from here (of another pid namespace, or hidden by proc's option hidepid) is taken to
    be alive, because taking a live writer for dead would hand its memory to others; its death is seen by the pidfd that
    the coordinator holds.
    """
    if identity.namespace != own_namespace():
        return True
    stat = _stat(identity.pid)
    if stat is None:
        return _is_hidden(identity.pid)
    return stat[0] not in _DEAD_STATES and stat[1] == identity.start_time


def is_stopped(identity: Identity) -> bool:
    """Does it stand still, by a signal or under a debugger?"""
    stat = _stat(identity.pid)
    return stat is not None and stat[0] in _STOPPED_STATES and stat[1] == identity.start_time


def _is_hidden(pid: int) -> bool:
    """/proc shows nothing of it, and yet it is there and belongs to another user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass  # no such process, or no such number: identities are also read from memory that others wrote
    return False


def _stat(pid: int) -> tuple[int, int] | None:
    """State (a byte) and start time, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return _parse_stat(file.read(4096))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parse_stat(text: bytes) -> tuple[int, int]:
    # The command name stands in parentheses and may itself hold parentheses and blanks: count from the last ')'.
    fields = text[text.rindex(b")") + 1 :].split()
    return fields[0][0], int(fields[_START_TIME - _STATE])


def _namespace(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError as error:
        if not is_own(error):
            raise
        return None
