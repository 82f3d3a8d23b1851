"""Whether a service is worth calling. It has no clock of its own: times are nanoseconds of any that only moves on.

closed ---- too many failures in a row ----> open ---- its time is over, one call may try ----> half-open
   ^                                          ^                                                   |   |
   |                                          +----- failure: twice as long as the last time -----+   |
   +------------------------------------------------------- success ----------------------------------+
"""

from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """As it stands in a request's routing."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """Of one service, in one client."""

    failures_to_open: int = 5
    first_pause_ns: int = 500_000_000
    longest_pause_ns: int = 30_000_000_000
    state: State = State.CLOSED
    failures: int = 0  # in a row
    until_ns: int = 0  # open until then
    _pause_ns: int = field(default=0, init=False)
    _trying: bool = field(default=False, init=False)

    def admits(self, now_ns: int) -> bool:
        """May a call go out? One that may and is half-open is the one that tries."""
        if self.state is State.OPEN and now_ns >= self.until_ns:
            self.state, self._trying = State.HALF_OPEN, False
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The service answered, whatever."""
        self.state, self.failures, self._pause_ns, self._trying = State.CLOSED, 0, 0, False

    def failed(self, now_ns: int) -> None:
        """It died, or did not answer in time. What went out before it opened, and fails now, changes nothing."""
        self.failures += 1
        if self.state is State.OPEN or (self.state is State.CLOSED and self.failures < self.failures_to_open):
            return
        self._pause_ns = min(2 * self._pause_ns or self.first_pause_ns, self.longest_pause_ns)
        self.state, self.until_ns, self._trying = State.OPEN, now_ns + self._pause_ns, False

    def withdrawn(self) -> None:
        """A call ended without telling anything of the service (it was cancelled): another one may try."""
        self._trying = False
