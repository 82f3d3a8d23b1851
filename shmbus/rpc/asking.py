"""What clients for threads and for asyncio have in common: from arguments to an Ask."""

import time
from typing import Any, Final

from google.protobuf.message import Message as ProtobufMessage

from shmbus import correlation
from shmbus.control import bearer_info
from shmbus.rpc.operations import COORDINATORS, RUN_KEYS, TAKES, UPDATE_CONFIG, Operation, request_field
from shmbus.rpc.pending import Ask
from shmbus.rpc.topics import request_topic
from shmbus.v1.rpc_pb2 import ConfigUpdateRequest

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
_OPERATIONS: Final = {int(one): one for one in Operation}  # a look-up is a third of what the enumeration's call takes


def make_ask(
    service: str,
    operation: int,
    payload: ProtobufMessage | None,
    timeout: float,
    key: str | None,
    given: Any,
    token: str | None = None,
    priority: int = 0,
) -> Ask:
    """Checked before anything is sent. Raises TypeError, ValueError, TopicNameError."""
    request_topic(service)
    asked = _OPERATIONS.get(operation) or Operation(operation)
    if payload is not None and request_field(payload) != TAKES.get(asked, "empty"):
        raise TypeError(f"{asked.name} takes {TAKES.get(asked, 'nothing')}, not a {type(payload).__name__}")
    given_timeout: object = timeout  # whatever its type says
    if not (isinstance(given_timeout, int | float) and 0 < given_timeout < 2**32):
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
    if not 0 <= priority <= 255:
        raise ValueError(f"priority is 0 to 255, not {priority!r}")
    # Every attempt is the same child, so that its handler's work hangs from one place.
    context = correlation.resolve(given)
    deadline = time.monotonic_ns() + int(timeout * 1e9)
    child = False if context is None else context
    return Ask(service, asked, payload, timeout, deadline, key, child, bearer_info(token) if token else None, priority)


def is_coordinators(ask: Ask) -> bool:
    """Is it answered by the coordinator?"""
    if ask.operation == UPDATE_CONFIG and isinstance(ask.payload, ConfigUpdateRequest):
        return any(key.partition(".")[0] in RUN_KEYS for key in ask.payload.config_changes)
    return ask.operation in COORDINATORS
