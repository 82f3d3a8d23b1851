"""A client of another version, with the messages of that version and a few lines for the socket, tells what it finds.

    cd tests && python -m process.frozen_client SPEAKS ADDRESS

What it publishes and reads goes through rings like anybody's. The answer is one object of JSON on standard output.
"""

import array
import json
import os
import socket
import sys
from typing import Any

from protocols import minor_0_pb2, minor_2
from shm.memory import TestReader, TestWriter
from shmbus._core import Bells, Ring, Session
from shmbus.process import own_identity

SPEAKS: dict[str, tuple[Any, list[tuple[int, int, int]], list[str]]] = {
    "1.0": (minor_0_pb2, [(1, 0, 0)], ["basic_pub_sub"]),
    "1.2": (minor_2, [(1, 2, 0), (1, 1, 0), (1, 0, 0)], ["basic_pub_sub", minor_2.CAPABILITY]),
    "1.2 only": (minor_2, [(1, 2, 0)], ["basic_pub_sub"]),
    "2.0": (minor_2, [(2, 0, 0)], ["basic_pub_sub"]),
}
TOPIC, KEPT = f"lab.frozen-{os.getpid()}", "kept.x"


class Refused(Exception):
    """The coordinator's answer was an error, of that class."""


class Client:
    """One connection: packets of one version, bytes on a SOCK_SEQPACKET socket, descriptors beside them."""

    def __init__(self, speaks: str, address: str) -> None:
        self.its, self.versions, self.wanted = SPEAKS[speaks]
        self.pushes: list[tuple[Any, list[int]]] = []
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(20)
        self._channel.connect(address)
        self._last = 0

    def ask(self, fill: Any) -> tuple[Any, list[int]]:
        """Send the request that `fill` makes of an empty packet; the answer to it."""
        self._last += 1
        packet = self.its.ClientPacket(id=self._last)
        fill(packet)
        self._channel.send(packet.SerializeToString())
        while True:
            data, ancillary, _, _ = self._channel.recvmsg(1 << 16, 1 << 10)
            assert data, "the coordinator hung up"
            fds = array.array("i")
            for _, _, rights in ancillary:
                fds.frombytes(rights)
            got = self.its.ServerPacket.FromString(data)
            if got.WhichOneof("body") == "error" and got.id in (0, self._last):
                raise Refused(got.error.error)
            if got.id == self._last:
                return getattr(got, got.WhichOneof("body")), fds.tolist()
            self.pushes.append((got, fds.tolist()))

    def hello(self) -> dict[str, Any]:
        """What was agreed on."""

        def fill(packet: Any) -> None:
            for name, numbers in (("supported_versions", self.versions), ("preferred_version", self.versions[:1])):
                for major, minor, patch in numbers:
                    field = getattr(packet.hello.negotiation, name)
                    one = field.add() if name == "supported_versions" else field
                    one.major, one.minor, one.patch = major, minor, patch
            packet.hello.negotiation.client_capabilities.extend(self.wanted)
            packet.hello.client_name = "frozen"
            packet.hello.start_time = own_identity().start_time
            packet.hello.pid_namespace = own_identity().namespace
            if self.its is minor_2:
                packet.hello.mood = "curious"

        welcome, (_, bells, session) = self.ask(fill)
        self.boot_id = welcome.boot_id
        self.bells = Bells.attach(bells, self.boot_id)
        self.session = Session.attach(session, writable=True, boot_id=self.boot_id)
        agreed = welcome.negotiation
        chosen = agreed.negotiated_version
        return {
            "spoken": f"{chosen.major}.{chosen.minor}.{chosen.patch}",
            "capabilities": sorted(agreed.server_capabilities),
            "warnings": list(agreed.compatibility_warnings),
        }

    # ---- what every version can --------------------------------------------------------------------------------------

    def publish(self) -> str:
        """Three messages into a ring."""

        def fill(packet: Any) -> None:
            packet.open_publisher.topic = TOPIC
            if self.its is minor_2:
                packet.open_publisher.mood = "generous"

        opened, (ring,) = self.ask(fill)
        writer = TestWriter(Ring.attach(ring, writable=True, boot_id=self.boot_id), opened.producer, self.bells)
        for number in range(3):
            writer.publish(b"%d" % number)
        return "yes"

    def read(self) -> str:
        """The same three, losslessly."""

        def fill(packet: Any) -> None:
            packet.subscribe.subscription = 1
            packet.subscribe.patterns.append(TOPIC)
            packet.subscribe.lossless = True
            packet.subscribe.start.earliest = True

        self.ask(fill)
        added, fds = next((one.ring_added, fds) for one, fds in self.pushes if one.WhichOneof("body") == "ring_added")
        binding = added.bindings[0]
        ring = Ring.attach(fds[0], writable=False, boot_id=self.boot_id)
        reader = TestReader(self.bells)
        reader.gated = (self.session, binding.cursor) if binding.session == self.session.session else None
        reader.read(ring, ring.head)
        found = [reader.receive(timeout=20).payload for _ in range(3)]
        return "yes" if found == [b"0", b"1", b"2"] and binding.lossless else f"no: {found}"

    def status(self) -> str:
        """The coordinator lives, and answers."""
        answer, _ = self.ask(lambda packet: packet.get_status.SetInParent())
        return "yes" if answer.pid > 0 else "no"

    # ---- what came with 1.1, and later -------------------------------------------------------------------------------

    def urgent(self) -> str:
        """A publisher in the urgent lane."""

        def fill(packet: Any) -> None:
            packet.open_publisher.topic, packet.open_publisher.lane = TOPIC, 1

        return "yes" if self.ask(fill)[0].lane == 1 else "normal lane"

    def durable(self) -> str:
        """A durable subscription."""

        def fill(packet: Any) -> None:
            packet.subscribe.subscription = 2
            packet.subscribe.patterns.append(TOPIC)
            packet.subscribe.durable.name, packet.subscribe.durable.window = "frozen", 256

        self.ask(fill)
        return "yes" if any(one.WhichOneof("body") == "group_added" for one, _ in self.pushes) else "no"

    def numbers(self) -> str:
        """A durable publisher."""

        def fill(packet: Any) -> None:
            packet.open_publisher.topic, packet.open_publisher.durable = "lab.numbers", True

        return "yes" if self.ask(fill)[0].producer else "no"

    def last(self) -> str:
        """The last message of each key."""

        def publisher(packet: Any) -> None:
            packet.open_publisher.topic = KEPT

        def fill(packet: Any) -> None:
            packet.get_kept.topic = KEPT

        self.ask(publisher)
        return "yes" if self.ask(fill)[1] else "no"

    def resize(self) -> str:
        """A topic goes on in another ring."""

        def fill(packet: Any) -> None:
            packet.resize.topic, packet.resize.slots = TOPIC, 32

        self.ask(fill)
        return "yes"

    def rewind(self) -> str:
        """What only 1.2 has. Asked without looking whether the other side can: it must say so, and go on."""

        def fill(packet: Any) -> None:
            packet.rewind.to = 7

        self.ask(fill)
        return "yes"


EVERY = ("publish", "read", "status")
LATER = ("urgent", "durable", "numbers", "last", "resize", "rewind")


def found_by(speaks: str, address: str) -> dict[str, Any]:
    """What a client of that version finds, or the error that ended it."""
    client = Client(speaks, address)
    try:
        found: dict[str, Any] = client.hello()
    except Refused as refused:
        return {"spoken": f"refused: {refused}"}
    for name in (*EVERY, *LATER) if client.its is minor_2 else EVERY:
        try:
            found[name] = getattr(client, name)()
        except Refused as refused:
            found[name] = f"no: {refused}"
    found["status"] = client.status()  # whatever was asked, it is still served
    return found


if __name__ == "__main__":
    print(json.dumps(found_by(*sys.argv[1:])), flush=True)
    os._exit(0)  # rings and descriptors go with the process
