"""With which sizes and limits a topic is made: the request, over the configuration's best pattern, over the default."""

from shmbus.coordinator.rings import RingPlan
from shmbus.coordinator.settings import Settings, limited
from shmbus.topic import PatternTrie
from shmbus.v1.control_pb2 import TopicLimits


class Planner:
    """Looks up the plan of a topic."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.default_plan
        self._plans: PatternTrie[RingPlan] = PatternTrie()
        for pattern, plan in settings.plans.items():
            self._plans.insert(pattern, plan)

    def plan(self, topic: str, limits: TopicLimits | None) -> RingPlan:
        """For a topic that is to be made."""
        for _, plans in self._plans.match(topic):
            return limited(next(iter(plans)), limits)
        return limited(self._default, limits)
