"""A lossless subscription that stalls must not hold collectors for ever: past the topic's bound it is demoted.

demote.told         its gate still holds: whoever looks next demotes it again
"""

from shmbus._core import killpoint
from shmbus.coordinator.gates import Gates
from shmbus.coordinator.health import Health
from shmbus.coordinator.post import Log, Post
from shmbus.coordinator.registry import Generation, Registry, Subscription, Topic
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
        for subscription, gate in list(generation.gate_of.items()):
            if gate in stalled:
                self._demote(topic, subscription, held[gate], stalled[gate])

    def _held(self, generation: Generation) -> dict[int, int]:
        """Where each gate holds."""
        held = {}
        for gate, session, cursor, floor in generation.ring.gates():
            page = self._registry.pages.get(session)
            held[gate] = (page.session.cursor(cursor)[0] if page else 0) or floor
        return held

    def _demote(self, topic: Topic, subscription: Subscription, position: int, stalled_ns: int) -> None:
        behind = topic.live.ring.tail - position
        told = Demoted(
            subscription=subscription.number, topic=topic.name, position=position, behind=behind,
            stalled_ms=stalled_ns // 1_000_000,
        )  # fmt: skip
        self._post.push(subscription.client, ServerPacket(demoted=told))
        killpoint("demote.told")
        self._gates.clear(topic, subscription, topic.bindings[subscription])
        text = (
            f"{subscription.client.who} held '{topic.name}' up for {stalled_ns / 1e9:.1f} s, {behind} messages behind: "
            "its subscription is lossless no more there"
        )
        self._log(text)
        self._health.alert("lossless subscription demoted", text, (topic.name, subscription.client.name))
