"""Stands before a coordinator of today and makes it look like one of another version, to clients of this process.

What an older one would not have known is dropped from the bytes both ways; what a newer one would have said is added.
Each answers a hello by the rules of its own time, which are written out here and not taken from what is tested.
"""

import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from protocols import minor_0_pb2, minor_2
from shmbus import segment
from shmbus.packet import close_all, receive_packet, send_packet

BASIC = ["basic_pub_sub", "rpc_calls", "correlation_tracking"]


class Guise:
    """How a coordinator of one version speaks."""

    def __init__(self, its: Any, version: tuple[int, int], capabilities: list[str] | None = None) -> None:
        self.its, self.version, self.capabilities = its, version, capabilities
        self._asked: Any = None

    def request(self, packet: Any) -> Any:
        """What of a client's packet gets through."""
        if self.its is minor_0_pb2:
            packet.DiscardUnknownFields()
        if packet.WhichOneof("request") == "hello":
            self._asked = type(packet.hello.negotiation)()
            self._asked.CopyFrom(packet.hello.negotiation)
            del packet.hello.negotiation.supported_versions[:]
            packet.hello.negotiation.supported_versions.add(major=1)
            packet.hello.negotiation.preferred_version.Clear()
        return packet

    def answers(self, packet: Any) -> Iterator[Any]:
        """What the client gets in place of the coordinator's packet."""
        if self.its is minor_0_pb2:
            packet.DiscardUnknownFields()
        body = packet.WhichOneof("body")
        if body is None:
            return
        if body == "welcome":
            packet = self._welcome(packet)
        if self.its is minor_2 and packet.id:
            yield minor_2.ServerPacket(weather={"text": "clear"})
        yield packet

    def _welcome(self, packet: Any) -> Any:
        offered = [(one.major, one.minor, one.patch) for one in self._asked.supported_versions]
        accepted = [one for one in offered if one[0] == self.version[0] and one[1] <= self.version[1]]
        agreed = packet.welcome.negotiation
        agreed.Clear()
        if self.version[0] != 1:  # it does not look whether the client can follow
            accepted = [(*self.version, 0)]
        if not accepted:
            refusal = type(packet)(id=packet.id)
            refusal.error.error = "VersionError"
            return refusal
        chosen = max(accepted)
        wanted = list(self._asked.client_capabilities)
        agreed.negotiation_success = True
        agreed.negotiated_version.major, agreed.negotiated_version.minor = chosen[:2]
        agreed.server_capabilities.extend(wanted if self.capabilities is None else self.capabilities)
        missing = [one for one in wanted if one not in agreed.server_capabilities]
        agreed.compatibility_warnings.extend(f"the coordinator lacks the capability '{one}'" for one in missing)
        if self.its is minor_2:
            packet.welcome.mood = "relaxed"
        return packet


GUISES = {
    "1.0": lambda: Guise(minor_0_pb2, (1, 0), BASIC),
    "1.2": lambda: Guise(minor_2, (1, 2), None),
    "2.0": lambda: Guise(minor_2, (2, 0), None),
}


@contextmanager
def relay(bus: str, looks_like: str) -> Iterator[str]:
    """The address of one that forwards to the coordinator of `bus`."""
    path = segment.runtime_directory() / f"{bus}.relay"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        stop = os.eventfd(0)
        thread = threading.Thread(target=_serve, args=(listener, str(segment.socket_path(bus)), looks_like, stop))
        thread.start()
        try:
            yield str(path)
        finally:
            os.eventfd_write(stop, 1)
            thread.join()
            os.close(stop)
            path.unlink()


def _serve(listener: socket.socket, behind: str, looks_like: str, stop: int) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(stop, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == stop:
                    for other in [one for one in selector.get_map().values() if one.data]:
                        other.fileobj.close()  # type: ignore[union-attr]
                    return
                if key.fileobj is listener:
                    _accept(listener, behind, GUISES[looks_like](), selector)
                elif not _forward(key.fileobj, *key.data):  # type: ignore[arg-type]
                    for end in (key.fileobj, key.data[1]):
                        selector.unregister(end)
                        end.close()  # type: ignore[union-attr]
                    break  # what else was ready is looked at again


def _accept(listener: socket.socket, behind: str, guise: Guise, selector: selectors.BaseSelector) -> None:
    client, _ = listener.accept()
    coordinator = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    coordinator.connect(behind)
    selector.register(client, selectors.EVENT_READ, (guise, coordinator, True))
    selector.register(coordinator, selectors.EVENT_READ, (guise, client, False))


def _forward(source: socket.socket, guise: Guise, target: socket.socket, from_client: bool) -> bool:
    kind = guise.its.ClientPacket if from_client else guise.its.ServerPacket
    try:
        got = receive_packet(source, kind, "the other side")
        if got is None:
            return False
        packet, fds = got
        try:
            for one in [guise.request(packet)] if from_client else guise.answers(packet):
                send_packet(target, one, fds if one is packet else [])
        finally:
            close_all(fds)
    except OSError:
        return False
    return True
