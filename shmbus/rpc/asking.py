"""What clients for threads and for asyncio have in common: from arguments to an Ask."""

import time
from typing import Any, Final

from google.protobuf.message import Message as ProtobufMessage

from shmbus import correlation
from shmbus.rpc.operations import COORDINATORS, RUN_KEYS, TAKES, UPDATE_CONFIG, Operation, request_field
from shmbus.rpc.pending import Ask
from shmbus.rpc.topics import request_topic
from shmbus.v1.rpc_pb2 import ConfigUpdateRequest

DEFAULT_TIMEOUT_SECONDS: Final = 30.0


def make_ask(
    service: str, operation: int, payload: ProtobufMessage | None, timeout: float, key: str | None, given: Any
) -> Ask:
    """Checked before anything is sent. Raises TypeError, ValueError, TopicNameError."""
    request_topic(service)
    asked = Operation(operation)
    if payload is not None and request_field(payload) != TAKES.get(asked, "empty"):
        raise TypeError(f"{asked.name} takes {TAKES.get(asked, 'nothing')}, not a {type(payload).__name__}")
    if not 0 < timeout < 2**32:
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
    # Every attempt is the same child, so that its handler's work hangs from one place.
    context = correlation.resolve(given)
    deadline = time.monotonic_ns() + int(timeout * 1e9)
    return Ask(service, asked, payload, timeout, deadline, key, False if context is None else context)


def is_coordinators(ask: Ask) -> bool:
    """Is it answered by the coordinator?"""
    if ask.operation == UPDATE_CONFIG and isinstance(ask.payload, ConfigUpdateRequest):
        return any(key.partition(".")[0] in RUN_KEYS for key in ask.payload.config_changes)
    return ask.operation in COORDINATORS
