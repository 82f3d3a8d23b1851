"""Which collectors are registered, what they can do, and whether their leases hold. No clock and no I/O.

                       silent for 1½ intervals              silent for 3 intervals
    none --register--> held -------------------------> late -----------------------> expired
                        ^  ^                            |                               |
                        |  +----------- beat -----------+                               |
                        +------------------ beat: registered anew ----------------------+
    from each of them to none: deregistered, its holder is gone, or (expired) another takes the name

A lease is renewed by the heartbeat word of the holder's session, which its own thread of work advances. Whoever looks
late (the whole machine may have stood still) begins to count anew. Times are seconds of any clock that only moves on.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from shmbus.v1 import rpc_pb2 as wire

LOOKS: Final = 4  # an interval
LATE_INTERVALS: Final = 1.5
EXPIRED_INTERVALS: Final = 3.0
MOST_REGISTERED: Final = 1024
REMEMBERED: Final = 64  # that have ended, with the reason


class State(StrEnum):
    """Of a lease."""

    HELD = "held"
    LATE = "late"
    EXPIRED = "expired"


class Refused(Exception):
    """It cannot be; `code` is one of the schema's, and so is `category`, unless it follows from that."""

    def __init__(self, code: str, reason: str, category: str | None = None) -> None:
        self.code, self.reason, self.category = code, reason, category
        super().__init__(reason)


@dataclass(slots=True)
class Registration:
    """One. `holder` is the session of the connection that holds it, `who` that one in words."""

    request: wire.RegistrationRequest
    holder: int
    who: str
    number: int
    state: State = State.HELD
    beats: int | None = None  # None: not looked at yet
    moved: float = 0.0
    looked: float = 0.0

    @property
    def name(self) -> str:
        """The collector's id."""
        return self.request.collector_id

    @property
    def interval(self) -> float:
        """Seconds between two heartbeats."""
        return self.request.heartbeat_interval_ms / 1000

    def attend(self, now: float) -> None:
        """The lease begins anew."""
        self.state, self.beats, self.moved, self.looked = State.HELD, None, now, now


class Change(NamedTuple):
    """What everybody is told."""

    kind: wire.RegistrationEventKind
    registration: Registration
    revision: int
    reason: str = ""

    def wire(self) -> wire.RegistrationEvent:
        """The event."""
        its = self.registration
        return wire.RegistrationEvent(
            kind=self.kind,
            registration=its.request,
            registration_id=its.number,
            revision=self.revision,
            lease_ms=int(EXPIRED_INTERVALS * its.request.heartbeat_interval_ms),
            reason=self.reason,
            session=its.holder,
        )


class Registrations:
    """Of one bus. `revision` is higher than any that another coordinator of the same bus has given."""

    def __init__(self, revision: int, most: int = MOST_REGISTERED) -> None:
        self._revision, self._most = revision, most
        self._held: dict[str, Registration] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def get(self, name: str) -> Registration | None:
        """The one of that name, expired or not."""
        return self._held.get(name)

    def all(self) -> list[Registration]:
        """Each of them."""
        return list(self._held.values())

    def register(self, request: wire.RegistrationRequest, holder: int, who: str, now: float) -> list[Change]:
        """Have it, or renew it; what is new. Raises Refused."""
        name, known, changes = request.collector_id, self._held.get(request.collector_id), []
        if known is not None and known.holder == holder:
            return self._again(known, request, now)
        if known is not None and known.state is not State.EXPIRED:
            raise Refused("ALREADY_REGISTERED", f"it is {known.who}")
        if known is not None:
            changes.append(self._end(known, f"its lease had expired, and {who} took the name"))
        if len(self._held) >= self._most:
            raise Refused(
                "REGISTRATION_INVALID",
                f"{len(self._held)} collectors are registered, and {self._most} is the limit: deregister some",
                "RESOURCE",
            )
        made = Registration(request, holder, who, self._revision + 1)
        made.attend(now)
        self._held[name] = made
        self._ended.pop(name, None)
        return [*changes, self._change(wire.REGISTRATION_EVENT_KIND_REGISTERED, made)]

    def deregister(self, name: str, holder: int, *, force: bool, reason: str = "") -> Change:
        """It is no more. Raises Refused."""
        known = self._held.get(name)
        if known is None and name in self._ended:
            raise Refused("REGISTRATION_EXPIRED", f"it has ended: {self._ended.pop(name)}")
        if known is None:
            raise Refused("REGISTRATION_NOT_FOUND", "nobody has registered it")
        if known.holder != holder and not force:
            raise Refused("ALREADY_REGISTERED", f"it is {known.who}: only `force` takes it away")
        change = self._end(known, reason or "it was asked for")
        self._ended.pop(name)
        return change

    def holder_gone(self, holder: int, reason: str) -> list[Change]:
        """All that it held is no more."""
        return [self._end(one, reason) for one in self.all() if one.holder == holder]

    def look(self, name: str, beats: int, now: float) -> Change | None:
        """The holder's heartbeat word says `beats`."""
        its = self._held[name]
        late, its.looked = now - its.looked > its.interval, now
        if its.beats is None or late:
            moved, its.moved = its.beats is not None and beats != its.beats, now
        elif moved := beats != its.beats:
            its.moved = now
        its.beats = beats
        return self._moved(its) if moved else self._judged(its, now - its.moved)

    def adopt(self, event: wire.RegistrationEvent, who: str, now: float) -> None:
        """Another coordinator had it, and its holder lives: the lease begins anew."""
        kept = Registration(event.registration, event.session, who, event.registration_id)
        kept.attend(now)
        if event.kind == wire.REGISTRATION_EVENT_KIND_EXPIRED:
            kept.state = State.EXPIRED
        self._held[kept.name] = kept

    def stale(self, event: wire.RegistrationEvent, reason: str) -> Change:
        """Another coordinator had it, and nobody holds it any more."""
        gone = Registration(event.registration, event.session, "", event.registration_id)
        return self._change(wire.REGISTRATION_EVENT_KIND_DEREGISTERED, gone, reason)

    def _again(self, known: Registration, request: wire.RegistrationRequest, now: float) -> list[Change]:
        before, same = known.state, known.request == request
        known.request = request
        known.attend(now)
        if before is State.EXPIRED:
            known.number = self._revision + 1
        if before is State.EXPIRED or not same:
            return [self._change(wire.REGISTRATION_EVENT_KIND_REGISTERED, known)]
        return [self._change(wire.REGISTRATION_EVENT_KIND_RENEWED, known)] if before is State.LATE else []

    def _moved(self, its: Registration) -> Change | None:
        before, its.state = its.state, State.HELD
        if before is State.EXPIRED:
            its.number = self._revision + 1
            return self._change(wire.REGISTRATION_EVENT_KIND_REGISTERED, its, "it moves again")
        return self._change(wire.REGISTRATION_EVENT_KIND_RENEWED, its) if before is State.LATE else None

    def _judged(self, its: Registration, silent: float) -> Change | None:
        how = f"no heartbeat for {silent:.3g} s"
        if its.state is State.HELD and silent >= LATE_INTERVALS * its.interval:
            its.state = State.LATE
            return self._change(wire.REGISTRATION_EVENT_KIND_RENEWAL_FAILED, its, how)
        if its.state is State.LATE and silent >= EXPIRED_INTERVALS * its.interval:
            its.state = State.EXPIRED
            return self._change(wire.REGISTRATION_EVENT_KIND_EXPIRED, its, how)
        return None

    def _end(self, its: Registration, reason: str) -> Change:
        del self._held[its.name]
        self._ended[its.name] = reason
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        return self._change(wire.REGISTRATION_EVENT_KIND_DEREGISTERED, its, reason)

    def _change(self, kind: wire.RegistrationEventKind, its: Registration, reason: str = "") -> Change:
        self._revision += 1
        return Change(kind, its, self._revision, reason)
