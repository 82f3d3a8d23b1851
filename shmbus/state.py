"""The last message of each key of a topic, in a segment of its own: a log that is folded, half of it at a time in use.

    0x000  magic u64, stored last     layout version u32, topic id u32
    0x010  boot id, 16 bytes
    0x020  most keys u32, zero u32, most bytes that are kept u64, bytes of a half u64
    0x038  topic name, 208 bytes      message type, 128 bytes      crc32c u32
    0x200  commit, 72 bytes           the one of the higher number counts
    0x280  commit, 72 bytes
    0x1000 half 0, half 1             records, back to back, from the beginning of each

    commit  0x00 number u64, turns u64 (their lowest bit: the half in use), bytes of records in it u64
            0x18 folded u64 of the normal and of the urgent lane: everything before that sequence is in the records
            0x28 keys u64, refused u64, missed u64, crc32c u32, zero u32
    record  0x00 bytes u32, a multiple of 8; crc32c u32 of what follows
            0x08 producer: pid i64, start time u64, pid namespace u64, session u32, uid u32
            0x28 bytes of the payload u32, of the key u16, of the producer's name u16, lane u8, flags u8, zero 6
            0x38 frame header, 48 bytes; key, name, payload

Numbers are little-endian. One process writes, and may be killed at any instruction; anybody may read meanwhile.

Records are only ever appended behind the committed ones, and a commit is written over the older of the two: until its
checksum is whole the other one counts, and what that says is untouched. When most of a half does not count any more,
what does is copied into the other half, which no commit has named since the last turn, and committed there. Only then
is the first half written again; so a reader that has copied the records of a commit has them whole if the turns are
still the same. A writer that comes back goes on behind the commit that counts: what was appended and not committed is
appended again, and the topic still has it, because nobody has acknowledged it.

    state.appended      records that no commit names                the next writer overwrites them
    state.committing    a commit without a valid checksum           the other one counts, and is what was acknowledged
    state.turned        the other half is written, nothing names it the next writer writes it again
    state.committed     folded, and not acknowledged                it comes again, and is older than what is folded
"""

import mmap
import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from shmbus import _core, segment
from shmbus._core import Message, Source
from shmbus.errors import SegmentError
from shmbus.message import Gap, Producer

LAYOUT: Final = 1  # see shmbus.coordinator.layouts for what each number was
OLDEST_LAYOUT: Final = 1
LANES: Final = 2
APPENDED: Final = "state.appended"
COMMITTING: Final = "state.committing"
TURNED: Final = "state.turned"
COMMITTED: Final = "state.committed"

_MAGIC = int.from_bytes(b"shmkept1", "little")
_HEADER = struct.Struct("<QII 16s IIQQ 208s 128s")
_COMMIT = struct.Struct("<8Q")
_RECORD = struct.Struct("<II qQQII IHHBB6x 48s")
_CRC = struct.Struct("<I")
_COMMITS = (0x200, 0x280)
_HALVES = 0x1000
_FORGOTTEN, _ANONYMOUS = 1, 2  # flags: nothing is kept of the key any more; the producer was not known
_TURN_BYTES = 32 << 10  # a half is left when it has grown to twice what counts, and this: so that it is read quickly
_PATIENCE = 50  # attempts at a consistent picture, _PAUSE seconds apart: a commit takes microseconds
_PAUSE = 100e-6


class _Commit(NamedTuple):
    number: int
    turns: int
    length: int
    folded: tuple[int, int]
    keys: int
    refused: int
    missed: int

    def pack(self) -> bytes:
        number, turns, length, folded, *counts = self
        data = _COMMIT.pack(number, turns, length, *folded, *counts)
        return data + _CRC.pack(_core.crc32c(data)) + bytes(4)


class Record(NamedTuple):
    """One kept message. `forgotten`: there is none of that key any more."""

    key: str
    lane: int
    forgotten: bool
    producer: Producer | None
    frame: bytes
    payload: bytes

    @property
    def sequence(self) -> int:
        """Of the message in its lane."""
        return int.from_bytes(self.frame[:8], "little")

    @property
    def time_ns(self) -> int:
        """When it was published."""
        return int.from_bytes(self.frame[8:16], "little")

    @property
    def expired(self) -> bool:
        """It is past its time."""
        expires_ns = int.from_bytes(self.frame[16:24], "little")
        return 0 < expires_ns <= time.monotonic_ns()

    def message(self, source: Source) -> Message:
        """As it was received. Raises ValueError when its checksum says otherwise."""
        return _core.restore(source, self.frame, self.payload, self.producer)

    def pack(self) -> bytes:
        """As it stands in the segment."""
        key = self.key.encode()
        who = self.producer or Producer("", 0, 0, 0, 0, 0)
        name = who.name.encode()
        flags = _FORGOTTEN * self.forgotten | _ANONYMOUS * (self.producer is None)
        length = _RECORD.size + len(key) + len(name) + len(self.payload)
        padding = bytes(-length % 8)
        head = _RECORD.pack(
            *(length + len(padding), 0, who.pid, who.start_time, who.pid_namespace, who.session, who.uid),
            *(len(self.payload), len(key), len(name), self.lane, flags, self.frame),
        )
        rest = b"".join((head[8:], key, name, self.payload, padding))
        return head[:4] + _CRC.pack(_core.crc32c(rest)) + rest

    @classmethod
    def unpack(cls, data: memoryview) -> "tuple[Record, int]":
        """The first record in there, and its bytes. Raises ValueError for what is none."""
        if len(data) < _RECORD.size:
            raise ValueError("a record is cut off")
        size, crc, pid, start, namespace, session, uid, payload, key, name, lane, flags, frame = _RECORD.unpack_from(
            data
        )
        at = _RECORD.size
        if size % 8 or not at + key + name + payload <= size <= len(data) or lane >= LANES:
            raise ValueError("a record has impossible sizes")
        if _core.crc32c(data[8:size]) != crc:
            raise ValueError("a record has another checksum")
        key_text, at = str(data[at : at + key], "utf-8"), at + key
        name_text, at = str(data[at : at + name], "utf-8"), at + name
        who = None if flags & _ANONYMOUS else Producer(name_text, pid, start, namespace, session, uid)
        return cls(key_text, lane, bool(flags & _FORGOTTEN), who, frame, bytes(data[at : at + payload])), size


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was kept at one moment: of each lane, the last message of each key before the sequence in `folded`.

    `refused` messages had no room, so nothing of their keys is kept; `missed` ones were lost before they could be.
    """

    topic: str
    type_name: str
    folded: tuple[int, int]
    records: dict[str, Record]
    refused: int
    missed: int

    def messages(self) -> list[Message]:
        """All of them that are not past their time, oldest first."""
        sources = [Source(self.topic, self.type_name, lane, self.topic) for lane in range(LANES)]
        found = sorted(self.records.values(), key=lambda one: (one.time_ns, one.sequence))
        return [one.message(sources[one.lane]) for one in found if not one.expired]


def size_of(most_bytes: int) -> int:
    """Bytes of the segment for that many bytes of kept records. A half has room for them twice."""
    return _HALVES + 2 * _half(most_bytes)


def _half(most_bytes: int) -> int:
    return 2 * ((most_bytes + 7) & ~7)


class StateReader:
    """Reads it through a descriptor that may be read-only. Believes no count, offset or length unchecked."""

    def __init__(self, descriptor: int, *, boot_id: bytes, name: str = "state", writable: bool = False) -> None:
        """Map and check it; the descriptor stays the caller's. Raises SegmentError."""
        size = os.fstat(descriptor).st_size
        if size < _HALVES:
            raise SegmentError(name, "early", size, _HALVES)
        self._name = name
        self._map = mmap.mmap(descriptor, size, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        try:
            self._check(size, boot_id)
        except BaseException:
            self.close()
            raise

    def _check(self, size: int, boot_id: bytes) -> None:
        magic, version, topic_id, boot, keys, _, kept, half, topic, type_name = _HEADER.unpack_from(self._map)
        self._expect("early" if magic == 0 else "foreign", magic, _MAGIC)
        segment.check_layout(self._name, version, LAYOUT, OLDEST_LAYOUT)
        self._expect("boot", boot.hex(), boot_id.hex())
        (crc,) = _CRC.unpack_from(self._map, _HEADER.size)
        self._expect("corrupt", crc, _core.crc32c(self._map[8 : _HEADER.size]))
        self._expect("size", size, size_of(kept))
        self._expect("size", half, _half(kept))
        self.topic_id: int = topic_id
        self.most_keys: int = keys
        self.most_bytes: int = kept
        self._half: int = half
        self.topic = topic.rstrip(b"\0").decode(errors="replace")
        self.type_name = type_name.rstrip(b"\0").decode(errors="replace")

    def _expect(self, reason: str, found: object, expected: object) -> None:
        if found != expected:
            raise SegmentError(self._name, reason, found, expected)

    def close(self) -> None:
        """Unmap it."""
        self._map.close()

    def snapshot(self) -> Snapshot:
        """What is kept now. Waits for the end of a commit, but not longer than some 5 ms. Raises SegmentError."""
        for _ in range(_PATIENCE):
            commit, settled = self._latest()
            if not settled:
                time.sleep(_PAUSE)  # nobody rings for the end of a commit
                continue
            data = self._copy(commit)
            if self._latest()[0].turns == commit.turns:
                return self._fold(commit, data)
        commit, _ = self._latest()  # its writer died in the middle of the next one
        return self._fold(commit, self._copy(commit))

    def _latest(self) -> tuple[_Commit, bool]:
        """The commit that counts; and whether both are whole, so that there is no later one."""
        found = [one for one in map(self._commit, _COMMITS) if one is not None]
        if not found:
            raise SegmentError(self._name, "corrupt")
        return max(found), len(found) == len(_COMMITS)

    def _commit(self, offset: int) -> _Commit | None:
        data = self._map[offset : offset + _COMMIT.size + _CRC.size]
        if _CRC.unpack_from(data, _COMMIT.size)[0] != _core.crc32c(data[: _COMMIT.size]):
            return None
        number, turns, length, normal, urgent, *counts = _COMMIT.unpack_from(data)
        return _Commit(number, turns, length, (normal, urgent), *counts) if length <= self._half else None

    def _begin(self, turns: int) -> int:
        return _HALVES + turns % 2 * self._half

    def _copy(self, commit: _Commit) -> bytes:
        begin = self._begin(commit.turns)
        return self._map[begin : begin + commit.length]

    def _fold(self, commit: _Commit, data: bytes) -> Snapshot:
        records: dict[str, Record] = {}
        rest = memoryview(data)
        try:
            while rest:
                record, size = Record.unpack(rest)
                rest = rest[size:]
                records.pop(record.key, None)
                if not record.forgotten:
                    records[record.key] = record
        except ValueError as error:
            raise SegmentError(self._name, "corrupt", str(error)) from None
        return Snapshot(self.topic, self.type_name, commit.folded, records, commit.refused, commit.missed)


class _Place(NamedTuple):
    """Where the record of a key stands in the half in use, and what it is of."""

    offset: int
    size: int
    lane: int
    time_ns: int


class StateWriter(StateReader):
    """The only one who writes: of one process and, at a time, of one thread."""

    @staticmethod
    def initialise(
        descriptor: int, *, topic_id: int, topic: str, type_name: str, keys: int, most_bytes: int, boot_id: bytes
    ) -> None:
        """Make the zeroed segment behind `descriptor`, of size_of(most_bytes) bytes, one; the magic is stored last."""
        with mmap.mmap(descriptor, size_of(most_bytes)) as memory:
            header = _HEADER.pack(
                *(_MAGIC, LAYOUT, topic_id, boot_id, keys, 0, most_bytes, _half(most_bytes)),
                *(topic.encode(), type_name.encode()),
            )
            memory[8 : len(header)] = header[8:]
            _CRC.pack_into(memory, len(header), _core.crc32c(header[8:]))
            for number, offset in enumerate(_COMMITS):
                commit = _Commit(number, 0, 0, (0, 0), 0, 0, 0).pack()
                memory[offset : offset + len(commit)] = commit
            memory[:8] = header[:8]

    def __init__(self, descriptor: int, *, boot_id: bytes, name: str = "state") -> None:
        """Go on where the last one stopped. Raises SegmentError."""
        super().__init__(descriptor, boot_id=boot_id, name=name, writable=True)
        self._last, _ = self._latest()
        self._end = 0
        self._places: dict[str, _Place] = {}
        self._bytes = 0
        self._refused, self._missed = self._last.refused, self._last.missed
        rest = memoryview(self._copy(self._last))
        try:
            while rest:
                record, size = Record.unpack(rest)
                self._put(record, size)
                rest = rest[size:]
        except ValueError as error:
            raise SegmentError(name, "corrupt", str(error)) from None

    @property
    def folded(self) -> tuple[int, int]:
        """Of each lane: everything before that sequence is in the records, and will be whoever is killed."""
        return self._last.folded

    @property
    def missed(self) -> int:
        """Messages that were lost before they could be kept."""
        return self._missed

    @property
    def refused(self) -> int:
        """Messages that there was no room for."""
        return self._refused

    def fold(self, found: Iterable[Message | Gap]) -> None:
        """Take in what was received, in its order. What has been folded before changes nothing."""
        newest: dict[str, Message] = {}
        folded = list(self.folded)
        for one in found:
            if isinstance(one, Gap):
                self._missed += one.count
                continue
            if one.sequence < folded[one.lane]:
                continue
            folded[one.lane] = one.sequence + 1
            if (key := one.key) is not None and self._is_newer(one, newest.get(key) or self._places.get(key)):
                newest[key] = one
        for key, message in newest.items():
            self._keep(key, message)
        _core.killpoint(APPENDED)
        self._store_commit((folded[0], folded[1]))
        _core.killpoint(COMMITTED)

    @staticmethod
    def _is_newer(message: Message, held: Message | _Place | None) -> bool:
        """In one lane later ones come later; of two lanes the time says which is."""
        return held is None or held.lane == message.lane or held.time_ns <= message.time_ns

    def _keep(self, key: str, message: Message) -> None:
        forgotten = message._locate() is None and message.envelope.WhichOneof("payload") is None
        record = Record(key, message.lane, forgotten, message.producer, message._frame, message.payload)
        data, held = record.pack(), self._places.get(key)
        room = self.most_bytes - self._bytes + (held.size if held else 0)
        if not forgotten and (len(data) > room or (held is None and len(self._places) >= self.most_keys)):
            self._refused += 1
            forgotten = True  # what is older is not the last one any more
        if forgotten:
            if held is None:
                return
            record = record._replace(forgotten=True, producer=None, payload=b"")
            data = record.pack()
        if self._end + len(data) > min(self._half, max(_TURN_BYTES, 2 * self._bytes)):
            self._turn()
        begin = self._begin(self._last.turns)
        self._map[begin + self._end : begin + self._end + len(data)] = data
        self._put(record, len(data))

    def _put(self, record: Record, size: int) -> None:
        held = self._places.pop(record.key, None)
        if held is not None:
            self._bytes -= held.size
        if not record.forgotten:
            self._places[record.key] = _Place(self._end, size, record.lane, record.time_ns)
            self._bytes += size
        self._end += size

    def _turn(self) -> None:
        """Go on in the other half, with what counts of this one."""
        begin, end = self._begin(self._last.turns), 0
        there = self._begin(self._last.turns + 1)
        places: dict[str, _Place] = {}
        for key, place in self._places.items():
            data = self._map[begin + place.offset : begin + place.offset + place.size]
            self._map[there + end : there + end + place.size] = data
            places[key] = place._replace(offset=end)
            end += place.size
        self._places, self._end = places, end
        _core.killpoint(TURNED)
        self._store_commit(self.folded, turns=self._last.turns + 1)

    def _store_commit(self, folded: tuple[int, int], turns: int | None = None) -> None:
        number = self._last.number + 1
        turns = self._last.turns if turns is None else turns
        commit = _Commit(number, turns, self._end, folded, len(self._places), self._refused, self._missed)
        data, offset = commit.pack(), _COMMITS[number % 2]
        self._map[offset : offset + 0x20] = data[:0x20]
        _core.killpoint(COMMITTING)
        self._map[offset + 0x20 : offset + len(data)] = data[0x20:]
        self._last = commit
