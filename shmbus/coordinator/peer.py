"""One connection to the control socket: its credentials, its process, its packets in and out."""

import asyncio
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence

from shmbus.coordinator.access import Person
from shmbus.coordinator.outbox import Opener, Outbox, Overflow
from shmbus.coordinator.refusal import refusal
from shmbus.coordinator.registry import Client
from shmbus.errors import ProtocolError
from shmbus.packet import close_all, receive_packet
from shmbus.process import Identity, identity_of
from shmbus.v1.control_pb2 import ClientPacket, ServerPacket

PACKETS_A_TURN = 64  # of one client, before the others get theirs
RETRY_SECONDS = 0.02  # when the kernel has too many descriptors under way

_CREDENTIALS = struct.Struct("iII")
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77  # Linux 6.5


class Peer:
    """A connected process. It is a client once it has said hello."""

    def __init__(
        self,
        channel: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_packet: Callable[["Peer", ClientPacket], None],
        on_gone: Callable[["Peer", str], None],
    ) -> None:
        self.channel, self._loop = channel, loop
        self._on_packet, self._on_gone = on_packet, on_gone
        self.pid, self.uid, self.gid = _CREDENTIALS.unpack(
            channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        self.groups = _groups(channel)
        self.outbox = Outbox(channel)
        self.client: Client | None = None
        self.pidfd = _open_pidfd(channel, self.pid)
        self.closed = False
        self._writing = False
        channel.setblocking(False)
        loop.add_reader(channel.fileno(), self._readable)
        if self.pidfd >= 0:
            loop.add_reader(self.pidfd, self._died)

    @property
    def person(self) -> Person:
        """Who it is as long as it has not said hello."""
        return Person(self.uid, self.gid, self.groups, self.pid)

    @property
    def name(self) -> str:
        """For messages."""
        return self.client.who if self.client else f"pid {self.pid} (uid {self.uid})"

    def identity(self) -> Identity | None:
        """Who the process is, or None when it is dead. All zeroes for one that cannot be seen from here."""
        if self.pid == 0:
            return Identity(0, 0, 0)
        # Looked up by number, but while the pidfd says alive the number is its own.
        found = identity_of(self.pid)
        return found if found is not None and not self.is_dead() else None

    def is_dead(self) -> bool:
        """Is there proof that the process is dead? One that cannot be seen counts as dead when it hangs up."""
        if self.pidfd < 0:
            return True  # of another pid namespace, or dead before it was accepted
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, packet: ServerPacket, openers: Sequence[Opener] = ()) -> None:
        """Send it, or have it wait. A client that does not read, or is gone, is hung up on, later in this turn."""
        if self.closed:
            return
        try:
            if not self.outbox.post(packet, openers):
                self._write_later()
        except Overflow as error:
            self._loop.call_soon(self._on_gone, self, str(error))
        except OSError as error:
            self._loop.call_soon(self._on_gone, self, error.strerror or str(error))

    def close(self) -> int:
        """Hang up. The pidfd is the caller's from now on (-1: none)."""
        if self.closed:
            return -1
        self.closed = True
        self._loop.remove_reader(self.channel.fileno())
        self._loop.remove_writer(self.channel.fileno())
        if self.pidfd >= 0:
            self._loop.remove_reader(self.pidfd)
        self.channel.close()
        pidfd, self.pidfd = self.pidfd, -1
        return pidfd

    def _readable(self) -> None:
        try:
            for _ in range(PACKETS_A_TURN):
                got = receive_packet(self.channel, ClientPacket, self.name)
                if got is None:
                    return self._on_gone(self, "hung up")
                packet, descriptors = got
                if descriptors:
                    close_all(descriptors)
                    raise ProtocolError(self.name, f"{len(descriptors)} descriptors that nobody asked for")
                self._on_packet(self, packet)
                if self.closed:
                    return
        except BlockingIOError:
            pass
        except OSError as error:
            self._on_gone(self, error.strerror or str(error))
        except ProtocolError as error:
            self.send(refusal(0, error))
            self._on_gone(self, str(error))

    def _died(self) -> None:
        self._on_gone(self, "died")

    def _write_later(self) -> None:
        if self.outbox.starved:
            self._loop.remove_writer(self.channel.fileno())
            self._writing = False
            self._loop.call_later(RETRY_SECONDS, self._flush)
        elif not self._writing:
            self._writing = True
            self._loop.add_writer(self.channel.fileno(), self._flush)

    def _flush(self) -> None:
        if self.closed:
            return
        try:
            if not self.outbox.flush():
                self._write_later()
                return
        except OSError as error:
            self._on_gone(self, error.strerror or str(error))
            return
        self._writing = False
        self._loop.remove_writer(self.channel.fileno())


def _groups(channel: socket.socket) -> tuple[int, ...]:
    try:
        data = channel.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4096)
    except OSError:
        return ()
    return struct.unpack(f"{len(data) // 4}I", data[: len(data) // 4 * 4])


def _open_pidfd(channel: socket.socket, pid: int) -> int:
    """Of the process that connected, -1 for one that cannot be seen (another pid namespace) or is dead already."""
    try:
        data = channel.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
        descriptor = struct.unpack("i", data)[0]
        os.set_inheritable(descriptor, False)
        return int(descriptor)
    except OSError:
        pass
    try:
        return os.pidfd_open(pid) if pid else -1
    except OSError:
        return -1
