"""The segments in which topics keep the last message of each key: made with the topic, and found again."""

from shmbus import segment
from shmbus._core import killpoint
from shmbus.coordinator.registry import NORMAL_LANE, Kept, Registry, Topic
from shmbus.coordinator.settings import TopicPlan
from shmbus.coordinator.store import Store
from shmbus.state import StateWriter, size_of


class Keeping:
    """Of all topics of the bus."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry

    def make(self, topic: Topic, plan: TopicPlan) -> None:
        """If it is to keep any. Raises StorageFull, SegmentError."""
        if not plan.keep_last:
            return
        name = segment.state_name(self._store.bus, topic.number)

        def initialise(descriptor: int) -> StateWriter:
            boot_id = self._store.boot_id
            StateWriter.initialise(
                descriptor, topic_id=topic.number, topic=topic.name, type_name=topic.type_name, keys=plan.keep_last,
                most_bytes=plan.keep_last_bytes, boot_id=boot_id,
            )  # fmt: skip
            return StateWriter(descriptor, boot_id=boot_id, name=name)

        self._keep(topic, Kept(*self._store.make(name, size_of(plan.keep_last_bytes), initialise)))
        killpoint("state.made")

    def adopt(self, name: str, number: int) -> None:
        """What a dead coordinator's topic keeps. Raises LookupError for no topic, SegmentError, AccessDenied."""
        topic = self._registry.lane(number, NORMAL_LANE)
        boot_id = self._store.boot_id
        made = self._store.adopt(name, lambda fd: StateWriter(fd, boot_id=boot_id, name=name))
        self._keep(topic, Kept(*made))

    def give_up(self, topic: Topic) -> None:
        """The topic could not be made."""
        if topic.kept is not None:
            topic.kept.writer.close()
            self._store.give_up(topic.kept.segment)

    @staticmethod
    def _keep(topic: Topic, kept: Kept) -> None:
        for lane in topic.lanes:
            lane.kept = kept
