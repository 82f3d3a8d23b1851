"""A ring as it should behave, in plain Python: no memory, no words, no wrap. What the real one is compared with."""

from collections import Counter
from dataclasses import dataclass, field

from shm.memory import ABORTED, CLAIMED, COMMITTED, SKIPPED

EXPIRED_AT_ONCE = 1  # a retention time, in ns, that every message has exceeded by the time it is read


@dataclass
class Slot:
    producer: int
    payload: bytes
    units: int
    state: int
    brief: bool = False  # its time to live is over when it is read
    corrupt: bool = False

    @property
    def final(self):
        return self.state in (COMMITTED, ABORTED)


@dataclass
class RingModel:
    """One generation. Slots are kept for ever, by sequence; `head` and `next` bound what is retained."""

    size: int
    arena_units: int
    head: int
    max_messages: int
    max_units: int
    max_message_bytes: int
    retention: int = 0
    slots: dict[int, Slot] = field(default_factory=dict)
    gates: dict[int, "ReaderModel"] = field(default_factory=dict)
    sealed: bool = False
    unhelped: bool = False  # the newest claim is not in the tail yet
    successor: "RingModel | None" = None

    def __post_init__(self):
        self.first = self.next = self.head

    @property
    def tail(self):
        return self.next - self.unhelped

    @property
    def room(self):
        """(messages, units) that may be retained."""
        return min(self.max_messages, self.size - 1), min(self.max_units, self.arena_units)

    def units(self, start):
        return sum(self.slots[at].units for at in range(start, self.next))

    def fits(self, head, units):
        messages, space = self.room
        return self.next - head < messages and self.units(head) + units <= space

    @property
    def gate(self):
        return min((reader.position for reader in self.gates.values()), default=self.next)

    def barrier(self):
        """How far the head could go."""
        at = self.head
        while at < min(self.gate, self.next) and self.slots[at].final:
            at += 1
        return at

    def too_large(self, payload, units):
        return len(payload) > self.max_message_bytes or units > self.room[1]

    def has_expired(self, slot):
        return slot.brief or self.retention == EXPIRED_AT_ONCE

    def claims(self):
        return [
            (at, slot.producer, slot.state == SKIPPED)
            for at, slot in sorted(self.slots.items())
            if at >= self.head and not slot.final
        ]

    def reused(self, at):
        """Has the slot of that sequence been given to a later one (or to the seal)?"""
        return at + self.size < self.next or (self.sealed and at + self.size == self.next)

    def expire(self):
        """What a sweep retires."""
        start = self.head
        while self.head < min(self.gate, self.tail):
            slot = self.slots[self.head]
            if not slot.final or not (slot.state == ABORTED or self.has_expired(slot)):
                break
            self.head += 1
        return self.head - start


class ReaderModel:
    """A cursor. `step` is what it has to say next: ("message", sequence), ("gap", first, count, reason), or None."""

    def __init__(self, ring, position, gated):
        self.ring, self.position, self.gated = ring, position, gated
        self.brief_from, self.brief_count, self.brief_of = 0, 0, 0
        self.told = []  # gaps of an overrun, one for each producer
        self.late = False  # what it begins with was dropped before it could see whose that was
        self.counts = {"delivered": 0, "lost": 0, "expired": 0, "corrupt": 0, "stepped": 0}

    def step(self):
        while True:
            if self.told:
                return self.told.pop(0)
            what, told = self._look()
            if what != "again":
                return told

    def _look(self):
        ring, at = self.ring, self.position
        if at < ring.next and not ring.reused(at):
            return self._look_at(ring.slots[at])
        if at >= ring.next and not (ring.sealed and at == ring.next):
            return "done", self._told_expired()
        if self.brief_count:
            return "done", self._told_expired()
        if at < ring.next:
            return self._overrun()
        self.ring = ring.successor
        self.position = self.ring.first
        self.late = not self.gated and self.ring.head > self.position
        if not self.gated:
            self.counts = dict.fromkeys(self.counts, 0)
        return "again", None

    def _look_at(self, slot):
        if slot.state in (ABORTED, SKIPPED):
            if self.brief_count:
                return "done", self._told_expired()
            self._count("stepped")
            return "again", None
        if slot.state == CLAIMED:
            return "done", self._told_expired()
        if self.position >= self.ring.head and not slot.corrupt and self.ring.has_expired(slot):
            if self.brief_count and self.brief_of != slot.producer:
                return "done", self._told_expired()
            self.brief_of = slot.producer
            self.brief_from = self.brief_from if self.brief_count else self.position
            self.brief_count += 1
            self._count("expired")
            return "again", None
        if self.brief_count:
            return "done", self._told_expired()
        if self.position < self.ring.head:
            return self._overrun()
        at = self.position
        self._count("corrupt" if slot.corrupt else "delivered")
        return "done", ("gap", at, 1, "corrupt") if slot.corrupt else ("message", at)

    def _count(self, what):
        self.counts[what] += 1
        self.position += 1

    def _told_expired(self):
        first, count, self.brief_count = self.brief_from, self.brief_count, 0
        return ("gap", first, count, "expired") if count else None

    def _overrun(self):
        """A gap for each producer that lost a message: what came to nothing is none."""
        first, self.position = self.position, self.ring.head
        if self.late:
            self.late = False
            self.counts["lost"] += self.position - first
            return "done", ("gap", first, self.position - first, "overrun")
        gone = Counter(
            slot.producer for at in range(first, self.position) if (slot := self.ring.slots[at]).state == COMMITTED
        )
        self.counts["lost"] += gone.total()
        self.told = [("gap", first, count, "overrun") for _, count in sorted(gone.items())]
        return "again", None
