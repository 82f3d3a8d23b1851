from shmbus.v1 import common_pb2 as _common_pb2
from shmbus.v1 import ipc_pb2 as _ipc_pb2
from shmbus.v1 import rpc_pb2 as _rpc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLLECTION_EVENT: _ClassVar[MessageType]
    RPC_REQUEST: _ClassVar[MessageType]
    RPC_RESPONSE: _ClassVar[MessageType]
    CONTROL_MESSAGE: _ClassVar[MessageType]
    HEARTBEAT: _ClassVar[MessageType]
    ALERT: _ClassVar[MessageType]
    CONFIG_UPDATE: _ClassVar[MessageType]
    SHUTDOWN: _ClassVar[MessageType]
    REGISTRATION: _ClassVar[MessageType]

class ProcessEventSubtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROCESS_CREATED: _ClassVar[ProcessEventSubtype]
    PROCESS_UPDATED: _ClassVar[ProcessEventSubtype]
    PROCESS_TERMINATED: _ClassVar[ProcessEventSubtype]
    PROCESS_SUSPENDED: _ClassVar[ProcessEventSubtype]
    PROCESS_RESUMED: _ClassVar[ProcessEventSubtype]

class NetworkEventSubtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONNECTION_ESTABLISHED: _ClassVar[NetworkEventSubtype]
    CONNECTION_CLOSED: _ClassVar[NetworkEventSubtype]
    DATA_TRANSMITTED: _ClassVar[NetworkEventSubtype]
    SUSPICIOUS_TRAFFIC: _ClassVar[NetworkEventSubtype]
    DNS_QUERY: _ClassVar[NetworkEventSubtype]

class FilesystemEventSubtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE_CREATED: _ClassVar[FilesystemEventSubtype]
    FILE_MODIFIED: _ClassVar[FilesystemEventSubtype]
    FILE_DELETED: _ClassVar[FilesystemEventSubtype]
    FILE_ACCESSED: _ClassVar[FilesystemEventSubtype]
    FILE_MOVED: _ClassVar[FilesystemEventSubtype]
    PERMISSIONS_CHANGED: _ClassVar[FilesystemEventSubtype]

class PerformanceEventSubtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THRESHOLD_EXCEEDED: _ClassVar[PerformanceEventSubtype]
    ANOMALY_DETECTED: _ClassVar[PerformanceEventSubtype]
    PERFORMANCE_DEGRADED: _ClassVar[PerformanceEventSubtype]
    RESOURCE_EXHAUSTED: _ClassVar[PerformanceEventSubtype]
    BASELINE_UPDATED: _ClassVar[PerformanceEventSubtype]

class ControlOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUBSCRIBE: _ClassVar[ControlOperation]
    UNSUBSCRIBE: _ClassVar[ControlOperation]
    UPDATE_SUBSCRIPTION: _ClassVar[ControlOperation]
    PAUSE_DELIVERY: _ClassVar[ControlOperation]
    RESUME_DELIVERY: _ClassVar[ControlOperation]
    FLUSH_QUEUES: _ClassVar[ControlOperation]
    UPDATE_CONFIG: _ClassVar[ControlOperation]
    STATUS_REPORT: _ClassVar[ControlOperation]
    GRACEFUL_SHUTDOWN: _ClassVar[ControlOperation]
    BEGIN_MONITORING: _ClassVar[ControlOperation]

class AlertSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INFO: _ClassVar[AlertSeverity]
    LOW: _ClassVar[AlertSeverity]
    MEDIUM: _ClassVar[AlertSeverity]
    HIGH: _ClassVar[AlertSeverity]
    CRITICAL: _ClassVar[AlertSeverity]

class DeliveryGuarantee(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AT_MOST_ONCE: _ClassVar[DeliveryGuarantee]
    AT_LEAST_ONCE: _ClassVar[DeliveryGuarantee]
    EXACTLY_ONCE: _ClassVar[DeliveryGuarantee]

class DuplicateHandling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALLOW_DUPLICATES: _ClassVar[DuplicateHandling]
    DROP_DUPLICATES: _ClassVar[DuplicateHandling]
    MERGE_DUPLICATES: _ClassVar[DuplicateHandling]
COLLECTION_EVENT: MessageType
RPC_REQUEST: MessageType
RPC_RESPONSE: MessageType
CONTROL_MESSAGE: MessageType
HEARTBEAT: MessageType
ALERT: MessageType
CONFIG_UPDATE: MessageType
SHUTDOWN: MessageType
REGISTRATION: MessageType
PROCESS_CREATED: ProcessEventSubtype
PROCESS_UPDATED: ProcessEventSubtype
PROCESS_TERMINATED: ProcessEventSubtype
PROCESS_SUSPENDED: ProcessEventSubtype
PROCESS_RESUMED: ProcessEventSubtype
CONNECTION_ESTABLISHED: NetworkEventSubtype
CONNECTION_CLOSED: NetworkEventSubtype
DATA_TRANSMITTED: NetworkEventSubtype
SUSPICIOUS_TRAFFIC: NetworkEventSubtype
DNS_QUERY: NetworkEventSubtype
FILE_CREATED: FilesystemEventSubtype
FILE_MODIFIED: FilesystemEventSubtype
FILE_DELETED: FilesystemEventSubtype
FILE_ACCESSED: FilesystemEventSubtype
FILE_MOVED: FilesystemEventSubtype
PERMISSIONS_CHANGED: FilesystemEventSubtype
THRESHOLD_EXCEEDED: PerformanceEventSubtype
ANOMALY_DETECTED: PerformanceEventSubtype
PERFORMANCE_DEGRADED: PerformanceEventSubtype
RESOURCE_EXHAUSTED: PerformanceEventSubtype
BASELINE_UPDATED: PerformanceEventSubtype
SUBSCRIBE: ControlOperation
UNSUBSCRIBE: ControlOperation
UPDATE_SUBSCRIPTION: ControlOperation
PAUSE_DELIVERY: ControlOperation
RESUME_DELIVERY: ControlOperation
FLUSH_QUEUES: ControlOperation
UPDATE_CONFIG: ControlOperation
STATUS_REPORT: ControlOperation
GRACEFUL_SHUTDOWN: ControlOperation
BEGIN_MONITORING: ControlOperation
INFO: AlertSeverity
LOW: AlertSeverity
MEDIUM: AlertSeverity
HIGH: AlertSeverity
CRITICAL: AlertSeverity
AT_MOST_ONCE: DeliveryGuarantee
AT_LEAST_ONCE: DeliveryGuarantee
EXACTLY_ONCE: DeliveryGuarantee
ALLOW_DUPLICATES: DuplicateHandling
DROP_DUPLICATES: DuplicateHandling
MERGE_DUPLICATES: DuplicateHandling

class MessageVersion(_message.Message):
    __slots__ = ("major", "minor", "patch", "protocol_version")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    patch: int
    protocol_version: str
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ..., patch: _Optional[int] = ..., protocol_version: _Optional[str] = ...) -> None: ...

class CorrelationMetadata(_message.Message):
    __slots__ = ("correlation_id", "parent_correlation_id", "root_correlation_id", "trace_id", "span_id", "sequence_number", "workflow_stage", "correlation_tags", "trace_flags")
    class CorrelationTagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STAGE_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_TAGS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FLAGS_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    parent_correlation_id: str
    root_correlation_id: str
    trace_id: str
    span_id: str
    sequence_number: int
    workflow_stage: str
    correlation_tags: _containers.ScalarMap[str, str]
    trace_flags: int
    def __init__(self, correlation_id: _Optional[str] = ..., parent_correlation_id: _Optional[str] = ..., root_correlation_id: _Optional[str] = ..., trace_id: _Optional[str] = ..., span_id: _Optional[str] = ..., sequence_number: _Optional[int] = ..., workflow_stage: _Optional[str] = ..., correlation_tags: _Optional[_Mapping[str, str]] = ..., trace_flags: _Optional[int] = ...) -> None: ...

class EventBusMessage(_message.Message):
    __slots__ = ("metadata", "correlation", "collection_event", "rpc_request", "rpc_response", "control_message", "heartbeat", "alert", "registration")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_EVENT_FIELD_NUMBER: _ClassVar[int]
    RPC_REQUEST_FIELD_NUMBER: _ClassVar[int]
    RPC_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ALERT_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    metadata: MessageMetadata
    correlation: CorrelationMetadata
    collection_event: CollectionEventPayload
    rpc_request: RpcRequestPayload
    rpc_response: RpcResponsePayload
    control_message: ControlMessagePayload
    heartbeat: HeartbeatPayload
    alert: AlertPayload
    registration: _rpc_pb2.RegistrationEvent
    def __init__(self, metadata: _Optional[_Union[MessageMetadata, _Mapping]] = ..., correlation: _Optional[_Union[CorrelationMetadata, _Mapping]] = ..., collection_event: _Optional[_Union[CollectionEventPayload, _Mapping]] = ..., rpc_request: _Optional[_Union[RpcRequestPayload, _Mapping]] = ..., rpc_response: _Optional[_Union[RpcResponsePayload, _Mapping]] = ..., control_message: _Optional[_Union[ControlMessagePayload, _Mapping]] = ..., heartbeat: _Optional[_Union[HeartbeatPayload, _Mapping]] = ..., alert: _Optional[_Union[AlertPayload, _Mapping]] = ..., registration: _Optional[_Union[_rpc_pb2.RegistrationEvent, _Mapping]] = ...) -> None: ...

class MessageMetadata(_message.Message):
    __slots__ = ("message_id", "topic", "message_type", "priority", "timestamp", "ttl_ms", "source_id", "target_id", "version", "headers", "key")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    topic: str
    message_type: MessageType
    priority: int
    timestamp: int
    ttl_ms: int
    source_id: str
    target_id: str
    version: MessageVersion
    headers: _containers.ScalarMap[str, str]
    key: str
    def __init__(self, message_id: _Optional[str] = ..., topic: _Optional[str] = ..., message_type: _Optional[_Union[MessageType, str]] = ..., priority: _Optional[int] = ..., timestamp: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., source_id: _Optional[str] = ..., target_id: _Optional[str] = ..., version: _Optional[_Union[MessageVersion, _Mapping]] = ..., headers: _Optional[_Mapping[str, str]] = ..., key: _Optional[str] = ...) -> None: ...

class CollectionEventPayload(_message.Message):
    __slots__ = ("event_type", "source_capabilities", "process_event", "network_event", "filesystem_event", "performance_event", "trigger_event")
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    PROCESS_EVENT_FIELD_NUMBER: _ClassVar[int]
    NETWORK_EVENT_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_EVENT_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_EVENT_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_EVENT_FIELD_NUMBER: _ClassVar[int]
    event_type: _common_pb2.EventType
    source_capabilities: _ipc_pb2.CollectionCapabilities
    process_event: ProcessEventData
    network_event: NetworkEventData
    filesystem_event: FilesystemEventData
    performance_event: PerformanceEventData
    trigger_event: TriggerEventData
    def __init__(self, event_type: _Optional[_Union[_common_pb2.EventType, str]] = ..., source_capabilities: _Optional[_Union[_ipc_pb2.CollectionCapabilities, _Mapping]] = ..., process_event: _Optional[_Union[ProcessEventData, _Mapping]] = ..., network_event: _Optional[_Union[NetworkEventData, _Mapping]] = ..., filesystem_event: _Optional[_Union[FilesystemEventData, _Mapping]] = ..., performance_event: _Optional[_Union[PerformanceEventData, _Mapping]] = ..., trigger_event: _Optional[_Union[TriggerEventData, _Mapping]] = ...) -> None: ...

class ProcessEventData(_message.Message):
    __slots__ = ("process", "subtype", "tree_context", "security_context", "performance")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    TREE_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SECURITY_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    process: _common_pb2.ProcessRecord
    subtype: ProcessEventSubtype
    tree_context: ProcessTreeContext
    security_context: SecurityContext
    performance: ProcessPerformanceMetrics
    def __init__(self, process: _Optional[_Union[_common_pb2.ProcessRecord, _Mapping]] = ..., subtype: _Optional[_Union[ProcessEventSubtype, str]] = ..., tree_context: _Optional[_Union[ProcessTreeContext, _Mapping]] = ..., security_context: _Optional[_Union[SecurityContext, _Mapping]] = ..., performance: _Optional[_Union[ProcessPerformanceMetrics, _Mapping]] = ...) -> None: ...

class ProcessTreeContext(_message.Message):
    __slots__ = ("parent_process", "child_pids", "tree_depth", "session_id", "process_group_id")
    PARENT_PROCESS_FIELD_NUMBER: _ClassVar[int]
    CHILD_PIDS_FIELD_NUMBER: _ClassVar[int]
    TREE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    parent_process: _common_pb2.ProcessRecord
    child_pids: _containers.RepeatedScalarFieldContainer[int]
    tree_depth: int
    session_id: str
    process_group_id: int
    def __init__(self, parent_process: _Optional[_Union[_common_pb2.ProcessRecord, _Mapping]] = ..., child_pids: _Optional[_Iterable[int]] = ..., tree_depth: _Optional[int] = ..., session_id: _Optional[str] = ..., process_group_id: _Optional[int] = ...) -> None: ...

class SecurityContext(_message.Message):
    __slots__ = ("user_id", "group_id", "security_labels", "privilege_level", "integrity_level")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    SECURITY_LABELS_FIELD_NUMBER: _ClassVar[int]
    PRIVILEGE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    INTEGRITY_LEVEL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    group_id: str
    security_labels: _containers.RepeatedScalarFieldContainer[str]
    privilege_level: str
    integrity_level: str
    def __init__(self, user_id: _Optional[str] = ..., group_id: _Optional[str] = ..., security_labels: _Optional[_Iterable[str]] = ..., privilege_level: _Optional[str] = ..., integrity_level: _Optional[str] = ...) -> None: ...

class ProcessPerformanceMetrics(_message.Message):
    __slots__ = ("cpu_percent", "memory_bytes", "io_read_bytes", "io_write_bytes", "network_sent_bytes", "network_received_bytes")
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    IO_READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    IO_WRITE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    cpu_percent: float
    memory_bytes: int
    io_read_bytes: int
    io_write_bytes: int
    network_sent_bytes: int
    network_received_bytes: int
    def __init__(self, cpu_percent: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., io_read_bytes: _Optional[int] = ..., io_write_bytes: _Optional[int] = ..., network_sent_bytes: _Optional[int] = ..., network_received_bytes: _Optional[int] = ...) -> None: ...

class NetworkEventData(_message.Message):
    __slots__ = ("network", "subtype", "connection_metadata", "traffic_analysis")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_METADATA_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    network: _common_pb2.NetworkRecord
    subtype: NetworkEventSubtype
    connection_metadata: NetworkConnectionMetadata
    traffic_analysis: TrafficAnalysisResults
    def __init__(self, network: _Optional[_Union[_common_pb2.NetworkRecord, _Mapping]] = ..., subtype: _Optional[_Union[NetworkEventSubtype, str]] = ..., connection_metadata: _Optional[_Union[NetworkConnectionMetadata, _Mapping]] = ..., traffic_analysis: _Optional[_Union[TrafficAnalysisResults, _Mapping]] = ...) -> None: ...

class NetworkConnectionMetadata(_message.Message):
    __slots__ = ("duration_ms", "flags", "qos_class", "encrypted")
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    QOS_CLASS_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_FIELD_NUMBER: _ClassVar[int]
    duration_ms: int
    flags: _containers.RepeatedScalarFieldContainer[str]
    qos_class: str
    encrypted: bool
    def __init__(self, duration_ms: _Optional[int] = ..., flags: _Optional[_Iterable[str]] = ..., qos_class: _Optional[str] = ..., encrypted: bool = ...) -> None: ...

class TrafficAnalysisResults(_message.Message):
    __slots__ = ("protocols", "suspicious_patterns", "threat_indicators", "confidence_score")
    PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    SUSPICIOUS_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    THREAT_INDICATORS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_SCORE_FIELD_NUMBER: _ClassVar[int]
    protocols: _containers.RepeatedScalarFieldContainer[str]
    suspicious_patterns: _containers.RepeatedScalarFieldContainer[str]
    threat_indicators: _containers.RepeatedScalarFieldContainer[str]
    confidence_score: float
    def __init__(self, protocols: _Optional[_Iterable[str]] = ..., suspicious_patterns: _Optional[_Iterable[str]] = ..., threat_indicators: _Optional[_Iterable[str]] = ..., confidence_score: _Optional[float] = ...) -> None: ...

class FilesystemEventData(_message.Message):
    __slots__ = ("filesystem", "subtype", "file_metadata", "access_analysis")
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    FILE_METADATA_FIELD_NUMBER: _ClassVar[int]
    ACCESS_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    filesystem: _common_pb2.FilesystemRecord
    subtype: FilesystemEventSubtype
    file_metadata: FileMetadata
    access_analysis: AccessPatternAnalysis
    def __init__(self, filesystem: _Optional[_Union[_common_pb2.FilesystemRecord, _Mapping]] = ..., subtype: _Optional[_Union[FilesystemEventSubtype, str]] = ..., file_metadata: _Optional[_Union[FileMetadata, _Mapping]] = ..., access_analysis: _Optional[_Union[AccessPatternAnalysis, _Mapping]] = ...) -> None: ...

class FileMetadata(_message.Message):
    __slots__ = ("file_type", "attributes", "mime_type", "file_signature", "extended_attributes")
    class ExtendedAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FILE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILE_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    file_type: str
    attributes: _containers.RepeatedScalarFieldContainer[str]
    mime_type: str
    file_signature: str
    extended_attributes: _containers.ScalarMap[str, str]
    def __init__(self, file_type: _Optional[str] = ..., attributes: _Optional[_Iterable[str]] = ..., mime_type: _Optional[str] = ..., file_signature: _Optional[str] = ..., extended_attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AccessPatternAnalysis(_message.Message):
    __slots__ = ("access_frequency", "pattern_type", "anomaly_score", "related_pids")
    ACCESS_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    PATTERN_TYPE_FIELD_NUMBER: _ClassVar[int]
    ANOMALY_SCORE_FIELD_NUMBER: _ClassVar[int]
    RELATED_PIDS_FIELD_NUMBER: _ClassVar[int]
    access_frequency: int
    pattern_type: str
    anomaly_score: float
    related_pids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, access_frequency: _Optional[int] = ..., pattern_type: _Optional[str] = ..., anomaly_score: _Optional[float] = ..., related_pids: _Optional[_Iterable[int]] = ...) -> None: ...

class PerformanceEventData(_message.Message):
    __slots__ = ("performance", "subtype", "threshold_info", "trend_analysis")
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_INFO_FIELD_NUMBER: _ClassVar[int]
    TREND_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    performance: _common_pb2.PerformanceRecord
    subtype: PerformanceEventSubtype
    threshold_info: ThresholdInfo
    trend_analysis: TrendAnalysis
    def __init__(self, performance: _Optional[_Union[_common_pb2.PerformanceRecord, _Mapping]] = ..., subtype: _Optional[_Union[PerformanceEventSubtype, str]] = ..., threshold_info: _Optional[_Union[ThresholdInfo, _Mapping]] = ..., trend_analysis: _Optional[_Union[TrendAnalysis, _Mapping]] = ...) -> None: ...

class ThresholdInfo(_message.Message):
    __slots__ = ("threshold_type", "threshold_value", "current_value", "duration_ms")
    THRESHOLD_TYPE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    threshold_type: str
    threshold_value: float
    current_value: float
    duration_ms: int
    def __init__(self, threshold_type: _Optional[str] = ..., threshold_value: _Optional[float] = ..., current_value: _Optional[float] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class TrendAnalysis(_message.Message):
    __slots__ = ("trend_direction", "trend_strength", "prediction_confidence", "forecasted_values")
    TREND_DIRECTION_FIELD_NUMBER: _ClassVar[int]
    TREND_STRENGTH_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    FORECASTED_VALUES_FIELD_NUMBER: _ClassVar[int]
    trend_direction: str
    trend_strength: float
    prediction_confidence: float
    forecasted_values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, trend_direction: _Optional[str] = ..., trend_strength: _Optional[float] = ..., prediction_confidence: _Optional[float] = ..., forecasted_values: _Optional[_Iterable[float]] = ...) -> None: ...

class TriggerEventData(_message.Message):
    __slots__ = ("trigger_id", "target_collector", "priority", "trigger_reason", "source_event_id", "trigger_payload", "trigger_metadata")
    class TriggerMetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRIGGER_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_REASON_FIELD_NUMBER: _ClassVar[int]
    SOURCE_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_METADATA_FIELD_NUMBER: _ClassVar[int]
    trigger_id: str
    target_collector: str
    priority: int
    trigger_reason: str
    source_event_id: str
    trigger_payload: bytes
    trigger_metadata: _containers.ScalarMap[str, str]
    def __init__(self, trigger_id: _Optional[str] = ..., target_collector: _Optional[str] = ..., priority: _Optional[int] = ..., trigger_reason: _Optional[str] = ..., source_event_id: _Optional[str] = ..., trigger_payload: _Optional[bytes] = ..., trigger_metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RpcRequestPayload(_message.Message):
    __slots__ = ("request", "routing", "auth_info")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    AUTH_INFO_FIELD_NUMBER: _ClassVar[int]
    request: _rpc_pb2.RpcRequest
    routing: RpcRoutingInfo
    auth_info: RpcAuthInfo
    def __init__(self, request: _Optional[_Union[_rpc_pb2.RpcRequest, _Mapping]] = ..., routing: _Optional[_Union[RpcRoutingInfo, _Mapping]] = ..., auth_info: _Optional[_Union[RpcAuthInfo, _Mapping]] = ...) -> None: ...

class RpcResponsePayload(_message.Message):
    __slots__ = ("response", "routing", "performance_metrics")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_METRICS_FIELD_NUMBER: _ClassVar[int]
    response: _rpc_pb2.RpcResponse
    routing: RpcRoutingInfo
    performance_metrics: RpcPerformanceMetrics
    def __init__(self, response: _Optional[_Union[_rpc_pb2.RpcResponse, _Mapping]] = ..., routing: _Optional[_Union[RpcRoutingInfo, _Mapping]] = ..., performance_metrics: _Optional[_Union[RpcPerformanceMetrics, _Mapping]] = ...) -> None: ...

class RpcRoutingInfo(_message.Message):
    __slots__ = ("routing_path", "load_balance_hint", "retry_count", "circuit_breaker_state")
    ROUTING_PATH_FIELD_NUMBER: _ClassVar[int]
    LOAD_BALANCE_HINT_FIELD_NUMBER: _ClassVar[int]
    RETRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    CIRCUIT_BREAKER_STATE_FIELD_NUMBER: _ClassVar[int]
    routing_path: _containers.RepeatedScalarFieldContainer[str]
    load_balance_hint: str
    retry_count: int
    circuit_breaker_state: str
    def __init__(self, routing_path: _Optional[_Iterable[str]] = ..., load_balance_hint: _Optional[str] = ..., retry_count: _Optional[int] = ..., circuit_breaker_state: _Optional[str] = ...) -> None: ...

class RpcAuthInfo(_message.Message):
    __slots__ = ("client_cert_fingerprint", "auth_token", "permissions", "auth_method")
    CLIENT_CERT_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    AUTH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    AUTH_METHOD_FIELD_NUMBER: _ClassVar[int]
    client_cert_fingerprint: str
    auth_token: str
    permissions: _containers.RepeatedScalarFieldContainer[str]
    auth_method: str
    def __init__(self, client_cert_fingerprint: _Optional[str] = ..., auth_token: _Optional[str] = ..., permissions: _Optional[_Iterable[str]] = ..., auth_method: _Optional[str] = ...) -> None: ...

class RpcPerformanceMetrics(_message.Message):
    __slots__ = ("processing_time_us", "queue_wait_time_us", "network_latency_us", "serialization_time_us")
    PROCESSING_TIME_US_FIELD_NUMBER: _ClassVar[int]
    QUEUE_WAIT_TIME_US_FIELD_NUMBER: _ClassVar[int]
    NETWORK_LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    SERIALIZATION_TIME_US_FIELD_NUMBER: _ClassVar[int]
    processing_time_us: int
    queue_wait_time_us: int
    network_latency_us: int
    serialization_time_us: int
    def __init__(self, processing_time_us: _Optional[int] = ..., queue_wait_time_us: _Optional[int] = ..., network_latency_us: _Optional[int] = ..., serialization_time_us: _Optional[int] = ...) -> None: ...

class ControlMessagePayload(_message.Message):
    __slots__ = ("operation", "target", "parameters", "payload_data", "response_timeout_ms")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_DATA_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    operation: ControlOperation
    target: str
    parameters: _containers.ScalarMap[str, str]
    payload_data: bytes
    response_timeout_ms: int
    def __init__(self, operation: _Optional[_Union[ControlOperation, str]] = ..., target: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., payload_data: _Optional[bytes] = ..., response_timeout_ms: _Optional[int] = ...) -> None: ...

class HeartbeatPayload(_message.Message):
    __slots__ = ("component_id", "health_status", "uptime_seconds", "metrics", "active_connections", "queue_depths", "error_counts", "health_reason")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class QueueDepthsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ErrorCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    COMPONENT_ID_FIELD_NUMBER: _ClassVar[int]
    HEALTH_STATUS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTHS_FIELD_NUMBER: _ClassVar[int]
    ERROR_COUNTS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_REASON_FIELD_NUMBER: _ClassVar[int]
    component_id: str
    health_status: _rpc_pb2.HealthStatus
    uptime_seconds: int
    metrics: _containers.ScalarMap[str, float]
    active_connections: int
    queue_depths: _containers.ScalarMap[str, int]
    error_counts: _containers.ScalarMap[str, int]
    health_reason: str
    def __init__(self, component_id: _Optional[str] = ..., health_status: _Optional[_Union[_rpc_pb2.HealthStatus, str]] = ..., uptime_seconds: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., active_connections: _Optional[int] = ..., queue_depths: _Optional[_Mapping[str, int]] = ..., error_counts: _Optional[_Mapping[str, int]] = ..., health_reason: _Optional[str] = ...) -> None: ...

class AlertPayload(_message.Message):
    __slots__ = ("alert_id", "severity", "title", "description", "source", "affected_resources", "metadata", "alert_correlation", "remediation_suggestions")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ALERT_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    REMEDIATION_SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    alert_id: str
    severity: AlertSeverity
    title: str
    description: str
    source: str
    affected_resources: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    alert_correlation: CorrelationMetadata
    remediation_suggestions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, alert_id: _Optional[str] = ..., severity: _Optional[_Union[AlertSeverity, str]] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., source: _Optional[str] = ..., affected_resources: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., alert_correlation: _Optional[_Union[CorrelationMetadata, _Mapping]] = ..., remediation_suggestions: _Optional[_Iterable[str]] = ...) -> None: ...

class TopicPattern(_message.Message):
    __slots__ = ("pattern", "wildcard_enabled", "priority", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    WILDCARD_ENABLED_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    wildcard_enabled: bool
    priority: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, pattern: _Optional[str] = ..., wildcard_enabled: bool = ..., priority: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SubscriptionConfig(_message.Message):
    __slots__ = ("subscriber_id", "topic_patterns", "message_type_filters", "event_type_filters", "correlation_filter", "qos_settings")
    SUBSCRIBER_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FILTERS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FILTERS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FILTER_FIELD_NUMBER: _ClassVar[int]
    QOS_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    subscriber_id: str
    topic_patterns: _containers.RepeatedCompositeFieldContainer[TopicPattern]
    message_type_filters: _containers.RepeatedScalarFieldContainer[MessageType]
    event_type_filters: _containers.RepeatedScalarFieldContainer[_common_pb2.EventType]
    correlation_filter: CorrelationFilter
    qos_settings: QosSettings
    def __init__(self, subscriber_id: _Optional[str] = ..., topic_patterns: _Optional[_Iterable[_Union[TopicPattern, _Mapping]]] = ..., message_type_filters: _Optional[_Iterable[_Union[MessageType, str]]] = ..., event_type_filters: _Optional[_Iterable[_Union[_common_pb2.EventType, str]]] = ..., correlation_filter: _Optional[_Union[CorrelationFilter, _Mapping]] = ..., qos_settings: _Optional[_Union[QosSettings, _Mapping]] = ...) -> None: ...

class CorrelationFilter(_message.Message):
    __slots__ = ("correlation_ids", "correlation_patterns", "correlation_tags", "workflow_stages")
    class CorrelationTagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CORRELATION_IDS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_TAGS_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STAGES_FIELD_NUMBER: _ClassVar[int]
    correlation_ids: _containers.RepeatedScalarFieldContainer[str]
    correlation_patterns: _containers.RepeatedScalarFieldContainer[str]
    correlation_tags: _containers.ScalarMap[str, str]
    workflow_stages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, correlation_ids: _Optional[_Iterable[str]] = ..., correlation_patterns: _Optional[_Iterable[str]] = ..., correlation_tags: _Optional[_Mapping[str, str]] = ..., workflow_stages: _Optional[_Iterable[str]] = ...) -> None: ...

class QosSettings(_message.Message):
    __slots__ = ("delivery_guarantee", "max_queue_depth", "ordered_delivery", "duplicate_handling", "retention_policy")
    DELIVERY_GUARANTEE_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    ORDERED_DELIVERY_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_HANDLING_FIELD_NUMBER: _ClassVar[int]
    RETENTION_POLICY_FIELD_NUMBER: _ClassVar[int]
    delivery_guarantee: DeliveryGuarantee
    max_queue_depth: int
    ordered_delivery: bool
    duplicate_handling: DuplicateHandling
    retention_policy: RetentionPolicy
    def __init__(self, delivery_guarantee: _Optional[_Union[DeliveryGuarantee, str]] = ..., max_queue_depth: _Optional[int] = ..., ordered_delivery: bool = ..., duplicate_handling: _Optional[_Union[DuplicateHandling, str]] = ..., retention_policy: _Optional[_Union[RetentionPolicy, _Mapping]] = ...) -> None: ...

class RetentionPolicy(_message.Message):
    __slots__ = ("retention_duration_ms", "max_retained_messages", "max_retained_size_bytes")
    RETENTION_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_RETAINED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_RETAINED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    retention_duration_ms: int
    max_retained_messages: int
    max_retained_size_bytes: int
    def __init__(self, retention_duration_ms: _Optional[int] = ..., max_retained_messages: _Optional[int] = ..., max_retained_size_bytes: _Optional[int] = ...) -> None: ...

class CompatibilityInfo(_message.Message):
    __slots__ = ("min_supported_version", "max_supported_version", "deprecated_features", "migration_instructions")
    MIN_SUPPORTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_SUPPORTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEPRECATED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    MIGRATION_INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    min_supported_version: MessageVersion
    max_supported_version: MessageVersion
    deprecated_features: _containers.RepeatedScalarFieldContainer[str]
    migration_instructions: str
    def __init__(self, min_supported_version: _Optional[_Union[MessageVersion, _Mapping]] = ..., max_supported_version: _Optional[_Union[MessageVersion, _Mapping]] = ..., deprecated_features: _Optional[_Iterable[str]] = ..., migration_instructions: _Optional[str] = ...) -> None: ...

class VersionNegotiationRequest(_message.Message):
    __slots__ = ("supported_versions", "preferred_version", "client_capabilities")
    SUPPORTED_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    supported_versions: _containers.RepeatedCompositeFieldContainer[MessageVersion]
    preferred_version: MessageVersion
    client_capabilities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, supported_versions: _Optional[_Iterable[_Union[MessageVersion, _Mapping]]] = ..., preferred_version: _Optional[_Union[MessageVersion, _Mapping]] = ..., client_capabilities: _Optional[_Iterable[str]] = ...) -> None: ...

class VersionNegotiationResponse(_message.Message):
    __slots__ = ("negotiated_version", "server_capabilities", "compatibility_warnings", "negotiation_success")
    NEGOTIATED_VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    COMPATIBILITY_WARNINGS_FIELD_NUMBER: _ClassVar[int]
    NEGOTIATION_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    negotiated_version: MessageVersion
    server_capabilities: _containers.RepeatedScalarFieldContainer[str]
    compatibility_warnings: _containers.RepeatedScalarFieldContainer[str]
    negotiation_success: bool
    def __init__(self, negotiated_version: _Optional[_Union[MessageVersion, _Mapping]] = ..., server_capabilities: _Optional[_Iterable[str]] = ..., compatibility_warnings: _Optional[_Iterable[str]] = ..., negotiation_success: bool = ...) -> None: ...
