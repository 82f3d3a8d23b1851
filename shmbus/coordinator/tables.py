"""Numbers that are given out and come back: producers of a ring, gates of a ring, cursors of a session, bells.

No clock and no I/O: the ring's head is handed in.
"""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from heapq import heapify, heappop, heappush


class NumberTable:
    """The lowest free number of [first, first + capacity)."""

    __slots__ = ("_first", "_next", "_free", "capacity")

    def __init__(self, capacity: int, first: int = 0) -> None:
        self.capacity = capacity
        self._first, self._next = first, first
        self._free: list[int] = []

    def take(self) -> int | None:
        """A number that nobody has, or None when all are given out."""
        if self._free:
            return heappop(self._free)
        if self._next - self._first == self.capacity:
            return None
        self._next += 1
        return self._next - 1

    def claim(self, number: int) -> None:
        """This one is given out, whoever did it. Raises ValueError when it is already, or cannot be."""
        if not self._first <= number < self._first + self.capacity:
            raise ValueError(f"no number {number}: there are {self._first} to {self._first + self.capacity - 1}")
        if number >= self._next:
            for free in range(self._next, number):
                heappush(self._free, free)
            self._next = number + 1
        else:
            self._free.remove(number)
            heapify(self._free)

    def give_back(self, number: int) -> None:
        """It is nobody's again."""
        heappush(self._free, number)

    @property
    def used(self) -> int:
        """How many are given out."""
        return self._next - self._first - len(self._free)


@dataclass(slots=True)
class _Parted:
    producer: int
    tail: int  # of the ring when its owner left: older messages may still name it
    unfinished: bool  # a slot may still name it as CLAIMED or SKIPPED: its owner lives and may come back to the claim


class ProducerTable:
    """The producer ids of one ring, 1..capacity.

    An id whose owner left is given out again only when the head has passed every message that its owner may have
    written (a reader that looks up the name of a producer must not find somebody else's) and no claim of it is open.
    Readers that are further behind find out by its name and numbers whose messages they missed. So ids come first that
    nobody has had, and then those whose owners left first: what else there is could only be needed by more readers.
    """

    __slots__ = ("_fresh", "_parted", "_left", "active", "reserved")

    def __init__(self, capacity: int) -> None:
        self._fresh = NumberTable(capacity, first=1)
        self._parted: deque[_Parted] = deque()
        self._left: dict[int, int] = {}  # by id: the tail when its owner left
        self.active: set[int] = set()
        self.reserved: dict[str, int] = {}  # ids of durable publishers, by name, whether they are there or not

    @property
    def capacity(self) -> int:
        """How many producers there can be at a time."""
        return self._fresh.capacity

    @property
    def parted(self) -> int:
        """How many ids wait for the head to pass."""
        return len(self._parted)

    @property
    def departed(self) -> dict[int, int]:
        """The ids that are nobody's any more, as long ago as possible first, each with the tail when its owner left."""
        return self._left | {entry.producer: entry.tail for entry in self._parted}

    def take(self, avoid: Container[int] = ()) -> int | None:
        """A free id that is none of those to avoid, or None."""
        producer = self._take_fresh(avoid)
        if producer is None:
            producer = min((one for one in self._left if one not in avoid), key=self._left.__getitem__, default=None)
        if producer is not None:
            self._left.pop(producer, None)
            self.active.add(producer)
        return producer

    def adopt(self, producers: set[int]) -> None:
        """Have these ids in use, as they were in the generation before. For an empty table only."""
        for producer in sorted(producers):
            self.claim(producer)

    def claim(self, producer: int) -> None:
        """Have this one in use."""
        self._fresh.claim(producer)
        self.active.add(producer)

    def leave(self, producer: int, tail: int) -> None:
        """One that nobody has had here is free; its owner in the generation before left when the tail stood there."""
        self._fresh.claim(producer)
        self._left[producer] = tail

    def part(self, producer: int, tail: int, *, unfinished: bool) -> None:
        """Its owner is gone: dead and repaired, or has closed it while the tail stood there."""
        self.active.discard(producer)
        self._parted.append(_Parted(producer, tail, unfinished))

    def settled(self, producer: int) -> None:
        """No slot names it in a claim any more."""
        for entry in self._parted:
            if entry.producer == producer:
                entry.unfinished = False

    def reclaim(self, head: int) -> list[int]:
        """The ids that are free again now that the head stands there."""
        free = {entry.producer: entry.tail for entry in self._parted if entry.tail <= head and not entry.unfinished}
        if free:
            self._parted = deque(entry for entry in self._parted if entry.producer not in free)
            self._left |= free
        return list(free)

    def _take_fresh(self, avoid: Container[int]) -> int | None:
        avoided = []
        while (producer := self._fresh.take()) is not None and producer in avoid:
            avoided.append(producer)
        for number in avoided:
            self._fresh.give_back(number)
        return producer
