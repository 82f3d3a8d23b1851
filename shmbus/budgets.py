"""What one client may publish, by topic. The core keeps it here; the coordinator looks whether it is kept to."""

from shmbus._core import Budget
from shmbus.v1 import control_pb2 as wire


class Budgets:
    """Of one client, by topic: its publishers of a topic share one."""

    def __init__(self) -> None:
        self._by_topic: dict[int, Budget] = {}

    def of(self, opened: wire.PublisherOpened | wire.BudgetSet) -> Budget | None:
        """Of this client for the topic. One that is opened again has spent what it had spent."""
        its = opened.budget
        budget = self._by_topic.get(opened.topic_id)
        if not opened.HasField("budget"):
            self._by_topic.pop(opened.topic_id, None)
            return None
        limits = its.messages_per_second, its.bytes_per_second
        if budget is None or (budget.messages_per_second, budget.bytes_per_second) != limits:
            budget = self._by_topic[opened.topic_id] = Budget(*limits)
        return budget
