"""What the clients of a bus in memory share: topics, groups, the clock, and one lock for all of it."""

import asyncio
import threading
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from shmbus._core import MEMBERS
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.requests import check_room
from shmbus.coordinator.settings import Settings, TopicPlan, limited
from shmbus.errors import LimitError, ShmbusError, TypeMismatch
from shmbus.expected import Expected, expected
from shmbus.publisher import NORMAL_LANE, URGENT_LANE
from shmbus.start import Resolved
from shmbus.testing.clock import Clock
from shmbus.testing.group import Group
from shmbus.testing.lane import Lane
from shmbus.topic import check_topic, matches
from shmbus.v1.control_pb2 import TopicLimits

if TYPE_CHECKING:
    from shmbus.durable import Durable
    from shmbus.testing.subscription import MemorySubscription

SLEEP_SECONDS: Final = 0.05  # the bound of every sleep: deadlines pass, and nobody rings


class Topic:
    """Its lanes, the normal one first; the urgent one is made when it is first needed."""

    def __init__(self, plan: TopicPlan, normal: Lane) -> None:
        self.plan, self.lanes = plan, [normal]


class Hub:
    """Whatever changes here is changed under `changed`, and told."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self.version = 0
        self.places = count(1)  # in the order of all that is published
        self.end_reason: str | None = None
        self.subscriptions: WeakSet[MemorySubscription] = WeakSet()
        self._settings, self._planner = settings, Planner(settings)
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}
        self._awaited: list[asyncio.Future[None]] = []
        clock.tell(self.tell)

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Something happened: whoever waits looks again."""
        with self.changed:
            self.version += 1
            self.changed.notify_all()
            awaited, self._awaited = self._awaited, []
        for future in awaited:
            _wake(future)

    async def told(self, seen: int, timeout: float | None) -> None:
        """Return when something has happened since version `seen`, or after `timeout` seconds, or a bounded sleep."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.changed:
            if self.version != seen:
                return
            self._awaited.append(future)
        await asyncio.wait((future,), timeout=SLEEP_SECONDS if timeout is None else min(timeout, SLEEP_SECONDS))
        with self.changed:
            self._awaited = [one for one in self._awaited if one is not future]

    def end(self, reason: str) -> None:
        """Nothing comes any more."""
        with self.changed:
            self.end_reason = reason
        self.tell()

    # ---- topics ------------------------------------------------------------------------------------------------------

    def open(self, name: str, type_name: str) -> Topic:
        """The topic of that name, made if there is none. Raises TopicNameError, TypeMismatch, LimitError."""
        topic = self._topics.get(check_topic(name))
        if topic is None:
            return self._make(name, type_name)
        if type_name != topic.lanes[0].type_name:
            raise TypeMismatch(name, type_name, topic.lanes[0].type_name)
        return topic

    def _make(self, name: str, type_name: str) -> Topic:
        if len(self._topics) >= self._settings.max_topics:
            limit = self._settings.max_topics
            raise LimitError("topics of the bus", limit, limit + 1, "Raise bus.max_topics.")
        plan = self._planner.plan(name)
        lane = Lane(name, NORMAL_LANE, type_name, plan, self.clock)
        self._topics[name] = topic = Topic(plan, lane)
        self._announce(lane)
        return topic

    def topic(self, name: str) -> Topic:
        """One that is there."""
        return self._topics[name]

    def urgent(self, name: str) -> Lane:
        """The urgent lane of a topic, made if there is none. It takes over the limits that the topic has."""
        topic = self._topics[name]
        normal = topic.lanes[0]
        if len(topic.lanes) == 1:
            plan = replace(topic.plan, ring=replace(topic.plan, ring=normal.plan).urgent_ring)
            topic.lanes.append(Lane(name, URGENT_LANE, normal.type_name, plan, self.clock))
            self._announce(topic.lanes[1])
        return topic.lanes[1]

    def matching(self, patterns: tuple[str, ...]) -> list[Lane]:
        """The lanes that at least one of the patterns matches, in the order in which they are read."""
        if any(wildcard in pattern for pattern in patterns for wildcard in "+#"):
            names = [name for name in self._topics if any(matches(pattern, name) for pattern in patterns)]
        else:
            names = [name for name in dict.fromkeys(patterns) if name in self._topics]
        return [lane for name in names for lane in self._topics[name].lanes]

    def expected(self, patterns: tuple[str, ...]) -> Expected:
        """What may come of what they match."""
        with self.changed:
            return expected(patterns, {name: topic.lanes[0].type_name for name, topic in self._topics.items()})

    def set_limits(self, name: str, limits: TopicLimits) -> None:
        """Of the normal lane. Raises TopicNameError, LimitError, ShmbusError when there is no such topic."""
        topic = self._topics.get(check_topic(name))
        if topic is None:
            raise ShmbusError(f"there is no topic '{name}': it is made by its first publisher")
        plan = limited(topic.lanes[0].plan, limits)
        check_room(name, plan)
        topic.lanes[0].plan = plan
        topic.lanes[0].trim()
        self.tell()

    def _announce(self, lane: Lane) -> None:
        """Nobody writes to it yet: who subscribed before gets it from its first message on."""
        for group in self._groups.values():
            if any(matches(pattern, lane.topic) for pattern in group.patterns):
                group.bind(lane, None)
        for subscription in list(self.subscriptions):
            if any(matches(pattern, lane.topic) for pattern in subscription.patterns):
                subscription.meet(lane, lane.first_sequence)

    # ---- groups ------------------------------------------------------------------------------------------------------

    def join(self, subscription: "MemorySubscription", wanted: "Durable", start: Resolved) -> Group:
        """The durable subscription of that name, made if there is none, with this member.

        It reads on where it stands, and begins at `start` in topics that are new to it.

        Raises DurableError, LimitError.
        """
        group = self._groups.get(wanted.name)
        if group is None:
            if len(self._groups) >= self._settings.max_durables:
                limit, remedy = self._settings.max_durables, "Forget some, or raise bus.max_durables."
                raise LimitError("durable subscriptions of the bus", limit, limit + 1, remedy)
            group = self._groups[wanted.name] = Group(wanted, subscription.patterns, subscription.filter_words, self)
        else:
            group.agree(wanted, subscription.patterns, subscription.filter_words)
        if len(group.members) == MEMBERS:
            raise LimitError(f"members of '{group.name}'", MEMBERS, MEMBERS + 1, "Close one, or use another name.")
        group.enter(subscription)
        for lane in self.matching(subscription.patterns):
            group.bind(lane, start)
        return group

    def forget(self, name: str) -> None:
        """End a durable subscription that nobody reads. Raises DurableError, ShmbusError."""
        group = self._groups.get(name)
        if group is None:
            known = ", ".join(sorted(self._groups)) or "none"
            raise ShmbusError(f"there is no durable subscription '{name}'; there are: {known}")
        group.check_unread()
        del self._groups[name]
        for lane in group.lanes:
            del lane.groups[name]


def _wake(future: "asyncio.Future[None]") -> None:
    try:
        future.get_loop().call_soon_threadsafe(_settle, future)
    except RuntimeError:
        pass  # the loop was closed under whoever waited


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
