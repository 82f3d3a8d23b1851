"""The directory segment: what there is on a bus, written by its coordinator, read by everybody.

    0x000  magic u64, stored last     layout version u32, zero u32
    0x010  boot id, 16 bytes
    0x020  generation u64             odd while something is being changed
    0x028  coordinator: pid u64, start time u64, pid namespace u64
    0x040  capacity of topics u32, sessions u32, collectors u32, zero u32
    0x050  capacity of descriptors in bytes u64, size of the whole u64
    0x060  started, Unix time in ns u64
    0x068  state u64
    0x070  entries to look at: topics u64, sessions u64, collectors u64      free ones may be among them
    0x088  bytes of descriptors in use u64
    0x090  bus name, 32 bytes
    0x0b0  address of the control socket, 128 bytes
    0x200  topic[]        512 bytes each
           session[]      128 bytes each
           collector[]    256 bytes each
           descriptors    serialised FileDescriptorSets, one for a fingerprint, only ever added

    topic      0x000 name 208, message type 128, fingerprint 32
               0x170 topic id u32, state u32 (0: free), lanes u32, on_full u32
               0x180 max messages u32, max message bytes u32, producers u32, gates u32
               0x190 max bytes u64, retention ns u64, claim timeout ns u64, block timeout ns u64
               0x1b0 created, Unix ns u64, descriptors' offset u64, their length u64
               0x1c8 two lanes: generation u32, bell u32, slots u32, zero u32, arena bytes u64
               0x1fc crc32
    session    0x00 session id u32, state u32 (0: free), uid u32, bell u32
               0x10 pid u64, start time u64, pid namespace u64, connected, Unix ns u64
               0x30 client name 64, cursors u32, zero 8, crc32
    collector  0x00 name 64, pid u64, start time u64, pid namespace u64, started, Unix ns u64
               0x60 state u32 (0: free), health u32, restarts u32, of those in the budget's window u32
               0x70 detail 128, fingerprint of what it was started with u64
               0xf8 health as it is seen u8, what follows when it has ended u8 (1: it is started again, 2: as after
                    the crash that the detail tells), health as it says itself u8 (both healths 0: only the whole is
                    known), zero u8, crc32

All numbers are little-endian. A reader copies what it wants while the generation is even, and has a consistent picture
if it is still the same afterwards: no lock, and nothing that a dead reader could hold. The generation alone orders
nothing on machines with weakly ordered stores, so each entry ends with a CRC-32 of itself. A writer that died while the
generation was odd leaves entries that are old or new, each whole or without a valid CRC; a reader notices, gives up
waiting after a bounded time, and returns what is whole with `torn` set.
"""

import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final, NamedTuple, Self, TypeVar

from shmbus import _core, segment
from shmbus.errors import LimitError, SegmentError, ShmbusError
from shmbus.process import Identity, is_alive

LAYOUT: Final = 4  # see shmbus.coordinator.layouts for what each number was
OLDEST_LAYOUT: Final = 2
ON_FULL: Final = ("block", "raise", "shed")
CHANGING: Final = "directory.changing"
CHANGED: Final = "directory.changed"
KILL_POINTS: Final = (CHANGING, CHANGED)
"""At the first the change is not yet made, at the second it is; the generation is odd at both."""

_MAGIC = int.from_bytes(b"shmdir01", "little")
_HEADER = struct.Struct("<Q II 16s Q QQQ IIII QQ Q Q QQQ Q 32s 128s")
_TABLES = 0x200
_WORD = {"magic": 0x0, "generation": 0x20, "state": 0x68, "topics": 0x70, "sessions": 0x78, "collectors": 0x80}
_WORD["descriptors"] = 0x88
_TOPIC = struct.Struct("<208s 128s 32s 4I 4I 4Q 3Q 3I4xQ 3I4xQ 4x")
_SESSION = struct.Struct("<4I 4Q 64s I 8x")
_COLLECTOR = struct.Struct("<64s 4Q 4I 128s Q 3Bx")
_CRC = struct.Struct("<I")
_AGAIN, _GIVEN_UP = 1, 2  # what follows when a collector has ended
_PATIENCE = 200  # attempts at a consistent picture, _PAUSE seconds apart: a change takes microseconds
_PAUSE = 100e-6


class BusState(IntEnum):
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    STOPPED = 4


class TopicState(IntEnum):
    ACTIVE = 1
    MOVING = 2  # a successor generation is being handed out


class CollectorState(IntEnum):
    STARTING = 1
    RUNNING = 2
    PAUSED = 3
    BACKING_OFF = 4
    STOPPING = 5
    STOPPED = 6
    FAILED = 7
    WAITING = 8  # for others that it is to be started after


class Health(IntEnum):
    """As HealthStatus of the schema."""

    UNKNOWN = 0
    HEALTHY = 1
    DEGRADED = 2
    UNHEALTHY = 3
    UNRESPONSIVE = 4


class Capacities(NamedTuple):
    """How many entries there is room for, and how many bytes of descriptors."""

    topics: int
    sessions: int
    collectors: int
    descriptor_bytes: int


@dataclass(frozen=True, slots=True)
class Lane:
    """The live ring of a lane: its segment's generation and size, and the bell that its publishers ring."""

    generation: int
    bell: int
    slots: int
    arena_bytes: int


@dataclass(frozen=True, slots=True)
class TopicEntry:
    """One topic. Times in nanoseconds; `created_ns` is Unix time. Where its descriptors stand, the writer knows."""

    topic_id: int
    name: str
    lanes: tuple[Lane, ...]
    max_messages: int
    max_bytes: int
    max_message_bytes: int
    retention_ns: int
    claim_timeout_ns: int
    producers: int
    gates: int
    on_full: str = "block"
    block_timeout_ns: int = 0
    type_name: str = ""
    fingerprint: bytes = bytes(32)
    state: TopicState = TopicState.ACTIVE
    created_ns: int = 0
    descriptor_offset: int = 0
    descriptor_length: int = 0

    def ring_names(self, bus: str, uid: int | None = None) -> list[str]:
        """The segments of its live rings, a lane each. Those of a private bus have no name."""
        return [segment.ring_name(bus, self.topic_id, n, lane.generation, uid) for n, lane in enumerate(self.lanes)]

    def pack(self) -> bytes:
        lanes = [(lane.generation, lane.bell, lane.slots, lane.arena_bytes) for lane in self.lanes]
        lanes += [(0, 0, 0, 0)] * (2 - len(lanes))
        return _TOPIC.pack(
            *(_text(self.name, 208, "topic name"), _text(self.type_name, 128, "message type"), self.fingerprint),
            *(self.topic_id, self.state, len(self.lanes), ON_FULL.index(self.on_full)),
            *(self.max_messages, self.max_message_bytes, self.producers, self.gates),
            *(self.max_bytes, self.retention_ns, self.claim_timeout_ns, self.block_timeout_ns),
            *(self.created_ns, self.descriptor_offset, self.descriptor_length),
            *(*lanes[0], *lanes[1]),
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """None for a free entry. Raises ValueError, IndexError for one that cannot be."""
        name, type_name, fingerprint, topic_id, state, count, on_full, *rest = _TOPIC.unpack(data)
        if state == 0:
            return None
        max_messages, max_message_bytes, producers, gates, max_bytes, retention, claim, block, *rest = rest
        created, offset, length, *lanes = rest
        return cls(
            topic_id=topic_id,
            name=_string(name),
            lanes=(Lane(*lanes[:4]), Lane(*lanes[4:]))[:count],
            max_messages=max_messages,
            max_bytes=max_bytes,
            max_message_bytes=max_message_bytes,
            retention_ns=retention,
            claim_timeout_ns=claim,
            producers=producers,
            gates=gates,
            on_full=ON_FULL[on_full],
            block_timeout_ns=block,
            type_name=_string(type_name),
            fingerprint=fingerprint,
            state=TopicState(state),
            created_ns=created,
            descriptor_offset=offset,
            descriptor_length=length,
        )


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One session page of a client; a client with very many subscriptions has several."""

    session: int
    client: str
    process: Identity
    uid: int
    bell: int
    cursors: int
    connected_ns: int = 0

    def segment_name(self, bus: str, uid: int | None = None) -> str:
        return segment.session_name(bus, self.session, uid)

    def pack(self) -> bytes:
        name = _text(self.client, 64, "client name")
        return _SESSION.pack(self.session, 1, self.uid, self.bell, *self.process, self.connected_ns, name, self.cursors)

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """None for a free entry."""
        session, state, uid, bell, pid, start_time, namespace, connected, name, cursors = _SESSION.unpack(data)
        if state == 0:
            return None
        return cls(session, _string(name), Identity(pid, start_time, namespace), uid, bell, cursors, connected)


@dataclass(frozen=True, slots=True)
class CollectorEntry:
    """One collector. `process` is None while it does not run; `detail` says why it crashed last, or is being ended.

    `health` is the worse of `seen` and `said`: what the coordinator sees of it, and what it says of itself. The rest is
    for the next coordinator: `recent`, automatic restarts within the window; `plan`, a fingerprint of what the process
    was started with; and while it is stopping `again`, it is to be started then, and `given_up`, it counts as crashed.
    """

    name: str
    state: CollectorState
    health: Health = Health.UNKNOWN
    process: Identity | None = None
    started_ns: int = 0
    restarts: int = 0
    detail: str = ""
    recent: int = 0
    plan: int = 0
    seen: Health = Health.UNKNOWN
    said: Health = Health.UNKNOWN
    again: bool = False
    given_up: bool = False

    def pack(self) -> bytes:
        detail = self.detail.encode()[:128].decode(errors="ignore").encode()  # cut, but never inside a character
        return _COLLECTOR.pack(
            _text(self.name, 64, "collector name"),
            *(self.process or (0, 0, 0)),
            *(self.started_ns, self.state, self.health, self.restarts, self.recent, detail, self.plan),
            *(self.seen, self.again * _AGAIN | self.given_up * _GIVEN_UP, self.said),
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """None for a free entry. Raises ValueError for one that cannot be."""
        name, pid, start_time, namespace, started, state, health, restarts, *rest = _COLLECTOR.unpack(data)
        recent, detail, plan, seen, follows, said = rest
        if state == 0:
            return None
        process = Identity(pid, start_time, namespace) if pid else None
        its = CollectorState(state), Health(health), process, started, restarts, _string(detail), recent, plan
        return cls(_string(name), *its, Health(seen), Health(said), bool(follows & _AGAIN), bool(follows & _GIVEN_UP))


_Entry = TypeVar("_Entry", TopicEntry, SessionEntry, CollectorEntry)


class _Table(NamedTuple):
    offset: int
    stride: int
    capacity: int

    def at(self, index: int) -> slice:
        return slice(self.offset + index * self.stride, self.offset + (index + 1) * self.stride)


class _Layout(NamedTuple):
    topics: _Table
    sessions: _Table
    collectors: _Table
    descriptors: int
    size: int

    @classmethod
    def of(cls, capacities: Capacities) -> Self:
        topics = _Table(_TABLES, _TOPIC.size + _CRC.size, capacities.topics)
        sessions = _Table(topics.at(capacities.topics).start, _SESSION.size + _CRC.size, capacities.sessions)
        collectors = _Table(sessions.at(capacities.sessions).start, _COLLECTOR.size + _CRC.size, capacities.collectors)
        descriptors = collectors.at(capacities.collectors).start
        return cls(topics, sessions, collectors, descriptors, (descriptors + capacities.descriptor_bytes + 7) & ~7)


def size_of(capacities: Capacities) -> int:
    """Bytes that the directory of a bus takes."""
    return _Layout.of(capacities).size


class _Slots:
    """Which entry of a table belongs to whom; the lowest free one is given out first, so that readers look at few."""

    def __init__(self, table: _Table, word: str, thing: str) -> None:
        self.table, self.word, self.thing = table, word, thing
        self.of: dict[object, int] = {}
        self.used = 0
        self._free: list[int] = []

    def place(self, key: object) -> int:
        if key in self.of:
            return self.of[key]
        if not self._free and self.used == self.table.capacity:
            limit = self.table.capacity
            raise LimitError(f"{self.thing} of the bus", limit, limit + 1, f"Raise bus.max_{self.word}.")
        index = heappop(self._free) if self._free else self.used
        self.used = max(self.used, index + 1)
        self.of[key] = index
        return index

    def give_back(self, key: object) -> int | None:
        index = self.of.pop(key, None)
        if index is not None:
            heappush(self._free, index)
        return index


class DirectoryWriter:
    """The coordinator's side. Of one process and, at a time, of one thread."""

    def __init__(
        self,
        descriptor: int,
        *,
        bus: str,
        address: str,
        coordinator: Identity,
        capacities: Capacities,
        boot_id: bytes,
    ) -> None:
        """Initialise the zeroed segment behind `descriptor`, of size_of(capacities) bytes; the magic is stored last."""
        layout = _Layout.of(capacities)
        self._map = mmap.mmap(descriptor, layout.size)
        self._words = memoryview(self._map).cast("Q")
        self._topics = _Slots(layout.topics, "topics", "topics")
        self._sessions = _Slots(layout.sessions, "sessions", "sessions")
        self._collectors = _Slots(layout.collectors, "collectors", "collectors")
        self._descriptors: dict[bytes, tuple[int, int]] = {}
        self._descriptor_start, self._descriptor_room = layout.descriptors, capacities.descriptor_bytes
        self._descriptor_bytes = 0
        self._depth = 0
        header = _HEADER.pack(
            *(0, LAYOUT, 0, boot_id, 0, *coordinator),
            *(capacities.topics, capacities.sessions, capacities.collectors, 0, capacities.descriptor_bytes),
            *(layout.size, time.time_ns(), BusState.STARTING, 0, 0, 0, 0),
            *(_text(bus, 32, "bus name"), _text(address, 128, "address")),
        )
        self._map[: len(header)] = header
        self._store("magic", _MAGIC)

    def close(self) -> None:
        self._words.release()
        self._map.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Make several changes one: readers see all of them or none."""
        self._depth += 1
        if self._depth == 1:
            self._step()
            _core.killpoint(CHANGING)
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                _core.killpoint(CHANGED)
                self._step()

    def set_state(self, state: BusState) -> None:
        with self.change():
            self._store("state", state)

    def put_topic(self, entry: TopicEntry) -> None:
        """Add or replace. Its descriptors must have been added before. Raises LimitError when the table is full."""
        offset, length = self._descriptors.get(entry.fingerprint, (0, 0))
        entry = replace(entry, descriptor_offset=offset, descriptor_length=length)
        self._put(self._topics, entry.topic_id, entry.pack())

    def remove_topic(self, topic_id: int) -> None:
        self._remove(self._topics, topic_id)

    def put_session(self, entry: SessionEntry) -> None:
        """Add or replace. Raises LimitError when the table is full."""
        self._put(self._sessions, entry.session, entry.pack())

    def remove_session(self, session: int) -> None:
        self._remove(self._sessions, session)

    def put_collector(self, entry: CollectorEntry) -> None:
        """Add or replace. Raises LimitError when the table is full."""
        self._put(self._collectors, entry.name, entry.pack())

    def remove_collector(self, name: str) -> None:
        self._remove(self._collectors, name)

    def has_descriptors(self, fingerprint: bytes) -> bool:
        return fingerprint in self._descriptors

    def add_descriptors(self, fingerprint: bytes, data: bytes) -> None:
        """Keep a serialised FileDescriptorSet; once for a fingerprint. Raises LimitError when there is no room."""
        if fingerprint in self._descriptors:
            return
        start, end = self._descriptor_bytes, self._descriptor_bytes + len(data)
        if end > self._descriptor_room:
            remedy = "Raise bus.max_descriptor_bytes."
            raise LimitError("bytes of message descriptors on the bus", self._descriptor_room, end, remedy)
        with self.change():
            self._map[self._descriptor_start + start : self._descriptor_start + end] = data
            self._descriptor_bytes = end
            self._store("descriptors", end)
        self._descriptors[fingerprint] = (start, len(data))

    def _put(self, slots: _Slots, key: object, data: bytes) -> None:
        index = slots.place(key)
        with self.change():
            self._map[slots.table.at(index)] = data + _CRC.pack(zlib.crc32(data))
            self._store(slots.word, slots.used)

    def _remove(self, slots: _Slots, key: object) -> None:
        index = slots.give_back(key)
        if index is not None:
            with self.change():
                data = bytes(slots.table.stride - _CRC.size)
                self._map[slots.table.at(index)] = data + _CRC.pack(zlib.crc32(data))

    def _store(self, word: str, value: int) -> None:
        self._words[_WORD[word] // 8] = value  # one aligned store of 8 bytes

    def _step(self) -> None:
        self._store("generation", self._words[_WORD["generation"] // 8] + 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there was at one moment. `torn`: the writer died or stands still in the middle of a change."""

    generation: int
    torn: bool
    state: BusState
    topics: tuple[TopicEntry, ...]
    sessions: tuple[SessionEntry, ...]
    collectors: tuple[CollectorEntry, ...]


class DirectoryReader:
    """Reads a directory through a descriptor that may be read-only. Believes no count, offset or length unchecked."""

    def __init__(self, descriptor: int, *, boot_id: bytes, name: str = "directory") -> None:
        """Map and check it; the descriptor stays the caller's. Raises SegmentError."""
        size = os.fstat(descriptor).st_size
        if size < _TABLES:
            raise SegmentError(name, "early", size, _TABLES)
        self._name = name
        self._map = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        self._words = memoryview(self._map)[:_TABLES].cast("Q")
        try:
            self._check(size, boot_id)
        except BaseException:
            self.close()
            raise

    def _check(self, size: int, boot_id: bytes) -> None:
        magic, version, _, boot, _, *rest = _HEADER.unpack_from(self._map)
        self._expect("early" if magic == 0 else "foreign", magic, _MAGIC)
        segment.check_layout(self._name, version, LAYOUT, OLDEST_LAYOUT)
        self._expect("boot", boot.hex(), boot_id.hex())
        pid, start_time, namespace, topics, sessions, collectors, _, room, total, started, *_, bus, address = rest
        self.coordinator = Identity(pid, start_time, namespace)
        self.capacities = Capacities(topics, sessions, collectors, room)
        self.started_ns = int(started)
        self.bus = _string(bus)
        self.address = _string(address)
        self._layout = _Layout.of(self.capacities)
        self._expect("size", total, self._layout.size)
        self._expect("size", size, self._layout.size)

    def _expect(self, reason: str, found: object, expected: object) -> None:
        if found != expected:
            raise SegmentError(self._name, reason, found, expected)

    def close(self) -> None:
        self._words.release()
        self._map.close()

    @property
    def generation(self) -> int:
        """Another value than before: something has changed. Odd: something is being changed."""
        return self._load("generation")

    def is_alive(self) -> bool:
        """Is the coordinator's process running?"""
        return is_alive(self.coordinator)

    def snapshot(self) -> Snapshot:
        """What there is now. Waits for the end of a change, but not longer than some 20 ms, nor for a dead writer."""
        for attempt in range(_PATIENCE):
            generation = self.generation
            if generation % 2 == 0:
                found = self._read(generation)
                if not found.torn and self.generation == generation:
                    return found
            if attempt and not self.is_alive():
                break
            time.sleep(_PAUSE)  # nobody rings for the end of a change: it takes microseconds
        return replace(self._read(self.generation), torn=True)

    def descriptors(self, entry: TopicEntry) -> bytes:
        """The serialised FileDescriptorSet of a topic's message type; empty when there is none. Raises SegmentError."""
        start, length = entry.descriptor_offset, entry.descriptor_length
        end = start + length
        if end > min(self._load("descriptors"), self.capacities.descriptor_bytes):
            raise SegmentError(self._name, "corrupt", end, self.capacities.descriptor_bytes)
        return self._map[self._layout.descriptors + start : self._layout.descriptors + end]

    def _read(self, generation: int) -> Snapshot:
        topics, whole_topics = self._entries(self._layout.topics, "topics", TopicEntry.unpack)
        sessions, whole_sessions = self._entries(self._layout.sessions, "sessions", SessionEntry.unpack)
        collectors, whole_collectors = self._entries(self._layout.collectors, "collectors", CollectorEntry.unpack)
        state = self._load("state")
        known = state in BusState.__members__.values()
        return Snapshot(
            generation=generation,
            torn=not (known and whole_topics and whole_sessions and whole_collectors),
            state=BusState(state) if known else BusState.STOPPED,
            topics=topics,
            sessions=sessions,
            collectors=collectors,
        )

    def _entries(
        self, table: _Table, word: str, unpack: Callable[[bytes], _Entry | None]
    ) -> tuple[tuple[_Entry, ...], bool]:
        """The entries that are whole, and whether that is all of them."""
        count = self._load(word)
        looked_at = min(count, table.capacity)
        copy = self._map[table.offset : table.at(looked_at).start]
        whole = count == looked_at
        found = []
        for start in range(0, len(copy), table.stride):
            entry, valid = _checked(copy[start : start + table.stride], unpack)
            whole = whole and valid
            if entry is not None:
                found.append(entry)
        return tuple(found), whole

    def _load(self, word: str) -> int:
        return self._words[_WORD[word] // 8]


def owners(reader: DirectoryReader) -> list[Identity]:
    """The processes that stand behind a bus: its coordinator, its clients and its collectors."""
    found = reader.snapshot()
    collectors = (entry.process for entry in found.collectors if entry.process is not None)
    return [reader.coordinator, *(entry.process for entry in found.sessions), *collectors]


def leftovers(uid: int | None = None, bus: str | None = None) -> list[segment.SegmentName]:
    """Segments behind which nobody alive stands: of buses whose coordinator and clients are all dead, or from before a
    reboot; and what a dead process was making.

    A coordinator makes its directory first and removes it last, so segments without a directory belong to a bus that is
    gone, unless a client of it still runs. Of a bus of another layout nobody stands in a way that is known here: it is
    alive while a process has any of it mapped.
    """
    found = segment.list_segments(uid, bus)
    boot_id = segment.boot_id()
    living, unknown = set(), set()
    for one in found:
        try:
            if any(is_alive(identity) for identity in _identities(one, boot_id)):
                living.add(one.bus)
        except SegmentError:
            unknown.add(one.bus)
    living |= {bus for bus in unknown if segment.users(bus, uid)}
    return [one for one in found if one.bus not in living or (one.maker and not is_alive(one.maker))]


def _identities(one: segment.SegmentName, boot_id: bytes) -> list[Identity]:
    """The processes that a segment names; none when it is not what its name says.

    Raises SegmentError for one of another layout.
    """
    if one.maker:
        return [one.maker]
    try:
        descriptor = segment.attach(one.name)
    except ShmbusError:
        return []
    try:
        return _named_in(one.what, descriptor, boot_id)
    except (SegmentError, _core.AttachError) as error:
        if error.reason == "layout":
            raise SegmentError(one.name, "layout") from None
        return []
    finally:
        os.close(descriptor)


def _named_in(what: str, descriptor: int, boot_id: bytes) -> list[Identity]:
    if what == "directory":
        with closing(DirectoryReader(descriptor, boot_id=boot_id)) as reader:
            return owners(reader)
    if what.startswith("session."):
        with closing(_core.Session.attach(descriptor, writable=False, boot_id=boot_id)) as session:
            return [Identity(*session.identity)]
    return []


def _checked(data: bytes, unpack: Callable[[bytes], _Entry | None]) -> tuple[_Entry | None, bool]:
    body = data[: -_CRC.size]
    if zlib.crc32(body) != _CRC.unpack_from(data, len(body))[0]:
        return None, False
    try:
        return unpack(body), True
    except (ValueError, IndexError):
        return None, False


def _text(text: str, size: int, thing: str) -> bytes:
    data = text.encode()
    if len(data) > size:
        raise LimitError(f"bytes of the {thing} {text[:32]!r}", size, len(data), "Choose a shorter one.")
    return data


def _string(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
