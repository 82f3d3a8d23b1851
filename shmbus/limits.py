"""What a topic is limited to, from the terms of the API into those of the protocol."""

import math
from typing import Final

from shmbus.v1 import control_pb2 as wire

_FIELDS: Final = {"max_messages": "max_retained_messages", "max_bytes": "max_retained_size_bytes"}


def limits_of(
    max_messages: int | None,
    max_bytes: int | None,
    max_message_bytes: int | None,
    retention: float | None,
    claim_timeout: float | None,
) -> wire.TopicLimits:
    """For the coordinator; times in seconds. Raises ValueError."""
    limits = wire.TopicLimits()
    for name, value in (
        ("max_messages", max_messages),
        ("max_bytes", max_bytes),
        ("max_message_bytes", max_message_bytes),
    ):
        if value is not None:
            setattr(limits, _FIELDS.get(name, name), _whole(name, value))
    if retention is not None:
        limits.retention_duration_ms = _milliseconds("retention", retention, 0)
    if claim_timeout is not None:
        limits.claim_timeout_ms = _milliseconds("claim_timeout", claim_timeout, 1)
    return limits


def _whole(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**32:
        return value
    raise ValueError(f"{name} is a whole number from 1 up, below 2^32; not {value!r}")


def _milliseconds(name: str, seconds: float, least: int) -> int:
    """Rounded up, so that a short time does not become none."""
    if not least <= (milliseconds := math.ceil(seconds * 1e3)) < 2**53:
        raise ValueError(f"{name} is a number of seconds from {least / 1e3:g} up, not {seconds!r}")
    return milliseconds
