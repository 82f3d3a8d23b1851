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


class _Its(NamedTuple):
    """What a ring says of one producer."""

    number: int  # of its last message
    messages: int | None  # how many it has published, if it may leave out numbers and that is known
    version: int  # which one it is of those who had the id
    left: int  # the sequence before which it left; 0: it has not


_Numbers = tuple[Ring, dict[int, _Its]]  # by producer id

_VERSION: Final = 0xFFFF  # bits
LANES: Final[tuple[Literal["normal"], Literal["urgent"]]] = ("normal", "urgent")


class LedgerEntry(NamedTuple):
    """One producer in one topic and lane, from where the subscription began. Messages, by their producer's numbers."""

    topic: str
    lane: Literal["normal", "urgent"]
    producer: Producer | None  # None: it has left, and another publisher has its place in the ring
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
    position = session.cursor(cursor)[0]  # before the rows: those of whoever left before it are there by then
    # Before what is published: that only grows. Versions as far as all pages have them.
    rows = [
        ((producer, version & _VERSION, *counts), before)
        for producer, version, *counts, before in session.ledger(cursor)
    ]
    numbers = [(ring, _numbers(ring)) for ring in rings]
    published = _published(numbers)
    known = {row[:2] for row, _ in rows}
    for (producer, version), (number, _) in published.items():
        # Whoever was there when the subscription began has a row from then on. Whoever has none and has left before the
        # position had left before it began, too.
        if not number or (producer, version) in known or not _whose(numbers, producer, version):
            continue
        left = _left(numbers, producer, version)
        if not left or 0 < position < left:
            rows.append(((producer, version, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0))
    found = []
    for row, before in sorted(rows, key=lambda row: row[0]):
        producer, version, base, last, delivered, overrun, expired, corrupt, filtered, dead, repeated = row
        if last < base:
            continue  # whoever has the page wrote there what no account is: it is his own, and no reason to tell none
        accounted, (number, count) = last - base, published.get((producer, version), (0, None))
        in_flight = max(0, number - last if before is None or count is None else count - before - accounted)
        whose = _whose(numbers, producer, version)
        if not accounted + in_flight and (whose is None or _left(numbers, producer, version)):
            continue  # it left before it published anything that this subscription has to do with
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


def producer_of(ring: Ring, producer: int) -> Producer | None:
    """Who has that id, or had it last."""
    entry = ring.producer(producer)
    return None if entry is None else Producer(*entry)


def _numbers(ring: Ring) -> dict[int, _Its]:
    found = ring.all_numbers()
    return {
        producer: _Its(number, count if durable else None, version & _VERSION, left)
        for producer, (number, count, version, durable, left) in found.items()
    }


def _published(numbers: Iterable[_Numbers]) -> dict[tuple[int, int], tuple[int, int | None]]:
    """The number of the last message of each producer, and how many it has published, if that is known.

    In a successor they go on from where they were.
    """
    found: dict[tuple[int, int], tuple[int, int | None]] = {}
    for _, its in numbers:
        for producer, (number, messages, version, _) in its.items():
            key = producer, version
            if number >= found.get(key, (0, None))[0]:
                found[key] = number, messages
    return found


def _left(numbers: Sequence[_Numbers], producer: int, version: int) -> int:
    return next(
        (its[producer].left for _, its in reversed(numbers) if producer in its and its[producer].version == version), 0
    )


def _whose(numbers: Sequence[_Numbers], producer: int, version: int) -> Producer | None:
    for ring, its in reversed(numbers):
        if producer in its and its[producer].version == version and (found := producer_of(ring, producer)) is not None:
            return found
    return None
