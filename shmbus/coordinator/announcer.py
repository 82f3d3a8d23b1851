"""What the coordinator itself publishes: envelopes on a topic that is made with the first of them.

The topic sheds its oldest messages: the coordinator waits for nobody.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import Message

from shmbus import _core, encoding
from shmbus._core import Bells, Writer
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.registry import Generation, Registry, Topic
from shmbus.coordinator.settings import TopicPlan
from shmbus.errors import ShmbusError
from shmbus.process import Identity, identity_of
from shmbus.schema import descriptor_set, fingerprint
from shmbus.v1.control_pb2 import TopicType
from shmbus.v1.eventbus_pb2 import EventBusMessage

NAME: Final = "coordinator"
PRODUCER: Final = 0  # the coordinator's own id in every ring

Make = Callable[[str, TopicType, TopicPlan], Topic]


class Announcer:
    """Publishes on one topic."""

    def __init__(self, topic: str, registry: Registry, make: Make, planner: Planner, bells: Bells) -> None:
        self.topic: Final = topic
        self._registry, self._make, self._planner, self._bells = registry, make, planner, bells
        self._writer: _Writer | None = None

    def publish(self, event: Message, key: str | None = None) -> None:
        """Tell whoever subscribes. Raises ShmbusError, OSError where it cannot be."""
        self._current().publish(event, key=key)

    def _current(self) -> "_Writer":
        topic = self._registry.topics.get(self.topic) or self._made()
        if topic.type_name != EventBusMessage.DESCRIPTOR.full_name:
            raise ShmbusError(f"the topic was made for {topic.type_name or 'bytes'}, not for envelopes")
        if self._writer is None or self._writer.generation is not topic.live:
            self._writer = _Writer(self.topic, topic.live, self._bells)
        return self._writer

    def _made(self) -> Topic:
        kind = EventBusMessage.DESCRIPTOR
        type_ = TopicType(name=kind.full_name, fingerprint=fingerprint(kind), descriptors=descriptor_set(kind))
        return self._make(self.topic, type_, replace(self._planner.plan(self.topic), on_full="shed"))


class _Writer(Writer):
    """The coordinator's own publisher, in the ring's entry that is kept for it."""

    def __init__(self, topic: str, generation: Generation, bells: Bells) -> None:
        its = identity_of(os.getpid()) or Identity(os.getpid(), 0, 0)
        generation.ring.set_producer(PRODUCER, NAME, its.pid, its.start_time, its.namespace, 0, os.getuid())
        super().__init__(generation.ring, PRODUCER, bells, os.urandom(8).hex() + "-", False, 0.0)
        self.topic, self.generation = topic, generation

    def _envelope(self, kind: type[Any]) -> encoding.Envelope:
        return encoding.envelope_for(kind, self.topic, NAME, None)

    def _urgent(self) -> None:
        return None

    def _correlate(self, given: Any, whole: Any) -> None:
        return None

    def _trouble(self, result: int, *_: int) -> None:
        names = {getattr(_core, name): name for name in ("FULL", "TOO_LARGE", "REVOKED", "CORRUPT", "SEALED")}
        raise ShmbusError(f"the ring of '{self.topic}' says {names.get(result, result)}")
