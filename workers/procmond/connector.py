"""The kernel's process connector: a netlink socket on which it tells every fork, exec and exit as it happens.

A datagram is

```
offset  0  nlmsghdr    length u32 · type u16 · flags u16 · sequence u32 · port u32
       16  cn_msg      index u32 · value u32 · sequence u32 · acknowledge u32 · length u16 · flags u16
       36  proc_event  what u32 · cpu u32 · time_ns u64 (CLOCK_MONOTONIC)
       52              what happened, six u32 at most (a name: two u32 and 16 bytes)
```

The kernel numbers the events of each CPU. We take all of them, threads too, and filter none in the kernel, because
only then does a gap in those numbers mean a loss: what was lost is counted exactly, also what the kernel could not
allocate and never queued. A full receive buffer (ENOBUFS) is seen at once, without waiting for the next number.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .event import Comm, Event, Exec, Exit, Fork, Ids, Kind, Session, ThreadExit, Trace

RECEIVE_BYTES = 32 * 1024 * 1024
"""Asked for as receive buffer, in bytes: about 40,000 events. The kernel takes it only as it fills."""

_NETLINK_CONNECTOR = 11
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
_MEMINFO = struct.Struct("=9I")
_CN_IDX_PROC = 1
_CN_VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2
_NLMSG_DONE = 3
_SHORTEST = 52 + 4

_NLMSGHDR = struct.Struct("=IHHII")
_CN_MSG = struct.Struct("=IIIIHH")
_HEADER = struct.Struct("=IHHII IIIIHH IIQ")
_FOUR = struct.Struct("=4I")
_SIX = struct.Struct("=6I")
_COMM = struct.Struct("=2I16s")
_BODY = _HEADER.size

_NONE, _FORK, _EXEC, _UID = 0x0, 0x1, 0x2, 0x4
_GID, _SID, _PTRACE, _COMM_SET = 0x40, 0x80, 0x100, 0x200
_EXIT = 0x80000000

_log = logging.getLogger("procmond")


class Unavailable(Exception):
    """The kernel does not tell us of processes; the message says why."""


class Datagram(NamedTuple):
    """One decoded datagram. `event` is None for what is of no interest here.

    `answers` is what was asked to be acknowledged, in an answer to a request, ours or that of another listener.
    """

    cpu: int
    sequence: int
    answers: int | None
    event: Event | None


def decode(data: bytes | bytearray | memoryview) -> Datagram:
    """What a datagram of the connector says. ValueError: it is not one."""
    if len(data) < _SHORTEST:
        raise ValueError(f"{len(data)} bytes are too few for a process event")
    header = _HEADER.unpack_from(data)
    if (header[5], header[6]) != (_CN_IDX_PROC, _CN_VAL_PROC):
        raise ValueError(f"not from the process connector: index {header[5]}, value {header[6]}")
    what, cpu, time_ns = header[11:]
    answers = (header[8] - 1) & 0xFFFFFFFF if what == _NONE else None
    return Datagram(cpu, header[7], answers, _event(what, time_ns, data))


def _event(what: int, time_ns: int, data: bytes | bytearray | memoryview) -> Event | None:
    if len(data) < _BODY + _SIX.size and what in (_FORK, _EXIT, _UID, _GID, _PTRACE, _COMM_SET):
        raise ValueError(f"{len(data)} bytes are too few for process event {what:#x}")
    if what == _FORK:
        _, parent, thread, child = _FOUR.unpack_from(data, _BODY)
        return Fork(time_ns, parent, child) if thread == child else None
    if what == _EXIT:
        thread, pid, status, _, _, parent = _SIX.unpack_from(data, _BODY)
        return Exit(time_ns, pid, status, parent) if thread == pid else ThreadExit(time_ns, pid)
    return _change(what, time_ns, data)


def _change(what: int, time_ns: int, data: bytes | bytearray | memoryview) -> Event | None:
    """The events of one process only; those of its other threads are its own affair, except an exec."""
    thread, pid = struct.unpack_from("=2I", data, _BODY) if len(data) >= _BODY + 8 else (0, 0)
    if what == _EXEC:
        return Exec(time_ns, pid)
    if thread != pid:
        return None
    if what in (_UID, _GID):
        _, _, real, effective = _FOUR.unpack_from(data, _BODY)
        return Ids(time_ns, pid, Kind.USER if what == _UID else Kind.GROUP, real, effective)
    if what == _SID:
        return Session(time_ns, pid)
    if what == _PTRACE:
        return Trace(time_ns, pid, _FOUR.unpack_from(data, _BODY)[3])
    if what == _COMM_SET:
        return Comm(time_ns, pid, _COMM.unpack_from(data, _BODY)[2].split(b"\0")[0])
    return None


def request(operation: int, acknowledge: int) -> bytes:
    """The datagram that asks the kernel to begin or to stop telling, and to mark its answer with `acknowledge`."""
    body = struct.pack("=I", operation)
    message = _CN_MSG.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, acknowledge, len(body), 0) + body
    return _NLMSGHDR.pack(_NLMSGHDR.size + len(message), _NLMSG_DONE, 0, 0, 0) + message


class Sequences:
    """Counts the events that never came, by the kernel's numbers (32 bits, one row for each CPU)."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self.lost = 0

    def see(self, cpu: int, sequence: int) -> int:
        """Notes an event; gives how many before it are missing."""
        expected = self._next.get(cpu, sequence)
        self._next[cpu] = (sequence + 1) & 0xFFFFFFFF
        gap = (sequence - expected) & 0xFFFFFFFF
        if gap >= 0x80000000:  # an older number: nothing is missing
            return 0
        self.lost += gap
        return gap


class Connector:
    """The events of all processes of this machine, from the moment this exists.

    `lost` counts events that were not seen, `overruns` how often the receive buffer was full. Unavailable: the kernel
    does not have a connector, or this user, this PID namespace or this network namespace may not listen to it.
    """

    def __init__(self, receive_bytes: int = RECEIVE_BYTES) -> None:
        self._sequences = Sequences()
        self._drops = 0
        self._dropping = False
        self._buffer = bytearray(4096)
        self._view = memoryview(self._buffer)
        self.overruns = 0
        self.malformed = 0
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR)
        except OSError as error:
            raise Unavailable(f"no process connector: {error.strerror}") from error
        try:
            self._listen(receive_bytes)
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"the process connector is not for us: {error.strerror}") from error
        except BaseException:
            self._socket.close()
            raise

    @property
    def lost(self) -> int:
        return max(self._sequences.lost, self._drops)

    @property
    def receive_bytes(self) -> int:
        """The size of the receive buffer that we got, in bytes."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            try:
                self._socket.send(request(_IGNORE, 0))
            except OSError as error:
                _log.debug("could not take leave of the process connector: %s", error)
            self._socket.close()

    def read(self, limit: int = 1024) -> Iterator[Event]:
        """The events that have come, at most `limit` datagrams of them; never waits. Losses show in `lost`."""
        for _ in range(limit):
            try:
                length, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                self._count_drops()
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                self._dropping = True
                continue
            if sender[0] == 0:  # from the kernel, and not from somebody who plays it
                event = self._take(self._view[:length])
                if event is not None:
                    yield event

    def _take(self, data: memoryview) -> Event | None:
        try:
            datagram = decode(data)
        except ValueError as error:
            self.malformed += 1
            _log.warning("a datagram of the process connector makes no sense: %s", error)
            return None
        self._sequences.see(datagram.cpu, datagram.sequence)
        return datagram.event

    def _count_drops(self) -> None:
        """Asked when the queue is empty: until then a socket that was full once goes on dropping."""
        if self._dropping:
            values = _MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
            self._drops = values[_MEMINFO_DROPS]
            self._dropping = False

    def _listen(self, receive_bytes: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_bytes // 2)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes // 2)
        self._socket.bind((0, 1 << (_CN_IDX_PROC - 1)))
        mark = int.from_bytes(os.urandom(4))
        self._socket.send(request(_LISTEN, mark))
        self._socket.setblocking(False)
        self._await_answer(mark)

    def _await_answer(self, mark: int) -> None:
        """The kernel answers before send() returns, or, outside the first PID and user namespace, not at all."""
        for _ in range(10_000):
            try:
                length, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                break
            if sender[0] != 0:
                continue
            datagram = decode(self._view[:length])
            self._sequences.see(datagram.cpu, datagram.sequence)
            if datagram.answers == mark:
                return self._check(struct.unpack_from("=I", self._buffer, _BODY)[0])
        raise Unavailable("the process connector does not answer: this is not the first PID and user namespace")

    @staticmethod
    def _check(error: int) -> None:
        if error:
            raise Unavailable(f"the process connector refuses us: {os.strerror(error)}")
