"""Errors as answers: an RpcError on the wire, and back. On the wire codes are numbers, in Python their names."""

from collections.abc import Mapping
from typing import Any, Final

from shmbus.errors import RpcError, ShmbusError
from shmbus.rpc.operations import name_of
from shmbus.v1 import rpc_pb2 as wire

_STATUS, _CODE, _CATEGORY = "RPC_STATUS_", "RPC_ERROR_CODE_", "RPC_ERROR_CATEGORY_"

_PREFIXES: Final[Mapping[Any, str]] = {wire.RpcStatus: _STATUS, wire.RpcErrorCode: _CODE}

CATEGORIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("DEADLINE_EXCEEDED", "TIMEOUT", "REGISTRATION_EXPIRED"), "TIMEOUT"),
    **dict.fromkeys(
        ("REGISTRATION_NOT_FOUND", "PROCESS_NOT_FOUND", "CLIENT_SHUTDOWN", "IO_ERROR"), "COMMUNICATION"
    ),
    **dict.fromkeys(
        (
            "UNSUPPORTED_OPERATION", "INVALID_PAYLOAD", "CONFIGURATION_ERROR", "CONFIG_NOT_FOUND", "VALIDATION_FAILED",
            "INVALID_CONFIG_CHANGE", "REGISTRATION_INVALID", "ALREADY_REGISTERED", "PLATFORM_NOT_SUPPORTED",
        ),
        "CONFIGURATION",
    ),
    **dict.fromkeys(("ALREADY_RUNNING", "INVALID_STATE", "SPAWN_FAILED", "TERMINATE_FAILED"), "RESOURCE"),
    "ACCESS_DENIED": "PERMISSION",
    **dict.fromkeys(("PERSISTENCE_FAILED", "ROLLBACK_FAILED", "EXECUTION_ERROR"), "INTERNAL"),
}  # fmt: skip
"""The category of each code, unless whoever raises it says otherwise."""


def failure(
    service: str, operation: int, code: str, reason: str, *, status: str = "ERROR", category: str | None = None,
    context: Mapping[str, str] | None = None, seconds: float | None = None,
) -> RpcError:  # fmt: skip
    """An error with the category of its code. Raises KeyError for a code that the schema does not have."""
    return RpcError(
        service,
        name_of(operation),
        code,
        reason,
        status=status,
        category=category or CATEGORIES[code],
        context=context,
        seconds=seconds,
    )


def as_failure(service: str, operation: int, error: BaseException) -> RpcError:
    """What a handler raised, as what its caller is told."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, OSError):
        code = "IO_ERROR"
    else:
        code = "EXECUTION_ERROR"
    reason = str(error) if isinstance(error, ShmbusError) else f"{type(error).__name__}: {error}"
    return failure(service, operation, code, reason, category="INTERNAL", context={"exception": type(error).__name__})


def to_wire(error: RpcError) -> wire.RpcError:
    """For a response."""
    return wire.RpcError(
        code=_CODE + error.code,
        message=error.reason,
        context=error.context,
        category=_CATEGORY + error.category,
    )


def number_of(kind: Any, name: str) -> Any:
    """The other way round than `name_in`."""
    return int(name) if name.isdecimal() else kind.Value(_PREFIXES[kind] + name)


def name_in(kind: Any, number: int) -> str:
    """Of an RpcStatus or RpcErrorCode in Python; the digits of one that is not known here."""
    return _name(kind, number, _PREFIXES[kind])


def status_to_wire(error: RpcError) -> Any:
    """For a response."""
    return wire.RpcStatus.Value(_STATUS + error.status)


def from_wire(response: wire.RpcResponse, service: str, seconds: float | None) -> RpcError:
    """What a response without success raises at its caller."""
    error = response.error
    return RpcError(
        service,
        name_of(response.operation),
        _name(wire.RpcErrorCode, error.code, _CODE),
        error.message,
        status=_name(wire.RpcStatus, response.status, _STATUS),
        category=_name(wire.RpcErrorCategory, error.category, _CATEGORY),
        context=error.context,
        seconds=seconds if error.code == wire.RPC_ERROR_CODE_DEADLINE_EXCEEDED else None,
    )


def _name(kind: "wire.RpcErrorCode | wire.RpcStatus | wire.RpcErrorCategory | type", number: int, prefix: str) -> str:
    known: Mapping[int, str] = {value: name for name, value in kind.items()}  # type: ignore[union-attr]
    return known.get(number, str(number)).removeprefix(prefix)
