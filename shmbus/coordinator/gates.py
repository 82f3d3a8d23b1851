"""Gates: the cursors of lossless subscriptions that hold a ring's messages.

A publisher that finds a gate must be able to look at its cursor. So every publisher of the topic is sent the session
before the gate is written, and one that meets an unknown session drains its socket.

    gate.told     publishers have the session, no gate yet    killed here: nothing lost, nobody is held
    gate.set      the gate holds at its floor                 the subscriber's death is not seen by anybody until
                                                              a new coordinator looks
"""

from collections.abc import Callable

from shmbus._core import Bells, killpoint
from shmbus.coordinator.post import Post
from shmbus.coordinator.registry import Client, CursorRef, Generation, Holder, Registry, Topic
from shmbus.coordinator.rings import is_roomy
from shmbus.errors import LimitError
from shmbus.v1.control_pb2 import ServerPacket, SessionAdded

_TRIES = 64  # to move the head away under publishers that move it themselves


class Gates:
    """Sets and clears them."""

    def __init__(self, registry: Registry, post: Post, bells: Bells) -> None:
        self._registry, self._post, self._bells = registry, post, bells
        self.may_hold: Callable[[Client, str], bool] = lambda client, topic: True
        """Callers take whoever holds their ring for a server (see `rpc.presence`), so it takes a right to serve."""

    def set(self, topic: Topic, generation: Generation, holder: Holder, cursor: CursorRef) -> None:
        """The ring keeps what is in it from now on, until the cursor is placed; then, what the cursor has not read.

        Raises LimitError when the ring has no gate left.
        """
        index = generation.gates.take()
        if index is None:
            raise LimitError(
                f"lossless subscriptions of topic '{topic.name}'", generation.gates.capacity,
                generation.gates.capacity + 1, "Raise `gates` of the topic, or subscribe without lossless.",
            )  # fmt: skip
        for publisher in topic.publishers():
            self.introduce(publisher, cursor.session)
        killpoint("gate.told")
        generation.gate_of[holder] = index
        generation.gating[cursor.session] = generation.gating.get(cursor.session, 0) + 1
        self._hold(generation, index, cursor, holder.earliest)
        killpoint("gate.set")

    def renew(self, generation: Generation, holder: Holder, cursor: CursorRef) -> None:
        """Publishers clear the gate of those that are all dead, without asking: have it back for whoever comes now."""
        index = generation.gate_of[holder]
        if all(gate != index for gate, *_ in generation.ring.gates()):
            self._hold(generation, index, cursor, holder.earliest)

    def clear(self, topic: Topic, holder: Holder, cursor: CursorRef) -> None:
        """Nothing is held for this one any more."""
        for generation in topic.generations:
            index = generation.gate_of.pop(holder, None)
            if index is None:
                continue
            generation.ring.clear_gate(index)
            generation.gates.give_back(index)
            generation.gating[cursor.session] -= 1
            if not generation.gating[cursor.session]:
                del generation.gating[cursor.session]
            killpoint("gate.cleared")
            self._bells.ring_space(topic.bell)

    def introduce(self, publisher: Client, session: int) -> None:
        """Send a publisher the session page, unless it has it."""
        if session not in publisher.sessions_known:
            publisher.sessions_known.add(session)
            packet = ServerPacket(session_added=SessionAdded(session=session))
            self._post.push(publisher, packet, [self._registry.pages[session].segment.open_read_only])

    def _hold(self, generation: Generation, index: int, cursor: CursorRef, earliest: bool) -> None:
        ring = generation.ring
        if not earliest:
            # It starts at a tail that it reads later, which no publisher that looked before can drop.
            ring.set_gate(index, cursor.session, cursor.place, max(ring.head, 1))
            return
        sessions = self._registry.sessions_gating(generation)
        for _ in range(_TRIES):
            head = ring.head
            ring.set_gate(index, cursor.session, cursor.place, head)
            if generation.sealed or ring.tail == head or is_roomy(ring):
                if ring.head == head:
                    return
                continue
            # A publisher that looked at the gates before may be about to drop messages from this head on. Move it on by
            # one message: then it fails and looks again.
            ring.set_gate(index, cursor.session, cursor.place, head + 1)
            if ring.retire(1, sessions):
                if ring.head == head + 1:
                    return
            elif ring.head == head:  # another gate or an open claim holds it, and did before
                ring.set_gate(index, cursor.session, cursor.place, head)
                return
        # Publishers run at full speed. The gate holds; what it could not keep is counted as lost by the reader.
