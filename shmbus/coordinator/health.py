"""What the coordinator itself has to say of the bus's health, on `control.health.status`: alerts, and how all is."""

import itertools
import os
from collections.abc import Sequence
from typing import Final

from shmbus._core import Bells
from shmbus.coordinator.announcer import NAME, Announcer, Make
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import Registry
from shmbus.errors import ShmbusError
from shmbus.topic import HEALTH_STATUS
from shmbus.v1.eventbus_pb2 import AlertPayload, AlertSeverity, HeartbeatPayload

TOPIC: Final = HEALTH_STATUS


class Health:
    """Publishes; an alert that cannot be published is in the log all the same."""

    def __init__(self, registry: Registry, make: Make, planner: Planner, bells: Bells, log: Log) -> None:
        self._announcer, self._log = Announcer(TOPIC, registry, make, planner, bells), log
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
            self._announcer.publish(event)
        except (ShmbusError, OSError) as error:
            self._log(f"not told on '{TOPIC}': {error}")
