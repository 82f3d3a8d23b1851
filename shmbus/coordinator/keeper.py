"""The keeper: reads the topics that keep the last message of each key, and folds what it reads into their segments.

A client of the bus like any other, in a thread of the coordinator's process, with a durable subscription of its own: it
acknowledges what has been folded. So publishers keep what has not been, whoever is killed, and whoever begins with the
last messages finds in the rings all that came after them.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from shmbus.bus import Bus
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import KEEPER, Kept, Registry
from shmbus.durable import Durable
from shmbus.errors import ClosedError, ShmbusError
from shmbus.message import Gap, Message
from shmbus.subscription import Subscription

PATTERN: Final = "#"
DURABLE: Final = Durable(KEEPER, ack_deadline=None)
BATCH: Final = 1024
FEW, NAP_SECONDS = 16, 0.002  # after so few messages it waits for more: each wake costs a publisher a system call
RETRY_SECONDS: Final = 1.0
ALERT_SECONDS: Final = 10.0  # between two alerts about one topic

Alert = Callable[[str, str, list[str]], None]


class Keeper:
    """One for the bus. `alert` is called on the keeper's thread."""

    def __init__(self, connect: Callable[[], Bus], registry: Registry, alert: Alert, log: Log) -> None:
        self._connect, self._registry, self._alert, self._log = connect, registry, alert, log
        self._joined: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._told: dict[str, tuple[int, int]] = {}  # messages refused and missed
        self._alerted: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="shmbus keeper", daemon=True)

    @property
    def started(self) -> bool:
        """Has it been?"""
        return self._thread.ident is not None

    def start(self, joined: Callable[[], None]) -> None:
        """`joined` is called, on its thread, when it reads."""
        self._joined = joined
        self._thread.start()

    def stop(self) -> None:
        """Wait until it has ended. The coordinator must have hung up on it."""
        self._stopping.set()
        if self.started:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as bus, bus.subscribe(PATTERN, durable=DURABLE) as subscription:
                    self._joined()
                    self._read(subscription)
            except ClosedError:
                pass  # the bus is being stopped
            except (ShmbusError, OSError, ValueError) as error:
                self._log(f"the last messages of keys are not kept for a while: {error}")
            self._stopping.wait(RETRY_SECONDS)

    def _read(self, subscription: Subscription) -> None:
        while True:
            found = subscription.receive_many(BATCH)
            by_topic: dict[str, list[Message | Gap]] = {}
            for one in found:
                by_topic.setdefault(one.topic, []).append(one)
            for topic, its in by_topic.items():
                kept = self._registry.topics[topic].kept
                if kept is not None:
                    self._fold(topic, kept, its)
            subscription.ack_many(found)
            if len(found) < FEW:
                self._stopping.wait(NAP_SECONDS)

    def _fold(self, topic: str, kept: Kept, found: list[Message | Gap]) -> None:
        writer = kept.writer
        refused, missed = self._told.setdefault(topic, (writer.refused, writer.missed))
        writer.fold(found)
        now = time.monotonic()
        if (writer.refused, writer.missed) == (refused, missed) or now < self._alerted.get(topic, 0.0):
            return
        self._told[topic] = writer.refused, writer.missed
        self._alerted[topic] = now + ALERT_SECONDS
        self._alert(
            f"topic '{topic}' does not keep the last message of every key",
            f"{writer.refused - refused} messages had no room ({writer.most_keys} keys, {writer.most_bytes} bytes: "
            f"raise keep_last or keep_last_bytes), {writer.missed - missed} were lost before they could be kept",
            [topic],
        )
