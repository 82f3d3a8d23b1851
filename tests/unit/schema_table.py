"""The published schema, as data: every message, field, number, type and label, every enum and value.

This is the contract with programs that were generated elsewhere, so it is written down apart from the .proto files.
A field is "number name: type", with `?` for optional, `[]` for repeated and `(name)` for membership of a oneof.
"""

MESSAGES = {
    "ProcessFilter": """
        1 process_names: string[]
        2 pids: uint32[]
        3 executable_pattern: string?
    """,
    "HashCheck": """
        1 expected_hash: string
        2 hash_algorithm: string
        3 executable_path: string
    """,
    "HashResult": """
        1 hash_value: string
        2 algorithm: string
        3 file_path: string
        4 success: bool
        5 error_message: string?
    """,
    "ProcessRecord": """
        1 pid: uint32
        2 ppid: uint32?
        3 name: string
        4 executable_path: string?
        5 command_line: string[]
        6 start_time: int64?
        7 cpu_usage: double?
        8 memory_usage: uint64?
        9 executable_hash: string?
        10 hash_algorithm: string?
        11 user_id: string?
        12 accessible: bool
        13 file_exists: bool
        14 collection_time: int64
        15 ssdeep_hash: string?
        16 on_disk_mismatch: bool
        17 ssdeep_degraded: bool
    """,
    "NetworkFilter": """
        1 protocols: string[]
        2 source_addresses: string[]
        3 destination_addresses: string[]
        4 connection_states: string[]
    """,
    "FilesystemFilter": """
        1 path_patterns: string[]
        2 operation_types: string[]
        3 file_extensions: string[]
    """,
    "PerformanceFilter": """
        1 metric_names: string[]
        2 components: string[]
        3 min_thresholds: map<string, double>
        4 max_thresholds: map<string, double>
    """,
    "NetworkRecord": """
        1 connection_id: string
        2 source_address: string
        3 destination_address: string
        4 protocol: string
        5 state: string
        6 pid: uint32?
        7 bytes_sent: uint64
        8 bytes_received: uint64
        9 collection_time: int64
    """,
    "FilesystemRecord": """
        1 operation_id: string
        2 path: string
        3 operation_type: string
        4 pid: uint32?
        5 file_size: uint64?
        6 permissions: string?
        7 file_hash: string?
        8 collection_time: int64
    """,
    "PerformanceRecord": """
        1 metric_id: string
        2 metric_name: string
        3 value: double
        4 unit: string
        5 pid: uint32?
        6 component: string
        7 collection_time: int64
    """,
    "CollectionCapabilities": """
        1 supported_domains: MonitoringDomain[]
        2 advanced: AdvancedCapabilities
    """,
    "AdvancedCapabilities": """
        1 kernel_level: bool
        2 realtime: bool
        3 system_wide: bool
    """,
    "DetectionTask": """
        1 task_id: string
        2 task_type: TaskType
        3 process_filter: ProcessFilter?
        4 hash_check: HashCheck?
        5 metadata: string?
        6 network_filter: NetworkFilter?
        7 filesystem_filter: FilesystemFilter?
        8 performance_filter: PerformanceFilter?
    """,
    "DetectionResult": """
        1 task_id: string
        2 success: bool
        3 error_message: string?
        4 processes: ProcessRecord[]
        5 hash_result: HashResult?
        6 network_events: NetworkRecord[]
        7 filesystem_events: FilesystemRecord[]
        8 performance_events: PerformanceRecord[]
    """,
    "CapabilityRequest": """
        1 client_id: string
        2 requested_domains: MonitoringDomain[]
        3 client_version: string?
    """,
    "CapabilityResponse": """
        1 negotiation_success: bool
        2 capabilities: CollectionCapabilities
        3 error_message: string?
        4 server_version: string?
    """,
    "MessageVersion": """
        1 major: uint32
        2 minor: uint32
        3 patch: uint32
        4 protocol_version: string
    """,
    "CorrelationMetadata": """
        1 correlation_id: string
        2 parent_correlation_id: string?
        3 root_correlation_id: string
        4 trace_id: string?
        5 span_id: string?
        6 sequence_number: uint64
        7 workflow_stage: string?
        8 correlation_tags: map<string, string>
    """,
    "EventBusMessage": """
        1 metadata: MessageMetadata
        2 correlation: CorrelationMetadata
        3 collection_event: CollectionEventPayload (payload)
        4 rpc_request: RpcRequestPayload (payload)
        5 rpc_response: RpcResponsePayload (payload)
        6 control_message: ControlMessagePayload (payload)
        7 heartbeat: HeartbeatPayload (payload)
        8 alert: AlertPayload (payload)
    """,
    "MessageMetadata": """
        1 message_id: string
        2 topic: string
        3 message_type: MessageType
        4 priority: uint32
        5 timestamp: int64
        6 ttl_ms: uint64
        7 source_id: string
        8 target_id: string?
        9 version: MessageVersion
        10 headers: map<string, string>
    """,
    "CollectionEventPayload": """
        1 event_type: EventType
        2 source_capabilities: CollectionCapabilities
        3 process_event: ProcessEventData (event_data)
        4 network_event: NetworkEventData (event_data)
        5 filesystem_event: FilesystemEventData (event_data)
        6 performance_event: PerformanceEventData (event_data)
        7 trigger_event: TriggerEventData (event_data)
    """,
    "ProcessEventData": """
        1 process: ProcessRecord
        2 subtype: ProcessEventSubtype
        3 tree_context: ProcessTreeContext?
        4 security_context: SecurityContext?
        5 performance: ProcessPerformanceMetrics?
    """,
    "ProcessTreeContext": """
        1 parent_process: ProcessRecord?
        2 child_pids: uint32[]
        3 tree_depth: uint32
        4 session_id: string?
        5 process_group_id: uint32?
    """,
    "SecurityContext": """
        1 user_id: string?
        2 group_id: string?
        3 security_labels: string[]
        4 privilege_level: string?
        5 integrity_level: string?
    """,
    "ProcessPerformanceMetrics": """
        1 cpu_percent: double?
        2 memory_bytes: uint64?
        3 io_read_bytes: uint64?
        4 io_write_bytes: uint64?
        5 network_sent_bytes: uint64?
        6 network_received_bytes: uint64?
    """,
    "NetworkEventData": """
        1 network: NetworkRecord
        2 subtype: NetworkEventSubtype
        3 connection_metadata: NetworkConnectionMetadata?
        4 traffic_analysis: TrafficAnalysisResults?
    """,
    "NetworkConnectionMetadata": """
        1 duration_ms: uint64?
        2 flags: string[]
        3 qos_class: string?
        4 encrypted: bool?
    """,
    "TrafficAnalysisResults": """
        1 protocols: string[]
        2 suspicious_patterns: string[]
        3 threat_indicators: string[]
        4 confidence_score: double?
    """,
    "FilesystemEventData": """
        1 filesystem: FilesystemRecord
        2 subtype: FilesystemEventSubtype
        3 file_metadata: FileMetadata?
        4 access_analysis: AccessPatternAnalysis?
    """,
    "FileMetadata": """
        1 file_type: string
        2 attributes: string[]
        3 mime_type: string?
        4 file_signature: string?
        5 extended_attributes: map<string, string>
    """,
    "AccessPatternAnalysis": """
        1 access_frequency: uint64?
        2 pattern_type: string?
        3 anomaly_score: double?
        4 related_pids: uint32[]
    """,
    "PerformanceEventData": """
        1 performance: PerformanceRecord
        2 subtype: PerformanceEventSubtype
        3 threshold_info: ThresholdInfo?
        4 trend_analysis: TrendAnalysis?
    """,
    "ThresholdInfo": """
        1 threshold_type: string
        2 threshold_value: double
        3 current_value: double
        4 duration_ms: uint64?
    """,
    "TrendAnalysis": """
        1 trend_direction: string
        2 trend_strength: double
        3 prediction_confidence: double?
        4 forecasted_values: double[]
    """,
    "TriggerEventData": """
        1 trigger_id: string
        2 target_collector: string
        3 priority: uint32
        4 trigger_reason: string
        5 source_event_id: string?
        6 trigger_payload: bytes
        7 trigger_metadata: map<string, string>
    """,
    "RpcRequestPayload": """
        1 request: RpcRequest
        2 routing: RpcRoutingInfo
        3 auth_info: RpcAuthInfo?
    """,
    "RpcResponsePayload": """
        1 response: RpcResponse
        2 routing: RpcRoutingInfo
        3 performance_metrics: RpcPerformanceMetrics?
    """,
    "RpcRoutingInfo": """
        1 routing_path: string[]
        2 load_balance_hint: string?
        3 retry_count: uint32
        4 circuit_breaker_state: string?
    """,
    "RpcAuthInfo": """
        1 client_cert_fingerprint: string?
        2 auth_token: string?
        3 permissions: string[]
        4 auth_method: string
    """,
    "RpcPerformanceMetrics": """
        1 processing_time_us: uint64
        2 queue_wait_time_us: uint64?
        3 network_latency_us: uint64?
        4 serialization_time_us: uint64?
    """,
    "ControlMessagePayload": """
        1 operation: ControlOperation
        2 target: string
        3 parameters: map<string, string>
        4 payload_data: bytes?
        5 response_timeout_ms: uint64?
    """,
    "HeartbeatPayload": """
        1 component_id: string
        2 health_status: HealthStatus
        3 uptime_seconds: uint64
        4 metrics: map<string, double>
        5 active_connections: uint32?
        6 queue_depths: map<string, uint32>
        7 error_counts: map<string, uint32>
    """,
    "AlertPayload": """
        1 alert_id: string
        2 severity: AlertSeverity
        3 title: string
        4 description: string
        5 source: string
        6 affected_resources: string[]
        7 metadata: map<string, string>
        8 alert_correlation: CorrelationMetadata?
        9 remediation_suggestions: string[]
    """,
    "TopicPattern": """
        1 pattern: string
        2 wildcard_enabled: bool
        3 priority: uint32
        4 metadata: map<string, string>
    """,
    "SubscriptionConfig": """
        1 subscriber_id: string
        2 topic_patterns: TopicPattern[]
        3 message_type_filters: MessageType[]
        4 event_type_filters: EventType[]
        5 correlation_filter: CorrelationFilter?
        6 qos_settings: QosSettings?
    """,
    "CorrelationFilter": """
        1 correlation_ids: string[]
        2 correlation_patterns: string[]
        3 correlation_tags: map<string, string>
        4 workflow_stages: string[]
    """,
    "QosSettings": """
        1 delivery_guarantee: DeliveryGuarantee
        2 max_queue_depth: uint32
        3 ordered_delivery: bool
        4 duplicate_handling: DuplicateHandling
        5 retention_policy: RetentionPolicy?
    """,
    "RetentionPolicy": """
        1 retention_duration_ms: uint64
        2 max_retained_messages: uint32?
        3 max_retained_size_bytes: uint64?
    """,
    "CompatibilityInfo": """
        1 min_supported_version: MessageVersion
        2 max_supported_version: MessageVersion
        3 deprecated_features: string[]
        4 migration_instructions: string?
    """,
    "VersionNegotiationRequest": """
        1 supported_versions: MessageVersion[]
        2 preferred_version: MessageVersion
        3 client_capabilities: string[]
    """,
    "VersionNegotiationResponse": """
        1 negotiated_version: MessageVersion
        2 server_capabilities: string[]
        3 compatibility_warnings: string[]
        4 negotiation_success: bool
    """,
}

ENUMS = {
    "TaskType": """
        0 ENUMERATE_PROCESSES
        1 CHECK_PROCESS_HASH
        2 MONITOR_PROCESS_TREE
        3 VERIFY_EXECUTABLE
        4 MONITOR_NETWORK_CONNECTIONS
        5 TRACK_FILE_OPERATIONS
        6 COLLECT_PERFORMANCE_METRICS
    """,
    "MonitoringDomain": """
        0 PROCESS
        1 NETWORK
        2 FILESYSTEM
        3 PERFORMANCE
    """,
    "MessageType": """
        0 COLLECTION_EVENT
        1 RPC_REQUEST
        2 RPC_RESPONSE
        3 CONTROL_MESSAGE
        4 HEARTBEAT
        5 ALERT
        6 CONFIG_UPDATE
        7 SHUTDOWN
    """,
    "EventType": """
        0 PROCESS_EVENT
        1 NETWORK_EVENT
        2 FILESYSTEM_EVENT
        3 PERFORMANCE_EVENT
        4 TRIGGER_EVENT
        5 CORRELATION_EVENT
    """,
    "ProcessEventSubtype": """
        0 PROCESS_CREATED
        1 PROCESS_UPDATED
        2 PROCESS_TERMINATED
        3 PROCESS_SUSPENDED
        4 PROCESS_RESUMED
    """,
    "NetworkEventSubtype": """
        0 CONNECTION_ESTABLISHED
        1 CONNECTION_CLOSED
        2 DATA_TRANSMITTED
        3 SUSPICIOUS_TRAFFIC
        4 DNS_QUERY
    """,
    "FilesystemEventSubtype": """
        0 FILE_CREATED
        1 FILE_MODIFIED
        2 FILE_DELETED
        3 FILE_ACCESSED
        4 FILE_MOVED
        5 PERMISSIONS_CHANGED
    """,
    "PerformanceEventSubtype": """
        0 THRESHOLD_EXCEEDED
        1 ANOMALY_DETECTED
        2 PERFORMANCE_DEGRADED
        3 RESOURCE_EXHAUSTED
        4 BASELINE_UPDATED
    """,
    "ControlOperation": """
        0 SUBSCRIBE
        1 UNSUBSCRIBE
        2 UPDATE_SUBSCRIPTION
        3 PAUSE_DELIVERY
        4 RESUME_DELIVERY
        5 FLUSH_QUEUES
        6 UPDATE_CONFIG
        7 STATUS_REPORT
        8 GRACEFUL_SHUTDOWN
    """,
    "AlertSeverity": """
        0 INFO
        1 LOW
        2 MEDIUM
        3 HIGH
        4 CRITICAL
    """,
    "DeliveryGuarantee": """
        0 AT_MOST_ONCE
        1 AT_LEAST_ONCE
        2 EXACTLY_ONCE
    """,
    "DuplicateHandling": """
        0 ALLOW_DUPLICATES
        1 DROP_DUPLICATES
        2 MERGE_DUPLICATES
    """,
}

# Named by the published schema, never defined: (name, prefix of ours): values, in order.
THREE_UNDEFINED = {
    ("HealthStatus", ""): "UNKNOWN HEALTHY DEGRADED UNHEALTHY UNRESPONSIVE",
    ("CollectorOperation", "COLLECTOR_OPERATION_"): """
        REGISTER DEREGISTER START STOP RESTART HEALTH_CHECK UPDATE_CONFIG GET_CAPABILITIES
        GRACEFUL_SHUTDOWN FORCE_SHUTDOWN PAUSE RESUME EXECUTE_TASK
    """,
    ("RpcStatus", "RPC_STATUS_"): "SUCCESS ERROR IN_PROGRESS TIMEOUT CANCELLED UNAVAILABLE",
    ("RpcErrorCategory", "RPC_ERROR_CATEGORY_"): """
        CONFIGURATION RESOURCE COMMUNICATION PERMISSION INTERNAL TIMEOUT
    """,
    ("RpcErrorCode", "RPC_ERROR_CODE_"): """
        UNSUPPORTED_OPERATION INVALID_PAYLOAD DEADLINE_EXCEEDED PROCESS_NOT_FOUND ALREADY_RUNNING
        SPAWN_FAILED TERMINATE_FAILED INVALID_STATE CONFIGURATION_ERROR PLATFORM_NOT_SUPPORTED TIMEOUT IO_ERROR
        CONFIG_NOT_FOUND VALIDATION_FAILED INVALID_CONFIG_CHANGE PERSISTENCE_FAILED ROLLBACK_FAILED ALREADY_REGISTERED
        REGISTRATION_NOT_FOUND REGISTRATION_INVALID REGISTRATION_EXPIRED CLIENT_SHUTDOWN EXECUTION_ERROR
    """,
}
