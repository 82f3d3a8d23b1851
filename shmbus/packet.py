"""Packets of the control socket: one protobuf message each, with descriptors beside it.

A packet that would not fit a socket buffer is spilled: {id, spilled_bytes} goes over the socket, and the encoding of
the whole stands in a memfd, sealed so that its sender cannot change or shrink it while it is read.

Nothing here trusts the other side: a packet that is too large, no protobuf, or comes with more descriptors than it may
raises ProtocolError, and every descriptor that came with it is closed.
"""

import array
import fcntl
import os
import socket
from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError

from shmbus._core import Parcel
from shmbus.errors import ProtocolError
from shmbus.v1.control_pb2 import ClientPacket, ServerPacket

MAX_PACKET_BYTES = 32 * 1024  # of one datagram; the kernel's smallest useful send buffer is several times that
MAX_BODY_BYTES = 16 * 1024 * 1024  # of a spilled packet
MAX_DESCRIPTORS = 16  # beside one packet; the protocol needs 4

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)

Packet = TypeVar("Packet", ClientPacket, ServerPacket)


def send_packet(channel: socket.socket, packet: ClientPacket | ServerPacket, descriptors: Sequence[int] = ()) -> None:
    """Send a packet; the descriptors stay the caller's.

    Raises BlockingIOError when the other side's buffer is full, any other OSError when it is gone.
    """
    data, memory = encoded(packet)
    if memory < 0:
        _send(channel, data, descriptors)
        return
    try:
        _send(channel, data, [*descriptors, memory])
    finally:
        os.close(memory)


def receive_packet(
    channel: socket.socket, kind: type[Packet], peer: str, *, flags: int = 0
) -> tuple[Packet, list[int]] | None:
    """The next packet and its descriptors, which are then the caller's to close; None when the other side hung up.

    Raises BlockingIOError when nothing is there, OSError when the connection broke, ProtocolError for garbage.
    """
    data, ancillary, status, _ = channel.recvmsg(MAX_PACKET_BYTES, _ANCILLARY_BYTES, flags | socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    try:
        if status & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            raise _too_much(peer)
        if not data and not descriptors:
            return None
        packet = _parse(data, kind, peer)
        if packet.spilled_bytes:
            memory = descriptors.pop() if descriptors else -1
            try:
                packet = _unspilled(packet, kind, peer, memory)
            finally:
                close_all([memory] if memory >= 0 else ())
        return packet, descriptors
    except BaseException:
        close_all(descriptors)
        raise


def encoded(packet: ClientPacket | ServerPacket) -> tuple[bytes, int]:
    """What goes over the socket, and the descriptor of what was spilled, which is the caller's to close; or -1."""
    data = packet.SerializeToString()
    if len(data) <= MAX_PACKET_BYTES:
        return data, -1
    return type(packet)(id=packet.id, spilled_bytes=len(data)).SerializeToString(), _spill(data)


def parsed(parcel: Parcel, kind: type[Packet], peer: str) -> tuple[Packet, bool]:
    """What came, and whether it was spilled: then its last descriptor is none of the packet's. Raises ProtocolError."""
    if parcel.cut:
        raise _too_much(peer)
    packet = _parse(parcel.data, kind, peer)
    if not packet.spilled_bytes:
        return packet, False
    return _unspilled(packet, kind, peer, parcel.peek(-1)), True


def message_fields(kind: type[ClientPacket] | type[ServerPacket], oneof: str) -> dict[str, str]:
    """Which field of that oneof carries which message, by its name."""
    fields = kind.DESCRIPTOR.oneofs_by_name[oneof].fields
    return {field.message_type.name: field.name for field in fields if field.message_type is not None}


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of them."""
    for descriptor in descriptors:
        os.close(descriptor)


def _send(channel: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    if descriptors:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        channel.sendmsg([data], [rights], socket.MSG_NOSIGNAL)
    else:
        channel.send(data, socket.MSG_NOSIGNAL)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def _parse(data: bytes, kind: type[Packet], peer: str) -> Packet:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise ProtocolError(peer, f"a packet of {len(data)} bytes that is no {kind.DESCRIPTOR.name}") from None


def _spill(data: bytes) -> int:
    memory = os.memfd_create("shmbus.packet", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(data)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(memory)
        raise
    return memory


def _too_much(peer: str) -> ProtocolError:
    return ProtocolError(
        peer,
        f"a packet of more than {MAX_PACKET_BYTES} bytes, or more than {MAX_DESCRIPTORS} descriptors beside it, or no "
        "room for them here",
    )


def _unspilled(packet: Packet, kind: type[Packet], peer: str, memory: int) -> Packet:
    size = packet.spilled_bytes
    if size > MAX_BODY_BYTES:
        raise ProtocolError(peer, f"a packet of {size} bytes, the limit is {MAX_BODY_BYTES}")
    if memory < 0:
        raise ProtocolError(peer, "a packet that says it is in a descriptor, and none came with it")
    if not _is_sealed(memory):
        # Anything else could block whoever reads it (a FIFO, a file of a stuck server) or change meanwhile.
        raise ProtocolError(peer, "a spilled packet that is not in a sealed memfd")
    data = os.pread(memory, size, 0)
    if len(data) != size:
        raise ProtocolError(peer, f"a spilled packet of {len(data)} bytes that says it has {size}")
    return _parse(data, kind, peer)


def _is_sealed(memory: int) -> bool:
    try:
        return fcntl.fcntl(memory, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False
