"""What tests of durable subscriptions have in common."""

import gc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import shmbus
from process.rings import small
from shmbus.coordinator.settings import Settings


def payloads(messages: Iterable[Any]) -> list[bytes]:
    return [message.payload for message in messages]


def rest(subscription: shmbus.Subscription) -> list[Any]:
    """What is there at once."""
    return list(iter(subscription.try_receive, None))


def maps() -> list[str]:
    """What is mapped into this process."""
    return Path("/proc/self/maps").read_text().splitlines()


def first_ring_mapped() -> int:
    """How many pieces of the first generation of the first topic are mapped into this process."""
    gc.collect()
    return sum(".ring.1.0.0" in line for line in maps())


def impatient(max_stall_ns: int = 200_000_000) -> Settings:
    """Whoever stalls for so long is demoted."""
    settings = small()
    return replace(settings, default=replace(settings.default, max_stall_ns=max_stall_ns))
