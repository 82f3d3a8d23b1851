"""Is a client above its budget, and for how long? No clock and no I/O of its own.

A publisher keeps to its budget by itself: it waits, or is told. One that does not, because its library is another or
has been patched, is seen in what the ring says was published. What is judged here leaves room for what an honest one
may do: a second's worth at once, a message that is larger than that, and one that is on its way at the look.
"""

from enum import Enum

from shmbus.coordinator.settings import Budget

BURST_SECONDS = 1.0  # as the core has it
SLACK_MESSAGES = 2.0
TOLERANCE = 0.01  # of the rate


class Judgement(Enum):
    """What is to be done."""

    FINE = "fine"
    OVER = "over"  # since now: tell
    STILL_OVER = "still over"
    REVOKE = "revoke"


class Spending:
    """What one client has published to one topic, against its budget."""

    __slots__ = ("budget", "_grace_ns", "_looked_ns", "_messages", "_bytes", "_owed", "over_since_ns")

    def __init__(self, budget: Budget, grace_ns: int, now_ns: int) -> None:
        self.budget, self._grace_ns, self._looked_ns = budget, grace_ns, now_ns
        self._messages = budget.messages_per_second * BURST_SECONDS  # that may be published, and were not
        self._bytes = budget.bytes_per_second * BURST_SECONDS
        self._owed = 0.0  # bytes that a message larger than what was left may owe yet
        self.over_since_ns: int | None = None

    def judge(self, now_ns: int, messages: int, size: int, largest: int) -> Judgement:
        """So much was published since the last time, and the largest message had `largest` bytes."""
        seconds = (now_ns - self._looked_ns) / 1e9 * (1 + TOLERANCE)
        self._looked_ns = now_ns
        rate = self.budget.messages_per_second
        self._messages, too_many = _left(rate, self._messages + rate * seconds - messages, SLACK_MESSAGES)
        rate = self.budget.bytes_per_second
        self._owed = max(self._owed - rate * seconds, largest)
        self._bytes, too_large = _left(rate, self._bytes + rate * seconds - size, self._owed)
        if not (too_many or too_large):
            self.over_since_ns = None
            return Judgement.FINE
        if self.over_since_ns is None:
            self.over_since_ns = now_ns
            return Judgement.OVER
        return Judgement.REVOKE if now_ns - self.over_since_ns >= self._grace_ns else Judgement.STILL_OVER


def _left(rate: int, left: float, slack: float) -> tuple[float, bool]:
    """What may be published yet, and whether it was too much. What was too much is not counted again."""
    return (max(min(left, rate * BURST_SECONDS), -slack), left < -slack) if rate else (0.0, False)
