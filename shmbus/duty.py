"""What a process does as a collector: it announces that it works, and shows that it still does.

The coordinator knows a process that it started by a token in its environment, and others by what they register.
"""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shmbus.control import Received
from shmbus.errors import ConnectionLost
from shmbus.heart import Heart
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.rpc_pb2 import UNKNOWN, RegistrationRequest

if TYPE_CHECKING:
    from shmbus.bus import Bus

TOKEN_VARIABLE: Final = "SHMBUS_COLLECTOR_TOKEN"  # the coordinator started this process as one of its collectors


class Duty:
    """Of one connection, which it does not refer to: one that nobody keeps goes at once, with what it has mapped."""

    def __init__(self) -> None:
        self.token: Final = os.environ.get(TOKEN_VARIABLE)
        """What the coordinator that started this process knows it by."""
        self._heart: Heart | None = None  # of a collector whose health somebody wants to know
        self._bell: Received | None = None  # its eventfd wakes the coordinator when that is another health than before
        self.health: int = UNKNOWN  # as it was said last
        self.reason = ""  # with that
        self.ready = False  # has been announced
        self.registered: Final[dict[str, RegistrationRequest]] = {}  # collectors that this process is, by their ids

    def token_taken(self) -> None:
        """It counts once, and what this process starts is not this process."""
        if self.token is not None:
            os.environ.pop(TOKEN_VARIABLE, None)

    def announce(self, bus: "Bus") -> float | None:
        """Answers the seconds within which it is to beat, None: nobody looks."""
        self.ready = True
        intervals = [request.heartbeat_interval_ms for request in self.registered.values()]
        try:
            answer = bus._request(wire.AnnounceReady())
            noted: wire.ReadyNoted = answer.message
            self.take_bell(answer)
            intervals.append(noted.heartbeat_ms)
            self._have_heart(bus, noted)
        except ConnectionLost:
            pass  # the next coordinator is told when this process comes back to it
        return min(filter(None, intervals), default=0) / 1000 or None

    def take_bell(self, answer: Received) -> None:
        """Keep an answer for the eventfd beside it, if there is one: older coordinators find out by themselves."""
        self._bell = answer if len(answer) else None

    def beat(self, health: int, reason: str, news: bool) -> None:
        """Of the heart, if somebody wants to hear it. `news`: something else was said before."""
        self.health, self.reason = health, reason
        bell = self._bell  # as long as we have it: another thread may come back to a coordinator meanwhile
        if news and bell is not None:
            with suppress(BlockingIOError):  # it has been rung, and not been heard yet
                os.eventfd_write(bell.peek(), 1)  # takes no lock and waits for nobody
        if self._heart is not None:
            self._heart.beat(health, reason)

    def close(self) -> None:
        """Wake nobody any more."""
        self._bell = None

    def _have_heart(self, bus: "Bus", noted: wire.ReadyNoted) -> None:
        seconds = noted.heartbeat_ms / 1000
        if not (seconds and noted.collector):
            self._heart = None
        elif self._heart is None:
            self._heart = Heart(bus, noted.collector, seconds)
        else:
            self._heart.interval = seconds
