from shmbus.v1 import eventbus_pb2 as _eventbus_pb2
from shmbus.v1 import ipc_pb2 as _ipc_pb2
from shmbus.v1 import rpc_pb2 as _rpc_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskRecord(_message.Message):
    __slots__ = ("call_key", "key", "task", "correlation", "needs", "priority", "deadline", "timeout_seconds", "place", "outcome")
    CALL_KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    call_key: str
    key: str
    task: _ipc_pb2.DetectionTask
    correlation: _eventbus_pb2.CorrelationMetadata
    needs: _ipc_pb2.AdvancedCapabilities
    priority: int
    deadline: int
    timeout_seconds: float
    place: TaskPlace
    outcome: _rpc_pb2.RpcResponse
    def __init__(self, call_key: _Optional[str] = ..., key: _Optional[str] = ..., task: _Optional[_Union[_ipc_pb2.DetectionTask, _Mapping]] = ..., correlation: _Optional[_Union[_eventbus_pb2.CorrelationMetadata, _Mapping]] = ..., needs: _Optional[_Union[_ipc_pb2.AdvancedCapabilities, _Mapping]] = ..., priority: _Optional[int] = ..., deadline: _Optional[int] = ..., timeout_seconds: _Optional[float] = ..., place: _Optional[_Union[TaskPlace, _Mapping]] = ..., outcome: _Optional[_Union[_rpc_pb2.RpcResponse, _Mapping]] = ...) -> None: ...

class TaskPlace(_message.Message):
    __slots__ = ("collector", "instance", "pid", "start_time", "pid_namespace")
    COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    PID_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    collector: str
    instance: str
    pid: int
    start_time: int
    pid_namespace: int
    def __init__(self, collector: _Optional[str] = ..., instance: _Optional[str] = ..., pid: _Optional[int] = ..., start_time: _Optional[int] = ..., pid_namespace: _Optional[int] = ...) -> None: ...
