"""With which sizes and limits a topic is made: the request, over the configuration's best pattern, over the default."""

from dataclasses import replace

from shmbus.coordinator.settings import Settings, TopicPlan, limited
from shmbus.topic import PatternTrie
from shmbus.v1.control_pb2 import TopicLimits


class Planner:
    """Looks up the plan of a topic."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Topics are made by these from now on."""
        self._settings = settings
        self._patterns: PatternTrie[str] = PatternTrie()
        for pattern in settings.topics:
            self._patterns.insert(pattern, pattern)

    def plan(self, topic: str, limits: TopicLimits | None = None) -> TopicPlan:
        """For a topic that is to be made."""
        pattern = next(iter(self._patterns.best(topic)), None)
        plan = self._settings.default if pattern is None else self._settings.topics[pattern]
        return replace(plan, ring=limited(plan.ring, limits))
