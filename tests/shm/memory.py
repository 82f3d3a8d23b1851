"""Rings, bells and sessions on anonymous memory, and what tests do to them behind the core's back.

The offsets are those of shmbus/core/layout.h; `Raw` is how a test plays a process that died, or one that scribbles.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from typing import Any

import shmbus  # noqa: F401  what the core makes in Python (gaps, producers) is set up by this import
from shmbus import _core
from shmbus._core import Bells, Reader, Ring, Session, Writer

BOOT = bytes(range(16))
UNIT = 64
HEADER_BYTES = 0x600
TAIL, HEAD, HINT, ABORTED_COUNT = 0x280, 0x300, 0x400, 0x488
CLAIMED, COMMITTED, SKIPPED, ABORTED = range(4)
NO_TIME_LIMIT = 0
MASK = 2**64 - 1


def memory(size: int) -> int:
    """The descriptor of so much zeroed memory."""
    descriptor = os.memfd_create("shmbus-test")
    os.ftruncate(descriptor, size)
    return descriptor


@dataclass
class Shape:
    """How a ring is made."""

    slots: int = 8
    arena_bytes: int = 4096
    producers: int = 8
    gates: int = 4
    first_sequence: int = 1
    first_position: int = 0
    max_messages: int | None = None
    max_message_bytes: int = 4096
    retention_ns: int = NO_TIME_LIMIT
    generation: int = 0


def make_ring(shape: Shape, topic: str = "lab.ring", bell: int = 1) -> tuple[Ring, int]:
    """A ring, mapped writable, and the descriptor of its memory (the caller's to close)."""
    its = shape
    descriptor = memory(Ring.layout(its.slots, its.arena_bytes, its.producers, its.gates))
    ring = Ring.create(
        descriptor,
        slots=its.slots,
        arena_bytes=its.arena_bytes,
        producers=its.producers,
        gates=its.gates,
        max_messages=its.slots - 1 if its.max_messages is None else its.max_messages,
        max_bytes=its.arena_bytes,
        max_message_bytes=its.max_message_bytes,
        retention_ns=its.retention_ns,
        claim_timeout_ns=10**9,
        topic=topic,
        topic_id=7,
        lane=0,
        generation=its.generation,
        bell=bell,
        first_sequence=its.first_sequence,
        first_position=its.first_position,
        boot_id=BOOT,
        type_name="",
        fingerprint=bytes(32),
    )
    return ring, descriptor


def make_bells(count: int = 8) -> Bells:
    descriptor = memory(Bells.layout(count))
    try:
        return Bells.create(descriptor, count, BOOT)
    finally:
        os.close(descriptor)


def make_session(number: int, cursors: int = 8, publishers: int = 8) -> Session:
    descriptor = memory(Session.layout(cursors, publishers)[0])
    try:
        return Session.create(
            descriptor,
            session=number,
            cursors=cursors,
            publishers=publishers,
            bell=2,
            pid=os.getpid(),
            start_time=1,
            pid_namespace=1,
            boot_id=BOOT,
        )
    finally:
        os.close(descriptor)


class Trouble(Exception):
    """The core could not publish; the attributes are what it told."""

    def __init__(self, result: int, by: int, sequence: int, producer: int, session: int, cursor: int) -> None:
        self.result, self.by, self.sequence = result, by, sequence
        self.producer, self.session, self.cursor = producer, session, cursor
        super().__init__(
            f"result {result} by {by} at {sequence}: producer {producer}, session {session}, cursor {cursor}"
        )


class TestWriter(Writer):
    """Never waits; moves on to `successor` when its ring is sealed."""

    __test__ = False
    successor: Ring | None = None

    def __init__(self, ring: Ring, producer: int, bells: Bells) -> None:
        super().__init__(ring, producer, bells, f"{producer}-", False, 0.0)

    def _trouble(self, result: int, length: int, waited_ns: int, give_up: bool, *blocked: int) -> None:
        by, sequence, _, producer, session, cursor, _ = blocked
        outgrown = result == _core.TOO_LARGE and self._ring is not None and self._ring.sealed
        if (result == _core.SEALED or outgrown) and self.successor is not None:
            self._move(self.successor, self._producer_id)
        elif result != _core.FULL or give_up:
            raise Trouble(result, by, sequence, producer, session, cursor)


class TestReader(Reader):
    """Goes on in `successors[ring]` when a ring has been read to its seal."""

    __test__ = False

    def __init__(self, bells: Bells) -> None:
        super().__init__(bells, 2)
        self.gated: tuple[Session, int] | None = None
        self.successors: dict[Ring, Ring] = {}

    def read(self, ring: Ring, position: int) -> None:
        if self.gated is None:
            self._add(ring, "lab.#", position, False)
        else:
            self._add(ring, "lab.#", position, True, *self.gated)

    def _attend(self) -> None:
        pass

    def _sealed(self, ring: Ring, position: int) -> None:
        successor = self.successors[ring]
        self._remove(ring)
        self.read(successor, successor.first_sequence)

    def _stuck(self, ring: Ring, position: int, producer: int, since_ns: int) -> bool:
        return False

    def _nothing(self, ended: bool, waited: float) -> None:
        raise TimeoutError

    def _unusable(self, busy: bool) -> None:
        raise RuntimeError("busy" if busy else "closed")


class Raw:
    """The bytes of a ring."""

    def __init__(self, descriptor: int, shape: Shape) -> None:
        self.shape = shape
        self.bytes = mmap.mmap(descriptor, 0)
        its = shape
        self.slots_at = _page_up(HEADER_BYTES + (its.producers + 1) * 128 + its.gates * 16)
        self.arena_at = _page_up(self.slots_at + its.slots * 16)

    def close(self) -> None:
        self.bytes.close()

    def u64(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.bytes, at)[0])

    def set_u64(self, at: int, value: int) -> None:
        struct.pack_into("<Q", self.bytes, at, value & MASK)

    def slot_at(self, sequence: int) -> int:
        return self.slots_at + sequence % self.shape.slots * 16

    def word(self, sequence: int, state: int, producer: int, units: int) -> int:
        lap = sequence // self.shape.slots & 0xFFFFFFFF
        return lap << 32 | state << 30 | producer << 18 | units

    def claim(self, sequence: int, producer: int, units: int, *, helped: bool) -> None:
        """What a producer leaves that was killed right after it won this slot, before or after the tail was moved."""
        self.set_u64(self.slot_at(sequence), self.word(sequence, CLAIMED, producer, units))
        if helped:
            position = self.u64(TAIL) & 0xFFFFFF
            self.set_u64(TAIL, (sequence + 1) % 2**40 << 24 | (position + units) % 2**24)

    def set_state(self, sequence: int, state: int) -> None:
        at = self.slot_at(sequence)
        self.set_u64(at, self.u64(at) & ~(3 << 30) | state << 30)
        if state == ABORTED:  # whoever does that counts it
            self.set_u64(ABORTED_COUNT, self.u64(ABORTED_COUNT) + 1)

    def frame_at(self, sequence: int) -> int:
        """Where the frame of a committed sequence begins."""
        position = struct.unpack_from("<I", self.bytes, self.slot_at(sequence) + 8)[0]
        return int(self.arena_at + position * UNIT % self.shape.arena_bytes)

    def flip(self, sequence: int, offset: int, bit: int = 1) -> None:
        """Change a byte of a frame; the arena goes round."""
        at = self.frame_at(sequence) - self.arena_at + offset
        self.bytes[self.arena_at + at % self.shape.arena_bytes] ^= bit


def _page_up(size: int) -> int:
    return (size + 4095) // 4096 * 4096


def units_of(payload: bytes) -> int:
    return (_core.FRAME_HEADER_BYTES + len(payload) + UNIT - 1) // UNIT


def gap_of(found: Any) -> tuple[int, int, str] | None:
    return (found.first, found.count, found.reason) if isinstance(found, shmbus.Gap) else None
