"""The word to begin, which no collector can miss: its topic keeps the last one, so whoever comes later gets it, too.

Every word is an epoch of its own, and each process heeds an epoch once, however often it reads of it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from shmbus.errors import ClosedError, ConnectionLost
from shmbus.message import Gap, Message
from shmbus.start import LastPerKey
from shmbus.topic import LIFECYCLE
from shmbus.v1.eventbus_pb2 import ControlMessagePayload, ControlOperation

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.subscription import Subscription

KEY: Final = "begin_monitoring"
EPOCH: Final = "epoch"
RETRY_SECONDS: Final = 0.1
_STOP: Final = object()


class Begin(NamedTuple):
    """A word to begin. `agent` is who said it, as it calls itself."""

    epoch: int
    agent: str


def begin(bus: "Bus") -> int:
    """Say it; the epoch. They rise with time, whoever says it: CLOCK_MONOTONIC."""
    epoch = time.monotonic_ns()
    with bus.publisher(LIFECYCLE) as publisher:
        publisher.publish(word_of(epoch), key=KEY)
    return epoch


def word_of(epoch: int) -> ControlMessagePayload:
    """As it is published."""
    return ControlMessagePayload(
        operation=ControlOperation.BEGIN_MONITORING, target="control.collector.+", parameters={EPOCH: str(epoch)}
    )


class Epochs:
    """Which words are new to this process. No clock and no I/O."""

    def __init__(self) -> None:
        self._last = 0

    def heed(self, found: Begin) -> bool:
        """Is it?"""
        if found.epoch <= self._last:
            return False
        self._last = found.epoch
        return True


@contextmanager
def listening(bus: "Bus", tell: Callable[[Begin], None]) -> Iterator[None]:
    """Have `tell` called, in a thread of its own, for each epoch: the one that is kept, and those that come."""
    listener = _Listener(bus, tell)
    try:
        yield
    finally:
        listener.close()


class _Listener:
    def __init__(self, bus: "Bus", tell: Callable[[Begin], None]) -> None:
        self._bus, self._tell, self._epochs = bus, tell, Epochs()
        self._subscription: Subscription | None = None
        with suppress(ConnectionLost):  # then with the next coordinator
            self._subscription = self._subscribed()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shmbus-begin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._subscription is not None:
            self._subscription._notify(_STOP)
        self._thread.join()
        if self._subscription is not None:
            self._subscription.close()

    def _subscribed(self) -> "Subscription":
        return self._bus.subscribe(LIFECYCLE, start=LastPerKey())

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._subscription is None:
                    self._begin_anew()
                    continue
                found = self._subscription.receive()
                if isinstance(found, Gap):
                    self._begin_anew()
                elif isinstance(found, Message) and (word := _word_in(found)) is not None and self._epochs.heed(word):
                    self._tell(word)
        except ClosedError:
            pass

    def _begin_anew(self) -> None:
        """Something may have been missed, and the last word is kept. To read it takes a coordinator, now or later."""
        while not self._stopping.is_set():
            try:
                before, self._subscription = self._subscription, self._subscribed()
            except ConnectionLost:
                self._stopping.wait(RETRY_SECONDS)
            else:
                if before is not None:
                    before.close()
                return


def _word_in(message: Message) -> Begin | None:
    """None: it is something else, or nothing that could be understood."""
    try:
        event = message.event
        if isinstance(event, ControlMessagePayload) and event.operation == ControlOperation.BEGIN_MONITORING:
            return Begin(int(event.parameters[EPOCH]), message.envelope.metadata.source_id)
    except (DecodeError, ValueError):
        pass
    return None
