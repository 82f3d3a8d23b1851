"""The thirteen operations of the schema, and GET_CONFIG.

Their names, what each takes, who answers it, and which may be sent twice.
"""

from enum import IntEnum
from typing import Final

from google.protobuf.message import Message

from shmbus.v1.rpc_pb2 import CollectorOperation, RpcRequest, RpcResponse


class Operation(IntEnum):
    """What can be asked of a collector, numbered as in the schema."""

    REGISTER = CollectorOperation.COLLECTOR_OPERATION_REGISTER
    DEREGISTER = CollectorOperation.COLLECTOR_OPERATION_DEREGISTER
    START = CollectorOperation.COLLECTOR_OPERATION_START
    STOP = CollectorOperation.COLLECTOR_OPERATION_STOP
    RESTART = CollectorOperation.COLLECTOR_OPERATION_RESTART
    HEALTH_CHECK = CollectorOperation.COLLECTOR_OPERATION_HEALTH_CHECK
    UPDATE_CONFIG = CollectorOperation.COLLECTOR_OPERATION_UPDATE_CONFIG
    GET_CAPABILITIES = CollectorOperation.COLLECTOR_OPERATION_GET_CAPABILITIES
    GRACEFUL_SHUTDOWN = CollectorOperation.COLLECTOR_OPERATION_GRACEFUL_SHUTDOWN
    FORCE_SHUTDOWN = CollectorOperation.COLLECTOR_OPERATION_FORCE_SHUTDOWN
    PAUSE = CollectorOperation.COLLECTOR_OPERATION_PAUSE
    RESUME = CollectorOperation.COLLECTOR_OPERATION_RESUME
    EXECUTE_TASK = CollectorOperation.COLLECTOR_OPERATION_EXECUTE_TASK
    GET_CONFIG = CollectorOperation.COLLECTOR_OPERATION_GET_CONFIG


REGISTER: Final = Operation.REGISTER
DEREGISTER: Final = Operation.DEREGISTER
START: Final = Operation.START
STOP: Final = Operation.STOP
RESTART: Final = Operation.RESTART
HEALTH_CHECK: Final = Operation.HEALTH_CHECK
UPDATE_CONFIG: Final = Operation.UPDATE_CONFIG
GET_CAPABILITIES: Final = Operation.GET_CAPABILITIES
GRACEFUL_SHUTDOWN: Final = Operation.GRACEFUL_SHUTDOWN
FORCE_SHUTDOWN: Final = Operation.FORCE_SHUTDOWN
PAUSE: Final = Operation.PAUSE
RESUME: Final = Operation.RESUME
EXECUTE_TASK: Final = Operation.EXECUTE_TASK
GET_CONFIG: Final = Operation.GET_CONFIG

COORDINATORS: Final = frozenset({REGISTER, DEREGISTER, START, STOP, RESTART, FORCE_SHUTDOWN, GET_CONFIG})
"""Answered by the coordinator: they are about a collector's life, also where it does not run or does not answer."""

RUN_KEYS: Final = frozenset({
    "enabled", "command", "arguments", "environment", "working_directory", "user", "nice", "limits", "cgroup", "topics",
    "after", "start_timeout_seconds", "grace_seconds", "heartbeat_ms", "restart", "restart_first_seconds",
    "restart_most_seconds", "restart_budget", "restart_window_seconds", "restart_unhealthy_seconds",
})  # fmt: skip
"""How a collector is run, as its section in the configuration has it: UPDATE_CONFIG of these is the coordinator's, too.
All other keys are a collector's own, and it answers."""

IDEMPOTENT: Final = frozenset({HEALTH_CHECK, GET_CAPABILITIES, PAUSE, RESUME, GET_CONFIG})
"""Doing it twice is doing it once, so that a client may send it again by itself."""

TAKES: Final = {
    REGISTER: "registration",
    DEREGISTER: "deregistration",
    START: "lifecycle",
    STOP: "lifecycle",
    RESTART: "lifecycle",
    UPDATE_CONFIG: "config_update",
    GRACEFUL_SHUTDOWN: "shutdown",
    FORCE_SHUTDOWN: "shutdown",
    EXECUTE_TASK: "task",
}
"""The field of a request's payload. Others take nothing."""

NEEDS: Final = frozenset({REGISTER, UPDATE_CONFIG, EXECUTE_TASK})
"""These mean nothing without their payload."""


def _fields(kind: type[Message]) -> dict[str, str]:
    fields = kind.DESCRIPTOR.oneofs_by_name["payload"].fields
    return {field.message_type.full_name: field.name for field in fields if field.message_type is not None}


_REQUEST_FIELDS: Final = _fields(RpcRequest)
_RESPONSE_FIELDS: Final = _fields(RpcResponse)


def request_field(payload: Message) -> str:
    """Where a request carries such a payload. Raises TypeError."""
    return _field(_REQUEST_FIELDS, payload, "request")


def response_field(payload: Message) -> str:
    """Where a response carries such a payload. Raises TypeError."""
    return _field(_RESPONSE_FIELDS, payload, "response")


def name_of(number: int) -> str:
    """For people; also of a number that is none."""
    try:
        return Operation(number).name
    except ValueError:
        return f"operation {number}"


def _field(fields: dict[str, str], payload: Message, what: str) -> str:
    name = getattr(getattr(payload, "DESCRIPTOR", None), "full_name", type(payload).__name__)
    if name not in fields:
        known = ", ".join(one.rpartition(".")[2] for one in fields)
        raise TypeError(f"a {what} carries {known} or None, not a {name}")
    return fields[name]
