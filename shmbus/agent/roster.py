"""Who is registered, as read from shared memory: also while there is no coordinator."""

from contextlib import closing
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from shmbus.agent.capability import Candidate
from shmbus.agent.schedule import Schedule
from shmbus.directory import CollectorState, DirectoryReader
from shmbus.errors import ConnectionLost
from shmbus.message import Gap, Message
from shmbus.start import LastPerKey
from shmbus.subscription import Subscription
from shmbus.topic import REGISTRATIONS
from shmbus.v1 import rpc_pb2 as wire

if TYPE_CHECKING:
    from shmbus.bus import Bus

_CRASHED = (CollectorState.BACKING_OFF, CollectorState.FAILED)
_GONE = (wire.REGISTRATION_EVENT_KIND_DEREGISTERED, wire.REGISTRATION_EVENT_KIND_EXPIRED)


class Roster:
    """Keeps a schedule's candidates as they are registered."""

    def __init__(self, bus: "Bus", schedule: Schedule) -> None:
        self._bus, self._schedule = bus, schedule
        self.subscription = self._subscribed()
        self._missed = False

    def refresh(self) -> None:
        """Take in what has been told until now."""
        for found in iter(self.subscription.try_receive, None):
            if isinstance(found, Gap):
                self._missed = True
            elif (event := _event_in(found)) is not None:
                self._heed(event)
        if self._missed:
            self._begin_anew()

    def close(self) -> None:
        """Look no more."""
        self.subscription.close()

    def _subscribed(self) -> Subscription:
        return self._bus.subscribe(REGISTRATIONS, start=LastPerKey())

    def _heed(self, event: wire.RegistrationEvent) -> None:
        if event.kind == wire.REGISTRATION_EVENT_KIND_EXPIRED:
            self._schedule.hung(Candidate.of(event))
        elif event.kind == wire.REGISTRATION_EVENT_KIND_DEREGISTERED:
            self._schedule.left(event.registration_id)
        else:
            self._schedule.arrived(Candidate.of(event))

    def _begin_anew(self) -> None:
        """Something was missed: what is kept has it. Where there is no coordinator now, it has been when there is."""
        try:
            fresh = self._subscribed()
        except ConnectionLost:
            return
        self.subscription.close()
        self.subscription, self._missed = fresh, False
        last = _last(fresh)
        expired = [one for one in last if one.kind == wire.REGISTRATION_EVENT_KIND_EXPIRED]
        held = (Candidate.of(one) for one in last if one.kind not in _GONE)
        self._schedule.replace(held, map(Candidate.of, expired))


def registered(bus: "Bus") -> list[wire.RegistrationEvent]:
    """The last event of each collector that is registered now, its lease expired or not."""
    with bus.subscribe(REGISTRATIONS, start=LastPerKey()) as subscription:
        return [one for one in _last(subscription) if one.kind != wire.REGISTRATION_EVENT_KIND_DEREGISTERED]


def failed_collectors(bus: "Bus") -> list[str]:
    """The supervised ones that do not run though they should, each with the reason: what they could do is not known."""
    with closing(DirectoryReader(bus.directory_fd, boot_id=bus._boot_id)) as directory:
        found = directory.snapshot().collectors
    return [
        f"'{one.name}' has crashed{f' ({one.detail})' if one.detail else ''}" for one in found if one.state in _CRASHED
    ]


def _last(subscription: Subscription) -> list[wire.RegistrationEvent]:
    """The last event of each collector, of what has come until now."""
    last: dict[str, wire.RegistrationEvent] = {}
    for found in iter(subscription.try_receive, None):
        if isinstance(found, Message) and (event := _event_in(found)) is not None:
            last[event.registration.collector_id] = event
    return list(last.values())


def _event_in(message: Message) -> wire.RegistrationEvent | None:
    try:
        event = message.event
    except DecodeError:
        return None
    return event if isinstance(event, wire.RegistrationEvent) else None
