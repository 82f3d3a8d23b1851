"""Does a collector still move? Judged by the heartbeat word that its own thread of work advances.

                   first beat              silent for 1¼ intervals            silent for 2¼ intervals
    unknown ----------------> healthy ---------------------------> degraded -------------------------> unresponsive
                                 ^                                     |                                     |
                                 +------------- beat ------------------+-------------------------------------+

One that never beats is never judged. Looked at four times an interval, one that stops is unresponsive within three
intervals of its last beat. Whoever looks late (the whole machine may have stood still) begins to count anew. No clock
and no I/O: times are seconds of any clock that only moves on.
"""

from dataclasses import dataclass

from shmbus.directory import Health

LOOKS = 4  # an interval
DEGRADED_INTERVALS = 1.25
UNRESPONSIVE_INTERVALS = 2.25


@dataclass(slots=True)
class Pulse:
    """One collector's."""

    interval: float
    health: Health = Health.UNKNOWN
    fresh: bool = False  # at the last look it moved, and had been looked at in time before
    _beats: int = 0
    _moved: float = 0.0
    _looked: float | None = None

    def look(self, beats: int, now: float) -> bool:
        """The heartbeat word says `beats`; whether the health is another than before."""
        before, late = self.health, self._looked is None or now - self._looked > self.interval
        self._looked = now
        if beats != self._beats:
            self._beats, self._moved, self.health = beats, now, Health.HEALTHY
        elif self.health is not Health.UNKNOWN and late:
            self._moved = now
        elif self.health is not Health.UNKNOWN:
            self.health = self._judged(now - self._moved)
        self.fresh = self.health is Health.HEALTHY and not late
        return self.health is not before

    def silent(self, beats: int, now: float) -> float | None:
        """Seconds since it moved last, to within the time between two looks; None: it never has.

        The heartbeat word says `beats` now: what has moved since the last look counts before the next one.
        """
        if beats != self._beats:
            return 0.0
        return None if self.health is Health.UNKNOWN else now - self._moved

    def rest(self) -> None:
        """It is not expected to move for a while; the next look begins to count anew."""
        self._looked = None

    def _judged(self, silent: float) -> Health:
        if silent >= UNRESPONSIVE_INTERVALS * self.interval:
            return Health.UNRESPONSIVE
        return Health.DEGRADED if silent >= DEGRADED_INTERVALS * self.interval else Health.HEALTHY
