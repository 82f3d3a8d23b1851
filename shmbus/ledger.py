"""The ledger: what a subscription got of each producer, and what it missed and why.

It stands in shared memory, in the page of the subscription's client, and what a producer has published stands in the
topic's ring. So whoever may read both can tell at any moment, also of processes that were killed, for each producer

    published = delivered + overrun + expired + corrupt + filtered + dead + in flight

The members of a durable subscription have one account together, in its page: what they have not settled is in flight.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from shmbus._core import Ring, Session
from shmbus.message import Producer

_Numbers = tuple[Ring, dict[int, tuple[int, int | None, int]]]
"""A ring and what it says of its producers, by id: their last number, how many messages they have published if they may
leave out numbers and that is known, which one of those who had the id."""

_VERSION: Final = 0xFFFF  # bits
LANES: Final[tuple[Literal["normal"], Literal["urgent"]]] = ("normal", "urgent")


class LedgerEntry(NamedTuple):
    """One producer in one topic and lane, from where the subscription began. Messages, by their producer's numbers."""

    topic: str
    lane: Literal["normal", "urgent"]
    producer: Producer | None  # None: it has left, and nothing in the ring is its any more
    published: int
    delivered: int  # handed out; of a durable subscription: and settled
    overrun: int  # lost: the ring went round before they were read
    expired: int  # lost: past their time
    corrupt: int  # lost: their checksum or bounds were wrong
    filtered: int  # read, and not wanted
    dead: int  # of a durable subscription: sent to its dead letters
    repeated: int  # published again under a number that had been there (not among the others): handed out, or removed
    in_flight: int  # published, and not read yet; of a durable subscription: not settled yet, with all before it

    @property
    def lost(self) -> int:
        """What was wanted, or may have been, and is gone. (What went to the dead letters is there.)"""
        return self.overrun + self.expired + self.corrupt


def entries(session: Session, cursor: int, rings: Sequence[Ring]) -> list[LedgerEntry]:
    """Of one cursor of that page. `rings` are those of its topic and lane that can be read, the oldest first."""
    # Before what is published: that only grows. Versions as far as all pages have them.
    rows = [
        ((producer, version & _VERSION, *counts), before)
        for producer, version, *counts, before in session.ledger(cursor)
    ]
    numbers = [(ring, _numbers(ring)) for ring in rings]
    published = _published(numbers)
    known = {row[:2] for row, _ in rows}
    for (producer, version), (number, _) in published.items():
        # Whoever was there when the subscription began has a row from then on.
        if number and (producer, version) not in known and _whose(numbers, producer, version):
            rows.append(((producer, version, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0))
    found = []
    for row, before in sorted(rows, key=lambda row: row[0]):
        producer, version, base, last, delivered, overrun, expired, corrupt, filtered, dead, repeated = row
        accounted, (number, count) = last - base, published.get((producer, version), (0, None))
        in_flight = max(0, number - last if before is None or count is None else count - before - accounted)
        whose = _whose(numbers, producer, version)
        if whose is None and not accounted + in_flight:
            continue  # it left before it published anything
        ring = rings[-1]
        found.append(
            LedgerEntry(
                topic=ring.topic,
                lane=LANES[ring.lane],
                producer=whose,
                published=accounted + in_flight,
                delivered=delivered,
                overrun=overrun,
                expired=expired,
                corrupt=corrupt,
                filtered=filtered,
                dead=dead,
                repeated=repeated,
                in_flight=in_flight,
            )
        )
    return found


def _numbers(ring: Ring) -> dict[int, tuple[int, int | None, int]]:
    found = ring.all_numbers()
    return {
        producer: (number, count if durable else None, version & _VERSION)
        for producer, (number, count, version, durable) in found.items()
    }


def _published(numbers: Iterable[_Numbers]) -> dict[tuple[int, int], tuple[int, int | None]]:
    """The number of the last message of each producer, and how many it has published, if that is known.

    In a successor they go on from where they were.
    """
    found: dict[tuple[int, int], tuple[int, int | None]] = {}
    for _, its in numbers:
        for producer, (number, count, version) in its.items():
            key = producer, version
            if number >= found.get(key, (0, None))[0]:
                found[key] = number, count
    return found


def _whose(numbers: Sequence[_Numbers], producer: int, version: int) -> Producer | None:
    for ring, its in reversed(numbers):
        entry = ring.producer(producer)
        if producer in its and its[producer][2] == version and entry is not None:
            return Producer(*entry)
    return None
