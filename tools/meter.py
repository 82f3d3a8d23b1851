"""What happened between two readings of a bus: rates, totals, health. It has no clock of its own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import psutil

from shmbus.condition import Condition
from shmbus.directory import BusState, CollectorEntry, CollectorState, Health, TopicEntry
from shmbus.overview import RingReading
from shmbus.process import Identity, is_alive

from .snapshot import Losses, Reading, RingKey, SessionReading, TopicReading
from .text import state_text

NEARLY_FULL: Final = 0.95
"""A /dev/shm that is fuller than this has no room for another topic of the usual size."""


class Level(IntEnum):
    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2


class Verdict(NamedTuple):
    """How a bus is, and why not better."""

    level: Level
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic. `messages` and `losses` since the first look (and what there was then); rates a second."""

    entry: TopicEntry
    messages: int
    rate: float
    byte_rate: float
    retained: int
    used_bytes: int
    fill: float
    publishers: int
    subscribers: int
    losses: Losses
    losing: bool  # something was lost since the look before

    @property
    def name(self) -> str:
        return self.entry.name


@dataclass(frozen=True, slots=True)
class CollectorRow:
    """One collector. `cpu` is its share of one core since the look before, None where there is none to tell."""

    entry: CollectorEntry
    cpu: float | None

    @property
    def pid(self) -> int | None:
        return self.entry.process.pid if self.entry.process else None


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client: its session pages together. `rate` is what its subscriptions were handed a second."""

    session: int
    name: str
    pid: int
    uid: int
    alive: bool
    subscriptions: int
    delivered: int
    rate: float
    losses: Losses


@dataclass(frozen=True, slots=True)
class View:
    """All that is to be shown of a bus at one moment."""

    bus: str
    address: str
    pid: int
    state: str
    uptime: float
    cpu: float | None
    verdict: Verdict
    topics: tuple[TopicRow, ...]
    collectors: tuple[CollectorRow, ...]
    clients: tuple[ClientRow, ...]


def cpu_seconds(process: Identity) -> float | None:
    """CPU time that a process has used; None when it is gone."""
    try:
        times = psutil.Process(process.pid).cpu_times() if is_alive(process) else None
    except psutil.Error:
        return None
    return None if times is None else times.user + times.system


def shm_used() -> float:
    """How much of /dev/shm is used, of 1."""
    return float(psutil.disk_usage("/dev/shm").percent) / 100


class Meter:
    """Fed with the readings of one probe, in order."""

    def __init__(
        self,
        cpu: Callable[[Identity], float | None] = cpu_seconds,
        storage: Callable[[], float] = shm_used,
    ) -> None:
        self._cpu, self._storage = cpu, storage
        self._before: Reading | None = None
        self._rings: dict[RingKey, RingReading] = {}
        self._losses: dict[int, Losses] = {}
        self._cpu_before: dict[Identity, float] = {}

    def update(self, reading: Reading, now: float) -> View:
        """What there is, compared with the reading before. `now` in Unix seconds."""
        seconds = reading.taken - self._before.taken if self._before else 0.0
        losing = self._count_losses(reading)
        processes = [reading.coordinator, *(one.process for one in reading.collectors if one.process)]
        shares = self._shares(processes, seconds)
        view = View(
            bus=reading.bus,
            address=reading.address,
            pid=reading.coordinator.pid,
            state=reading.directory.state.name.lower() if reading.alive else "dead",
            uptime=max(now - reading.started, 0.0),
            cpu=shares.get(reading.coordinator),
            verdict=self._judge(reading),
            topics=self._topics(reading, seconds, losing),
            collectors=tuple(
                CollectorRow(one, shares.get(one.process) if one.process else None) for one in reading.collectors
            ),
            clients=_clients(reading, self._before, seconds),
        )
        self._before = reading
        return view

    def _topics(self, reading: Reading, seconds: float, losing: set[int]) -> tuple[TopicRow, ...]:
        before = dict(self._rings)
        self._rings.update(reading.parted)
        for topic in reading.topics:
            self._rings.update(topic.rings)
        known = self._sum(before)
        present = self._sum(self._rings)
        subscribers = reading.subscribers()
        return tuple(
            self._row(topic, known.get(topic.entry.topic_id, (0, 0)), present, subscribers, seconds, losing)
            for topic in reading.topics
        )

    def _row(
        self,
        topic: TopicReading,
        before: tuple[int, int],
        present: dict[int, tuple[int, int]],
        subscribers: dict[int, int],
        seconds: float,
        losing: set[int],
    ) -> TopicRow:
        number = topic.entry.topic_id
        messages, size = present.get(number, (0, 0))
        return TopicRow(
            entry=topic.entry,
            messages=messages,
            rate=_per_second(messages - before[0], seconds),
            byte_rate=_per_second(size - before[1], seconds),
            retained=topic.retained,
            used_bytes=topic.used_bytes,
            fill=topic.fill,
            publishers=topic.publishers,
            subscribers=subscribers.get(number, 0),
            losses=self._losses.get(number, Losses()),
            losing=number in losing,
        )

    def _count_losses(self, reading: Reading) -> set[int]:
        """Add what was lost since the reading before to the topics' totals; in which topics there was any."""
        before = _cursors(self._before.sessions if self._before else ())
        losing = set()
        for key, (topic_id, losses) in _cursors(reading.sessions).items():
            known_topic, known = before.get(key, (topic_id, Losses()))
            if known_topic != topic_id or any(new < old for new, old in zip(losses, known, strict=True)):
                known = Losses()  # another subscription has this cursor now, and counts from nothing
            added = Losses(*(new - old for new, old in zip(losses, known, strict=True)))
            self._losses[topic_id] = self._losses.get(topic_id, Losses()) + added
            if added.total:
                losing.add(topic_id)
        return losing

    def _shares(self, processes: Iterable[Identity], seconds: float) -> dict[Identity, float]:
        used = {process: self._cpu(process) for process in processes}
        present = {process: one for process, one in used.items() if one is not None}
        before, self._cpu_before = self._cpu_before, present
        return {one: _per_second(present[one] - before[one], seconds) for one in present if one in before and seconds}

    def _judge(self, reading: Reading) -> Verdict:
        found = [*_bus_troubles(reading), *_collector_troubles(reading.collectors)]
        used = self._storage()
        if used > NEARLY_FULL:
            found.append((Level.DEGRADED, f"/dev/shm is {used:.0%} full"))
        level = max((level for level, _ in found), default=Level.HEALTHY)
        return Verdict(level, tuple(reason for _, reason in sorted(found, reverse=True)))

    @staticmethod
    def _sum(rings: dict[RingKey, RingReading]) -> dict[int, tuple[int, int]]:
        """Messages and bytes of each topic, over all its rings."""
        found: dict[int, tuple[int, int]] = {}
        for (topic_id, _, _), ring in rings.items():
            messages, size = found.get(topic_id, (0, 0))
            found[topic_id] = messages + ring.messages, size + ring.bytes
        return found


def _per_second(amount: float, seconds: float) -> float:
    # Some counters are moved in batches, and may for a moment look as if they had gone back.
    return max(amount, 0) / seconds if seconds > 0 else 0.0


def _cursors(sessions: Iterable[SessionReading]) -> dict[tuple[int, int], tuple[int, Losses]]:
    return {
        (session.entry.session, index): (cursor.topic_id, cursor.losses)
        for session in sessions
        for index, cursor in session.cursors.items()
    }


def _clients(reading: Reading, before: Reading | None, seconds: float) -> tuple[ClientRow, ...]:
    known = {session.entry.session: session for session in before.sessions} if before else {}
    pages: dict[tuple[object, ...], list[SessionReading]] = {}
    for session in reading.sessions:
        # The pages of a client have its bell in common, and nobody else has that.
        pages.setdefault((session.entry.process, session.entry.bell), []).append(session)
    return tuple(_client(sessions, known, seconds) for sessions in pages.values())


def _client(sessions: list[SessionReading], known: dict[int, SessionReading], seconds: float) -> ClientRow:
    entry = sessions[0].entry
    cursors = [cursor for session in sessions for cursor in session.cursors.values()]
    old = [cursor for session in sessions if session.entry.session in known
           for cursor in known[session.entry.session].cursors.values()]  # fmt: skip
    delivered = sum(cursor.delivered for cursor in cursors)
    return ClientRow(
        session=entry.session,
        name=entry.client,
        pid=entry.process.pid,
        uid=entry.uid,
        alive=sessions[0].alive,
        subscriptions=sum(cursor.reads for cursor in cursors),
        delivered=delivered,
        rate=_per_second(delivered - sum(cursor.delivered for cursor in old), seconds),
        losses=sum((cursor.losses for cursor in cursors), Losses()),
    )


def _bus_troubles(reading: Reading) -> list[tuple[Level, str]]:
    found = []
    if not reading.alive:
        found.append((Level.UNHEALTHY, f"the coordinator (pid {reading.coordinator.pid}) is dead"))
    elif reading.directory.state is BusState.STARTING:
        found.append((Level.DEGRADED, "the coordinator is starting"))
    if reading.directory.torn:
        found.append((Level.UNHEALTHY, "the directory was left in the middle of a change"))
    dead = sum(1 for session in reading.sessions if not session.alive)
    if dead and not reading.alive:
        found.append((Level.DEGRADED, f"sessions of dead clients: {dead}"))
    return found


def _collector_troubles(collectors: Iterable[CollectorEntry]) -> list[tuple[Level, str]]:
    levels = {
        CollectorState.FAILED: Level.UNHEALTHY,
        CollectorState.BACKING_OFF: Level.DEGRADED,
        CollectorState.PAUSED: Level.DEGRADED,
    }
    found = [(levels[one.state], f"collector {one.name} is {state_text(one.state)}")
             for one in collectors if one.state in levels]  # fmt: skip
    return [*found, *(_illness(one) for one in collectors if one.state not in levels and one.health > Health.HEALTHY)]


def _illness(one: CollectorEntry) -> tuple[Level, str]:
    """Of a collector that runs."""
    condition = Condition(one.seen or one.health, one.said)  # of a coordinator that did not tell them apart: seen
    level = Level.DEGRADED if one.health is Health.DEGRADED else Level.UNHEALTHY
    return level, f"collector {one.name} is {one.health.name.lower()}: {condition.why()}"
