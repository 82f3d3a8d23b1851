"""How far a subscription has read a lane, and what it finds there next."""

from collections import Counter
from collections.abc import Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal
from weakref import ref

from shmbus.message import Gap, Producer
from shmbus.pages import Activity
from shmbus.testing.account import Account
from shmbus.testing.lane import Lane
from shmbus.testing.message import Content, MemoryMessage, Source

if TYPE_CHECKING:
    from shmbus.testing.subscription import MemorySubscription

Found = MemoryMessage | Gap


class Look(Enum):
    """What stands in a lane where no message can be had."""

    GO_ON = auto()  # something is to be told or passed over at once
    HELD_UP = auto()  # a message that may not be had yet
    NOTHING = auto()


class Cursor:
    """Of a lossy or lossless subscription."""

    def __init__(self, reader: "MemorySubscription", lane: Lane, pattern: str, position: int) -> None:
        self.source = Source(lane, pattern, ref(reader))
        self.lane, self.position, self.holds = lane, position, reader.lossless
        self.delivered = self.lost = 0
        self._expired_from = self._expired = 0
        self._expired_of: Producer | None = None
        from_the_first = position <= lane.first_sequence
        # What was dropped before it was read, and not told yet.
        self._gone: Counter[Producer] = Counter(lane.dropped if from_the_first else ())
        self._told: list[Gap] = []
        self._began_ns, self._moved_ns = lane.clock.now_ns(), 0
        self._client = reader.client
        self.account = Account(lane, position, shared=False)
        lane.cursors.add(self)

    @property
    def gate(self) -> int | None:
        """A lossless one holds what it has not read."""
        return self.position if self.holds else None

    def held_by(self) -> tuple[str, int, Activity]:
        """For publishers that wait for it."""
        ago = (self.lane.clock.now_ns() - (self._moved_ns or self._began_ns)) / 1e9
        return self._client.name, self._client.pid, Activity(ago, has_moved=self._moved_ns > 0)

    def demote(self) -> None:
        """It is a lossy one from now on."""
        self.holds = False
        if (reader := self.source.subscription()) is not None:
            reader.notices.append(Gap(self.lane.topic, self.source.pattern, self.position, 0, "demoted"))

    def look(self) -> Content | Look:
        """What `next` would find first."""
        if self.position < self.lane.head:
            return Look.GO_ON
        return Look.NOTHING if self.position == self.lane.tail else self.lane.at(self.position)

    def idle(self) -> Gap | None:
        """What was put off, as nothing else comes now."""
        return self._tell_expired() if self._expired else None

    def unread(self) -> Iterator[Content]:
        """All that the lane still has for this subscription."""
        for sequence in range(max(self.position, self.lane.head), self.lane.tail):
            yield self.lane.at(sequence)

    def next(self, reader: "MemorySubscription") -> Found | None:
        """The next thing the lane has to say, if there is any. What is past its time is told in one run.

        In an order across topics also nothing, if the filter does not want the next message.
        """
        if self._told:
            return self._told.pop(0)
        while self.lane.head <= self.position < self.lane.tail:
            content = self.lane.at(self.position)
            if self.lane.is_past(content):
                if self._expired and self._expired_of != content.producer:
                    return self._tell_expired()
                self._expire(self.position, content.producer)
                self.account.book(content.producer, "expired")
                self._move(reader, self.position + 1)
            elif self._expired:
                return self._tell_expired()
            else:
                message = MemoryMessage(self.source, self.position, content)
                wanted = reader.wants(message)
                self.account.book(content.producer, "delivered" if wanted else "filtered")
                self._move(reader, self.position + 1)
                if wanted:
                    self.delivered += 1
                    return message
                if reader.by_producer:
                    return None
        if (told := self.idle()) is not None:
            return told
        return self._tell_overrun(reader) if self.position < self.lane.head else None

    def _move(self, reader: "MemorySubscription", position: int) -> None:
        self.position, self._moved_ns = position, self.lane.clock.now_ns()
        if self.holds:
            reader.hub.tell()

    def dropped(self, sequence: int, producer: Producer) -> None:
        """The lane does not have it any more."""
        if sequence >= self.position:
            self._gone[producer] += 1

    def _tell_overrun(self, reader: "MemorySubscription") -> Gap:
        unknown = self.lane.head - self.position - self._gone.total()  # it began before what there was
        known = sorted(self._gone.items(), key=self._turn)
        lost: list[tuple[Producer | None, int]] = [*known, *([(None, unknown)] if unknown else [])]
        gaps = [self._gap(self.position, count, "overrun", producer) for producer, count in lost]
        for producer, count in known:
            self.account.book(producer, "overrun", count)
        self._gone.clear()
        self.lost += self.lane.head - self.position
        self._move(reader, self.lane.head)
        self._told = gaps[1:]
        return gaps[0]

    def _turn(self, lost: tuple[Producer, int]) -> tuple[bool, int]:
        """Whose loss is told first: of those whose numbers have no gaps."""
        return lost[0].name in self.lane.durables, self.lane.producers.index(lost[0])

    def _expire(self, sequence: int, producer: Producer) -> None:
        self._expired_from = self._expired_from if self._expired else sequence
        self._expired += 1
        self._expired_of = producer
        self.lost += 1

    def _tell_expired(self) -> Gap:
        count, self._expired = self._expired, 0
        return self._gap(self._expired_from, count, "expired", self._expired_of)

    def _gap(self, first: int, count: int, reason: Literal["overrun", "expired"], producer: Producer | None) -> Gap:
        return Gap(self.lane.topic, self.source.pattern, first, count, reason, producer)
