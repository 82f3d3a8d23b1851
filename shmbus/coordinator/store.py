"""The segments that this coordinator made, and how their descriptors are handed out."""

import os
from collections.abc import Callable
from typing import TypeVar

from shmbus import segment

_Made = TypeVar("_Made")


class Segment:
    """One segment, held open so that it can be handed to clients that come later."""

    __slots__ = ("name", "_descriptor", "_named")

    def __init__(self, name: str, descriptor: int, *, named: bool) -> None:
        self.name, self._descriptor, self._named = name, descriptor, named

    def open_writable(self) -> int:
        """A descriptor for a client that may write. Raises LookupError when the segment has been given up."""
        return os.dup(self._checked())

    def open_read_only(self) -> int:
        """A descriptor for a client that may only read. Raises LookupError when the segment has been given up."""
        return segment.open_read_only(self._checked())

    def leave(self) -> None:
        """The descriptor goes, the name stays, for the next coordinator."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def give_up(self) -> None:
        """Name and descriptor go; whoever has it mapped keeps it."""
        self.leave()
        if self._named:
            segment.remove(self.name)
            self._named = False

    def _checked(self) -> int:
        if self._descriptor < 0:
            raise LookupError(self.name)
        return self._descriptor


class Store:
    """Makes segments of one bus and knows all that it made. Those of a private bus never keep a name."""

    def __init__(self, bus: str, *, private: bool) -> None:
        self.bus, self.private = bus, private
        self.boot_id = segment.boot_id()
        self.inherits = False  # what is here was another one's: should this one fail, it is there for the next
        self._made: dict[Segment, None] = {}  # in the order in which they were made

    def make(
        self, name: str, size: int, initialise: Callable[[int], _Made], *, replace: bool = False,
        backed: segment.Ranges | None = None,
    ) -> tuple[Segment, _Made]:  # fmt: skip
        """A new segment, see `segment.create`. Raises StorageFull, SegmentError, OSError."""
        descriptor, made = segment.create(name, size, initialise, private=self.private, replace=replace, backed=backed)
        one = Segment(name, descriptor, named=not self.private)
        self._made[one] = None
        return one, made

    def adopt(self, name: str, attach: Callable[[int], _Made]) -> tuple[Segment, _Made]:
        """What a dead coordinator made is this one's from now on. Raises SegmentError, AccessDenied, AttachError."""
        descriptor = segment.attach(name, writable=True)
        try:
            made = attach(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        one = Segment(name, descriptor, named=True)
        self._made[one] = None
        return one, made

    def made(self) -> list[Segment]:
        """All that are in use."""
        return list(self._made)

    def give_up(self, one: Segment) -> None:
        """This one is not needed any more."""
        self._made.pop(one, None)
        one.give_up()

    def close(self) -> None:
        """Give up all of them, the first one last; leave them all if they are inherited."""
        while self._made:
            one, _ = self._made.popitem()
            if self.inherits:
                one.leave()
            else:
                one.give_up()
