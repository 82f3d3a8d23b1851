"""What the coordinator itself has to say, on a topic of the bus: alerts, and how all is, on `control.health.status`.

The topic is made with the first of them and sheds its oldest messages: the coordinator waits for nobody.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from shmbus import _core, encoding
from shmbus._core import Bells, Writer
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import Generation, Registry, Topic
from shmbus.coordinator.settings import TopicPlan
from shmbus.errors import ShmbusError
from shmbus.process import Identity, identity_of
from shmbus.schema import descriptor_set, fingerprint
from shmbus.v1.control_pb2 import TopicType
from shmbus.v1.eventbus_pb2 import AlertPayload, AlertSeverity, EventBusMessage, HeartbeatPayload

TOPIC: Final = "control.health.status"
NAME: Final = "coordinator"
PRODUCER: Final = 0  # the coordinator's own id in every ring

Make = Callable[[str, TopicType, TopicPlan], Topic]


class Health:
    """Publishes; an alert that cannot be published is in the log all the same."""

    def __init__(self, registry: Registry, make: Make, planner: Planner, bells: Bells, log: Log) -> None:
        self._registry, self._make, self._planner, self._bells, self._log = registry, make, planner, bells, log
        self._writer: _Writer | None = None
        self._numbers = itertools.count(1)
        self._ids = os.urandom(8).hex()

    def alert(self, title: str, description: str, resources: Sequence[str]) -> None:
        """Something that an operator should know of."""
        alert = AlertPayload(
            alert_id=f"{self._ids}-{next(self._numbers)}", severity=AlertSeverity.MEDIUM, title=title,
            description=description, source=NAME, affected_resources=resources,
        )  # fmt: skip
        self._publish(alert)

    def tell(self, heartbeat: HeartbeatPayload) -> None:
        """How all collectors are together."""
        self._publish(heartbeat)

    def _publish(self, event: AlertPayload | HeartbeatPayload) -> None:
        try:
            self._current().publish(event)
        except (ShmbusError, OSError) as error:
            self._log(f"not told on '{TOPIC}': {error}")

    def _current(self) -> "_Writer":
        topic = self._registry.topics.get(TOPIC) or self._made()
        if topic.type_name != EventBusMessage.DESCRIPTOR.full_name:
            raise ShmbusError(f"the topic was made for {topic.type_name or 'bytes'}, not for envelopes")
        if self._writer is None or self._writer.generation is not topic.live:
            self._writer = _Writer(topic.live, self._bells)
        return self._writer

    def _made(self) -> Topic:
        kind = EventBusMessage.DESCRIPTOR
        type_ = TopicType(name=kind.full_name, fingerprint=fingerprint(kind), descriptors=descriptor_set(kind))
        return self._make(TOPIC, type_, replace(self._planner.plan(TOPIC), on_full="shed"))


class _Writer(Writer):
    """The coordinator's own publisher, in the ring's entry that is kept for it."""

    def __init__(self, generation: Generation, bells: Bells) -> None:
        its = identity_of(os.getpid()) or Identity(os.getpid(), 0, 0)
        generation.ring.set_producer(PRODUCER, NAME, its.pid, its.start_time, its.namespace, 0, os.getuid())
        super().__init__(generation.ring, PRODUCER, bells, os.urandom(8).hex() + "-", False, 0.0)
        self.generation = generation

    def _envelope(self, kind: type[Any]) -> encoding.Envelope:
        return encoding.envelope_for(kind, TOPIC, NAME, None)

    def _urgent(self) -> None:
        return None

    def _correlate(self, given: Any, whole: Any) -> None:
        return None

    def _trouble(self, result: int, *_: int) -> None:
        names = {getattr(_core, name): name for name in ("FULL", "TOO_LARGE", "REVOKED", "CORRUPT", "SEALED")}
        raise ShmbusError(f"the ring of '{TOPIC}' says {names.get(result, result)}")
