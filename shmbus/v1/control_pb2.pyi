from shmbus.v1 import eventbus_pb2 as _eventbus_pb2
from shmbus.v1 import rpc_pb2 as _rpc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ControlErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTROL_ERROR_UNSPECIFIED: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_INVALID: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_VERSION: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_ACCESS_DENIED: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_TYPE_MISMATCH: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_NEED_DESCRIPTORS: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_NOT_FOUND: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_EXHAUSTED: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_STOPPING: _ClassVar[ControlErrorCode]
    CONTROL_ERROR_INTERNAL: _ClassVar[ControlErrorCode]
CONTROL_ERROR_UNSPECIFIED: ControlErrorCode
CONTROL_ERROR_INVALID: ControlErrorCode
CONTROL_ERROR_VERSION: ControlErrorCode
CONTROL_ERROR_ACCESS_DENIED: ControlErrorCode
CONTROL_ERROR_TYPE_MISMATCH: ControlErrorCode
CONTROL_ERROR_NEED_DESCRIPTORS: ControlErrorCode
CONTROL_ERROR_NOT_FOUND: ControlErrorCode
CONTROL_ERROR_EXHAUSTED: ControlErrorCode
CONTROL_ERROR_STOPPING: ControlErrorCode
CONTROL_ERROR_INTERNAL: ControlErrorCode

class ClientPacket(_message.Message):
    __slots__ = ("id", "spilled_bytes", "auth_info", "hello", "open_publisher", "close_publisher", "subscribe", "unsubscribe", "report_stuck", "resize", "set_limits", "list_topics", "get_status", "control_collector", "stop_bus", "forget_durable", "resume", "get_kept", "announce_ready", "call", "authorize_call", "explain_access", "read_ledger", "reload_config")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    AUTH_INFO_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPEN_PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    CLOSE_PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    REPORT_STUCK_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    SET_LIMITS_FIELD_NUMBER: _ClassVar[int]
    LIST_TOPICS_FIELD_NUMBER: _ClassVar[int]
    GET_STATUS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    STOP_BUS_FIELD_NUMBER: _ClassVar[int]
    FORGET_DURABLE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    GET_KEPT_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCE_READY_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZE_CALL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_ACCESS_FIELD_NUMBER: _ClassVar[int]
    READ_LEDGER_FIELD_NUMBER: _ClassVar[int]
    RELOAD_CONFIG_FIELD_NUMBER: _ClassVar[int]
    id: int
    spilled_bytes: int
    auth_info: _eventbus_pb2.RpcAuthInfo
    hello: Hello
    open_publisher: OpenPublisher
    close_publisher: ClosePublisher
    subscribe: Subscribe
    unsubscribe: Unsubscribe
    report_stuck: ReportStuck
    resize: Resize
    set_limits: SetLimits
    list_topics: ListTopics
    get_status: GetStatus
    control_collector: ControlCollector
    stop_bus: StopBus
    forget_durable: ForgetDurable
    resume: Resume
    get_kept: GetKept
    announce_ready: AnnounceReady
    call: _rpc_pb2.RpcRequest
    authorize_call: AuthorizeCall
    explain_access: ExplainAccess
    read_ledger: ReadLedger
    reload_config: ReloadConfig
    def __init__(self, id: _Optional[int] = ..., spilled_bytes: _Optional[int] = ..., auth_info: _Optional[_Union[_eventbus_pb2.RpcAuthInfo, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., open_publisher: _Optional[_Union[OpenPublisher, _Mapping]] = ..., close_publisher: _Optional[_Union[ClosePublisher, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., unsubscribe: _Optional[_Union[Unsubscribe, _Mapping]] = ..., report_stuck: _Optional[_Union[ReportStuck, _Mapping]] = ..., resize: _Optional[_Union[Resize, _Mapping]] = ..., set_limits: _Optional[_Union[SetLimits, _Mapping]] = ..., list_topics: _Optional[_Union[ListTopics, _Mapping]] = ..., get_status: _Optional[_Union[GetStatus, _Mapping]] = ..., control_collector: _Optional[_Union[ControlCollector, _Mapping]] = ..., stop_bus: _Optional[_Union[StopBus, _Mapping]] = ..., forget_durable: _Optional[_Union[ForgetDurable, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., get_kept: _Optional[_Union[GetKept, _Mapping]] = ..., announce_ready: _Optional[_Union[AnnounceReady, _Mapping]] = ..., call: _Optional[_Union[_rpc_pb2.RpcRequest, _Mapping]] = ..., authorize_call: _Optional[_Union[AuthorizeCall, _Mapping]] = ..., explain_access: _Optional[_Union[ExplainAccess, _Mapping]] = ..., read_ledger: _Optional[_Union[ReadLedger, _Mapping]] = ..., reload_config: _Optional[_Union[ReloadConfig, _Mapping]] = ...) -> None: ...

class ServerPacket(_message.Message):
    __slots__ = ("id", "spilled_bytes", "welcome", "publisher_opened", "subscribed", "topic_list", "status_reply", "done", "error", "kept", "ready_noted", "collector_status", "called", "call_authorized", "access_explained", "ledger_part", "config_reloaded", "ring_added", "successor", "session_added", "session_removed", "session_extended", "goodbye", "demoted", "group_added", "kept_added", "access_changed", "publisher_revoked", "budget_set")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_OPENED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_LIST_FIELD_NUMBER: _ClassVar[int]
    STATUS_REPLY_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    READY_NOTED_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_STATUS_FIELD_NUMBER: _ClassVar[int]
    CALLED_FIELD_NUMBER: _ClassVar[int]
    CALL_AUTHORIZED_FIELD_NUMBER: _ClassVar[int]
    ACCESS_EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    LEDGER_PART_FIELD_NUMBER: _ClassVar[int]
    CONFIG_RELOADED_FIELD_NUMBER: _ClassVar[int]
    RING_ADDED_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    SESSION_ADDED_FIELD_NUMBER: _ClassVar[int]
    SESSION_REMOVED_FIELD_NUMBER: _ClassVar[int]
    SESSION_EXTENDED_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    DEMOTED_FIELD_NUMBER: _ClassVar[int]
    GROUP_ADDED_FIELD_NUMBER: _ClassVar[int]
    KEPT_ADDED_FIELD_NUMBER: _ClassVar[int]
    ACCESS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_REVOKED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SET_FIELD_NUMBER: _ClassVar[int]
    id: int
    spilled_bytes: int
    welcome: Welcome
    publisher_opened: PublisherOpened
    subscribed: Subscribed
    topic_list: TopicList
    status_reply: StatusReply
    done: Done
    error: ControlError
    kept: Kept
    ready_noted: ReadyNoted
    collector_status: CollectorStatus
    called: _rpc_pb2.RpcResponse
    call_authorized: CallAuthorized
    access_explained: AccessExplained
    ledger_part: LedgerPart
    config_reloaded: ConfigReloaded
    ring_added: RingAdded
    successor: Successor
    session_added: SessionAdded
    session_removed: SessionRemoved
    session_extended: SessionExtended
    goodbye: Goodbye
    demoted: Demoted
    group_added: GroupAdded
    kept_added: KeptAdded
    access_changed: AccessChanged
    publisher_revoked: PublisherRevoked
    budget_set: BudgetSet
    def __init__(self, id: _Optional[int] = ..., spilled_bytes: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., publisher_opened: _Optional[_Union[PublisherOpened, _Mapping]] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., topic_list: _Optional[_Union[TopicList, _Mapping]] = ..., status_reply: _Optional[_Union[StatusReply, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., error: _Optional[_Union[ControlError, _Mapping]] = ..., kept: _Optional[_Union[Kept, _Mapping]] = ..., ready_noted: _Optional[_Union[ReadyNoted, _Mapping]] = ..., collector_status: _Optional[_Union[CollectorStatus, _Mapping]] = ..., called: _Optional[_Union[_rpc_pb2.RpcResponse, _Mapping]] = ..., call_authorized: _Optional[_Union[CallAuthorized, _Mapping]] = ..., access_explained: _Optional[_Union[AccessExplained, _Mapping]] = ..., ledger_part: _Optional[_Union[LedgerPart, _Mapping]] = ..., config_reloaded: _Optional[_Union[ConfigReloaded, _Mapping]] = ..., ring_added: _Optional[_Union[RingAdded, _Mapping]] = ..., successor: _Optional[_Union[Successor, _Mapping]] = ..., session_added: _Optional[_Union[SessionAdded, _Mapping]] = ..., session_removed: _Optional[_Union[SessionRemoved, _Mapping]] = ..., session_extended: _Optional[_Union[SessionExtended, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., demoted: _Optional[_Union[Demoted, _Mapping]] = ..., group_added: _Optional[_Union[GroupAdded, _Mapping]] = ..., kept_added: _Optional[_Union[KeptAdded, _Mapping]] = ..., access_changed: _Optional[_Union[AccessChanged, _Mapping]] = ..., publisher_revoked: _Optional[_Union[PublisherRevoked, _Mapping]] = ..., budget_set: _Optional[_Union[BudgetSet, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("negotiation", "client_name", "start_time", "pid_namespace", "collector_token", "resume", "auth_info")
    NEGOTIATION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    PID_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    AUTH_INFO_FIELD_NUMBER: _ClassVar[int]
    negotiation: _eventbus_pb2.VersionNegotiationRequest
    client_name: str
    start_time: int
    pid_namespace: int
    collector_token: str
    resume: int
    auth_info: _eventbus_pb2.RpcAuthInfo
    def __init__(self, negotiation: _Optional[_Union[_eventbus_pb2.VersionNegotiationRequest, _Mapping]] = ..., client_name: _Optional[str] = ..., start_time: _Optional[int] = ..., pid_namespace: _Optional[int] = ..., collector_token: _Optional[str] = ..., resume: _Optional[int] = ..., auth_info: _Optional[_Union[_eventbus_pb2.RpcAuthInfo, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("negotiation", "bus", "boot_id", "session", "bell", "coordinator_pid", "resumed")
    NEGOTIATION_FIELD_NUMBER: _ClassVar[int]
    BUS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_PID_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    negotiation: _eventbus_pb2.VersionNegotiationResponse
    bus: str
    boot_id: bytes
    session: int
    bell: int
    coordinator_pid: int
    resumed: bool
    def __init__(self, negotiation: _Optional[_Union[_eventbus_pb2.VersionNegotiationResponse, _Mapping]] = ..., bus: _Optional[str] = ..., boot_id: _Optional[bytes] = ..., session: _Optional[int] = ..., bell: _Optional[int] = ..., coordinator_pid: _Optional[int] = ..., resumed: bool = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("publishers", "subscriptions", "ready", "registrations")
    PUBLISHERS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REGISTRATIONS_FIELD_NUMBER: _ClassVar[int]
    publishers: _containers.RepeatedCompositeFieldContainer[ResumePublisher]
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscribe]
    ready: bool
    registrations: _containers.RepeatedCompositeFieldContainer[_rpc_pb2.RegistrationRequest]
    def __init__(self, publishers: _Optional[_Iterable[_Union[ResumePublisher, _Mapping]]] = ..., subscriptions: _Optional[_Iterable[_Union[Subscribe, _Mapping]]] = ..., ready: bool = ..., registrations: _Optional[_Iterable[_Union[_rpc_pb2.RegistrationRequest, _Mapping]]] = ...) -> None: ...

class ResumePublisher(_message.Message):
    __slots__ = ("topic_id", "lane", "producer", "generation")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    lane: int
    producer: int
    generation: int
    def __init__(self, topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., producer: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class TopicType(_message.Message):
    __slots__ = ("name", "fingerprint", "descriptors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: bytes
    descriptors: bytes
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[bytes] = ..., descriptors: _Optional[bytes] = ...) -> None: ...

class TopicLimits(_message.Message):
    __slots__ = ("slots", "arena_bytes", "max_retained_messages", "max_retained_size_bytes", "max_message_bytes", "retention_duration_ms", "claim_timeout_ms")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ARENA_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_RETAINED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_RETAINED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RETENTION_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    CLAIM_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    slots: int
    arena_bytes: int
    max_retained_messages: int
    max_retained_size_bytes: int
    max_message_bytes: int
    retention_duration_ms: int
    claim_timeout_ms: int
    def __init__(self, slots: _Optional[int] = ..., arena_bytes: _Optional[int] = ..., max_retained_messages: _Optional[int] = ..., max_retained_size_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., retention_duration_ms: _Optional[int] = ..., claim_timeout_ms: _Optional[int] = ...) -> None: ...

class OpenPublisher(_message.Message):
    __slots__ = ("topic", "type", "limits", "producer_name", "lane", "durable", "only_make")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_NAME_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    ONLY_MAKE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    type: TopicType
    limits: TopicLimits
    producer_name: str
    lane: int
    durable: bool
    only_make: bool
    def __init__(self, topic: _Optional[str] = ..., type: _Optional[_Union[TopicType, _Mapping]] = ..., limits: _Optional[_Union[TopicLimits, _Mapping]] = ..., producer_name: _Optional[str] = ..., lane: _Optional[int] = ..., durable: bool = ..., only_make: bool = ...) -> None: ...

class PublisherOpened(_message.Message):
    __slots__ = ("topic_id", "lane", "generation", "bell", "producer", "gating_sessions", "created", "on_full", "block_timeout_ms", "last_number", "budget")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    GATING_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ON_FULL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    lane: int
    generation: int
    bell: int
    producer: int
    gating_sessions: _containers.RepeatedScalarFieldContainer[int]
    created: bool
    on_full: str
    block_timeout_ms: int
    last_number: int
    budget: PublishBudget
    def __init__(self, topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., generation: _Optional[int] = ..., bell: _Optional[int] = ..., producer: _Optional[int] = ..., gating_sessions: _Optional[_Iterable[int]] = ..., created: bool = ..., on_full: _Optional[str] = ..., block_timeout_ms: _Optional[int] = ..., last_number: _Optional[int] = ..., budget: _Optional[_Union[PublishBudget, _Mapping]] = ...) -> None: ...

class PublishBudget(_message.Message):
    __slots__ = ("messages_per_second", "bytes_per_second")
    MESSAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    messages_per_second: int
    bytes_per_second: int
    def __init__(self, messages_per_second: _Optional[int] = ..., bytes_per_second: _Optional[int] = ...) -> None: ...

class BudgetSet(_message.Message):
    __slots__ = ("topic_id", "budget")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    budget: PublishBudget
    def __init__(self, topic_id: _Optional[int] = ..., budget: _Optional[_Union[PublishBudget, _Mapping]] = ...) -> None: ...

class PublisherRevoked(_message.Message):
    __slots__ = ("topic_id", "topic", "reason")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    topic: str
    reason: str
    def __init__(self, topic_id: _Optional[int] = ..., topic: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ClosePublisher(_message.Message):
    __slots__ = ("topic_id", "producer", "lane")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    producer: int
    lane: int
    def __init__(self, topic_id: _Optional[int] = ..., producer: _Optional[int] = ..., lane: _Optional[int] = ...) -> None: ...

class SessionAdded(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: int
    def __init__(self, session: _Optional[int] = ...) -> None: ...

class SessionRemoved(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: int
    def __init__(self, session: _Optional[int] = ...) -> None: ...

class Successor(_message.Message):
    __slots__ = ("topic_id", "lane", "generation", "bell", "first_sequence")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    lane: int
    generation: int
    bell: int
    first_sequence: int
    def __init__(self, topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., generation: _Optional[int] = ..., bell: _Optional[int] = ..., first_sequence: _Optional[int] = ...) -> None: ...

class EnvelopeHead(_message.Message):
    __slots__ = ("metadata", "correlation")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    metadata: _eventbus_pb2.MessageMetadata
    correlation: _eventbus_pb2.CorrelationMetadata
    def __init__(self, metadata: _Optional[_Union[_eventbus_pb2.MessageMetadata, _Mapping]] = ..., correlation: _Optional[_Union[_eventbus_pb2.CorrelationMetadata, _Mapping]] = ...) -> None: ...

class StartPosition(_message.Message):
    __slots__ = ("latest", "earliest", "sequence", "time_ns", "last", "last_per_key")
    LATEST_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    LAST_PER_KEY_FIELD_NUMBER: _ClassVar[int]
    latest: bool
    earliest: bool
    sequence: int
    time_ns: int
    last: int
    last_per_key: bool
    def __init__(self, latest: bool = ..., earliest: bool = ..., sequence: _Optional[int] = ..., time_ns: _Optional[int] = ..., last: _Optional[int] = ..., last_per_key: bool = ...) -> None: ...

class Durable(_message.Message):
    __slots__ = ("name", "window", "exactly_once", "ack_deadline_ms", "max_deliveries", "dead_letter_topic", "filter")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    EXACTLY_ONCE_FIELD_NUMBER: _ClassVar[int]
    ACK_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_TOPIC_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    window: int
    exactly_once: bool
    ack_deadline_ms: int
    max_deliveries: int
    dead_letter_topic: str
    filter: str
    def __init__(self, name: _Optional[str] = ..., window: _Optional[int] = ..., exactly_once: bool = ..., ack_deadline_ms: _Optional[int] = ..., max_deliveries: _Optional[int] = ..., dead_letter_topic: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class DurableRecord(_message.Message):
    __slots__ = ("durable", "patterns", "uid", "page")
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    durable: Durable
    patterns: _containers.RepeatedScalarFieldContainer[str]
    uid: int
    page: int
    def __init__(self, durable: _Optional[_Union[Durable, _Mapping]] = ..., patterns: _Optional[_Iterable[str]] = ..., uid: _Optional[int] = ..., page: _Optional[int] = ...) -> None: ...

class Subscribe(_message.Message):
    __slots__ = ("subscription", "patterns", "lossless", "start", "type", "durable", "established")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    LOSSLESS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    ESTABLISHED_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    patterns: _containers.RepeatedScalarFieldContainer[str]
    lossless: bool
    start: StartPosition
    type: TopicType
    durable: Durable
    established: bool
    def __init__(self, subscription: _Optional[int] = ..., patterns: _Optional[_Iterable[str]] = ..., lossless: bool = ..., start: _Optional[_Union[StartPosition, _Mapping]] = ..., type: _Optional[_Union[TopicType, _Mapping]] = ..., durable: _Optional[_Union[Durable, _Mapping]] = ..., established: bool = ...) -> None: ...

class ForgetDurable(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ("rings",)
    RINGS_FIELD_NUMBER: _ClassVar[int]
    rings: int
    def __init__(self, rings: _Optional[int] = ...) -> None: ...

class Unsubscribe(_message.Message):
    __slots__ = ("subscription",)
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    def __init__(self, subscription: _Optional[int] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("subscription", "pattern", "session", "cursor", "lossless", "start", "shed", "group", "group_lane", "member")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LOSSLESS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    GROUP_LANE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    pattern: str
    session: int
    cursor: int
    lossless: bool
    start: int
    shed: bool
    group: int
    group_lane: int
    member: int
    def __init__(self, subscription: _Optional[int] = ..., pattern: _Optional[str] = ..., session: _Optional[int] = ..., cursor: _Optional[int] = ..., lossless: bool = ..., start: _Optional[int] = ..., shed: bool = ..., group: _Optional[int] = ..., group_lane: _Optional[int] = ..., member: _Optional[int] = ...) -> None: ...

class RingAdded(_message.Message):
    __slots__ = ("topic", "topic_id", "lane", "generation", "bell", "has_descriptor", "bindings", "type_name", "continues")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    HAS_DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    CONTINUES_FIELD_NUMBER: _ClassVar[int]
    topic: str
    topic_id: int
    lane: int
    generation: int
    bell: int
    has_descriptor: bool
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    type_name: str
    continues: bool
    def __init__(self, topic: _Optional[str] = ..., topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., generation: _Optional[int] = ..., bell: _Optional[int] = ..., has_descriptor: bool = ..., bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., type_name: _Optional[str] = ..., continues: bool = ...) -> None: ...

class Demoted(_message.Message):
    __slots__ = ("subscription", "topic", "position", "behind", "stalled_ms")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    STALLED_MS_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    topic: str
    position: int
    behind: int
    stalled_ms: int
    def __init__(self, subscription: _Optional[int] = ..., topic: _Optional[str] = ..., position: _Optional[int] = ..., behind: _Optional[int] = ..., stalled_ms: _Optional[int] = ...) -> None: ...

class GroupAdded(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: int
    def __init__(self, group: _Optional[int] = ...) -> None: ...

class KeptAdded(_message.Message):
    __slots__ = ("topic_id", "subscription")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    subscription: int
    def __init__(self, topic_id: _Optional[int] = ..., subscription: _Optional[int] = ...) -> None: ...

class GetKept(_message.Message):
    __slots__ = ("topic",)
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    topic: str
    def __init__(self, topic: _Optional[str] = ...) -> None: ...

class Kept(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionExtended(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: int
    def __init__(self, session: _Optional[int] = ...) -> None: ...

class AnnounceReady(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadyNoted(_message.Message):
    __slots__ = ("heartbeat_ms", "collector")
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    heartbeat_ms: int
    collector: str
    def __init__(self, heartbeat_ms: _Optional[int] = ..., collector: _Optional[str] = ...) -> None: ...

class AuthorizeCall(_message.Message):
    __slots__ = ("service", "operation", "session", "pid", "start_time", "auth_info", "ring", "uid", "client_id")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    AUTH_INFO_FIELD_NUMBER: _ClassVar[int]
    RING_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    service: str
    operation: _rpc_pb2.CollectorOperation
    session: int
    pid: int
    start_time: int
    auth_info: _eventbus_pb2.RpcAuthInfo
    ring: str
    uid: int
    client_id: str
    def __init__(self, service: _Optional[str] = ..., operation: _Optional[_Union[_rpc_pb2.CollectorOperation, str]] = ..., session: _Optional[int] = ..., pid: _Optional[int] = ..., start_time: _Optional[int] = ..., auth_info: _Optional[_Union[_eventbus_pb2.RpcAuthInfo, _Mapping]] = ..., ring: _Optional[str] = ..., uid: _Optional[int] = ..., client_id: _Optional[str] = ...) -> None: ...

class CallAuthorized(_message.Message):
    __slots__ = ("allowed", "reason", "forged", "unheard")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FORGED_FIELD_NUMBER: _ClassVar[int]
    UNHEARD_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    reason: str
    forged: bool
    unheard: bool
    def __init__(self, allowed: bool = ..., reason: _Optional[str] = ..., forged: bool = ..., unheard: bool = ...) -> None: ...

class AccessChanged(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExplainAccess(_message.Message):
    __slots__ = ("topic", "uid", "gid", "groups", "collector", "token")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    topic: str
    uid: int
    gid: int
    groups: _containers.RepeatedScalarFieldContainer[int]
    collector: str
    token: str
    def __init__(self, topic: _Optional[str] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., groups: _Optional[_Iterable[int]] = ..., collector: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class AccessExplained(_message.Message):
    __slots__ = ("verdicts",)
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[AccessVerdict]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[AccessVerdict, _Mapping]]] = ...) -> None: ...

class AccessVerdict(_message.Message):
    __slots__ = ("action", "allowed", "rule", "budget")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    action: str
    allowed: bool
    rule: str
    budget: PublishBudget
    def __init__(self, action: _Optional[str] = ..., allowed: bool = ..., rule: _Optional[str] = ..., budget: _Optional[_Union[PublishBudget, _Mapping]] = ...) -> None: ...

class ReportStuck(_message.Message):
    __slots__ = ("topic_id", "lane", "sequence", "full")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    lane: int
    sequence: int
    full: bool
    def __init__(self, topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., sequence: _Optional[int] = ..., full: bool = ...) -> None: ...

class Resize(_message.Message):
    __slots__ = ("topic", "slots", "arena_bytes")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ARENA_BYTES_FIELD_NUMBER: _ClassVar[int]
    topic: str
    slots: int
    arena_bytes: int
    def __init__(self, topic: _Optional[str] = ..., slots: _Optional[int] = ..., arena_bytes: _Optional[int] = ...) -> None: ...

class SetLimits(_message.Message):
    __slots__ = ("topic", "limits")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    limits: TopicLimits
    def __init__(self, topic: _Optional[str] = ..., limits: _Optional[_Union[TopicLimits, _Mapping]] = ...) -> None: ...

class ListTopics(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TopicEntry(_message.Message):
    __slots__ = ("topic", "topic_id", "lane", "generation", "type_name", "head", "tail", "used_bytes", "publishers", "subscribers", "gates", "messages", "fill", "max_messages", "max_bytes", "max_message_bytes", "retention_ns", "on_full")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PUBLISHERS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RETENTION_NS_FIELD_NUMBER: _ClassVar[int]
    ON_FULL_FIELD_NUMBER: _ClassVar[int]
    topic: str
    topic_id: int
    lane: int
    generation: int
    type_name: str
    head: int
    tail: int
    used_bytes: int
    publishers: int
    subscribers: int
    gates: int
    messages: int
    fill: float
    max_messages: int
    max_bytes: int
    max_message_bytes: int
    retention_ns: int
    on_full: str
    def __init__(self, topic: _Optional[str] = ..., topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., generation: _Optional[int] = ..., type_name: _Optional[str] = ..., head: _Optional[int] = ..., tail: _Optional[int] = ..., used_bytes: _Optional[int] = ..., publishers: _Optional[int] = ..., subscribers: _Optional[int] = ..., gates: _Optional[int] = ..., messages: _Optional[int] = ..., fill: _Optional[float] = ..., max_messages: _Optional[int] = ..., max_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., retention_ns: _Optional[int] = ..., on_full: _Optional[str] = ...) -> None: ...

class TopicList(_message.Message):
    __slots__ = ("topics",)
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[TopicEntry]
    def __init__(self, topics: _Optional[_Iterable[_Union[TopicEntry, _Mapping]]] = ...) -> None: ...

class ReadLedger(_message.Message):
    __slots__ = ("page", "place")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    page: int
    place: int
    def __init__(self, page: _Optional[int] = ..., place: _Optional[int] = ...) -> None: ...

class LedgerPart(_message.Message):
    __slots__ = ("accounts", "page", "place")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[LedgerAccount]
    page: int
    place: int
    def __init__(self, accounts: _Optional[_Iterable[_Union[LedgerAccount, _Mapping]]] = ..., page: _Optional[int] = ..., place: _Optional[int] = ...) -> None: ...

class LedgerAccount(_message.Message):
    __slots__ = ("reader", "process", "subscription", "topic", "lane", "lines")
    READER_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    reader: str
    process: LedgerProcess
    subscription: int
    topic: str
    lane: int
    lines: _containers.RepeatedCompositeFieldContainer[LedgerLine]
    def __init__(self, reader: _Optional[str] = ..., process: _Optional[_Union[LedgerProcess, _Mapping]] = ..., subscription: _Optional[int] = ..., topic: _Optional[str] = ..., lane: _Optional[int] = ..., lines: _Optional[_Iterable[_Union[LedgerLine, _Mapping]]] = ...) -> None: ...

class LedgerProcess(_message.Message):
    __slots__ = ("pid", "start_time", "pid_namespace", "dead", "name", "session", "uid")
    PID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    PID_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    start_time: int
    pid_namespace: int
    dead: bool
    name: str
    session: int
    uid: int
    def __init__(self, pid: _Optional[int] = ..., start_time: _Optional[int] = ..., pid_namespace: _Optional[int] = ..., dead: bool = ..., name: _Optional[str] = ..., session: _Optional[int] = ..., uid: _Optional[int] = ...) -> None: ...

class LedgerLine(_message.Message):
    __slots__ = ("publisher", "published", "delivered", "overrun", "expired", "corrupt", "filtered", "dead", "repeated", "in_flight")
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    OVERRUN_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    CORRUPT_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    publisher: LedgerProcess
    published: int
    delivered: int
    overrun: int
    expired: int
    corrupt: int
    filtered: int
    dead: int
    repeated: int
    in_flight: int
    def __init__(self, publisher: _Optional[_Union[LedgerProcess, _Mapping]] = ..., published: _Optional[int] = ..., delivered: _Optional[int] = ..., overrun: _Optional[int] = ..., expired: _Optional[int] = ..., corrupt: _Optional[int] = ..., filtered: _Optional[int] = ..., dead: _Optional[int] = ..., repeated: _Optional[int] = ..., in_flight: _Optional[int] = ...) -> None: ...

class GetStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClientStatus(_message.Message):
    __slots__ = ("name", "pid", "uid", "session", "publishers", "subscriptions", "queued_packets")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PUBLISHERS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_PACKETS_FIELD_NUMBER: _ClassVar[int]
    name: str
    pid: int
    uid: int
    session: int
    publishers: int
    subscriptions: int
    queued_packets: int
    def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., uid: _Optional[int] = ..., session: _Optional[int] = ..., publishers: _Optional[int] = ..., subscriptions: _Optional[int] = ..., queued_packets: _Optional[int] = ...) -> None: ...

class CollectorStatus(_message.Message):
    __slots__ = ("name", "state", "pid", "restarts", "reason", "health", "last_lines", "since_ms", "silent_ms", "queue_depth", "said", "why", "said_reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    LAST_LINES_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    SAID_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    pid: int
    restarts: int
    reason: str
    health: str
    last_lines: _containers.RepeatedScalarFieldContainer[str]
    since_ms: int
    silent_ms: int
    queue_depth: int
    said: str
    why: str
    said_reason: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., pid: _Optional[int] = ..., restarts: _Optional[int] = ..., reason: _Optional[str] = ..., health: _Optional[str] = ..., last_lines: _Optional[_Iterable[str]] = ..., since_ms: _Optional[int] = ..., silent_ms: _Optional[int] = ..., queue_depth: _Optional[int] = ..., said: _Optional[str] = ..., why: _Optional[str] = ..., said_reason: _Optional[str] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("bus", "pid", "uptime_ms", "topics", "clients", "collectors", "repaired_claims", "skipped_claims", "successors", "refused_peers", "health")
    BUS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    COLLECTORS_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_CLAIMS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_CLAIMS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSORS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_PEERS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    bus: str
    pid: int
    uptime_ms: int
    topics: int
    clients: _containers.RepeatedCompositeFieldContainer[ClientStatus]
    collectors: _containers.RepeatedCompositeFieldContainer[CollectorStatus]
    repaired_claims: int
    skipped_claims: int
    successors: int
    refused_peers: int
    health: str
    def __init__(self, bus: _Optional[str] = ..., pid: _Optional[int] = ..., uptime_ms: _Optional[int] = ..., topics: _Optional[int] = ..., clients: _Optional[_Iterable[_Union[ClientStatus, _Mapping]]] = ..., collectors: _Optional[_Iterable[_Union[CollectorStatus, _Mapping]]] = ..., repaired_claims: _Optional[int] = ..., skipped_claims: _Optional[int] = ..., successors: _Optional[int] = ..., refused_peers: _Optional[int] = ..., health: _Optional[str] = ...) -> None: ...

class ControlCollector(_message.Message):
    __slots__ = ("name", "action")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[ControlCollector.Action]
        ACTION_START: _ClassVar[ControlCollector.Action]
        ACTION_STOP: _ClassVar[ControlCollector.Action]
        ACTION_RESTART: _ClassVar[ControlCollector.Action]
        ACTION_PAUSE: _ClassVar[ControlCollector.Action]
        ACTION_RESUME: _ClassVar[ControlCollector.Action]
        ACTION_RELOAD: _ClassVar[ControlCollector.Action]
    ACTION_UNSPECIFIED: ControlCollector.Action
    ACTION_START: ControlCollector.Action
    ACTION_STOP: ControlCollector.Action
    ACTION_RESTART: ControlCollector.Action
    ACTION_PAUSE: ControlCollector.Action
    ACTION_RESUME: ControlCollector.Action
    ACTION_RELOAD: ControlCollector.Action
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    action: ControlCollector.Action
    def __init__(self, name: _Optional[str] = ..., action: _Optional[_Union[ControlCollector.Action, str]] = ...) -> None: ...

class ReloadConfig(_message.Message):
    __slots__ = ("validate_only",)
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    validate_only: bool
    def __init__(self, validate_only: bool = ...) -> None: ...

class ConfigReloaded(_message.Message):
    __slots__ = ("differences",)
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, differences: _Optional[_Iterable[str]] = ...) -> None: ...

class StopBus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ControlError(_message.Message):
    __slots__ = ("code", "message", "error", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ErrorDetail
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ErrorDetail, _Mapping]] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: ControlErrorCode
    message: str
    error: str
    details: _containers.MessageMap[str, ErrorDetail]
    def __init__(self, code: _Optional[_Union[ControlErrorCode, str]] = ..., message: _Optional[str] = ..., error: _Optional[str] = ..., details: _Optional[_Mapping[str, ErrorDetail]] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("text", "integer", "real", "texts")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    text: str
    integer: int
    real: float
    texts: TextList
    def __init__(self, text: _Optional[str] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., texts: _Optional[_Union[TextList, _Mapping]] = ...) -> None: ...

class TextList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...
