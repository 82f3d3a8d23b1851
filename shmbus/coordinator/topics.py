"""Topics: made, opened by publishers, continued in a successor, swept.

Sites at which the coordinator can be killed, and what is left then (nothing is lost in any of them; a topic that nobody
opened yet is made anew by the next coordinator):

    ring.made           a segment that nobody knows
    state.made          a segment that nobody knows
    topic.told          some subscribers know a topic that has no publisher
    producer.set        an id that nobody uses
    successor.told      publishers and subscribers have a successor and do not need it: the ring is not sealed
    successor.sealed    publishers move over by themselves
"""

from collections.abc import Callable
from itertools import pairwise

from shmbus._core import Bells, killpoint
from shmbus.coordinator.groups import Groups
from shmbus.coordinator.joins import Joins
from shmbus.coordinator.keeping import Keeping
from shmbus.coordinator.listing import Listing
from shmbus.coordinator.post import Post
from shmbus.coordinator.registry import URGENT_LANE, Client, Generation, Registry, Topic
from shmbus.coordinator.rings import KEPT_GENERATIONS, RingPlan, Rings, carry, carry_departed, is_spent, plan_of
from shmbus.coordinator.settings import TopicPlan
from shmbus.coordinator.tables import NumberTable
from shmbus.errors import DurableError, LimitError
from shmbus.v1.control_pb2 import ServerPacket, SessionRemoved, Successor

NAME_BYTES = 31  # of a producer's entry in a ring


class Topics:
    """All topics of the bus."""

    def __init__(
        self, registry: Registry, rings: Rings, keeping: Keeping, joins: Joins, groups: Groups, listing: Listing,
        post: Post, bells: Bells, numbers: NumberTable,
    ) -> None:  # fmt: skip
        self._registry, self._rings, self._joins, self._groups = registry, rings, joins, groups
        self._keeping, self._listing, self._post = keeping, listing, post
        self._bells, self._numbers = bells, numbers
        self._last = 0
        self.successors = 0
        self.repaired = 0
        self.on_made: Callable[[], None] = lambda: None

    def make(self, name: str, type_name: str, fingerprint: bytes, plan: TopicPlan) -> Topic:
        """A new topic; subscribers are told. Raises LimitError, StorageFull, ValueError."""
        bell = self._numbers.take()
        if bell is None:
            capacity = self._numbers.capacity
            raise LimitError(
                "topics and clients of the bus",
                capacity,
                capacity + 1,
                "Close some, or raise bus.max_topics or bus.max_sessions.",
            )
        topic = Topic(self._last + 1, name, bell)
        topic.type_name, topic.fingerprint = type_name, fingerprint
        topic.on_full, topic.block_timeout_ns = plan.on_full, plan.block_timeout_ns
        topic.max_stall_ns = plan.max_stall_ns
        try:
            self._keeping.make(topic, plan)
            topic.generations.append(self._rings.make(topic, plan.ring))
            self._listing.put_topic(topic)
        except BaseException:
            self._numbers.give_back(bell)
            for generation in topic.generations:
                self._rings.give_up(generation)
            self._keeping.give_up(topic)
            raise
        self._last += 1
        self._registry.add_topic(topic)
        self._joins.announce(topic)
        killpoint("topic.made")
        self.on_made()
        return topic

    def take_over(self) -> None:
        """What another coordinator made is there: it is listed, and new ones are numbered after it."""
        for topic in self._registry.topics.values():
            self._last = max(self._last, topic.number)
            self._listing.put_topic(topic)
        if self._registry.topics:
            self.on_made()

    def add_urgent(self, topic: Topic, plan: TopicPlan) -> Topic:
        """The topic gets its urgent lane, a ring of its own; subscribers are told. It shares the topic's bell.

        Raises LimitError, StorageFull, ValueError.
        """
        urgent = Topic(topic.number, topic.name, topic.bell, URGENT_LANE)
        urgent.type_name, urgent.fingerprint = topic.type_name, topic.fingerprint
        urgent.on_full, urgent.block_timeout_ns = topic.on_full, topic.block_timeout_ns
        urgent.max_stall_ns, urgent.kept = topic.max_stall_ns, topic.kept
        urgent.generations.append(self._rings.make(urgent, plan.urgent_ring))
        self._registry.add_urgent(topic, urgent)
        self._listing.put_topic(topic)
        self._joins.announce(urgent)
        killpoint("topic.made")
        return urgent

    def open(self, topic: Topic, client: Client, name: str, *, durable: bool = False) -> tuple[int, int]:
        """A producer id for a client, and the last number under it: 0, or that of the last durable one of that name.

        Raises LimitError when all are in use, DurableError when somebody publishes under that name.
        """
        producer = topic.live.producers.reserved.get(name) if durable else None
        if producer is None:
            producer = self._take_producer(topic)
            self._groups.forget_producer(topic, producer)
            topic.live.ring.clear_producer(producer)  # the name goes before the numbers of whoever had it
            topic.live.ring.begin_numbers(producer, durable)
            if durable:
                topic.live.producers.reserved[name] = producer
        elif producer in topic.live.producers.active:
            raise DurableError(name, f"{topic.live.owners[producer].who} publishes to '{topic.name}' under this name",
                               "Close that one, or use another name.", "publisher")  # fmt: skip
        else:
            topic.live.producers.active.add(producer)
        for old, following in pairwise(topic.generations):
            if old.producers.reserved.get(name) == producer:
                carry(producer, old, following)
        last = topic.live.ring.settle_numbers(producer)
        self._enter(topic.live, producer, client, name)
        client.producers.setdefault(topic.key, set()).add(producer)
        killpoint("producer.set")
        return producer, last

    def resume(self, topic: Topic, client: Client, generation: int) -> None:
        """A publisher that another coordinator had writes to that generation: where it goes on, and who gates it."""
        for session in topic.live.gating:
            self._joins.gates.introduce(client, session)
        if generation < topic.live.number:
            self._push_successor(client, topic, topic.live)

    def close(self, topic: Topic, client: Client, producer: int) -> None:
        """The client does not publish under that id any more."""
        client.producers[topic.key].discard(producer)
        for generation in topic.generations:
            if generation.owners.get(producer) is client and producer in generation.producers.active:
                if self._reserve(generation, producer):
                    continue
                open_claims = any(owner == producer for _, owner, _ in generation.ring.claims())
                _part(generation, producer, unfinished=open_claims)

    def bury(self, client: Client) -> int:
        """The client's process is dead: its claims are aborted in every ring. How many were."""
        aborted = 0
        for topic in self._registry.lanes():
            for generation in topic.generations:
                aborted += self._bury_in(topic, generation, client)
        return aborted

    def holds_claims(self, client: Client) -> bool:
        """Does a ring still name a producer id of this client?"""
        return any(
            owner is client
            for topic in self._registry.lanes()
            for generation in topic.generations
            for owner in generation.owners.values()
        )

    def drop_client(self, client: Client) -> None:
        """Its subscriptions end, its gates are cleared, and publishers forget its sessions."""
        for subscription in list(client.subscriptions.values()):
            self._joins.leave(subscription)
        numbers = {page.number for page in client.pages}
        for other in self._registry.clients.values():
            for number in other.sessions_known & numbers:
                other.sessions_known.discard(number)
                self._post.push(other, ServerPacket(session_removed=SessionRemoved(session=number)))

    def continue_elsewhere(self, topic: Topic, plan: RingPlan | None = None) -> None:
        """The topic goes on in a new ring. Raises StorageFull, LimitError, ValueError; then it goes on where it is."""
        self.prune(topic)
        if len(topic.generations) > KEPT_GENERATIONS:
            raise LimitError(
                f"rings of topic '{topic.name}'", KEPT_GENERATIONS + 1, len(topic.generations) + 1,
                "Wait until its durable subscriptions have settled what is in the oldest.",
            )  # fmt: skip
        old = topic.live
        successor = self._rings.make(topic, plan or plan_of(old.ring))
        successor.producers.adopt(old.producers.active | set(old.producers.reserved.values()))
        successor.producers.active &= old.producers.active
        successor.producers.reserved = dict(old.producers.reserved)
        durable = set(old.producers.reserved.values())
        for producer in old.producers.active | durable:
            name = (old.ring.producer(producer) or ("",))[0]
            successor.ring.begin_numbers(producer, producer in durable)
            self._enter(successor, producer, old.owners[producer], name, active=producer in old.producers.active)
        successor.ring.carry_numbers(old.ring)  # a subscription's ledger goes on with those who were there before
        carry_departed(old, successor)
        self._joins.follow(topic, successor)
        for publisher in topic.publishers():
            self._push_successor(publisher, topic, successor)
        killpoint("successor.told")
        old.ring.seal(successor.number)
        old.sealed = True
        # Whoever begins in the successor goes by them. Who has claimed before the seal may still commit.
        for producer in old.producers.active | durable:
            carry(producer, old, successor)
        topic.generations.append(successor)
        self.successors += 1
        self._listing.put_topic(self._registry.topics[topic.name])
        self._bells.ring(topic.bell)
        self._bells.ring_space(topic.bell)
        killpoint("successor.sealed")

    def prune(self, topic: Topic) -> None:
        """Give up the sealed generations that nobody needs.

        Readers have mappings of their own, but what a durable subscription holds must be there for members to come.
        """
        while is_spent(topic, topic.generations[0]) and not self._groups.hold(topic, topic.generations[0]):
            generation = topic.generations.pop(0)
            for producer in generation.producers.reserved.values():
                carry(producer, generation, topic.generations[0])
            self._groups.give_up(topic, generation, topic.generations[0])
            self._rings.give_up(generation)

    def reclaim(self, generation: Generation) -> None:
        """Producer ids whose messages are gone are free again. Whose they were stays known as long as may be."""
        for producer in generation.producers.reclaim(generation.ring.head):
            del generation.owners[producer]

    def _take_producer(self, topic: Topic) -> int:
        self.reclaim(topic.live)
        table = topic.live.producers
        producer = table.take(self._groups.unjudged(topic, topic.generations[:-1]))
        unjudged = self._groups.unjudged(topic, topic.generations)
        if producer is None and table.parted and len(table.active | unjudged.keys()) < table.capacity:
            # Publishers came and went faster than the ring moves on: a new ring has an empty table.
            self.continue_elsewhere(topic)
            producer = topic.live.producers.take(unjudged)
        if producer is None:
            remedy = "Close some, or raise `producers` of the topic."
            if unjudged:
                name = next(iter(unjudged.values()))
                remedy += f" Durable subscription '{name}' has not settled what was published under the others."
            raise LimitError(f"publishers of topic '{topic.name}'", table.capacity, table.capacity + 1, remedy)
        return producer

    def _enter(self, generation: Generation, producer: int, client: Client, name: str, *, active: bool = True) -> None:
        generation.owners[producer] = client
        if active:
            generation.producers.active.add(producer)
        identity = client.identity
        short = name.encode()[:NAME_BYTES].decode(errors="ignore")
        # A producer entry of pid 0 is an empty one: a client that cannot be named is told by the coordinator's own -1.
        generation.ring.set_producer(
            producer, short, identity.pid or -1, identity.start_time, identity.namespace, client.number, client.uid
        )

    def _bury_in(self, topic: Topic, generation: Generation, client: Client) -> int:
        aborted = 0
        for producer, owner in generation.owners.items():
            if owner is not client:
                continue
            aborted += generation.ring.repair(producer)
            killpoint("repair.done")
            generation.producers.settled(producer)
            if producer in generation.producers.active and not self._reserve(generation, producer):
                _part(generation, producer, unfinished=False)
        self.repaired += aborted
        if aborted:
            self._bells.ring(topic.bell)
            self._bells.ring_space(topic.bell)
        return aborted

    def _reserve(self, generation: Generation, producer: int) -> bool:
        """A durable publisher is gone: its id waits for the next one of its name."""
        if producer not in generation.producers.reserved.values():
            return False
        generation.ring.settle_numbers(producer)
        generation.producers.active.discard(producer)
        return True

    def _push_successor(self, publisher: Client, topic: Topic, successor: Generation) -> None:
        packet = Successor(
            topic_id=topic.number,
            lane=topic.lane,
            generation=successor.number,
            bell=topic.bell,
            first_sequence=successor.ring.first_sequence,
        )
        self._post.push(publisher, ServerPacket(successor=packet), [successor.segment.open_writable])


def _part(generation: Generation, producer: int, *, unfinished: bool) -> None:
    """Its owner is gone, or has closed it."""
    tail = generation.ring.tail
    generation.ring.leave_producer(producer, tail)
    generation.producers.part(producer, tail, unfinished=unfinished)
