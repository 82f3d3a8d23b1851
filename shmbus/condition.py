"""How a collector is: what others see of it, and what it says of itself. The worse of both counts.

What one says that does not move is stale: it said so before. It counts all the same, as the last that is known.
"""

from typing import Final, NamedTuple

from shmbus.directory import Health

_WORDS: Final = {health.value: health for health in (Health.UNKNOWN, Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY)}
_FROZEN: Final = (Health.DEGRADED, Health.UNRESPONSIVE)


def said_by(word: int) -> Health:
    """What a session page's word of health says. One that is none of ours says nothing: its owner can write any."""
    return _WORDS.get(word, Health.UNKNOWN)


class Condition(NamedTuple):
    """Of one collector, at one moment."""

    seen: Health = Health.UNKNOWN  # of a running one by its heartbeat, of another by its state
    said: Health = Health.UNKNOWN  # by itself; UNKNOWN: nothing

    @property
    def health(self) -> Health:
        """The worse of both."""
        return max(self)

    @property
    def stale(self) -> bool:
        """Does it stand still, so that what it said is how it was?"""
        return self.said is not Health.UNKNOWN and self.seen in _FROZEN

    @property
    def says(self) -> str:
        """What it says, for people; empty: nothing."""
        if self.said is Health.UNKNOWN:
            return ""
        return f"{self.said.name.lower()}{' (stale)' if self.stale else ''}"

    def why(self, frozen: str = "it does not move") -> str:
        """Why it is not healthy, for one that runs; `frozen` is what is said of one that stands still. Empty: it is."""
        ill = self.said > Health.HEALTHY
        if self.seen in _FROZEN:
            return f"{frozen}; before that it said that it is {self.said.name.lower()}" if ill else frozen
        return "it says so itself" if ill else ""
