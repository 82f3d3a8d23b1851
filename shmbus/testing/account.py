"""What a subscription got of each producer of a lane, and what it missed: the ledger of a bus in memory."""

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

from shmbus.ledger import LANES, LedgerEntry
from shmbus.message import Producer

if TYPE_CHECKING:
    from shmbus.testing.lane import Lane

Outcome = Literal["delivered", "overrun", "expired", "filtered", "dead"]


class Account:
    """Of one subscription, or of all members of a durable one, from where it began."""

    def __init__(self, lane: "Lane", position: int, *, shared: bool) -> None:
        self._lane: Final = lane
        self._base = lane.published_before(position)
        # Those who have nothing to tell of are told of, too, as long as they are there.
        self._known = {one for one in lane.producers if self._base[one] or (not shared and lane.is_published_by(one))}
        self._ended: Counter[tuple[Producer, Outcome]] = Counter()

    def book(self, producer: Producer, outcome: Outcome, count: int = 1) -> None:
        """So many of that producer's messages ended like that. A negative count takes some of that back."""
        self._ended[producer, outcome] += count

    def entries(self) -> list[LedgerEntry]:
        """Of all producers that have published since it began, and those that were there then and still are."""
        return [
            self._entry(producer)
            for producer in self._lane.producers
            if self._published(producer) or (producer in self._known and self._lane.is_published_by(producer))
        ]

    def _published(self, producer: Producer) -> int:
        return self._lane.published[producer] - self._base[producer]

    def _entry(self, producer: Producer) -> LedgerEntry:
        published, ended = self._published(producer), self._ended
        return LedgerEntry(
            topic=self._lane.topic,
            lane=LANES[self._lane.number],
            producer=producer,
            published=published,
            delivered=ended[producer, "delivered"],
            overrun=ended[producer, "overrun"],
            expired=ended[producer, "expired"],
            corrupt=0,  # nobody writes where messages stand
            filtered=ended[producer, "filtered"],
            dead=ended[producer, "dead"],
            repeated=0,  # a number that was there is not published again
            in_flight=published - sum(count for (whose, _), count in ended.items() if whose == producer),
        )
