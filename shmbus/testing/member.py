"""What a member of a group finds next in a lane: what was given back first, then what is new."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shmbus.message import Gap
from shmbus.testing.cursor import Cursor, Found, Look
from shmbus.testing.group import GroupLane, Taken
from shmbus.testing.message import Content, MemoryMessage

if TYPE_CHECKING:
    from shmbus.testing.subscription import MemorySubscription


class Member(Cursor):
    """Where it has read to, all members of the group share."""

    def __init__(self, reader: "MemorySubscription", shared: GroupLane, pattern: str, number: int) -> None:
        super().__init__(reader, shared.lane, pattern, shared.floor)
        self.shared, self.number, self.account = shared, number, shared.account

    def taken(self, message: MemoryMessage) -> Taken:
        """As which the message was given out here."""
        return Taken(message.sequence, message.deliveries, self.number)

    def look(self) -> Content | Look:
        """What `next` would find first."""
        self.shared.give_back_overdue()
        if self.shared.untold or self.shared.floor < self.lane.head:
            return Look.GO_ON
        sequence = self.shared.returned()
        if sequence is None:
            sequence = self.shared.next
            if sequence >= self.lane.tail:
                return Look.NOTHING
            if not self.shared.is_open():
                return Look.HELD_UP
        return self.lane.at(sequence)

    def unread(self) -> Iterator[Content]:
        """All that the lane still has for anybody."""
        first = self.shared.returned()
        for sequence in range(self.shared.next if first is None else first, self.lane.tail):
            yield self.lane.at(sequence)

    def next(self, reader: "MemorySubscription") -> Found | None:
        """The next thing the lane has to say, if there is any; in an order across topics one step towards it."""
        self.shared.give_back_overdue()
        if self.shared.untold:
            return self._tell_untold()
        looks, stop = self.shared.group.settings.window, self.lane.tail
        while looks or self.shared.next < stop:
            if self.shared.floor < self.lane.head:
                self.shared.skip_dropped()
                if self.shared.untold:
                    return self._tell_untold()
                if reader.by_producer:
                    return None
            taken = self.shared.take_returned(self.number) if looks else None
            looks -= taken is not None
            if taken is None:
                if self.shared.next >= self.lane.tail or not self.shared.is_open():
                    break
                taken = self.shared.take_next(self.number)
            if (found := self._found(reader, taken)) is not None or reader.by_producer:
                return found
        return self.idle()

    def _found(self, reader: "MemorySubscription", taken: Taken) -> Found | None:
        content = self.lane.at(taken.sequence)
        if self.lane.is_past(content):
            return self._settle_expired(taken)
        message = MemoryMessage(self.source, taken.sequence, content, taken.tries)
        if self._is_withheld(reader, taken, message):
            return None
        self.delivered += 1
        if not self._expired:
            return message
        reader.pending = message
        return self._tell_expired()

    def _settle_expired(self, taken: Taken) -> Gap | None:
        """They are told in runs: the one before, if this is not its next."""
        producer = self.lane.at(taken.sequence).producer
        follows = self._expired_from + self._expired == taken.sequence and self._expired_of == producer
        breaks = self._expired and not follows
        told = self._tell_expired() if breaks else None
        self._expire(taken.sequence, producer)
        self.shared.settle(taken, "expired")
        return told

    def _is_withheld(self, reader: "MemorySubscription", taken: Taken, message: MemoryMessage) -> bool:
        most = self.shared.group.settings.max_deliveries
        try:
            wanted = reader.wants(message)
            dead = wanted and 0 < most < taken.tries and reader.bury(message)
        except BaseException:
            self.shared.give_back(taken)
            raise
        return (dead or not wanted) and self.shared.settle(taken, "dead" if dead else "filtered")

    def _tell_untold(self) -> Gap:
        producer, count = self.shared.take_untold()
        self.lost += count
        return self._gap(max(1, self.shared.floor - count), count, "overrun", producer)
