from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROCESS_EVENT: _ClassVar[EventType]
    NETWORK_EVENT: _ClassVar[EventType]
    FILESYSTEM_EVENT: _ClassVar[EventType]
    PERFORMANCE_EVENT: _ClassVar[EventType]
    TRIGGER_EVENT: _ClassVar[EventType]
    CORRELATION_EVENT: _ClassVar[EventType]

class TaskType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENUMERATE_PROCESSES: _ClassVar[TaskType]
    CHECK_PROCESS_HASH: _ClassVar[TaskType]
    MONITOR_PROCESS_TREE: _ClassVar[TaskType]
    VERIFY_EXECUTABLE: _ClassVar[TaskType]
    MONITOR_NETWORK_CONNECTIONS: _ClassVar[TaskType]
    TRACK_FILE_OPERATIONS: _ClassVar[TaskType]
    COLLECT_PERFORMANCE_METRICS: _ClassVar[TaskType]
PROCESS_EVENT: EventType
NETWORK_EVENT: EventType
FILESYSTEM_EVENT: EventType
PERFORMANCE_EVENT: EventType
TRIGGER_EVENT: EventType
CORRELATION_EVENT: EventType
ENUMERATE_PROCESSES: TaskType
CHECK_PROCESS_HASH: TaskType
MONITOR_PROCESS_TREE: TaskType
VERIFY_EXECUTABLE: TaskType
MONITOR_NETWORK_CONNECTIONS: TaskType
TRACK_FILE_OPERATIONS: TaskType
COLLECT_PERFORMANCE_METRICS: TaskType

class ProcessFilter(_message.Message):
    __slots__ = ("process_names", "pids", "executable_pattern")
    PROCESS_NAMES_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_PATTERN_FIELD_NUMBER: _ClassVar[int]
    process_names: _containers.RepeatedScalarFieldContainer[str]
    pids: _containers.RepeatedScalarFieldContainer[int]
    executable_pattern: str
    def __init__(self, process_names: _Optional[_Iterable[str]] = ..., pids: _Optional[_Iterable[int]] = ..., executable_pattern: _Optional[str] = ...) -> None: ...

class HashCheck(_message.Message):
    __slots__ = ("expected_hash", "hash_algorithm", "executable_path")
    EXPECTED_HASH_FIELD_NUMBER: _ClassVar[int]
    HASH_ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_PATH_FIELD_NUMBER: _ClassVar[int]
    expected_hash: str
    hash_algorithm: str
    executable_path: str
    def __init__(self, expected_hash: _Optional[str] = ..., hash_algorithm: _Optional[str] = ..., executable_path: _Optional[str] = ...) -> None: ...

class HashResult(_message.Message):
    __slots__ = ("hash_value", "algorithm", "file_path", "success", "error_message")
    HASH_VALUE_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    FILE_PATH_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    hash_value: str
    algorithm: str
    file_path: str
    success: bool
    error_message: str
    def __init__(self, hash_value: _Optional[str] = ..., algorithm: _Optional[str] = ..., file_path: _Optional[str] = ..., success: bool = ..., error_message: _Optional[str] = ...) -> None: ...

class ProcessRecord(_message.Message):
    __slots__ = ("pid", "ppid", "name", "executable_path", "command_line", "start_time", "cpu_usage", "memory_usage", "executable_hash", "hash_algorithm", "user_id", "accessible", "file_exists", "collection_time", "ssdeep_hash", "on_disk_mismatch", "ssdeep_degraded")
    PID_FIELD_NUMBER: _ClassVar[int]
    PPID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_PATH_FIELD_NUMBER: _ClassVar[int]
    COMMAND_LINE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    CPU_USAGE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USAGE_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_HASH_FIELD_NUMBER: _ClassVar[int]
    HASH_ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESSIBLE_FIELD_NUMBER: _ClassVar[int]
    FILE_EXISTS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    SSDEEP_HASH_FIELD_NUMBER: _ClassVar[int]
    ON_DISK_MISMATCH_FIELD_NUMBER: _ClassVar[int]
    SSDEEP_DEGRADED_FIELD_NUMBER: _ClassVar[int]
    pid: int
    ppid: int
    name: str
    executable_path: str
    command_line: _containers.RepeatedScalarFieldContainer[str]
    start_time: int
    cpu_usage: float
    memory_usage: int
    executable_hash: str
    hash_algorithm: str
    user_id: str
    accessible: bool
    file_exists: bool
    collection_time: int
    ssdeep_hash: str
    on_disk_mismatch: bool
    ssdeep_degraded: bool
    def __init__(self, pid: _Optional[int] = ..., ppid: _Optional[int] = ..., name: _Optional[str] = ..., executable_path: _Optional[str] = ..., command_line: _Optional[_Iterable[str]] = ..., start_time: _Optional[int] = ..., cpu_usage: _Optional[float] = ..., memory_usage: _Optional[int] = ..., executable_hash: _Optional[str] = ..., hash_algorithm: _Optional[str] = ..., user_id: _Optional[str] = ..., accessible: bool = ..., file_exists: bool = ..., collection_time: _Optional[int] = ..., ssdeep_hash: _Optional[str] = ..., on_disk_mismatch: bool = ..., ssdeep_degraded: bool = ...) -> None: ...

class NetworkFilter(_message.Message):
    __slots__ = ("protocols", "source_addresses", "destination_addresses", "connection_states")
    PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_STATES_FIELD_NUMBER: _ClassVar[int]
    protocols: _containers.RepeatedScalarFieldContainer[str]
    source_addresses: _containers.RepeatedScalarFieldContainer[str]
    destination_addresses: _containers.RepeatedScalarFieldContainer[str]
    connection_states: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocols: _Optional[_Iterable[str]] = ..., source_addresses: _Optional[_Iterable[str]] = ..., destination_addresses: _Optional[_Iterable[str]] = ..., connection_states: _Optional[_Iterable[str]] = ...) -> None: ...

class FilesystemFilter(_message.Message):
    __slots__ = ("path_patterns", "operation_types", "file_extensions")
    PATH_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_TYPES_FIELD_NUMBER: _ClassVar[int]
    FILE_EXTENSIONS_FIELD_NUMBER: _ClassVar[int]
    path_patterns: _containers.RepeatedScalarFieldContainer[str]
    operation_types: _containers.RepeatedScalarFieldContainer[str]
    file_extensions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, path_patterns: _Optional[_Iterable[str]] = ..., operation_types: _Optional[_Iterable[str]] = ..., file_extensions: _Optional[_Iterable[str]] = ...) -> None: ...

class PerformanceFilter(_message.Message):
    __slots__ = ("metric_names", "components", "min_thresholds", "max_thresholds")
    class MinThresholdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class MaxThresholdsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    METRIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    MIN_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    MAX_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    metric_names: _containers.RepeatedScalarFieldContainer[str]
    components: _containers.RepeatedScalarFieldContainer[str]
    min_thresholds: _containers.ScalarMap[str, float]
    max_thresholds: _containers.ScalarMap[str, float]
    def __init__(self, metric_names: _Optional[_Iterable[str]] = ..., components: _Optional[_Iterable[str]] = ..., min_thresholds: _Optional[_Mapping[str, float]] = ..., max_thresholds: _Optional[_Mapping[str, float]] = ...) -> None: ...

class NetworkRecord(_message.Message):
    __slots__ = ("connection_id", "source_address", "destination_address", "protocol", "state", "pid", "bytes_sent", "bytes_received", "collection_time")
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    connection_id: str
    source_address: str
    destination_address: str
    protocol: str
    state: str
    pid: int
    bytes_sent: int
    bytes_received: int
    collection_time: int
    def __init__(self, connection_id: _Optional[str] = ..., source_address: _Optional[str] = ..., destination_address: _Optional[str] = ..., protocol: _Optional[str] = ..., state: _Optional[str] = ..., pid: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., bytes_received: _Optional[int] = ..., collection_time: _Optional[int] = ...) -> None: ...

class FilesystemRecord(_message.Message):
    __slots__ = ("operation_id", "path", "operation_type", "pid", "file_size", "permissions", "file_hash", "collection_time")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPERATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    FILE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    FILE_HASH_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    path: str
    operation_type: str
    pid: int
    file_size: int
    permissions: str
    file_hash: str
    collection_time: int
    def __init__(self, operation_id: _Optional[str] = ..., path: _Optional[str] = ..., operation_type: _Optional[str] = ..., pid: _Optional[int] = ..., file_size: _Optional[int] = ..., permissions: _Optional[str] = ..., file_hash: _Optional[str] = ..., collection_time: _Optional[int] = ...) -> None: ...

class PerformanceRecord(_message.Message):
    __slots__ = ("metric_id", "metric_name", "value", "unit", "pid", "component", "collection_time")
    METRIC_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_TIME_FIELD_NUMBER: _ClassVar[int]
    metric_id: str
    metric_name: str
    value: float
    unit: str
    pid: int
    component: str
    collection_time: int
    def __init__(self, metric_id: _Optional[str] = ..., metric_name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., pid: _Optional[int] = ..., component: _Optional[str] = ..., collection_time: _Optional[int] = ...) -> None: ...
