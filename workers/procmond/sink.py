"""Where messages go: the bus, or what a test puts in its place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Protocol

import shmbus
from shmbus.errors import BackpressureError, BudgetExceeded, MessageTooLarge, PublishRevoked, ShmbusError
from shmbus.v1.eventbus_pb2 import ProcessEventData
from shmbus.v1.rpc_pb2 import HealthStatus

from .process import Topic

_log = logging.getLogger("procmond")


PATIENCE_S = 0.25
"""A reader that must not miss anything may keep us waiting so long, in seconds; the kernel's events wait meanwhile."""

IMPATIENCE_S = 1.0
"""After that nothing waits for so long, in seconds: what a full topic does not take is refused."""


class SinkGone(Exception):
    """There is nowhere to publish any more; the message says why."""


class Sink(Protocol):
    """Takes messages; `refused` counts those it did not take. SinkGone: it will take no more.

    It also knows who started us: `ready` says that we see everything from now on and answers how often, in seconds,
    `beat` is to be called, with how we are; None: nobody wants to know.
    """

    refused: int

    def publish(self, topic: Topic, event: ProcessEventData) -> None: ...

    def ready(self) -> float | None: ...

    def beat(self, health: HealthStatus, reason: str = "") -> None: ...


class Publisher(Protocol):
    """What a sink needs of a publisher of the bus."""

    def publish(self, event: ProcessEventData, /, *, timeout: float) -> object: ...


class Supervised(Protocol):
    """What a sink needs of the bus itself."""

    def ready(self) -> float | None: ...

    def beat(self, health: HealthStatus, reason: str = "") -> None: ...


class BusSink:
    """One publisher for each topic. What the bus refuses is counted, and logged at most once a second."""

    def __init__(
        self, bus: Supervised, publishers: Mapping[Topic, Publisher], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus, self._publishers = bus, publishers
        self._clock = clock
        self._impatient_until = dict.fromkeys(publishers, 0.0)
        self._log_again = 0.0
        self.refused = 0

    def publish(self, topic: Topic, event: ProcessEventData) -> None:
        timeout = 0.0 if self._clock() < self._impatient_until[topic] else PATIENCE_S
        try:
            self._publishers[topic].publish(event, timeout=timeout)
        except (BackpressureError, BudgetExceeded) as error:
            if timeout:
                self._impatient_until[topic] = self._clock() + IMPATIENCE_S
            self._refuse(error)
        except (MessageTooLarge, PublishRevoked) as error:
            self._refuse(error)
        except ShmbusError as error:
            raise SinkGone(str(error)) from error

    def ready(self) -> float | None:
        try:
            return self._bus.ready()
        except ShmbusError as error:
            raise SinkGone(str(error)) from error

    def beat(self, health: HealthStatus, reason: str = "") -> None:
        self._bus.beat(health, reason)

    def _refuse(self, error: ShmbusError) -> None:
        self.refused += 1
        if self._clock() >= self._log_again:
            self._log_again = self._clock() + 1.0
            _log.warning("%d messages could not be published so far; now: %s", self.refused, error)


@contextmanager
def bus_sink(bus_name: str | None) -> Iterator[tuple[BusSink, shmbus.Bus]]:
    """Connects to the bus, the default one if None. SinkGone: nobody runs it."""
    with ExitStack() as stack:
        try:
            bus = stack.enter_context(shmbus.connect(bus_name, name="procmond"))
            publishers = {topic: stack.enter_context(bus.publisher(topic.value)) for topic in Topic}
        except ShmbusError as error:
            raise SinkGone(str(error)) from error
        yield BusSink(bus, publishers), bus
