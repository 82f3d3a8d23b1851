"""The hands of repair.py and of retention: looks after every ring once a second, or when somebody is stuck."""

import time

from shmbus._core import Bells, Ring, killpoint
from shmbus.coordinator.demotion import Demotion
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import Client, Generation, Registry, Topic
from shmbus.coordinator.repair import Claim, Verdict
from shmbus.coordinator.rings import has_gone_round
from shmbus.coordinator.topics import Topics
from shmbus.errors import LimitError, SegmentError, StorageFull

PERIOD_SECONDS = 1.0


class Sweep:
    """One for the bus. Counts what it did."""

    def __init__(self, registry: Registry, topics: Topics, demotion: Demotion, bells: Bells, log: Log) -> None:
        self._registry, self._topics, self._demotion, self._bells, self._log = registry, topics, demotion, bells, log
        self.repaired = 0
        self.skipped = 0
        self.expired = 0

    def run(self, now_ns: int) -> None:
        """Look after all rings. An idle ring costs a few hundred nanoseconds."""
        for topic in self._registry.lanes():
            for generation in list(topic.generations):
                self._expire(topic, generation, now_ns)
                self.look(topic, generation, now_ns)
                if generation.producers.parted:
                    self._topics.reclaim(generation)
            if len(topic.generations) > 1:
                self._topics.prune(topic)
            self._demotion.look(topic, now_ns)

    def trim(self, topic: Topic) -> None:
        """Limits were changed: what is above them goes now, unless it is held, and not with the next publish."""
        ring = topic.live.ring
        sessions = self._registry.sessions_gating(topic.live)
        while ring.retire(_excess(ring), sessions):
            pass
        self._expire(topic, topic.live, time.monotonic_ns())
        self._bells.ring_space(topic.bell)

    def look(
        self, topic: Topic, generation: Generation, now_ns: int, *, asked: bool = False, in_the_way: bool = False
    ) -> int | None:
        """Judge the open claims of a ring and do what is to be done; when to look again, or None.

        `asked`: somebody says that there is one. `in_the_way`: a publisher found no room because of it.
        """
        ring = generation.ring
        tail = ring.tail
        if generation.seen_clean and tail == generation.seen_tail and not asked:
            return None  # nothing was claimed since, but for at most one claim at the tail, which its readers report
        claims = [Claim(*claim) for claim in ring.claims()]
        generation.seen_tail, generation.seen_clean = tail, not claims
        verdict = generation.watch.judge(
            now_ns,
            ring.head,
            claims,
            lambda producer: self._is_dead(generation, producer),
            gone_round=in_the_way or has_gone_round(ring),
        )
        self._carry_out(topic, generation, verdict)
        self._settle(generation, claims)
        return verdict.look_again_ns

    def _carry_out(self, topic: Topic, generation: Generation, verdict: Verdict) -> None:
        for producer in verdict.repair:
            self.repaired += generation.ring.repair(producer)
            killpoint("repair.done")
        for claim in verdict.skip:
            if generation.ring.skip(claim.sequence, claim.producer):
                self.skipped += 1
                self._log(
                    f"claim {claim.sequence} of topic '{topic.name}' was revoked: producer {claim.producer} "
                    f"({self._owner_name(generation, claim.producer)}) has held it too long"
                )
        if verdict.repair or verdict.skip:
            self._bells.ring(topic.bell)
            self._bells.ring_space(topic.bell)
        if verdict.continue_elsewhere and generation is topic.live:
            self._continue(topic)

    def _continue(self, topic: Topic) -> None:
        try:
            self._topics.continue_elsewhere(topic)
        except (LimitError, StorageFull, SegmentError, OSError) as error:
            self._log(f"topic '{topic.name}' stands still, and cannot go on in a new ring: {error}")
        else:
            number = topic.live.number
            self._log(f"topic '{topic.name}' goes on in generation {number}: a stopped publisher holds the old ring")

    def _settle(self, generation: Generation, claims: list[Claim]) -> None:
        if generation.producers.parted:
            named = {claim.producer for claim in claims}
            for producer in generation.owners:
                if producer not in named:
                    generation.producers.settled(producer)

    def _expire(self, topic: Topic, generation: Generation, now_ns: int) -> None:
        ring = generation.ring
        if ring.head == ring.tail:
            return
        retired = ring.retire_expired(now_ns, self._registry.sessions_gating(generation))
        if retired:
            self.expired += retired
            self._bells.ring_space(topic.bell)

    def _is_dead(self, generation: Generation, producer: int) -> bool:
        owner = generation.owners.get(producer)
        # An id that nobody was given: whoever wrote it there may not, and nobody will finish it.
        return owner is None or not owner.alive

    def _owner_name(self, generation: Generation, producer: int) -> str:
        owner: Client | None = generation.owners.get(producer)
        return owner.who if owner else "nobody's"


def _excess(ring: Ring) -> int:
    """How many of the oldest messages are above the limits, at least. By size: half of what the average says."""
    max_messages, max_bytes, *_ = ring.limits
    kept, size = ring.tail - ring.head, ring.used_bytes
    by_count = max(0, kept - max_messages)
    if size <= max_bytes:
        return by_count
    return max(1, by_count, kept * (size - max_bytes) // size // 2)
