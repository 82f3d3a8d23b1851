"""Groups: durable subscriptions. Members share what comes, and what nobody settles comes again."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from weakref import ref

from shmbus._core import MAX_TRIES, Ring
from shmbus.coordinator.requests import checked_durable
from shmbus.durable import Durable, unlike
from shmbus.errors import DurableError
from shmbus.message import Gap, Producer
from shmbus.pages import Activity
from shmbus.start import Resolved, places
from shmbus.testing.account import Account, Outcome
from shmbus.testing.lane import Lane
from shmbus.topic import most_specific

if TYPE_CHECKING:
    from shmbus.testing.hub import Hub
    from shmbus.testing.subscription import MemorySubscription

FIXED: Final = ("window", "exactly_once")  # for good, once it has been made


class Taken(NamedTuple):
    """A message as it was given out to a member, for the so manieth time."""

    sequence: int
    tries: int
    member: int


@dataclass(slots=True)
class Word:
    """What is known of a message that was given out and is not settled."""

    taken: Taken
    producer: Producer
    since_ns: int
    returned: bool = False


class GroupLane:
    """Where a group stands in a lane: all before the floor is settled, all from `next` on is new."""

    def __init__(self, group: "Group", lane: Lane, position: int) -> None:
        self.group, self.lane = group, lane
        self.floor = self.next = max(position, lane.head)
        # Lost, and not told yet. Whose that was is known of what came since it began, or from the first message on.
        from_the_first = position <= lane.first_sequence
        self.untold: Counter[Producer | None] = Counter()
        if position < lane.head:
            self.untold.update(lane.dropped if from_the_first else {None: lane.head - position})
        self.demoted = False
        self._words: dict[int, Word] = {}
        self._settled: dict[int, tuple[Producer, Outcome]] = {}  # not counted yet: something before it is not settled
        self.account = Account(lane, position, shared=True)
        for producer, count in self.untold.items():
            if producer is not None:
                self.account.book(producer, "overrun", count)
        self._gone: dict[int, Producer] = {}  # what the lane does not have any more, and the floor has not passed
        self._began_ns, self._moved_ns = lane.clock.now_ns(), 0

    @property
    def gate(self) -> int | None:
        """Publishers wait for it while it has members, unless it was demoted."""
        return self.floor if self.group.members and not self.demoted else None

    def held_by(self) -> tuple[str, int, Activity]:
        """Several may read for it, so its pid is 0."""
        ago = (self.lane.clock.now_ns() - (self._moved_ns or self._began_ns)) / 1e9
        return self.group.name, 0, Activity(ago, has_moved=self._moved_ns > 0)

    def demote(self) -> None:
        """Nobody waits for it until all members have gone and one comes again."""
        self.demoted = True
        self.group.tell_demoted(self.lane, self.floor)

    def is_open(self) -> bool:
        """May the next one be given out?"""
        return self.next - self.floor < self.group.settings.window

    def take_next(self, member: int) -> Taken:
        """The next one is that member's."""
        taken = Taken(self.next, 1, member)
        self._words[self.next] = Word(taken, self.lane.at(self.next).producer, self.lane.clock.now_ns())
        self.next += 1
        return taken

    def returned(self) -> int | None:
        """The oldest that was given back."""
        return min((sequence for sequence, word in self._words.items() if word.returned), default=None)

    def take_returned(self, member: int) -> Taken | None:
        """The oldest that was given back is that member's, if there is one."""
        returned = self.returned()
        if returned is None:
            return None
        before = self._words[returned]
        taken = Taken(returned, min(before.taken.tries + 1, MAX_TRIES), member)
        self._words[returned] = Word(taken, before.producer, self.lane.clock.now_ns())
        return taken

    def settle(self, taken: Taken, outcome: Outcome = "delivered") -> bool:
        """It never comes again. False: it is not that member's any more."""
        if not self._is_held(taken):
            return False
        producer = self._words.pop(taken.sequence).producer
        if taken.sequence < self.floor:
            self._correct(producer, outcome)
        else:
            self._settled[taken.sequence] = producer, outcome
            self._advance()
        return True

    def give_back(self, taken: Taken) -> bool:
        """It comes again at once; lost, if it has been dropped meanwhile. False: it is not that member's any more."""
        if not self._is_held(taken):
            return False
        if taken.sequence < self.floor:
            producer = self._words.pop(taken.sequence).producer
            self.untold[producer] += 1
            self._correct(producer, "overrun")
        else:
            self._words[taken.sequence].returned = True
        self.group.hub.tell()
        return True

    def extend(self, taken: Taken) -> bool:
        """Its deadline begins anew. False: it is not that member's any more."""
        if not self._is_held(taken):
            return False
        self._words[taken.sequence].since_ns = self.lane.clock.now_ns()
        return True

    def give_back_of(self, member: int) -> None:
        """All that this member holds."""
        for word in list(self._words.values()):
            if word.taken.member == member:
                self.give_back(word.taken)

    def give_back_overdue(self) -> None:
        """All that has been held for longer than it may."""
        limit = self.group.settings.ack_deadline_ns
        due = self.lane.clock.now_ns() - limit
        for word in list(self._words.values()) if limit else ():
            if word.since_ns <= due:
                self.give_back(word.taken)

    def dropped(self, sequence: int, producer: Producer) -> None:
        """The lane does not have it any more."""
        if sequence >= self.floor:
            self._gone[sequence] = producer

    def skip_dropped(self) -> None:
        """Go on at what the lane still has; the rest is lost. What somebody holds stays theirs."""
        for sequence in range(self.floor, self.lane.head):
            word, producer = self._words.get(sequence), self._gone.pop(sequence)
            if sequence in self._settled:
                self.account.book(*self._settled.pop(sequence))
            elif word is None or word.returned:
                self._words.pop(sequence, None)
                self.untold[producer] += 1
                self.account.book(producer, "overrun")
            else:
                self.account.book(producer, "delivered")  # until it is given back
        self.floor = max(self.floor, self.lane.head)
        self.next = max(self.next, self.floor)
        self._advance()

    def take_untold(self) -> tuple[Producer | None, int]:
        """Of one producer at a time; first what is nobody's."""
        producer = None if None in self.untold else min(filter(None, self.untold), key=self.lane.producers.index)
        return producer, self.untold.pop(producer)

    def _correct(self, producer: Producer, outcome: Outcome) -> None:
        """What was held when the ring went past it, and so counted as delivered, ended like that."""
        self.account.book(producer, "delivered", -1)
        self.account.book(producer, outcome)

    def _is_held(self, taken: Taken) -> bool:
        word = self._words.get(taken.sequence)
        return word is not None and word.taken == taken and not word.returned

    def _advance(self) -> None:
        before = self.floor
        while self.floor in self._settled:
            self.account.book(*self._settled.pop(self.floor))
            self.floor += 1
        for sequence in range(before, self.floor):
            self._gone.pop(sequence, None)
        if self.floor != before:
            self._moved_ns = self.lane.clock.now_ns()
            self.group.hub.tell()


class Group:
    """One durable subscription, which outlives its members."""

    def __init__(self, settings: Durable, patterns: tuple[str, ...], filter: str, hub: "Hub") -> None:
        checked_durable(settings.wire(), patterns)
        self.name: Final = settings.name
        self.settings, self.patterns, self._filter, self.hub = settings, patterns, filter, hub
        self.lanes: dict[Lane, GroupLane] = {}
        self._members: dict[int, ref[MemorySubscription]] = {}

    @property
    def members(self) -> dict[int, "ref[MemorySubscription]"]:
        """By number, those that nobody keeps any more taken out."""
        for number in [number for number, member in self._members.items() if member() is None]:
            self.leave(number)
        return self._members

    def agree(self, wanted: Durable, patterns: tuple[str, ...], filter: str) -> None:
        """Another one comes: it wants the same; or it changes the settings, if nobody is there. Raises DurableError."""
        checked_durable(wanted.wire(), patterns)
        if self.members:
            self._check_same(wanted, patterns, filter)
            return
        for field in FIXED:
            if (present := getattr(self.settings, field)) != getattr(wanted, field):
                raise DurableError(
                    self.name, f"{field} is {present} since it was made", "Forget it first to change that."
                )
        self.settings, self.patterns, self._filter = wanted, patterns, filter
        kept = self.hub.matching(patterns)
        for lane in [lane for lane in self.lanes if lane not in kept]:
            del self.lanes[lane]
            del lane.groups[self.name]

    def _check_same(self, wanted: Durable, patterns: tuple[str, ...], filter: str) -> None:
        if set(self.patterns) != set(patterns):
            theirs = ", ".join(self.patterns)
            reason = f"it is being read with other patterns: {theirs}"
            raise DurableError(self.name, reason, "Use the same, or another name.")
        if (difference := unlike(self.settings.wire(self._filter), wanted.wire(filter))) is not None:
            raise DurableError(self.name, difference, "Use the same, or another name.")

    def enter(self, subscription: "MemorySubscription") -> None:
        """It is a member, under the lowest number that is free."""
        number = next(number for number in range(len(self._members) + 1) if number not in self._members)
        self._members[number] = ref(subscription)

    def number_of(self, subscription: "MemorySubscription") -> int:
        """As which it is a member."""
        return next(number for number, member in self._members.items() if member() is subscription)

    def leave(self, number: int) -> None:
        """What the member holds is given back."""
        self._members.pop(number, None)
        for lane in self.lanes.values():
            lane.give_back_of(number)
            lane.demoted &= bool(self._members)
        self.hub.tell()

    def tell_demoted(self, lane: Lane, position: int) -> None:
        """To all members."""
        for reference in self.members.values():
            if (member := reference()) is not None:
                member.notices.append(Gap(lane.topic, most_specific(self.patterns, lane.topic), position, 0, "demoted"))

    def bind(self, lane: Lane, start: Resolved | None) -> None:
        """It reads that lane; from `start` on (None: from the first message), if it is new to it."""
        if lane not in self.lanes:
            position = lane.first_sequence if start is None else places(start, [cast(Ring, lane)])[0]
            self.lanes[lane] = lane.groups[self.name] = GroupLane(self, lane, position)

    def check_unread(self) -> None:
        """Raises DurableError."""
        if self.members:
            raise DurableError(self.name, f"{len(self.members)} members read it", "Close them first.")
