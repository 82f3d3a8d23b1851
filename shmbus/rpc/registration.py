"""A collector's registration: what it is able to do, known to every agent while its heartbeat goes on.

It is renewed by `Bus.beat`, made again by itself when another coordinator takes over, and ends with the process.
"""

import platform
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from shmbus.errors import ShmbusError
from shmbus.rpc.asking import DEFAULT_TIMEOUT_SECONDS, make_ask
from shmbus.rpc.lives import ask_coordinator
from shmbus.rpc.operations import DEREGISTER, REGISTER
from shmbus.v1.rpc_pb2 import HEALTHY, DeregistrationRequest, RegistrationRequest, RegistrationResponse

if TYPE_CHECKING:
    from shmbus.bus import Bus

BEATS: Final = 3  # an interval


class Registration:
    """Held from when it is made until it is closed, by leaving its `with` block say."""

    def __init__(self, bus: "Bus", wanted: RegistrationRequest) -> None:
        """Raises AccessDenied, RpcError (ALREADY_REGISTERED, REGISTRATION_INVALID; UNAVAILABLE: no coordinator)."""
        self._bus, self._name = bus, wanted.collector_id
        request = RegistrationRequest()
        request.CopyFrom(wanted)
        request.hostname = request.hostname or platform.node()
        ask = make_ask(self._name, REGISTER, request, DEFAULT_TIMEOUT_SECONDS, None, False)
        granted: RegistrationResponse = ask_coordinator(bus, ask).payload
        self.interval: Final = granted.heartbeat_interval_ms / 1000
        """Seconds within which `Bus.beat` is to be called again."""
        request.heartbeat_interval_ms = granted.heartbeat_interval_ms
        bus._duty.registered[self._name] = request

    def close(self, reason: str = "") -> None:
        """End it. Does no harm where the bus has ended, or somebody else has ended it."""
        if self._bus._duty.registered.pop(self._name, None) is None or self._bus.closed:
            return
        request = DeregistrationRequest(collector_id=self._name, reason=reason or "it stops serving")
        try:
            ask_coordinator(self._bus, make_ask(self._name, DEREGISTER, request, DEFAULT_TIMEOUT_SECONDS, None, False))
        except ShmbusError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Beat:
    """When a loop that waits for other things is to beat next. One for each loop."""

    def __init__(
        self, bus: "Bus", interval: float | None, health: Callable[[], int] = lambda: HEALTHY,
        reason: Callable[[], str] = str,
    ) -> None:  # fmt: skip
        """`interval` in seconds; None: nobody looks. `health` is what is said of itself each time, and why, if ill."""
        self._bus, self._every = bus, None if interval is None else interval / BEATS
        self._health, self._reason = health, reason
        self._due = 0.0

    @property
    def goes_on(self) -> bool:
        """Does anybody look?"""
        return self._every is not None

    @property
    def patience(self) -> float | None:
        """Seconds that the loop may wait; None: for ever."""
        return None if self._every is None else max(self._due - time.monotonic(), 0.0)

    def tick(self) -> float | None:
        """The loop moves. As `patience` afterwards."""
        if self._every is None:
            return None
        now = time.monotonic()
        if now >= self._due:
            health = self._health()
            self._bus.beat(health, self._reason() if health > HEALTHY else "")
            self._due = now + self._every
        return self._due - now
