"""What shared memory says about a bus: who is there, what the rings hold, what was lost.

A probe attaches by name and reads: the directory, the headers of the rings, the cursors of the sessions. It asks nobody
and needs nobody, so it works on a bus whose coordinator is dead, too. Whatever comes and goes between two looks (a ring
that is continued elsewhere, a session that ends) is taken as it is.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Final, Generic, NamedTuple, Self, TypeVar

from shmbus import segment
from shmbus._core import MEMBERS, AttachError, Group, Ring, Session
from shmbus.directory import CollectorEntry, DirectoryReader, SessionEntry, Snapshot, TopicEntry
from shmbus.errors import AccessDenied, ConnectError, SegmentError, ShmbusError
from shmbus.ledger import entries, producer_of
from shmbus.overview import Account, RingReading, TopicStatus, read_ring, status_of
from shmbus.pages import durable_of
from shmbus.process import Identity, is_alive

_Key = TypeVar("_Key")
_Mapped = TypeVar("_Mapped", Ring, Session, Group)

RingKey = tuple[int, int, int]
"""Topic id, lane, generation."""


class Losses(NamedTuple):
    """What subscribers did not get."""

    overrun: int = 0
    expired: int = 0
    corrupt: int = 0

    def __add__(self, other: object) -> "Losses":
        return Losses(*map(sum, zip(self, other, strict=True))) if isinstance(other, Losses) else NotImplemented

    @property
    def total(self) -> int:
        return sum(self)


class CursorReading(NamedTuple):
    """One subscription in one topic and lane. Position 0: it has not begun, or has ended."""

    topic_id: int
    position: int
    delivered: int
    losses: Losses
    lane: int = 0
    subscription: int = 0

    @property
    def reads(self) -> bool:
        return self.position > 0


@dataclass(frozen=True, slots=True)
class TopicReading:
    """One topic. `rings` has the rings that could be read; `retained` and `fill` are those of all lanes."""

    entry: TopicEntry
    rings: dict[RingKey, RingReading]
    publishers: int
    gates: int

    @property
    def retained(self) -> int:
        return sum(ring.retained for ring in self.rings.values())

    @property
    def used_bytes(self) -> int:
        return sum(ring.used_bytes for ring in self.rings.values())

    @property
    def fill(self) -> float:
        return max((ring.fill for ring in self.rings.values()), default=0.0)


class SessionReading(NamedTuple):
    """One session page of a client, with the cursors in use."""

    entry: SessionEntry
    alive: bool
    cursors: dict[int, CursorReading]


@dataclass(frozen=True, slots=True)
class Reading:
    """A bus at one moment. Times in seconds: `taken` of the monotonic clock, `started` Unix time."""

    bus: str
    address: str
    coordinator: Identity
    alive: bool
    started: float
    taken: float
    directory: Snapshot
    topics: tuple[TopicReading, ...]
    sessions: tuple[SessionReading, ...]
    parted: dict[RingKey, RingReading]  # rings that the probe knew and that were continued elsewhere: their last state

    @property
    def collectors(self) -> tuple[CollectorEntry, ...]:
        return self.directory.collectors

    def subscribers(self) -> dict[int, int]:
        """How many subscriptions read each topic, by topic id."""
        reading = {  # one has a cursor in each lane; the pages of a client have one bell
            (cursor.topic_id, session.entry.bell, cursor.subscription)
            for session in self.sessions
            for cursor in session.cursors.values()
            if cursor.reads
        }
        return Counter(topic_id for topic_id, *_ in reading)

    def statuses(self) -> list[TopicStatus]:
        """The topics, each as whoever asks the coordinator is told of it."""
        subscribers = self.subscribers()
        return [
            status_of(
                topic.entry,
                topic.rings.values(),
                publishers=topic.publishers,
                subscribers=subscribers.get(topic.entry.topic_id, 0),
                gates=topic.gates,
            )
            for topic in self.topics
        ]


class _Attached(Generic[_Key, _Mapped]):
    """Segments that are mapped for as long as they are listed."""

    def __init__(self, attach: Callable[[int], _Mapped]) -> None:
        self._attach: Callable[[int], _Mapped] = attach
        self._mapped: dict[_Key, _Mapped] = {}

    def get(self, key: _Key, name: str) -> _Mapped | None:
        """The segment, None when there is none of that name (any more). Raises SegmentError for another layout."""
        if key not in self._mapped:
            try:
                descriptor = segment.attach(name)
            except ShmbusError:
                return None
            try:
                self._mapped[key] = self._attach(descriptor)
            except AttachError as error:
                if error.reason == "layout":
                    raise segment.not_attached(name, error) from None
            finally:
                os.close(descriptor)
        return self._mapped.get(key)

    def known(self, key: _Key) -> _Mapped | None:
        """What is mapped under that key."""
        return self._mapped.get(key)

    def part(self, keys: Iterable[_Key]) -> Iterator[tuple[_Key, _Mapped]]:
        """Unmap all others; each can be looked at once more."""
        for key in set(self._mapped).difference(keys):
            with closing(self._mapped.pop(key)) as mapped:
                yield key, mapped

    def close(self) -> None:
        """Unmap all."""
        for _ in self.part(()):
            pass


class Probe:
    """Attached to the bus of that name of this user (or of `uid`). Raises ConnectError when there is none."""

    def __init__(self, bus: str, uid: int | None = None) -> None:
        self._bus, self._uid = bus, uid
        self._boot_id: Final = segment.boot_id()
        self._directory = self._attach_directory()
        self._rings = _Attached[RingKey, Ring](lambda fd: Ring.attach(fd, writable=False, boot_id=self._boot_id))
        self._sessions = _Attached[int, Session](lambda fd: Session.attach(fd, writable=False, boot_id=self._boot_id))
        self._groups = _Attached[int, Group](lambda fd: Group.attach(fd, writable=False, boot_id=self._boot_id))

    def read(self) -> Reading:
        """What there is now."""
        directory = self._directory.snapshot()
        sessions = self._read_sessions(directory.sessions)
        living = {one.entry.session for one in sessions if one.alive}
        topics, parted = self._read_topics(directory.topics, living)
        reader = self._directory
        return Reading(
            bus=reader.bus,
            address=reader.address,
            coordinator=reader.coordinator,
            alive=reader.is_alive(),
            started=reader.started_ns / 1e9,
            taken=time.monotonic(),
            directory=directory,
            topics=topics,
            sessions=sessions,
            parted=parted,
        )

    def ledger(self, reading: Reading) -> list[Account]:
        """Of every subscription in every topic that was there at that reading: what it got and missed, of whom."""
        segments = segment.list_segments(self._uid, self._bus)
        rings = self._all_rings(segments)
        groups = self._read_groups(segments)
        durable = {member for group in groups for member in _members(group)}
        found = []
        for session in reading.sessions:
            page, client = self._sessions.known(session.entry.session), session.entry
            for index, cursor in session.cursors.items() if page is not None else ():
                read = rings.get((cursor.topic_id, cursor.lane))
                if read and page is not None and (client.session, cursor.subscription) not in durable:
                    its = entries(page, index, read)
                    found.append(Account(client.client, client.process, cursor.subscription, its))
        found += [account for group in groups for account in _accounts(group, rings)]
        alive = cache(is_alive)  # each process is looked for once, in however many accounts it is
        return [account.with_dead(alive) for account in found]

    def _all_rings(self, segments: Iterable[segment.SegmentName]) -> dict[tuple[int, int], list[Ring]]:
        """By topic and lane, the oldest generation first: those before the newest may still be read."""
        found: dict[tuple[int, int], list[Ring]] = {}
        for name, (topic, lane, generation) in _finished(segments, "ring"):
            ring = self._rings.get((topic, lane, generation), name)
            if ring is not None:
                found.setdefault((topic, lane), []).append(ring)
        return {place: sorted(rings, key=lambda ring: ring.generation) for place, rings in found.items()}

    def _read_groups(self, segments: Iterable[segment.SegmentName]) -> list[Group]:
        """Those that have a ledger."""
        names = {number: name for name, (number,) in _finished(segments, "group")}
        for _ in self._groups.part(names):
            pass
        groups = [self._groups.get(number, name) for number, name in sorted(names.items())]
        return [group for group in groups if group is not None and group.rows]

    def close(self) -> None:
        self._rings.close()
        self._sessions.close()
        self._groups.close()
        self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attach_directory(self) -> DirectoryReader:
        name = segment.directory_name(self._bus, self._uid)
        try:
            descriptor = segment.attach(name)
        except SegmentError as error:
            if error.reason != "missing":
                raise
            self._refuse_if_anothers()
            raise ConnectError(self._bus, "/dev/shm" + name, "there is no such bus") from None
        try:
            return DirectoryReader(descriptor, boot_id=self._boot_id, name=name)
        finally:
            os.close(descriptor)

    def _refuse_if_anothers(self) -> None:
        """A bus that answers here, but whose memory only its own user may open by name. Raises AccessDenied."""
        with contextlib.suppress(OSError):
            mine, owner = os.geteuid(), segment.socket_path(self._bus).stat().st_uid
            if self._uid is None and owner != mine:
                remedy = f"It is uid {owner}'s: run this as that user, or read what you may with `shmbus tail`."
                raise AccessDenied("look into the memory of", f"bus {self._bus}", f"uid {mine}", remedy)

    def _read_topics(
        self, entries: Iterable[TopicEntry], living: set[int]
    ) -> tuple[tuple[TopicReading, ...], dict[RingKey, RingReading]]:
        found, seen = [], set()
        for entry in sorted(entries, key=lambda entry: entry.name):
            rings: dict[RingKey, RingReading] = {}
            publishers, gates = 0, 0
            for lane, name in enumerate(entry.ring_names(self._bus, self._uid)):
                key = (entry.topic_id, lane, entry.lanes[lane].generation)
                seen.add(key)
                if (ring := self._rings.get(key, name)) is not None:
                    rings[key] = read_ring(ring)
                    publishers = max(publishers, _publishers(ring, living))
                    gates = max(gates, len(ring.gates()))
            found.append(TopicReading(entry, rings, publishers, gates))
        parted = {key: read_ring(ring) for key, ring in self._rings.part(seen)}
        return tuple(found), parted

    def _read_sessions(self, entries: Iterable[SessionEntry]) -> tuple[SessionReading, ...]:
        found = []
        for entry in sorted(entries, key=lambda entry: entry.session):
            page = self._sessions.get(entry.session, entry.segment_name(self._bus, self._uid))
            cursors = {} if page is None else _read_cursors(page)
            found.append(SessionReading(entry, is_alive(entry.process), cursors))
        for _ in self._sessions.part(one.entry.session for one in found):
            pass
        return tuple(found)


def _finished(segments: Iterable[segment.SegmentName], kind: str) -> Iterator[tuple[str, list[int]]]:
    """Names of that kind, and the numbers in them."""
    for one in segments:
        what, *numbers = one.what.split(".")
        if one.maker is None and what == kind:
            yield one.name, [int(number) for number in numbers]


def _members(group: Group) -> Iterator[tuple[int, int]]:
    """Their sessions and the numbers of their subscriptions there."""
    for number in range(MEMBERS):
        if member := group.member(number):
            yield member[4:]


def _accounts(group: Group, rings: Mapping[tuple[int, int], Sequence[Ring]]) -> list[Account]:
    name = durable_of(group)
    found = []
    for lane in range(group.capacity):
        position, *_, topic, lane_and_one = group.cursor(lane)
        read = rings.get((topic, lane_and_one - 1))
        if position and lane_and_one and read:
            found.append(Account(name, None, None, entries(group, lane, read)))
    return found


def _publishers(ring: Ring, living: set[int]) -> int:
    """Producers whose client is there. Entries of others stay until somebody else needs their ids."""
    ids = range(1, ring.producer_capacity + 1)
    found = (producer_of(ring, producer) for producer in ids if not ring.producer_left(producer))
    return sum(1 for one in found if one is not None and one.session in living)


def _read_cursors(page: Session) -> dict[int, CursorReading]:
    found = {}
    for index in range(page.capacity):
        position, delivered, overrun, expired, corrupt, _, place, subscription = page.cursor(index)
        topic_id, lane = place & 0x7FFF_FFFF, place >> 31
        if topic_id:
            losses = Losses(overrun, expired, corrupt)
            found[index] = CursorReading(topic_id, position, delivered, losses, lane, subscription)
    return found
