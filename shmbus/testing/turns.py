"""Whose turn it is of the lanes that a subscription reads: all that is urgent first, then each a run of messages."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shmbus.testing.cursor import Cursor, Found

if TYPE_CHECKING:
    from shmbus.testing.subscription import MemorySubscription

FAIRNESS: Final = 64  # messages taken from one lane before the others get a turn, as reader.c does


class Turns:
    """Cursors: the urgent ones, the latest first, before the normal ones."""

    def __init__(self) -> None:
        self._cursors: list[Cursor] = []
        self._urgent = 0
        self._turn = self._taken = 0

    def __iter__(self) -> Iterator[Cursor]:
        return iter(self._cursors)

    def add(self, cursor: Cursor, *, urgent: bool) -> None:
        """From now on it has its turns."""
        self._cursors.insert(0 if urgent else len(self._cursors), cursor)
        self._urgent += urgent

    def clear(self) -> None:
        """Nothing is read any more."""
        for cursor in self._cursors:
            cursor.holds = False
        self._cursors, self._urgent = [], 0

    def next(self, reader: "MemorySubscription") -> Found | None:
        """The next thing that any of them has to say."""
        for cursor in self._cursors[: self._urgent]:
            if (found := cursor.next(reader)) is not None:
                return found
        empty = 0
        while empty < len(self._cursors) - self._urgent:
            if not self._urgent <= self._turn < len(self._cursors):
                self._turn = self._urgent
            if self._taken < FAIRNESS:
                if (found := self._cursors[self._turn].next(reader)) is not None:
                    self._taken += 1
                    return found
                empty += 1
            self._turn += 1
            self._taken = 0
        return None
