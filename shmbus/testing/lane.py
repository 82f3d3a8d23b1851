"""One lane of a topic: what it retains, what may go, and who is in the way of that. It does as a ring does."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

from shmbus._core import FRAME_HEADER_BYTES, UNIT
from shmbus.coordinator.settings import TopicPlan
from shmbus.coordinator.stalls import StallWatch
from shmbus.errors import BackpressureError, MessageTooLarge
from shmbus.message import Producer
from shmbus.pages import Activity
from shmbus.testing.clock import Clock
from shmbus.testing.message import Content, units_of

if TYPE_CHECKING:
    from shmbus.testing.cursor import Cursor
    from shmbus.testing.group import GroupLane
    from shmbus.testing.publisher import MemoryPublisher

RETIRE_BATCH: Final = 64  # as ring.c drops its oldest: so many at a time,
RETIRE_SHARE: Final = 16  # and never more than this part of what is retained
LARGEST_OVERHEAD: Final = 128  # bytes beside the payload, as the coordinator reckons
MOST_UNITS: Final = 2**18 - 1


class Holder(Protocol):
    """Whoever has not read to the end."""

    @property
    def gate(self) -> int | None:
        """The first sequence that must not go yet; None: it holds nothing."""

    def held_by(self) -> tuple[str, int, Activity]:
        """Name, pid, and when it last moved."""

    def demote(self) -> None:
        """It holds nothing from now on, and is told."""

    def dropped(self, sequence: int, producer: Producer) -> None:
        """The lane does not have it any more."""


class Numbers:
    """How far a producer has come, and who publishes under its name."""

    def __init__(self) -> None:
        self.published = 0
        self.owner: Callable[[], MemoryPublisher | None] = lambda: None


class Lane:
    """Messages by sequence, from `head` on."""

    first_sequence: Final = 1

    def __init__(self, topic: str, number: int, type_name: str, plan: TopicPlan, clock: Clock) -> None:
        self.topic, self.number, self.type_name = topic, number, type_name
        self.plan, self.clock = plan.ring, clock
        self._sheds, self._max_stall_ns = plan.on_full == "shed", plan.max_stall_ns
        self.head = self.first_sequence
        self.cursors: WeakSet[Cursor] = WeakSet()
        self.groups: dict[str, GroupLane] = {}
        self.durables: dict[str, Numbers] = {}  # of durable publishers
        self.dropped: Counter[Producer] = Counter()  # ever
        self.producers: list[Producer] = []  # as they came
        self.published: Counter[Producer] = Counter()  # ever
        self.publishers: WeakSet[MemoryPublisher] = WeakSet()
        self._contents: deque[Content] = deque()
        self._units = 0
        self._stalls = StallWatch()

    @property
    def tail(self) -> int:
        """The sequence that the next message gets."""
        return self.head + len(self._contents)

    def at(self, sequence: int) -> Content:
        """What is retained under that sequence."""
        return self._contents[sequence - self.head]

    def is_past(self, content: Content) -> bool:
        """Its time, or the topic's, is over."""
        now, retention = self.clock.now_ns(), self.plan.retention_ns
        outlived = retention > 0 and now - content.time_ns > retention
        return outlived or 0 < content.expires_ns <= now

    # ---- publishing --------------------------------------------------------------------------------------------------

    def check_size(self, length: int) -> None:
        """Could a message of so many bytes ever be had? Raises MessageTooLarge."""
        if length > self.plan.max_message_bytes or units_of(length) > min(MOST_UNITS, self._most_units):
            limit = min(self.plan.max_message_bytes, self.plan.max_bytes - FRAME_HEADER_BYTES)
            raise MessageTooLarge(self.topic, length, limit)

    def put(self, content: Content) -> int | None:
        """Its sequence; None: there is no room, and the oldest may not go."""
        while not self._has_room(content.units):
            batch = min(RETIRE_BATCH, len(self._contents) // RETIRE_SHARE + 1)
            if not self.retire(batch) and not self._demote_stalled():
                return None
        self._contents.append(content)
        self._units += content.units
        self.published[content.producer] += 1
        return self.tail - 1

    def published_before(self, position: int) -> Counter[Producer]:
        """How many messages of each producer stood before that; what is not there any more, only from the first on."""
        if position <= self.first_sequence:
            return Counter()
        retained = (self.at(sequence).producer for sequence in range(self.head, min(position, self.tail)))
        return self.dropped + Counter(retained)

    def is_published_by(self, producer: Producer) -> bool:
        """Has it a publisher here?"""
        return any(one.producer == producer and not one.closed for one in self.publishers)

    @property
    def _most_messages(self) -> int:
        return min(self.plan.max_messages, self.plan.slots - 1)

    @property
    def _most_units(self) -> int:
        return min(self.plan.max_bytes, self.plan.arena_bytes) // UNIT

    def _has_room(self, units: int) -> bool:
        return len(self._contents) < self._most_messages and self._units + units <= self._most_units

    # ---- retention ---------------------------------------------------------------------------------------------------

    def retire(self, count: int) -> int:
        """Drop up to `count` of the oldest, as far as nobody holds them; how many."""
        dropped = max(0, min(count, self._gate() - self.head))  # who began too far back stands before the head
        for _ in range(dropped):
            content = self._contents.popleft()
            self._units -= content.units
            self.dropped[content.producer] += 1
            readers: list[Holder] = [*self.cursors, *self.groups.values()]
            for reader in readers:
                reader.dropped(self.head, content.producer)
            self.head += 1
        return dropped

    def trim(self) -> None:
        """Limits were changed: what is above them goes, and what is past its time."""
        while self._is_above() and self.retire(1):
            pass
        while self._contents and self.is_past(self._contents[0]) and self.retire(1):
            pass

    def let_join_from_the_past(self) -> None:
        """A lossless reader is to begin at what is there. A full lane drops its oldest: a publisher may be about to."""
        size = min(self.plan.max_bytes, self.plan.arena_bytes)
        roomy = self._units * UNIT + self.plan.max_message_bytes + LARGEST_OVERHEAD <= size
        if self._contents and not (roomy and len(self._contents) < self._most_messages):
            self.retire(1)

    def _demote_stalled(self) -> bool:
        """Whoever stands in the way for too long does so no more. Was there somebody?"""
        holders = {id(holder): (gate, holder) for gate, holder in self._holders()}
        held = {key: gate for key, (gate, _) in holders.items()}
        limit = self._max_stall_ns
        stalled = self._stalls.judge(self.clock.now_ns(), limit, full=True, head=self.head, held=held) if limit else {}
        for key in stalled:
            holders[key][1].demote()
        return bool(stalled)

    def _is_above(self) -> bool:
        return len(self._contents) > self.plan.max_messages or self._units * UNIT > self.plan.max_bytes

    def _holders(self) -> Iterator[tuple[int, Holder]]:
        holders: list[Holder] = [*self.cursors, *self.groups.values()]
        for holder in holders:
            gate = holder.gate
            if gate is not None and not self._sheds:
                yield gate, holder

    def _gate(self) -> int:
        return min((gate for gate, _ in self._holders()), default=self.tail)

    def backpressure(self) -> BackpressureError:
        """Who is in the way."""
        _, holder = min(self._holders(), key=lambda one: one[0])
        name, pid, last = holder.held_by()
        return BackpressureError(
            self.topic, self.plan.max_bytes, self._most_messages, name, pid, len(self._contents), last.since_seconds,
            has_moved=last.has_moved,
        )  # fmt: skip

    # ---- where to begin ----------------------------------------------------------------------------------------------

    def find_time(self, time_ns: int) -> int:
        """The first that is not older, and not past its time; the tail if there is none."""
        for sequence, content in enumerate(self._contents, self.head):
            if content.time_ns >= time_ns and not self.is_past(content):
                return sequence
        return self.tail

    def find_last(self, count: int) -> tuple[int, int]:
        """Where so many begin, those past their time left out; and how many too few they are."""
        at = self.tail
        while at > self.head and count:
            at -= 1
            count -= not self.is_past(self.at(at))
        return at, count
