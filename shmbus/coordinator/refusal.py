"""Errors as answers: what is raised here is raised again at the client."""

import errno

from shmbus.control import NeedDescriptors, detailed
from shmbus.errors import (
    AccessDenied,
    ConfigurationError,
    DurableError,
    LimitError,
    PatternError,
    ProtocolError,
    ShmbusError,
    StorageFull,
    TopicNameError,
    TypeMismatch,
    VersionError,
)
from shmbus.v1 import control_pb2
from shmbus.v1.control_pb2 import ControlError, ServerPacket

_CODES: tuple[tuple[type[ShmbusError], control_pb2.ControlErrorCode], ...] = (
    (VersionError, control_pb2.CONTROL_ERROR_VERSION),
    (AccessDenied, control_pb2.CONTROL_ERROR_ACCESS_DENIED),
    (TypeMismatch, control_pb2.CONTROL_ERROR_TYPE_MISMATCH),
    (LimitError, control_pb2.CONTROL_ERROR_EXHAUSTED),
    (StorageFull, control_pb2.CONTROL_ERROR_EXHAUSTED),
    (TopicNameError, control_pb2.CONTROL_ERROR_INVALID),
    (PatternError, control_pb2.CONTROL_ERROR_INVALID),
    (ConfigurationError, control_pb2.CONTROL_ERROR_INVALID),
    (DurableError, control_pb2.CONTROL_ERROR_INVALID),
    (ProtocolError, control_pb2.CONTROL_ERROR_INVALID),
)


class NotFound(ShmbusError):
    """There is no such thing here."""


class Stopping(ShmbusError):
    """The bus is being stopped."""


def refusal(request_id: int, error: ShmbusError | OSError | ValueError) -> ServerPacket:
    """The answer that raises this error at the client."""
    if isinstance(error, ShmbusError):
        answer = ControlError(code=_code(error), message=str(error), error=type(error).__name__)
        for name, detail in detailed(vars(error)).items():
            answer.details[name].CopyFrom(detail)
    elif isinstance(error, OSError):
        answer = ControlError(code=control_pb2.CONTROL_ERROR_EXHAUSTED, message=_explain(error), error="ShmbusError")
    else:
        answer = ControlError(code=control_pb2.CONTROL_ERROR_INVALID, message=str(error), error="ShmbusError")
    return ServerPacket(id=request_id, error=answer)


def _code(error: ShmbusError) -> control_pb2.ControlErrorCode:
    if isinstance(error, NeedDescriptors):
        return control_pb2.CONTROL_ERROR_NEED_DESCRIPTORS
    if isinstance(error, NotFound):
        return control_pb2.CONTROL_ERROR_NOT_FOUND
    if isinstance(error, Stopping):
        return control_pb2.CONTROL_ERROR_STOPPING
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return control_pb2.CONTROL_ERROR_INTERNAL


def _explain(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            "the coordinator has no file descriptors left. Start it with a higher limit (`ulimit -n`), or close "
            "topics and clients."
        )
    return f"the coordinator could not do it: {error.strerror or error}. Look at its log."
