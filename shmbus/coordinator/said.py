"""What a collector says of itself, and for how long it has said so. Decides only; the hands are in vigil.py.

                                        says UNHEALTHY
    nothing, healthy, degraded ------------------------------> unhealthy since then ---- for its patience ----> overdue
                ^                                                 |    ^         |
                +------------------ says anything else -----------+    +---------+
                                                                        does not move: begins anew when it does

Only what it says while it moves counts, and only unhealthy can become overdue. What one says that stands still is
stale: it is the last that is known of it, but nobody knows whether it would say so again, so no time passes. No clock
and no I/O: times are seconds of any clock that only moves on.
"""

from dataclasses import dataclass

from shmbus.condition import said_by
from shmbus.directory import Health


@dataclass(slots=True)
class Said:
    """By one collector."""

    health: Health = Health.UNKNOWN
    reason: str = ""  # that it gives; of one that is not ill, none
    _since: float = 0.0

    def look(self, word: int, fresh: bool, now: float, reason: str = "") -> bool:
        """The page says `word`, and why; `fresh`: by one that moves. Whether the health is another than before."""
        before, self.health = self.health, said_by(word)
        self.reason = reason if self.health > Health.HEALTHY else ""
        if self.health is not before or not fresh:
            self._since = now
        return self.health is not before

    def overdue(self, patience: float | None, now: float) -> bool:
        """Has it said for `patience` seconds on end that it is unhealthy? None: it may do so for ever."""
        return self.health is Health.UNHEALTHY and patience is not None and now - self._since >= patience
