"""Where messages go: the bus, or what a test puts in its place."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Protocol

import shmbus
from shmbus.errors import BackpressureError, MessageTooLarge, PublishRevoked, ShmbusError
from shmbus.v1.eventbus_pb2 import ProcessEventData

from .process import Topic

_log = logging.getLogger("procmond")


class SinkGone(Exception):
    """There is nowhere to publish any more; the message says why."""


class Sink(Protocol):
    """Takes messages. SinkGone: it will take no more."""

    def publish(self, topic: Topic, event: ProcessEventData) -> None: ...


class Publisher(Protocol):
    """What a sink needs of a publisher of the bus."""

    def publish(self, message: ProcessEventData, /) -> object: ...


class BusSink:
    """One publisher for each topic. A message that the bus refuses is counted in `refused` and logged."""

    def __init__(self, publishers: Mapping[Topic, Publisher]) -> None:
        self._publishers = publishers
        self.refused = 0

    def publish(self, topic: Topic, event: ProcessEventData) -> None:
        try:
            self._publishers[topic].publish(event)
        except (MessageTooLarge, BackpressureError, PublishRevoked) as error:
            self.refused += 1
            _log.warning("could not publish an event of pid %d (%d so far): %s", event.process.pid, self.refused, error)
        except ShmbusError as error:
            raise SinkGone(str(error)) from error


@contextmanager
def bus_sink(bus_name: str | None) -> Iterator[BusSink]:
    """Connects to the bus, the default one if None. SinkGone: nobody runs it."""
    with ExitStack() as stack:
        try:
            bus = stack.enter_context(shmbus.connect(bus_name, name="procmond"))
            publishers = {topic: stack.enter_context(bus.publisher(topic.value)) for topic in Topic}
        except ShmbusError as error:
            raise SinkGone(str(error)) from error
        yield BusSink(publishers)
