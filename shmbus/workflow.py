"""One workflow as it was observed: the messages that have one root_correlation_id.

    root (0) ─┬─ child (1) ─── grandchild (2)       numbers are sequence_number: a parent's, + 1 for its first child,
              └─ child (2)                          + 2 for the second (see shmbus.correlation)

What is missing shows in two ways: a message names a parent that nobody has seen, or a number is left out, between the
children of one parent or in the whole workflow. A last child that nobody has seen cannot be missed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from shmbus.message import Message, time_of_day


class Entry(NamedTuple):
    """A message as far as its workflow needs it; `message` itself only if the tracker was told to keep it."""

    correlation_id: str
    parent: str | None
    root: str
    stage: str | None
    trace_id: str | None
    span_id: str | None
    source: str  # the producer's attested name; what the message says where that is not known
    tags: Mapping[str, str]
    sequence_number: int
    topic: str
    lane: int
    sequence: int  # of the topic and lane
    time_ns: int  # when it was published, CLOCK_MONOTONIC
    size: int  # about the bytes that keeping it takes
    message: Message | None

    @property
    def time(self) -> datetime:
        """When it was published, time of day (UTC)."""
        return time_of_day(self.time_ns)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A snapshot. `evicted` messages of it were observed and are no longer kept: what is missing may be one of them."""

    root: str
    timeline: tuple[Entry, ...]  # by sequence_number, then time
    evicted: int = 0

    @classmethod
    def of(cls, root: str, entries: Iterable[Entry], evicted: int = 0) -> "Workflow":
        """The workflow of these messages, in whatever order they come."""
        return cls(root, tuple(sorted(entries, key=lambda one: (one.sequence_number, one.time_ns))), evicted)

    @property
    def duration(self) -> float:
        """Seconds from its first message to its last."""
        times = [one.time_ns for one in self.timeline]
        return (max(times) - min(times)) / 1e9 if times else 0.0

    @property
    def complete(self) -> bool:
        """No parent and no number is missing."""
        return not self.missing_parents and not self.missing_numbers

    @property
    def missing_parents(self) -> list[str]:
        """Ids that messages name as their parents, and that nobody has seen."""
        present = {one.correlation_id for one in self.timeline}
        named = {one.parent: None for one in self.timeline if one.parent is not None}  # a set in order
        return [parent for parent in named if parent not in present]

    @property
    def missing_numbers(self) -> list[range]:
        """Sequence numbers left out: of messages that were lost, or whose publish failed."""
        numbers = {one.sequence_number for one in self.timeline}
        roots = [one.sequence_number for one in self.timeline if one.correlation_id == self.root]
        holes = list(_holes({min(roots, default=-1), *numbers}))
        for parent, children in self._families():
            holes += _holes({parent.sequence_number, *(one.sequence_number for one in children)})
        return _merged(holes)

    def children(self, correlation_id: str) -> list[Entry]:
        """The messages that name this one as their parent."""
        return [one for one in self.timeline if one.parent == correlation_id]

    def tree(self, correlation_id: str | None = None) -> list[tuple[int, Entry]]:
        """A message and all that came of it, or everything: (depth, message), each parent before its children.

        Those whose parent is missing stand at depth 0.
        """
        if correlation_id is not None:
            tops = [one for one in self.timeline if one.correlation_id == correlation_id]
        else:
            present = {one.correlation_id for one in self.timeline}
            tops = [one for one in self.timeline if one.parent not in present]
            tops += self.timeline  # what names itself as its own ancestor has no top
        return list(_walk(tops, self._by_parent()))

    def _by_parent(self) -> dict[str, list[Entry]]:
        families: defaultdict[str, list[Entry]] = defaultdict(list)
        for one in self.timeline:
            if one.parent is not None:
                families[one.parent].append(one)
        return families

    def _families(self) -> Iterator[tuple[Entry, list[Entry]]]:
        """Each parent that has been seen, with its children."""
        families = self._by_parent()
        return ((one, families[one.correlation_id]) for one in self.timeline if one.correlation_id in families)


def _walk(tops: list[Entry], families: Mapping[str, list[Entry]]) -> Iterator[tuple[int, Entry]]:
    """Depth first, each message once: ids from outside may name each other in a circle."""
    seen: set[int] = set()
    waiting = [(0, one) for one in reversed(tops)]
    while waiting:
        depth, one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield depth, one
            waiting += [(depth + 1, child) for child in reversed(families.get(one.correlation_id, ()))]


def _holes(numbers: set[int]) -> Iterator[range]:
    return (range(low + 1, high) for low, high in pairwise(sorted(numbers)) if high - low > 1)


def _merged(holes: list[range]) -> list[range]:
    """The same numbers in ranges that neither touch nor overlap: never counted out, a number may be anything."""
    merged: list[range] = []
    for hole in sorted(holes, key=lambda one: one.start):
        if merged and hole.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, hole.stop))
        else:
            merged.append(hole)
    return merged
