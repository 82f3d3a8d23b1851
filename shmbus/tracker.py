"""What became of a workflow: a bounded record of the messages that were observed, by root_correlation_id.

    tracker = shmbus.CorrelationTracker()
    for message in filter(tracker.observe, bus.subscribe("#")):
        ...
    for depth, entry in tracker.workflow(message).tree():
        print("  " * depth, entry.stage, entry.topic, entry.source)

It keeps what places a message in its workflow (about 1 KiB), not the message. A message without correlation may
turn out to be a root, so it is kept too, beside the workflows: however many of them come, they push none out.

What goes: the workflow that has been quiet for longest, when there are too many or they take too much memory; one that
has been quiet for longer than `max_age`; and the oldest message of a workflow that has too many. All of it is counted.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from sys import getsizeof
from types import MappingProxyType
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from shmbus import correlation
from shmbus._core import KIND_EVENT
from shmbus.correlation import Handled
from shmbus.errors import ConfigurationError, CorrelationError
from shmbus.message import Gap, Message
from shmbus.v1.control_pb2 import EnvelopeHead
from shmbus.v1.eventbus_pb2 import CorrelationMetadata
from shmbus.workflow import Entry, Workflow

# About what Python needs beside the characters: of an entry (texts, numbers, key, place in a dictionary) and of a tag.
_ENTRY_BYTES: Final = 850
_TAG_BYTES: Final = 200
_NO_TAGS: Final[MappingProxyType[str, str]] = MappingProxyType({})


class Counts(NamedTuple):
    """Messages so far: observed = kept + duplicates + unreadable + evicted + expired."""

    observed: int
    kept: int  # at present
    duplicates: int  # the same message came again
    unreadable: int  # not to be parsed, or its correlation is above the limits
    evicted: int  # to make room
    expired: int  # their workflow was quiet for too long
    lost: int  # never came, as gaps in the stream said


class _Bounds(NamedTuple):
    workflows: int
    messages: int  # of one workflow
    bytes: int
    age: float


class _Growing:
    """A workflow as it grows."""

    __slots__ = ("entries", "evicted", "touched")

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int, int, str], Entry] = {}
        self.evicted = 0
        self.touched = 0.0


class _Shelf:
    """Workflows within bounds, the one that has been quiet for longest first."""

    def __init__(self, bounds: _Bounds) -> None:
        self.workflows: OrderedDict[str, _Growing] = OrderedDict()
        self.messages = self.bytes = self.duplicates = self.evicted = self.expired = 0
        self._bounds = bounds

    def put(self, entry: Entry, now: float) -> None:
        growing = self.workflows.get(entry.root)
        if growing is None:
            growing = self.workflows[entry.root] = _Growing()
        else:
            self.workflows.move_to_end(entry.root)
        growing.touched = now
        key = (entry.topic, entry.lane, entry.sequence, entry.correlation_id)
        if key in growing.entries:
            self.duplicates += 1
            return
        growing.entries[key] = entry
        self.messages += 1
        self.bytes += entry.size
        self._make_room(growing)

    def take_away(self, root: str) -> list[Entry]:
        growing = self.workflows.pop(root, None)
        if growing is None:
            return []
        entries = list(growing.entries.values())
        self._gone(entries)
        return entries

    def expire(self, now: float) -> None:
        while self.workflows and now - next(iter(self.workflows.values())).touched > self._bounds.age:
            self.expired += len(self.take_away(next(iter(self.workflows))))

    def _make_room(self, growing: _Growing) -> None:
        """`growing` is the last one: what is quiet goes before what is in progress, whatever its size."""
        its = self._bounds
        while len(self.workflows) > its.workflows or (self.bytes > its.bytes and len(self.workflows) > 1):
            self.evicted += len(self.take_away(next(iter(self.workflows))))
        while len(growing.entries) > its.messages or (self.bytes > its.bytes and growing.entries):
            oldest = growing.entries.pop(next(iter(growing.entries)))
            self._gone([oldest])
            growing.evicted += 1
            self.evicted += 1

    def _gone(self, entries: list[Entry]) -> None:
        self.messages -= len(entries)
        self.bytes -= sum(entry.size for entry in entries)


class CorrelationTracker:
    """Observes messages, and answers what belongs together. Any number of threads may use it at once.

    `max_bytes` is of memory, about; `max_age` in seconds since the last message of a workflow. `keep_messages` keeps
    the messages themselves, too. Raises ConfigurationError for bounds that make no sense.
    """

    def __init__(
        self,
        *,
        max_workflows: int = 1024,
        max_messages_per_workflow: int = 256,
        max_bytes: int = 64 << 20,
        max_age: float = 3600.0,
        keep_messages: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        bounds = _Bounds(
            _whole("max_workflows", max_workflows),
            _whole("max_messages_per_workflow", max_messages_per_workflow),
            _whole("max_bytes", max_bytes),
            _seconds("max_age", max_age),
        )
        self._keep_messages = keep_messages
        self._clock = clock
        self._lock = threading.Lock()  # guards what is below
        self._workflows = _Shelf(bounds)
        self._alone = _Shelf(bounds)  # messages without correlation, until a child names one as its root
        self._observed = self._unreadable = self._lost = 0

    def observe(self, found: Message | Gap) -> bool:
        """Take in what a subscription gave. Always True, so that `filter(tracker.observe, subscription)` works."""
        if isinstance(found, Gap):
            with self._lock:
                self._lost += found.count
            return True
        entry, alone = self._read(found)
        with self._lock:
            self._observed += 1
            if entry is None:
                self._unreadable += 1
            else:
                self._take(entry, alone)
        return True

    @property
    def counts(self) -> Counts:
        """What was observed, and what became of it."""
        with self._lock:
            both = self._shelves()
            return Counts(
                self._observed,
                sum(shelf.messages for shelf in both),
                sum(shelf.duplicates for shelf in both),
                self._unreadable,
                sum(shelf.evicted for shelf in both),
                sum(shelf.expired for shelf in both),
                self._lost,
            )

    def workflow(self, root: str | Handled) -> Workflow | None:
        """By its root_correlation_id, or the one of a message. None: never seen, or no longer kept."""
        name = root if isinstance(root, str) else correlation.metadata_of(root).root_correlation_id
        with self._lock:
            found = [shelf.workflows[name] for shelf in self._shelves() if name in shelf.workflows]
            growing = found[0] if found else _Growing()
            entries, evicted = list(growing.entries.values()), growing.evicted
        return Workflow.of(name, entries, evicted) if entries else None

    def workflows(self) -> list[Workflow]:
        """All that are kept, the one that has been quiet for longest first; messages without correlation are not."""
        with self._lock:
            workflows, _ = self._shelves()
            found = [(name, [*one.entries.values()], one.evicted) for name, one in workflows.workflows.items()]
        return [Workflow.of(*one) for one in found]

    def incomplete(self) -> list[Workflow]:
        """Those of which something is missing: see `missing_parents` and `missing_numbers` of each."""
        return [one for one in self.workflows() if not one.complete]

    def by_stage(self, stage: str) -> list[Entry]:
        """The messages of a stage, of all workflows, by time."""
        return _by_time(one for one in self._entries() if one.stage == stage)

    def by_tag(self, *wanted: str | tuple[str, str], any: bool = False) -> list[Entry]:
        """The messages that have all of these tags (with `any`: one of them), of all workflows, by time.

        A tag is its key, or (key, value).
        """
        judge = _one_of if any else _all_of
        return _by_time(entry for entry in self._entries() if judge(entry, wanted))

    def __repr__(self) -> str:
        return f"<CorrelationTracker, {len(self._workflows.workflows)} workflows, {self.counts.kept} messages>"

    def _entries(self) -> list[Entry]:
        """Those of workflows: a message without correlation has neither stage nor tags."""
        with self._lock:
            workflows, _ = self._shelves()
            return [entry for one in workflows.workflows.values() for entry in one.entries.values()]

    def _read(self, message: Message) -> tuple[Entry | None, bool]:
        """The message's entry (None: not to be read), and whether it came without correlation."""
        try:
            head = EnvelopeHead.FromString(message.payload if message.kind == KIND_EVENT else b"")
            its = correlation.check(correlation.metadata_in(head, message))
        except (DecodeError, CorrelationError):
            return None, False
        source = message.producer.name if message.producer else head.metadata.source_id
        kept = message if self._keep_messages else None
        return _entry(its, message, source, kept), not head.correlation.correlation_id

    # ---- with the lock held ------------------------------------------------------------------------------------------

    def _take(self, entry: Entry, alone: bool) -> None:
        now = self._clock()
        workflows, others = self._shelves(now)
        if alone and entry.root not in workflows.workflows:
            others.put(entry, now)
            return
        for root in others.take_away(entry.root):
            workflows.put(root, now)
        workflows.put(entry, now)

    def _shelves(self, now: float | None = None) -> tuple[_Shelf, _Shelf]:
        """Both, without what is too old by now."""
        now = self._clock() if now is None else now
        self._workflows.expire(now)
        self._alone.expire(now)
        return self._workflows, self._alone


def _entry(its: CorrelationMetadata, message: Message, source: str, kept: Message | None) -> Entry:
    tags = dict(its.correlation_tags.items()) if its.correlation_tags else _NO_TAGS
    texts = (
        its.correlation_id,
        its.parent_correlation_id or None,
        its.root_correlation_id or its.correlation_id,
        its.workflow_stage or None,
        its.trace_id or None,
        its.span_id or None,
        source,
    )
    characters = "".join(filter(None, (*texts, *tags, *tags.values())))
    size = _ENTRY_BYTES + _TAG_BYTES * len(tags) + getsizeof(characters) + (getsizeof(kept) if kept else 0)
    return Entry(
        *texts, tags, its.sequence_number, message.topic, message.lane, message.sequence, message.time_ns, size, kept
    )


def _all_of(entry: Entry, wanted: Iterable[str | tuple[str, str]]) -> bool:
    return all(_has(entry, tag) for tag in wanted)


def _one_of(entry: Entry, wanted: Iterable[str | tuple[str, str]]) -> bool:
    return any(_has(entry, tag) for tag in wanted)


def _has(entry: Entry, tag: str | tuple[str, str]) -> bool:
    if isinstance(tag, str):
        return tag in entry.tags
    key, value = tag
    return entry.tags.get(key) == value


def _by_time(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda one: one.time_ns)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError("CorrelationTracker", name, value, "it is a whole number, at least 1")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError("CorrelationTracker", name, value, "it is a number of seconds above 0")
    return value
