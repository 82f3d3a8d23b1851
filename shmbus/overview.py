"""What there is on a bus, for whoever may read it: its topics, and the ledger of all who read them.

Whoever runs the bus reads that from shared memory, without asking anybody (`shmbus.tools.snapshot`). Others are given
no memory but the rings that they read, so the coordinator looks for them and tells what they may know. Both come out
as the same records.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from shmbus._core import Ring
from shmbus.directory import TopicEntry
from shmbus.ledger import LANES, LedgerEntry
from shmbus.message import Producer
from shmbus.process import Identity
from shmbus.v1 import control_pb2 as wire

_COUNTS: Final = (
    "published", "delivered", "overrun", "expired", "corrupt", "filtered", "dead", "repeated", "in_flight"
)  # fmt: skip


class RingReading(NamedTuple):
    """One ring: what was ever written to it, what it still holds, and in how many bytes."""

    messages: int
    bytes: int
    retained: int
    used_bytes: int
    fill: float  # of the limit that is nearest, 0 to 1
    aborted: int


class TopicStatus(NamedTuple):
    """One topic, all lanes together."""

    topic: str
    topic_id: int
    type: str  # the full name of its message type; "": any
    generation: int
    messages: int  # ever published to the present rings
    retained: int
    used_bytes: int
    fill: float  # of the limit that is nearest, 0 to 1
    max_messages: int
    max_bytes: int
    max_message_bytes: int
    retention_seconds: float  # 0: no limit by time
    on_full: str  # block, raise or shed
    publishers: int
    subscribers: int
    lossless_subscribers: int


class Account(NamedTuple):
    """What one subscription got and missed in one topic and lane. A durable one's members have one together."""

    reader: str  # the client, or the durable subscription
    process: Identity | None  # None: durable
    subscription: int | None
    entries: list[LedgerEntry]
    dead: frozenset[Identity] = frozenset()  # of its reader and the publishers: processes that have ended

    @property
    def durable(self) -> bool:
        return self.process is None

    @property
    def pid(self) -> int | None:
        """Of the reader; None: it is durable, and whoever reads for it is another matter."""
        return None if self.process is None else self.process.pid

    def is_dead(self, process: Identity | Producer | None) -> bool:
        """Has that process, its reader's or a publisher's, ended?"""
        return (process.process if isinstance(process, Producer) else process) in self.dead

    def with_dead(self, is_alive: Callable[[Identity], bool]) -> "Account":
        """The same, in which those that are not alive are known to be dead."""
        publishers = {entry.producer.process for entry in self.entries if entry.producer is not None}
        its = publishers if self.process is None else publishers | {self.process}
        return self._replace(dead=frozenset(one for one in its if not is_alive(one)))


def read_ring(ring: Ring) -> RingReading:
    """What it holds now."""
    # Head first: what is retired in between only makes the ring look fuller, never less than empty.
    head, first, aborted = ring.head, ring.first_sequence, ring.aborted
    tail, used = ring.tail, ring.used_bytes
    max_messages, max_bytes, *_ = ring.limits
    retained = max(tail - head, 0)
    slots, room = min(max_messages or ring.slots, ring.slots), min(max_bytes or ring.arena_bytes, ring.arena_bytes)
    return RingReading(
        messages=max(tail - first - aborted, 0),
        bytes=ring.published_bytes,
        retained=retained,
        used_bytes=used,
        fill=min(max(retained / slots, used / room), 1.0),
        aborted=aborted,
    )


def status_of(
    entry: TopicEntry, rings: Iterable[RingReading], *, publishers: int, subscribers: int, gates: int
) -> TopicStatus:
    """A topic, from what the directory and its rings say."""
    lanes = list(rings)
    return TopicStatus(
        topic=entry.name,
        topic_id=entry.topic_id,
        type=entry.type_name,
        generation=max((lane.generation for lane in entry.lanes), default=0),
        messages=sum(ring.messages for ring in lanes),
        retained=sum(ring.retained for ring in lanes),
        used_bytes=sum(ring.used_bytes for ring in lanes),
        fill=round(max((ring.fill for ring in lanes), default=0.0), 6),
        max_messages=entry.max_messages,
        max_bytes=entry.max_bytes,
        max_message_bytes=entry.max_message_bytes,
        retention_seconds=entry.retention_ns / 1e9,
        on_full=entry.on_full,
        publishers=publishers,
        subscribers=subscribers,
        lossless_subscribers=gates,
    )


# ---- as the coordinator tells it -----------------------------------------------------------------------------------


def topics_of(answer: wire.TopicList) -> list[TopicStatus]:
    """By name."""
    lanes: dict[int, list[wire.TopicEntry]] = defaultdict(list)
    for entry in answer.topics:
        lanes[entry.topic_id].append(entry)
    return sorted(map(_status, lanes.values()))


def _status(lanes: Sequence[wire.TopicEntry]) -> TopicStatus:
    first = lanes[0]  # the normal one, whose limits are the topic's
    return TopicStatus(
        topic=first.topic,
        topic_id=first.topic_id,
        type=first.type_name,
        generation=max(lane.generation for lane in lanes),
        messages=sum(lane.messages for lane in lanes),
        retained=sum(max(lane.tail - lane.head, 0) for lane in lanes),
        used_bytes=sum(lane.used_bytes for lane in lanes),
        fill=round(max(lane.fill for lane in lanes), 6),
        max_messages=first.max_messages,
        max_bytes=first.max_bytes,
        max_message_bytes=first.max_message_bytes,
        retention_seconds=first.retention_ns / 1e9,
        on_full=first.on_full,
        publishers=max(lane.publishers for lane in lanes),
        subscribers=max(lane.subscribers for lane in lanes),
        lossless_subscribers=max(lane.gates for lane in lanes),
    )


def told(account: Account) -> wire.LedgerAccount:
    """For the wire. It has entries."""
    found = wire.LedgerAccount(
        reader=account.reader,
        subscription=account.subscription or 0,
        topic=account.entries[0].topic,
        lane=LANES.index(account.entries[0].lane),
    )
    if account.process is not None:
        found.process.CopyFrom(_process(account.process, account))
    for entry in account.entries:
        counts: Mapping[str, Any] = {name: getattr(entry, name) for name in _COUNTS}
        line = found.lines.add(**counts)
        if (producer := entry.producer) is not None:
            line.publisher.CopyFrom(_process(producer.process, account))
            line.publisher.name, line.publisher.session, line.publisher.uid = (
                producer.name, producer.session, producer.uid,
            )  # fmt: skip
    return found


def _process(identity: Identity, account: Account) -> wire.LedgerProcess:
    return wire.LedgerProcess(
        pid=identity.pid,
        start_time=identity.start_time,
        pid_namespace=identity.namespace,
        dead=identity in account.dead,
    )


def accounts_of(part: wire.LedgerPart) -> Iterator[Account]:
    """As they were told."""
    for one in part.accounts:
        attested = [line.publisher for line in one.lines if line.HasField("publisher")]
        process = None
        if one.HasField("process"):
            process = _identity(one.process)
            attested.append(one.process)
        yield Account(
            one.reader,
            process,
            one.subscription if process is not None else None,
            [_entry(one, line) for line in one.lines],
            frozenset(_identity(its) for its in attested if its.dead),
        )


def _entry(account: wire.LedgerAccount, line: wire.LedgerLine) -> LedgerEntry:
    producer, its = None, line.publisher
    if line.HasField("publisher"):
        producer = Producer(its.name, *_identity(its), its.session, its.uid)
    return LedgerEntry(account.topic, LANES[account.lane], producer, *(getattr(line, name) for name in _COUNTS))


def _identity(process: wire.LedgerProcess) -> Identity:
    return Identity(process.pid, process.start_time, process.pid_namespace)
