"""A lossless subscription that stalls must not hold collectors for ever: past the topic's bound it is demoted.

demote.told         its gate still holds: whoever looks next demotes it again
demote.group        the same, of a durable subscription
"""

from shmbus._core import killpoint
from shmbus.coordinator.gates import Gates
from shmbus.coordinator.health import Health
from shmbus.coordinator.post import Log, Post
from shmbus.coordinator.registry import Durable, Generation, Registry, Subscription, Topic
from shmbus.coordinator.rings import is_roomy
from shmbus.v1.control_pb2 import Demoted, ServerPacket


class Demotion:
    """Takes the gates of stalled subscriptions away."""

    def __init__(self, registry: Registry, gates: Gates, post: Post, health: Health, log: Log) -> None:
        self._registry, self._gates, self._post, self._health, self._log = registry, gates, post, health, log

    def look(self, topic: Topic, now_ns: int) -> None:
        """Is somebody in the way of this topic for too long?"""
        generation = topic.live
        if not generation.gate_of or not topic.max_stall_ns:
            return
        full = not is_roomy(generation.ring)
        held = self._held(generation) if full else {}
        stalled = generation.stalls.judge(now_ns, topic.max_stall_ns, full=full, head=generation.ring.head, held=held)
        for holder, gate in list(generation.gate_of.items()):
            if gate not in stalled:
                continue
            if isinstance(holder, Durable):
                self._demote_durable(topic, holder, held[gate], stalled[gate])
            else:
                self._demote(topic, holder, held[gate], stalled[gate])

    def _held(self, generation: Generation) -> dict[int, int]:
        """Where each gate holds."""
        held = {}
        for gate, session, cursor, floor in generation.ring.gates():
            page = self._registry.pages.get(session)
            held[gate] = (page.session.cursor(cursor)[0] if page else 0) or floor
        return held

    def _demote(self, topic: Topic, subscription: Subscription, position: int, stalled_ns: int) -> None:
        self._tell(topic, subscription, position, stalled_ns)
        killpoint("demote.told")
        self._gates.clear(topic, subscription, topic.bindings[subscription])
        text = (
            f"{subscription.client.who} held '{topic.name}' up for {stalled_ns / 1e9:.1f} s, "
            f"{topic.live.ring.tail - position} messages behind: its subscription is lossless no more there"
        )
        self._log(text)
        self._health.alert("lossless subscription demoted", text, (topic.name, subscription.client.name))

    def _demote_durable(self, topic: Topic, durable: Durable, position: int, stalled_ns: int) -> None:
        """It is held no more until all its members have gone and one comes again."""
        for subscription in durable.members.values():
            self._tell(topic, subscription, position, stalled_ns)
        killpoint("demote.group")
        durable.demoted.add(topic.key)
        self._gates.clear(topic, durable, durable.lanes[topic.key])
        text = (
            f"durable subscription '{durable.name}' held '{topic.name}' up for {stalled_ns / 1e9:.1f} s, "
            f"{topic.live.ring.tail - position} messages behind: what its {len(durable.members)} members do not settle "
            "may be lost there"
        )
        self._log(text)
        self._health.alert("durable subscription demoted", text, (topic.name, durable.name))

    def _tell(self, topic: Topic, subscription: Subscription, position: int, stalled_ns: int) -> None:
        told = Demoted(
            subscription=subscription.number, topic=topic.public, position=position,
            behind=topic.live.ring.tail - position, stalled_ms=stalled_ns // 1_000_000,
        )  # fmt: skip
        self._post.push(subscription.client, ServerPacket(demoted=told))
