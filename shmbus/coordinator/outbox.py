"""Packets on their way to one client. Sending never blocks: what its socket does not take waits here, up to a bound.

Descriptors are opened when a packet is sent and closed right after it, so a packet that waits holds none.

    handover.opened     killed here: the client has nothing; it asks the next coordinator
    handover.sent       the client has the descriptors, also after the death of who sent them
"""

import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence

from shmbus._core import killpoint
from shmbus.packet import close_all, send_packet
from shmbus.v1.control_pb2 import ServerPacket

MAX_WAITING_PACKETS = 4096
MAX_WAITING_BYTES = 8 * 1024 * 1024

# Opens a descriptor for a client, which is closed here when it has been sent. LookupError: nothing is left to open.
Opener = Callable[[], int]


class Overflow(Exception):
    """The client does not read: too much is waiting for it."""


class Outbox:
    """The packets that wait for one socket."""

    __slots__ = ("_channel", "_waiting", "_bytes", "starved")

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._waiting: deque[tuple[ServerPacket, Sequence[Opener]]] = deque()
        self._bytes = 0
        self.starved = False  # what is missing is not room in the socket: try again in a while

    def __len__(self) -> int:
        return len(self._waiting)

    def post(self, packet: ServerPacket, openers: Sequence[Opener] = ()) -> bool:
        """Send now, or as soon as the client reads (False). Raises Overflow, or OSError when the client is gone."""
        if not self._waiting and self._try(packet, openers):
            return True
        self._bytes += packet.ByteSize()
        if len(self._waiting) == MAX_WAITING_PACKETS or self._bytes > MAX_WAITING_BYTES:
            raise Overflow(f"it does not read: {len(self._waiting)} packets ({self._bytes} bytes) wait for it")
        self._waiting.append((packet, openers))
        return False

    def flush(self) -> bool:
        """Send what the socket takes; True when nothing waits any more. Raises OSError when the client is gone."""
        while self._waiting:
            packet, openers = self._waiting[0]
            if not self._try(packet, openers):
                return False
            self._waiting.popleft()
            self._bytes -= packet.ByteSize()
        self._bytes = 0
        return True

    def _try(self, packet: ServerPacket, openers: Sequence[Opener]) -> bool:
        descriptors: list[int] = []
        self.starved = False
        try:
            for opener in openers:
                descriptors.append(opener())
                killpoint("handover.opened")
            send_packet(self._channel, packet, descriptors)
            if descriptors:
                killpoint("handover.sent")
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            # ETOOMANYREFS: this user has too many descriptors under way; they arrive as clients read.
            self.starved = error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.EMFILE, errno.ENFILE)
            if not self.starved:
                raise
            return False
        except LookupError:
            return True  # what the packet is about has been removed while it waited
        finally:
            close_all(descriptors)
