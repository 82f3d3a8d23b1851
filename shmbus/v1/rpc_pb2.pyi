from shmbus.v1 import common_pb2 as _common_pb2
from shmbus.v1 import ipc_pb2 as _ipc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CollectorOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLLECTOR_OPERATION_UNSPECIFIED: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_REGISTER: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_DEREGISTER: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_START: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_STOP: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_RESTART: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_HEALTH_CHECK: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_UPDATE_CONFIG: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_GET_CAPABILITIES: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_GRACEFUL_SHUTDOWN: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_FORCE_SHUTDOWN: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_PAUSE: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_RESUME: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_EXECUTE_TASK: _ClassVar[CollectorOperation]
    COLLECTOR_OPERATION_GET_CONFIG: _ClassVar[CollectorOperation]

class RpcStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RPC_STATUS_UNSPECIFIED: _ClassVar[RpcStatus]
    RPC_STATUS_SUCCESS: _ClassVar[RpcStatus]
    RPC_STATUS_ERROR: _ClassVar[RpcStatus]
    RPC_STATUS_IN_PROGRESS: _ClassVar[RpcStatus]
    RPC_STATUS_TIMEOUT: _ClassVar[RpcStatus]
    RPC_STATUS_CANCELLED: _ClassVar[RpcStatus]
    RPC_STATUS_UNAVAILABLE: _ClassVar[RpcStatus]

class RpcErrorCategory(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RPC_ERROR_CATEGORY_UNSPECIFIED: _ClassVar[RpcErrorCategory]
    RPC_ERROR_CATEGORY_CONFIGURATION: _ClassVar[RpcErrorCategory]
    RPC_ERROR_CATEGORY_RESOURCE: _ClassVar[RpcErrorCategory]
    RPC_ERROR_CATEGORY_COMMUNICATION: _ClassVar[RpcErrorCategory]
    RPC_ERROR_CATEGORY_PERMISSION: _ClassVar[RpcErrorCategory]
    RPC_ERROR_CATEGORY_INTERNAL: _ClassVar[RpcErrorCategory]
    RPC_ERROR_CATEGORY_TIMEOUT: _ClassVar[RpcErrorCategory]

class RpcErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RPC_ERROR_CODE_UNSPECIFIED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_UNSUPPORTED_OPERATION: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_INVALID_PAYLOAD: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_DEADLINE_EXCEEDED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_PROCESS_NOT_FOUND: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_ALREADY_RUNNING: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_SPAWN_FAILED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_TERMINATE_FAILED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_INVALID_STATE: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_CONFIGURATION_ERROR: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_PLATFORM_NOT_SUPPORTED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_TIMEOUT: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_IO_ERROR: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_CONFIG_NOT_FOUND: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_VALIDATION_FAILED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_INVALID_CONFIG_CHANGE: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_PERSISTENCE_FAILED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_ROLLBACK_FAILED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_ALREADY_REGISTERED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_REGISTRATION_NOT_FOUND: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_REGISTRATION_INVALID: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_REGISTRATION_EXPIRED: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_CLIENT_SHUTDOWN: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_EXECUTION_ERROR: _ClassVar[RpcErrorCode]
    RPC_ERROR_CODE_ACCESS_DENIED: _ClassVar[RpcErrorCode]

class RegistrationEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REGISTRATION_EVENT_KIND_UNSPECIFIED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_REGISTERED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_RENEWAL_FAILED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_RENEWED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_EXPIRED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_DEREGISTERED: _ClassVar[RegistrationEventKind]

class HealthStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[HealthStatus]
    HEALTHY: _ClassVar[HealthStatus]
    DEGRADED: _ClassVar[HealthStatus]
    UNHEALTHY: _ClassVar[HealthStatus]
    UNRESPONSIVE: _ClassVar[HealthStatus]

class ShutdownType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHUTDOWN_TYPE_UNSPECIFIED: _ClassVar[ShutdownType]
    SHUTDOWN_TYPE_GRACEFUL: _ClassVar[ShutdownType]
    SHUTDOWN_TYPE_IMMEDIATE: _ClassVar[ShutdownType]
    SHUTDOWN_TYPE_EMERGENCY: _ClassVar[ShutdownType]
COLLECTOR_OPERATION_UNSPECIFIED: CollectorOperation
COLLECTOR_OPERATION_REGISTER: CollectorOperation
COLLECTOR_OPERATION_DEREGISTER: CollectorOperation
COLLECTOR_OPERATION_START: CollectorOperation
COLLECTOR_OPERATION_STOP: CollectorOperation
COLLECTOR_OPERATION_RESTART: CollectorOperation
COLLECTOR_OPERATION_HEALTH_CHECK: CollectorOperation
COLLECTOR_OPERATION_UPDATE_CONFIG: CollectorOperation
COLLECTOR_OPERATION_GET_CAPABILITIES: CollectorOperation
COLLECTOR_OPERATION_GRACEFUL_SHUTDOWN: CollectorOperation
COLLECTOR_OPERATION_FORCE_SHUTDOWN: CollectorOperation
COLLECTOR_OPERATION_PAUSE: CollectorOperation
COLLECTOR_OPERATION_RESUME: CollectorOperation
COLLECTOR_OPERATION_EXECUTE_TASK: CollectorOperation
COLLECTOR_OPERATION_GET_CONFIG: CollectorOperation
RPC_STATUS_UNSPECIFIED: RpcStatus
RPC_STATUS_SUCCESS: RpcStatus
RPC_STATUS_ERROR: RpcStatus
RPC_STATUS_IN_PROGRESS: RpcStatus
RPC_STATUS_TIMEOUT: RpcStatus
RPC_STATUS_CANCELLED: RpcStatus
RPC_STATUS_UNAVAILABLE: RpcStatus
RPC_ERROR_CATEGORY_UNSPECIFIED: RpcErrorCategory
RPC_ERROR_CATEGORY_CONFIGURATION: RpcErrorCategory
RPC_ERROR_CATEGORY_RESOURCE: RpcErrorCategory
RPC_ERROR_CATEGORY_COMMUNICATION: RpcErrorCategory
RPC_ERROR_CATEGORY_PERMISSION: RpcErrorCategory
RPC_ERROR_CATEGORY_INTERNAL: RpcErrorCategory
RPC_ERROR_CATEGORY_TIMEOUT: RpcErrorCategory
RPC_ERROR_CODE_UNSPECIFIED: RpcErrorCode
RPC_ERROR_CODE_UNSUPPORTED_OPERATION: RpcErrorCode
RPC_ERROR_CODE_INVALID_PAYLOAD: RpcErrorCode
RPC_ERROR_CODE_DEADLINE_EXCEEDED: RpcErrorCode
RPC_ERROR_CODE_PROCESS_NOT_FOUND: RpcErrorCode
RPC_ERROR_CODE_ALREADY_RUNNING: RpcErrorCode
RPC_ERROR_CODE_SPAWN_FAILED: RpcErrorCode
RPC_ERROR_CODE_TERMINATE_FAILED: RpcErrorCode
RPC_ERROR_CODE_INVALID_STATE: RpcErrorCode
RPC_ERROR_CODE_CONFIGURATION_ERROR: RpcErrorCode
RPC_ERROR_CODE_PLATFORM_NOT_SUPPORTED: RpcErrorCode
RPC_ERROR_CODE_TIMEOUT: RpcErrorCode
RPC_ERROR_CODE_IO_ERROR: RpcErrorCode
RPC_ERROR_CODE_CONFIG_NOT_FOUND: RpcErrorCode
RPC_ERROR_CODE_VALIDATION_FAILED: RpcErrorCode
RPC_ERROR_CODE_INVALID_CONFIG_CHANGE: RpcErrorCode
RPC_ERROR_CODE_PERSISTENCE_FAILED: RpcErrorCode
RPC_ERROR_CODE_ROLLBACK_FAILED: RpcErrorCode
RPC_ERROR_CODE_ALREADY_REGISTERED: RpcErrorCode
RPC_ERROR_CODE_REGISTRATION_NOT_FOUND: RpcErrorCode
RPC_ERROR_CODE_REGISTRATION_INVALID: RpcErrorCode
RPC_ERROR_CODE_REGISTRATION_EXPIRED: RpcErrorCode
RPC_ERROR_CODE_CLIENT_SHUTDOWN: RpcErrorCode
RPC_ERROR_CODE_EXECUTION_ERROR: RpcErrorCode
RPC_ERROR_CODE_ACCESS_DENIED: RpcErrorCode
REGISTRATION_EVENT_KIND_UNSPECIFIED: RegistrationEventKind
REGISTRATION_EVENT_KIND_REGISTERED: RegistrationEventKind
REGISTRATION_EVENT_KIND_RENEWAL_FAILED: RegistrationEventKind
REGISTRATION_EVENT_KIND_RENEWED: RegistrationEventKind
REGISTRATION_EVENT_KIND_EXPIRED: RegistrationEventKind
REGISTRATION_EVENT_KIND_DEREGISTERED: RegistrationEventKind
UNKNOWN: HealthStatus
HEALTHY: HealthStatus
DEGRADED: HealthStatus
UNHEALTHY: HealthStatus
UNRESPONSIVE: HealthStatus
SHUTDOWN_TYPE_UNSPECIFIED: ShutdownType
SHUTDOWN_TYPE_GRACEFUL: ShutdownType
SHUTDOWN_TYPE_IMMEDIATE: ShutdownType
SHUTDOWN_TYPE_EMERGENCY: ShutdownType

class RpcRequest(_message.Message):
    __slots__ = ("request_id", "client_id", "target", "operation", "timestamp", "deadline", "idempotency_key", "cancels", "priority", "empty", "lifecycle", "registration", "deregistration", "config_update", "shutdown", "task")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    DEREGISTRATION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_UPDATE_FIELD_NUMBER: _ClassVar[int]
    SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    client_id: str
    target: str
    operation: CollectorOperation
    timestamp: int
    deadline: int
    idempotency_key: str
    cancels: str
    priority: int
    empty: Empty
    lifecycle: LifecycleRequest
    registration: RegistrationRequest
    deregistration: DeregistrationRequest
    config_update: ConfigUpdateRequest
    shutdown: ShutdownRequest
    task: _ipc_pb2.DetectionTask
    def __init__(self, request_id: _Optional[str] = ..., client_id: _Optional[str] = ..., target: _Optional[str] = ..., operation: _Optional[_Union[CollectorOperation, str]] = ..., timestamp: _Optional[int] = ..., deadline: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., cancels: _Optional[str] = ..., priority: _Optional[int] = ..., empty: _Optional[_Union[Empty, _Mapping]] = ..., lifecycle: _Optional[_Union[LifecycleRequest, _Mapping]] = ..., registration: _Optional[_Union[RegistrationRequest, _Mapping]] = ..., deregistration: _Optional[_Union[DeregistrationRequest, _Mapping]] = ..., config_update: _Optional[_Union[ConfigUpdateRequest, _Mapping]] = ..., shutdown: _Optional[_Union[ShutdownRequest, _Mapping]] = ..., task: _Optional[_Union[_ipc_pb2.DetectionTask, _Mapping]] = ...) -> None: ...

class RpcResponse(_message.Message):
    __slots__ = ("request_id", "service_id", "operation", "status", "timestamp", "execution_time_us", "queue_time_us", "total_time_us", "error", "empty", "registration", "health", "capabilities", "task_result", "config")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_US_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TIME_US_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    TASK_RESULT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    service_id: str
    operation: CollectorOperation
    status: RpcStatus
    timestamp: int
    execution_time_us: int
    queue_time_us: int
    total_time_us: int
    error: RpcError
    empty: Empty
    registration: RegistrationResponse
    health: HealthData
    capabilities: CapabilitiesData
    task_result: _ipc_pb2.DetectionResult
    config: ConfigData
    def __init__(self, request_id: _Optional[str] = ..., service_id: _Optional[str] = ..., operation: _Optional[_Union[CollectorOperation, str]] = ..., status: _Optional[_Union[RpcStatus, str]] = ..., timestamp: _Optional[int] = ..., execution_time_us: _Optional[int] = ..., queue_time_us: _Optional[int] = ..., total_time_us: _Optional[int] = ..., error: _Optional[_Union[RpcError, _Mapping]] = ..., empty: _Optional[_Union[Empty, _Mapping]] = ..., registration: _Optional[_Union[RegistrationResponse, _Mapping]] = ..., health: _Optional[_Union[HealthData, _Mapping]] = ..., capabilities: _Optional[_Union[CapabilitiesData, _Mapping]] = ..., task_result: _Optional[_Union[_ipc_pb2.DetectionResult, _Mapping]] = ..., config: _Optional[_Union[ConfigData, _Mapping]] = ...) -> None: ...

class RpcError(_message.Message):
    __slots__ = ("code", "message", "context", "category")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    code: RpcErrorCode
    message: str
    context: _containers.ScalarMap[str, str]
    category: RpcErrorCategory
    def __init__(self, code: _Optional[_Union[RpcErrorCode, str]] = ..., message: _Optional[str] = ..., context: _Optional[_Mapping[str, str]] = ..., category: _Optional[_Union[RpcErrorCategory, str]] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LifecycleRequest(_message.Message):
    __slots__ = ("collector_id", "collector_type", "config_overrides", "environment", "working_directory", "resource_limits", "startup_timeout_ms")
    class ConfigOverridesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ConfigValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ConfigValue, _Mapping]] = ...) -> None: ...
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    STARTUP_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    collector_type: str
    config_overrides: _containers.MessageMap[str, ConfigValue]
    environment: _containers.ScalarMap[str, str]
    working_directory: str
    resource_limits: ResourceLimits
    startup_timeout_ms: int
    def __init__(self, collector_id: _Optional[str] = ..., collector_type: _Optional[str] = ..., config_overrides: _Optional[_Mapping[str, ConfigValue]] = ..., environment: _Optional[_Mapping[str, str]] = ..., working_directory: _Optional[str] = ..., resource_limits: _Optional[_Union[ResourceLimits, _Mapping]] = ..., startup_timeout_ms: _Optional[int] = ...) -> None: ...

class ConfigValue(_message.Message):
    __slots__ = ("bool_value", "int_value", "double_value", "string_value", "bytes_value", "list_value", "table_value")
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUE_FIELD_NUMBER: _ClassVar[int]
    LIST_VALUE_FIELD_NUMBER: _ClassVar[int]
    TABLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    bool_value: bool
    int_value: int
    double_value: float
    string_value: str
    bytes_value: bytes
    list_value: ConfigList
    table_value: ConfigTable
    def __init__(self, bool_value: bool = ..., int_value: _Optional[int] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., bytes_value: _Optional[bytes] = ..., list_value: _Optional[_Union[ConfigList, _Mapping]] = ..., table_value: _Optional[_Union[ConfigTable, _Mapping]] = ...) -> None: ...

class ConfigList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[ConfigValue]
    def __init__(self, values: _Optional[_Iterable[_Union[ConfigValue, _Mapping]]] = ...) -> None: ...

class ConfigTable(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ConfigValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ConfigValue, _Mapping]] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.MessageMap[str, ConfigValue]
    def __init__(self, values: _Optional[_Mapping[str, ConfigValue]] = ...) -> None: ...

class ResourceLimits(_message.Message):
    __slots__ = ("max_memory_bytes", "max_cpu_percent", "max_open_files", "max_processes")
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_OPEN_FILES_FIELD_NUMBER: _ClassVar[int]
    MAX_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    max_memory_bytes: int
    max_cpu_percent: float
    max_open_files: int
    max_processes: int
    def __init__(self, max_memory_bytes: _Optional[int] = ..., max_cpu_percent: _Optional[float] = ..., max_open_files: _Optional[int] = ..., max_processes: _Optional[int] = ...) -> None: ...

class RegistrationRequest(_message.Message):
    __slots__ = ("collector_id", "collector_type", "hostname", "version", "pid", "capabilities", "attributes", "heartbeat_interval_ms")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_TYPE_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    collector_type: str
    hostname: str
    version: str
    pid: int
    capabilities: _ipc_pb2.CollectionCapabilities
    attributes: _containers.ScalarMap[str, str]
    heartbeat_interval_ms: int
    def __init__(self, collector_id: _Optional[str] = ..., collector_type: _Optional[str] = ..., hostname: _Optional[str] = ..., version: _Optional[str] = ..., pid: _Optional[int] = ..., capabilities: _Optional[_Union[_ipc_pb2.CollectionCapabilities, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., heartbeat_interval_ms: _Optional[int] = ...) -> None: ...

class RegistrationResponse(_message.Message):
    __slots__ = ("collector_id", "accepted", "heartbeat_interval_ms", "assigned_topics", "message")
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_TOPICS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    accepted: bool
    heartbeat_interval_ms: int
    assigned_topics: _containers.RepeatedScalarFieldContainer[str]
    message: str
    def __init__(self, collector_id: _Optional[str] = ..., accepted: bool = ..., heartbeat_interval_ms: _Optional[int] = ..., assigned_topics: _Optional[_Iterable[str]] = ..., message: _Optional[str] = ...) -> None: ...

class DeregistrationRequest(_message.Message):
    __slots__ = ("collector_id", "reason", "force")
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    reason: str
    force: bool
    def __init__(self, collector_id: _Optional[str] = ..., reason: _Optional[str] = ..., force: bool = ...) -> None: ...

class RegistrationEvent(_message.Message):
    __slots__ = ("kind", "registration", "registration_id", "revision", "lease_ms", "reason", "session")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    kind: RegistrationEventKind
    registration: RegistrationRequest
    registration_id: int
    revision: int
    lease_ms: int
    reason: str
    session: int
    def __init__(self, kind: _Optional[_Union[RegistrationEventKind, str]] = ..., registration: _Optional[_Union[RegistrationRequest, _Mapping]] = ..., registration_id: _Optional[int] = ..., revision: _Optional[int] = ..., lease_ms: _Optional[int] = ..., reason: _Optional[str] = ..., session: _Optional[int] = ...) -> None: ...

class HealthData(_message.Message):
    __slots__ = ("collector_id", "status", "components", "metrics", "last_heartbeat", "uptime_seconds", "error_count")
    class ComponentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ComponentHealth
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ComponentHealth, _Mapping]] = ...) -> None: ...
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    status: HealthStatus
    components: _containers.MessageMap[str, ComponentHealth]
    metrics: _containers.ScalarMap[str, float]
    last_heartbeat: int
    uptime_seconds: int
    error_count: int
    def __init__(self, collector_id: _Optional[str] = ..., status: _Optional[_Union[HealthStatus, str]] = ..., components: _Optional[_Mapping[str, ComponentHealth]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., last_heartbeat: _Optional[int] = ..., uptime_seconds: _Optional[int] = ..., error_count: _Optional[int] = ...) -> None: ...

class ComponentHealth(_message.Message):
    __slots__ = ("name", "status", "message", "last_check", "check_interval_seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_CHECK_FIELD_NUMBER: _ClassVar[int]
    CHECK_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: HealthStatus
    message: str
    last_check: int
    check_interval_seconds: int
    def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[HealthStatus, str]] = ..., message: _Optional[str] = ..., last_check: _Optional[int] = ..., check_interval_seconds: _Optional[int] = ...) -> None: ...

class ConfigUpdateRequest(_message.Message):
    __slots__ = ("collector_id", "config_changes", "validate_only", "restart_required", "rollback_on_failure", "healthy_within_ms")
    class ConfigChangesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ConfigValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ConfigValue, _Mapping]] = ...) -> None: ...
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_CHANGES_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    RESTART_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    config_changes: _containers.MessageMap[str, ConfigValue]
    validate_only: bool
    restart_required: bool
    rollback_on_failure: bool
    healthy_within_ms: int
    def __init__(self, collector_id: _Optional[str] = ..., config_changes: _Optional[_Mapping[str, ConfigValue]] = ..., validate_only: bool = ..., restart_required: bool = ..., rollback_on_failure: bool = ..., healthy_within_ms: _Optional[int] = ...) -> None: ...

class ConfigData(_message.Message):
    __slots__ = ("collector_id", "config", "changed", "differences", "tried")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ConfigValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ConfigValue, _Mapping]] = ...) -> None: ...
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    TRIED_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    config: _containers.MessageMap[str, ConfigValue]
    changed: _containers.RepeatedScalarFieldContainer[str]
    differences: _containers.RepeatedScalarFieldContainer[str]
    tried: bool
    def __init__(self, collector_id: _Optional[str] = ..., config: _Optional[_Mapping[str, ConfigValue]] = ..., changed: _Optional[_Iterable[str]] = ..., differences: _Optional[_Iterable[str]] = ..., tried: bool = ...) -> None: ...

class CapabilitiesData(_message.Message):
    __slots__ = ("collector_id", "event_types", "operations", "resource_requirements", "platform_support", "features")
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    event_types: _containers.RepeatedScalarFieldContainer[_common_pb2.EventType]
    operations: _containers.RepeatedScalarFieldContainer[CollectorOperation]
    resource_requirements: ResourceRequirements
    platform_support: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collector_id: _Optional[str] = ..., event_types: _Optional[_Iterable[_Union[_common_pb2.EventType, str]]] = ..., operations: _Optional[_Iterable[_Union[CollectorOperation, str]]] = ..., resource_requirements: _Optional[_Union[ResourceRequirements, _Mapping]] = ..., platform_support: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ...) -> None: ...

class ResourceRequirements(_message.Message):
    __slots__ = ("min_memory_bytes", "min_cpu_percent", "required_privileges")
    MIN_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_PRIVILEGES_FIELD_NUMBER: _ClassVar[int]
    min_memory_bytes: int
    min_cpu_percent: float
    required_privileges: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, min_memory_bytes: _Optional[int] = ..., min_cpu_percent: _Optional[float] = ..., required_privileges: _Optional[_Iterable[str]] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ("collector_id", "shutdown_type", "graceful_timeout_ms", "force_after_timeout", "reason")
    COLLECTOR_ID_FIELD_NUMBER: _ClassVar[int]
    SHUTDOWN_TYPE_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    FORCE_AFTER_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    collector_id: str
    shutdown_type: ShutdownType
    graceful_timeout_ms: int
    force_after_timeout: bool
    reason: str
    def __init__(self, collector_id: _Optional[str] = ..., shutdown_type: _Optional[_Union[ShutdownType, str]] = ..., graceful_timeout_ms: _Optional[int] = ..., force_after_timeout: bool = ..., reason: _Optional[str] = ...) -> None: ...
