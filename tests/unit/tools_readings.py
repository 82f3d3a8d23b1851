"""Readings of a bus, made up."""

from shmbus.directory import (
    BusState,
    CollectorEntry,
    CollectorState,
    Health,
    Lane,
    SessionEntry,
    Snapshot,
    TopicEntry,
)
from shmbus.overview import RingReading
from shmbus.process import Identity
from shmbus.tools.snapshot import CursorReading, Losses, Reading, SessionReading, TopicReading

COORDINATOR = Identity(4711, 1, 1)
PROCMOND = Identity(4712, 1, 1)
STARTED = 1_000_000.0  # Unix time


def topic(number, name, *, generation=0, messages=0, size=0, retained=0, fill=0.0, publishers=1, aborted=0):
    entry = TopicEntry(
        topic_id=number,
        name=name,
        lanes=(Lane(generation, number, 8192, 4 << 20),),
        max_messages=8192,
        max_bytes=4 << 20,
        max_message_bytes=1 << 20,
        retention_ns=0,
        claim_timeout_ns=10**9,
        producers=128,
        gates=64,
        type_name="shmbus.v1.EventBusMessage",
    )
    ring = RingReading(messages, size, retained, retained * 512, fill, aborted)
    return TopicReading(entry, {(number, 0, generation): ring}, publishers, 0)


def cursor(topic_id, *, delivered=0, overrun=0, position=1):
    return CursorReading(topic_id, position, delivered, Losses(overrun, 0, 0))


def session(number, name, pid, cursors=(), *, bell=None, alive=True, uid=1000):
    process = Identity(pid, 1, 1)
    entry = SessionEntry(number, name, process, uid, number if bell is None else bell, 60)
    return SessionReading(entry, alive, dict(enumerate(cursors)))


def collector(state=CollectorState.RUNNING, *, name="procmond", restarts=0, detail=""):
    process = PROCMOND if state in (CollectorState.RUNNING, CollectorState.STARTING) else None
    return CollectorEntry(name, state, Health.HEALTHY, process, 0, restarts, detail)


def reading(
    taken, topics=(), sessions=(), collectors=(), *, alive=True, state=BusState.RUNNING, parted=None, torn=False
):
    entries = tuple(one.entry for one in topics), tuple(one.entry for one in sessions), tuple(collectors)
    return Reading(
        bus="lab",
        address="/run/user/1000/shmbus/lab.sock",
        coordinator=COORDINATOR,
        alive=alive,
        started=STARTED,
        taken=taken,
        directory=Snapshot(2, torn, state, *entries),
        topics=tuple(topics),
        sessions=tuple(sessions),
        parted=parted or {},
    )
