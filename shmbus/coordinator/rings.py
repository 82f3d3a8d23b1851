"""Ring segments: made for a topic, continued in a successor, given up.

The sequences of a generation start at a multiple of 2^32 far above the tail of the one before, because the successor
must be in every publisher's hands before the old ring is sealed, and publishing goes on until the moment of the seal: a
coordinator that is killed in between leaves a topic that still works. So sequences only ever grow, and a cursor placed
in an old generation holds every younger one.
"""

from dataclasses import dataclass, replace

from shmbus import segment
from shmbus._core import Ring, killpoint
from shmbus.coordinator.registry import Generation, Topic
from shmbus.coordinator.repair import ClaimWatch
from shmbus.coordinator.store import Store

GENERATION_SEQUENCES = 1 << 32  # half of it, always left, lasts three minutes at twelve million a second
KEPT_GENERATIONS = 4  # of a topic, the live one included


@dataclass(frozen=True, slots=True)
class RingPlan:
    """How large a ring is made and what its limits are."""

    slots: int
    arena_bytes: int
    producers: int
    gates: int
    max_messages: int
    max_bytes: int
    max_message_bytes: int
    retention_ns: int
    claim_timeout_ns: int

    def resized(self, slots: int, arena_bytes: int) -> "RingPlan":
        """Another geometry (0: as it is); limits that filled the old one fill the new one."""
        slots, arena_bytes = slots or self.slots, arena_bytes or self.arena_bytes
        messages = slots if self.max_messages >= self.slots - 1 else min(self.max_messages, slots)
        size = arena_bytes if self.max_bytes >= self.arena_bytes else min(self.max_bytes, arena_bytes)
        return replace(self, slots=slots, arena_bytes=arena_bytes, max_messages=messages, max_bytes=size)


def plan_of(ring: Ring) -> RingPlan:
    """How an existing ring was made, with its limits as they are now."""
    return RingPlan(ring.slots, ring.arena_bytes, ring.producer_capacity, ring.gate_capacity, *ring.limits)


class Rings:
    """Makes and gives up ring segments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, topic: Topic, plan: RingPlan) -> Generation:
        """The next generation of a topic, not yet known to anybody. Raises ValueError, StorageFull, SegmentError."""
        number = topic.live.number + 1 if topic.generations else 0
        first = _next_first_sequence(topic)
        size = Ring.layout(plan.slots, plan.arena_bytes, plan.producers, plan.gates)

        def initialise(descriptor: int) -> Ring:
            return Ring.create(
                descriptor,
                slots=plan.slots,
                arena_bytes=plan.arena_bytes,
                producers=plan.producers,
                gates=plan.gates,
                max_messages=plan.max_messages,
                max_bytes=plan.max_bytes,
                max_message_bytes=plan.max_message_bytes,
                retention_ns=plan.retention_ns,
                claim_timeout_ns=plan.claim_timeout_ns,
                topic=topic.name,
                topic_id=topic.number,
                lane=topic.lane,
                generation=number,
                bell=topic.bell,
                first_sequence=first,
                boot_id=self._store.boot_id,
                type_name=topic.type_name,
                fingerprint=topic.fingerprint,
            )

        name = segment.ring_name(self._store.bus, topic.number, topic.lane, number)
        made, ring = self._store.make(name, size, initialise)
        killpoint("ring.made")
        return Generation(number, made, ring, ClaimWatch(plan.claim_timeout_ns))

    def give_up(self, generation: Generation) -> None:
        """Name, descriptor and mapping of this process go; subscribers that still read it have their own mappings."""
        generation.ring.close()
        self._store.give_up(generation.segment)
        killpoint("ring.removed")


def carry(producer: int, old: Generation, following: Generation) -> None:
    """The numbers of a producer go on from those of its last message in the ring before."""
    following.ring.follow_numbers(old.ring, producer)


def carry_departed(old: Generation, new: Generation) -> None:
    """Publishers that have left keep their ids in the successor, too, until somebody needs those."""
    for producer, tail in old.producers.departed.items():
        who = old.ring.producer(producer)
        if who is None or producer in new.owners or producer > new.ring.producer_capacity:
            continue
        carry(producer, old, new)
        new.ring.leave_producer(producer, tail)  # before its name: a next coordinator never takes it for one in use
        new.ring.set_producer(producer, *who)
        new.producers.leave(producer, tail)


def _next_first_sequence(topic: Topic) -> int:
    if not topic.generations:
        return 1
    half = GENERATION_SEQUENCES // 2
    return ((topic.live.ring.tail + half) // GENERATION_SEQUENCES + 1) * GENERATION_SEQUENCES


def is_spent(topic: Topic, generation: Generation) -> bool:
    """May a sealed generation be given up?

    Not while a claim in it is open, for nobody else could revoke that one, and a reader would wait at it for ever.
    Then: when nothing is left in it, when the live ring has begun to drop messages (all of which are younger), or when
    there are too many. Readers that are not through with it go on in their own mappings; no publisher needs its space.
    """
    if generation is topic.live or any(not skipped for _, _, skipped in generation.ring.claims()):
        return False
    ring, live = generation.ring, topic.live.ring
    too_many = len(topic.generations) > KEPT_GENERATIONS and generation is topic.generations[0]
    return ring.head == ring.tail or live.head > live.first_sequence or too_many


def has_gone_round(ring: Ring) -> bool:
    """Half of what the ring may hold is held: it will need the space at its head."""
    max_messages, max_bytes, *_ = ring.limits
    messages, size = min(max_messages, ring.slots - 1), min(max_bytes, ring.arena_bytes)
    return 2 * (ring.tail - ring.head) >= messages or 2 * ring.used_bytes >= size


def is_roomy(ring: Ring) -> bool:
    """There is room for the largest message, so no publisher can be about to drop the oldest."""
    max_messages, max_bytes, max_message_bytes, *_ = ring.limits
    messages, size = min(max_messages, ring.slots - 1), min(max_bytes, ring.arena_bytes)
    return ring.tail - ring.head < messages and ring.used_bytes + max_message_bytes + 128 <= size
