"""How a collector is: what others see of it, and what it says of itself. The worse of both counts.

What one says that does not move is stale: it said so before. It counts all the same, as the last that is known.
"""

from typing import Final, NamedTuple

from shmbus.directory import Health

_WORDS: Final = {health.value: health for health in (Health.UNKNOWN, Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY)}
REASON_BYTES: Final = 112  # as SHMBUS_REASON_BYTES
_FROZEN: Final = (Health.DEGRADED, Health.UNRESPONSIVE)


def reason_by(words: bytes) -> str:
    """What counts of a reason, on one line: as much as a session page has room for. Any bytes may stand there."""
    text = words[:REASON_BYTES].decode(errors="ignore")
    return "".join(one if one.isprintable() else " " for one in text).strip()


def said_by(word: int) -> Health:
    """What a session page's word of health says. One that is none of ours says nothing: its owner can write any."""
    return _WORDS.get(word, Health.UNKNOWN)


class Condition(NamedTuple):
    """Of one collector, at one moment."""

    seen: Health = Health.UNKNOWN  # of a running one by its heartbeat, of another by its state
    said: Health = Health.UNKNOWN  # by itself; UNKNOWN: nothing
    reason: str = ""  # that it gives for that

    @property
    def health(self) -> Health:
        """The worse of both."""
        return max(self.seen, self.said)

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

    @property
    def complaint(self) -> str:
        """What it says is wrong with it, with its reason; empty: nothing."""
        if self.said <= Health.HEALTHY:
            return ""
        return self.said.name.lower() + (f": {self.reason}" if self.reason else "")

    def why(self, frozen: str = "it does not move") -> str:
        """Why it is not healthy, for one that runs; `frozen` is what is said of one that stands still. Empty: it is."""
        ill = self.said > Health.HEALTHY
        if self.seen in _FROZEN:
            return f"{frozen}; before that it said that it is {self.complaint}" if ill else frozen
        return f"it says so itself{f': {self.reason}' if self.reason else ''}" if ill else ""
