"""Subscriptions meet topics: cursors, gates, and the news of it (RingAdded).

All subscriptions of one client to one ring are told in one packet, so that a new topic costs a client with ten
thousand matching subscriptions a few packets.
"""

from collections.abc import Iterable, Sequence

from shmbus._core import killpoint
from shmbus.coordinator.gates import Gates
from shmbus.coordinator.groups import Groups
from shmbus.coordinator.post import Log, Post
from shmbus.coordinator.registry import Client, CursorRef, Durable, Generation, Registry, Subscription, Topic
from shmbus.coordinator.sessions import Sessions
from shmbus.errors import LimitError, StorageFull
from shmbus.start import Resolved
from shmbus.topic import CALL_REQUESTS, most_specific
from shmbus.v1.control_pb2 import Binding, KeptAdded, RingAdded, ServerPacket, SessionExtended

BINDINGS_A_PACKET = 500
SHED = "shed"  # on_full of topics that nobody holds: the oldest messages go, and whoever has not read them is told


class Joins:
    """Binds subscriptions to the rings of topics."""

    def __init__(
        self, registry: Registry, sessions: Sessions, gates: Gates, groups: Groups, post: Post, log: Log
    ) -> None:
        self._registry, self._sessions, self.gates, self._groups = registry, sessions, gates, groups
        self._post, self._log = post, log

    def announce(self, topic: Topic) -> None:
        """A topic was made and nobody writes to it yet: who subscribed before gets it from its first message on."""
        for durable in self._registry.durables_matching(topic):
            self._bind_durable_or_log(topic, durable)
        matching = [one for one in self._registry.matching(topic.public) if accepts(one, topic)]
        first = topic.live.ring.first_sequence
        for client, subscriptions in _by_client(matching):
            bound = (one for one in subscriptions if self._bind_or_degrade(topic, one))
            bindings = [self._binding(topic, topic.live, one, first) for one in bound]
            self._tell(client, topic, topic.live, bindings)
            killpoint("topic.told")

    def subscribe(self, subscription: Subscription, start: Resolved, *, kept: bool = False) -> int:
        """A subscription was made: it gets the topics that exist. How many rings that are.

        A durable one reads on where it stands, and begins at `start` in topics that it is new to.

        One that begins in the past gets the sealed generations, too, oldest first. `kept`: what the topics keep comes
        before their rings.
        """
        rings = 0
        for topic in self._registry.topics_matching(subscription.patterns):
            if not accepts(subscription, topic):
                continue
            if kept and topic.kept is not None:
                added = KeptAdded(topic_id=topic.number, subscription=subscription.number)
                opener = topic.kept.segment.open_read_only
                self._post.push(subscription.client, ServerPacket(kept_added=added), [opener])
            generations = topic.generations if subscription.earliest else [topic.live]
            if subscription.durable is not None:
                self._groups.bind(topic, subscription.durable, start)
                generations = self._groups.generations(topic, subscription.durable)
            self._bind(topic, subscription, generations)
            for place, generation in enumerate(generations):
                first = generation.ring.first_sequence if place or subscription.durable else 0
                binding = self._binding(topic, generation, subscription, first)
                self._tell(subscription.client, topic, generation, [binding], continues=place > 0)
            rings += len(generations)
        return rings

    def resume(self, subscription: Subscription) -> None:
        """Of a client that another coordinator had: rings it was not told of, and topics that were made meanwhile.

        What it has already it knows by topic, lane and generation, and passes over.
        """
        for topic in self._registry.topics_matching(subscription.patterns):
            if not accepts(subscription, topic):
                continue
            is_new = subscription not in topic.bindings
            if is_new and not self._bind_or_degrade(topic, subscription):
                continue
            for place, generation in enumerate(topic.generations):
                first = generation.ring.first_sequence if place or is_new else 0
                binding = self._binding(topic, generation, subscription, first)
                self._tell(subscription.client, topic, generation, [binding], continues=place > 0)

    def follow(self, topic: Topic, successor: Generation) -> None:
        """The topic goes on in a successor, not written to yet: every cursor goes on there, and gates hold there."""
        for subscription, cursor in topic.bindings.items():
            if subscription in topic.live.gate_of:
                self.gates.set(topic, successor, subscription, cursor)
        self._groups.follow(topic, successor)
        first = successor.ring.first_sequence
        # One whose client has not come back from another coordinator has no patterns yet: it is told when it has.
        for client, subscriptions in _by_client(one for one in topic.bindings if one.patterns):
            bindings = [self._binding(topic, successor, one, first) for one in subscriptions]
            self._tell(client, topic, successor, bindings, continues=True)

    def leave(self, subscription: Subscription) -> None:
        """Gates and cursors of a subscription are free again."""
        self._groups.leave(subscription)
        for topic, cursor in self._registry.remove_subscription(subscription):
            if subscription.lossless:
                self.gates.clear(topic, subscription, cursor)
            self._sessions.give_back_cursor(subscription.client, cursor)
            if subscription.lossless and topic.name.startswith(CALL_REQUESTS):
                # It may have served, and a ring that was made while it was leaving it has not even begun to read.
                for caller in topic.publishers():
                    self._post.wake(caller)

    def _bind(self, topic: Topic, subscription: Subscription, generations: Sequence[Generation]) -> None:
        client = subscription.client
        cursor, added = self._sessions.take_cursor(client, topic, subscription.number)
        topic.bindings[subscription] = cursor
        if added is not None:
            packet = ServerPacket(session_extended=SessionExtended(session=added.number))
            self._post.push(client, packet, [added.segment.open_writable])
        if subscription.lossless and self._may_hold(subscription, topic):
            for generation in generations:
                self.gates.set(topic, generation, subscription, cursor)

    def _may_hold(self, subscription: Subscription, topic: Topic) -> bool:
        return topic.on_full != SHED and self.gates.may_hold(subscription.client, topic.public)

    def _bind_durable_or_log(self, topic: Topic, durable: Durable) -> None:
        try:
            self._groups.bind(topic, durable, None)
        except (LimitError, StorageFull) as error:
            self._log(f"durable subscription '{durable.name}' does not hold '{topic.name}': {error}")

    def _bind_or_degrade(self, topic: Topic, subscription: Subscription) -> bool:
        """A topic's maker must not fail because there is no gate: that subscription is bound lossy, and told so.

        False: not even a cursor could be had.
        """
        if subscription.durable is not None and topic.key not in subscription.durable.lanes:
            return False
        try:
            self._bind(topic, subscription, topic.generations)
        except (LimitError, StorageFull) as error:
            who = f"subscription {subscription.number} of {subscription.client.who}"
            if subscription not in topic.bindings:
                self._log(f"{who} does not get '{topic.name}': {error}")
                return False
            self._log(f"{who} is lossy on '{topic.name}': {error}")
        return True

    def _binding(self, topic: Topic, generation: Generation, subscription: Subscription, start: int) -> Binding:
        cursor, patterns, durable = topic.bindings[subscription], subscription.patterns, subscription.durable
        lane = durable.lanes[topic.key] if durable else CursorRef(0, 0)
        return Binding(
            subscription=subscription.number,
            pattern=patterns[0] if len(patterns) == 1 else most_specific(patterns, topic.public),
            session=cursor.session,
            cursor=cursor.place,
            lossless=(durable or subscription) in generation.gate_of,
            start=start,
            shed=not self._may_hold(subscription, topic) or (durable is not None and topic.key in durable.demoted),
            group=lane.session,
            group_lane=lane.place,
            member=subscription.member,
        )

    def _tell(
        self, client: Client, topic: Topic, generation: Generation, bindings: list[Binding], *, continues: bool = False
    ) -> None:
        for begin in range(0, len(bindings), BINDINGS_A_PACKET):
            first = begin == 0  # whether the client still has a descriptor from before is its own business
            added = RingAdded(
                topic=topic.name,
                topic_id=topic.number,
                lane=topic.lane,
                generation=generation.number,
                bell=topic.bell,
                has_descriptor=first,
                bindings=bindings[begin : begin + BINDINGS_A_PACKET],
                type_name=topic.type_name,
                continues=continues,
            )
            openers = [generation.segment.open_read_only] if first else []
            self._post.push(client, ServerPacket(ring_added=added), openers)


def accepts(subscription: Subscription, topic: Topic) -> bool:
    """Does the topic carry what the subscription expects? An untyped side takes anything."""
    if subscription.durable is not None and not subscription.durable.wants(topic):
        return False
    if not subscription.type_name or not topic.type_name:
        return True
    return subscription.type_name == topic.type_name


def _by_client(subscriptions: Iterable[Subscription]) -> list[tuple[Client, list[Subscription]]]:
    found: dict[int, tuple[Client, list[Subscription]]] = {}
    for one in subscriptions:
        found.setdefault(one.client.number, (one.client, []))[1].append(one)
    return list(found.values())
