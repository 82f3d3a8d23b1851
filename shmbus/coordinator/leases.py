"""The hands of registrations.py: looks at heartbeat words, and tells everybody what changes.

The last event of each collector is kept in shared memory, so that agents know who is registered whether there is a
coordinator or not, and the next coordinator goes on with the registrations of a killed one. Whoever comes back to that
says what it holds; what it does not name, it does not hold. Sites at which the coordinator can be killed:

    register.noted      nobody has been told: the collector registers with the next coordinator
    register.told       everybody has been told but the collector, which does the same
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from google.protobuf.message import DecodeError

from shmbus._core import killpoint
from shmbus.coordinator.announcer import Announcer
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.post import Log
from shmbus.coordinator.registrations import LOOKS, Change, Refused, Registrations
from shmbus.coordinator.registry import Client, Registry
from shmbus.coordinator.rounds import Rounds
from shmbus.errors import SegmentError, ShmbusError
from shmbus.process import is_alive
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.eventbus_pb2 import EventBusMessage

SHORTEST_MS: Final = 100
LONGEST_MS: Final = 3_600_000
MOST_BYTES: Final = 2048  # of a registration: everybody is told all of it
SECOND_LOOK_SECONDS: Final = 2.0  # what a killed coordinator published last has been kept by then

_TOLD: Final = {
    wire.REGISTRATION_EVENT_KIND_REGISTERED: "registered",
    wire.REGISTRATION_EVENT_KIND_RENEWAL_FAILED: "its registration was not renewed",
    wire.REGISTRATION_EVENT_KIND_RENEWED: "its registration was renewed",
    wire.REGISTRATION_EVENT_KIND_EXPIRED: "its registration has expired",
    wire.REGISTRATION_EVENT_KIND_DEREGISTERED: "deregistered",
}
_BAD: Final = (wire.REGISTRATION_EVENT_KIND_RENEWAL_FAILED, wire.REGISTRATION_EVENT_KIND_EXPIRED)

Beats = Callable[[int], int | None]  # the heartbeat word of a session; None: that is gone


class Leases:
    """Of all registered collectors of a bus, on a running event loop."""

    def __init__(self, registry: Registry, announcer: Announcer, beats: Beats, log: Log) -> None:
        self._registry, self._announcer, self._beats, self._log = registry, announcer, beats, log
        self._loop = asyncio.get_running_loop()
        # Of one clock for all coordinators of a boot, so that a later one begins higher than an earlier one ended.
        self._first = time.monotonic_ns()
        self._registrations = Registrations(self._first)
        self._rounds = Rounds(self._look)

    def register(self, client: Client, request: wire.RegistrationRequest) -> wire.RegistrationRequest:
        """Have it, or renew it, as it is asked for; as it is granted. Raises Refused."""
        granted = _granted(request, client)
        known = self._registrations.get(granted.collector_id)
        if known is not None and known.holder != client.number and not self._lives(known.holder):
            self._tell(self._registrations.holder_gone(known.holder, "its process died"))
        changes = self._registrations.register(granted, client.number, client.who, self._loop.time())
        killpoint("register.noted")
        self._tell(changes)
        killpoint("register.told")
        self._watch(granted.collector_id)
        return granted

    def deregister(self, client: Client, name: str, *, force: bool, reason: str) -> None:
        """It is no more. Raises Refused."""
        self._tell([self._registrations.deregister(name, client.number, force=force, reason=reason)])

    def holder(self, name: str) -> int | None:
        """The session that holds a name; None: nobody's."""
        known = self._registrations.get(name)
        return None if known is None else known.holder

    def departed(self, client: Client, dead: bool) -> None:
        """Whatever it held is no more."""
        self._tell(self._registrations.holder_gone(client.number, "its process died" if dead else "it hung up"))

    def resumed(self, client: Client, names: Collection[str]) -> None:
        """It was another coordinator's client, and holds these and no others."""
        for one in self._registrations.all():
            if one.holder == client.number and one.name not in names:
                self.deregister(client, one.name, force=False, reason="its holder does not hold it any more")

    def take_over(self) -> None:
        """Go on with what a killed coordinator had."""
        for event in self._kept():
            client = self._registry.clients.get(event.session)
            if client is not None and is_alive(client.identity):
                self._registrations.adopt(event, client.who, self._loop.time())
                self._watch(event.registration.collector_id)
        if self._announcer.topic in self._registry.topics:
            self._end_stale()
            self._loop.call_later(SECOND_LOOK_SECONDS, self._end_stale)

    def close(self) -> None:
        """Look no more."""
        self._rounds.close()

    def _lives(self, holder: int) -> bool:
        client = self._registry.clients.get(holder)
        return client is not None and is_alive(client.identity)

    def _end_stale(self) -> None:
        """What another coordinator told of, and nobody holds."""
        for event in self._kept():
            if event.revision <= self._first and event.registration.collector_id not in self._registrations:
                self._tell([self._registrations.stale(event, "its process died while no coordinator ran")])

    def _kept(self) -> list[wire.RegistrationEvent]:
        topic = self._registry.topics.get(self._announcer.topic)
        if topic is None or topic.kept is None:
            return []
        try:
            records = topic.kept.writer.snapshot().records.values()
            return [EventBusMessage.FromString(record.payload).registration for record in records]
        except (SegmentError, DecodeError) as error:
            self._log(Warn(f"the registrations that a killed coordinator had are lost: {error}"))
            return []

    def _watch(self, name: str) -> None:
        known = self._registrations.get(name)
        if known is not None:
            self._rounds.add(name, known.interval / LOOKS)

    def _look(self, name: str) -> None:
        known = self._registrations.get(name)
        if known is None:
            self._rounds.remove(name)  # deregistered, or its holder is gone
        elif (beats := self._beats(known.holder)) is not None:
            change = self._registrations.look(name, beats, self._loop.time())
            self._tell([change] if change is not None else [])

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            name, told = change.registration.name, _TOLD[change.kind]
            line = f"{name}: {told}" + (f": {change.reason}" if change.reason else "")
            self._log(Warn(line) if change.kind in _BAD else line)
            try:
                self._announcer.publish(change.wire(), key=name)
                if change.kind == wire.REGISTRATION_EVENT_KIND_DEREGISTERED:
                    self._announcer.publish(EventBusMessage(), key=name)  # nothing is kept of it
            except (ShmbusError, OSError) as error:
                self._log(Warn(f"not told on '{self._announcer.topic}': {error}"))


def _granted(request: wire.RegistrationRequest, client: Client) -> wire.RegistrationRequest:
    interval = request.heartbeat_interval_ms
    if not SHORTEST_MS <= interval <= LONGEST_MS:
        raise Refused(
            "REGISTRATION_INVALID",
            f"heartbeat_interval_ms is {interval}: ask for {SHORTEST_MS} to {LONGEST_MS}, or leave it to the bus",
        )
    if (size := request.ByteSize()) > MOST_BYTES:
        raise Refused(
            "REGISTRATION_INVALID", f"it has {size} bytes, and {MOST_BYTES} is the limit: shorten it", "RESOURCE"
        )
    granted = wire.RegistrationRequest()
    granted.CopyFrom(request)
    granted.pid = max(client.identity.pid, 0)
    return granted
