from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClientPacket(_message.Message):
    __slots__ = ("id", "spilled_bytes", "hello", "open_publisher", "close_publisher", "subscribe", "unsubscribe", "report_stuck", "get_status", "stop_bus")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPEN_PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    CLOSE_PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    REPORT_STUCK_FIELD_NUMBER: _ClassVar[int]
    GET_STATUS_FIELD_NUMBER: _ClassVar[int]
    STOP_BUS_FIELD_NUMBER: _ClassVar[int]
    id: int
    spilled_bytes: int
    hello: Hello
    open_publisher: OpenPublisher
    close_publisher: ClosePublisher
    subscribe: Subscribe
    unsubscribe: Unsubscribe
    report_stuck: ReportStuck
    get_status: GetStatus
    stop_bus: StopBus
    def __init__(self, id: _Optional[int] = ..., spilled_bytes: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., open_publisher: _Optional[_Union[OpenPublisher, _Mapping]] = ..., close_publisher: _Optional[_Union[ClosePublisher, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., unsubscribe: _Optional[_Union[Unsubscribe, _Mapping]] = ..., report_stuck: _Optional[_Union[ReportStuck, _Mapping]] = ..., get_status: _Optional[_Union[GetStatus, _Mapping]] = ..., stop_bus: _Optional[_Union[StopBus, _Mapping]] = ...) -> None: ...

class ServerPacket(_message.Message):
    __slots__ = ("id", "spilled_bytes", "welcome", "publisher_opened", "subscribed", "status_reply", "done", "error", "ring_added", "successor", "session_added", "session_removed", "session_extended", "goodbye")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_OPENED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    STATUS_REPLY_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RING_ADDED_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    SESSION_ADDED_FIELD_NUMBER: _ClassVar[int]
    SESSION_REMOVED_FIELD_NUMBER: _ClassVar[int]
    SESSION_EXTENDED_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    id: int
    spilled_bytes: int
    welcome: Welcome
    publisher_opened: PublisherOpened
    subscribed: Subscribed
    status_reply: StatusReply
    done: Done
    error: ControlError
    ring_added: RingAdded
    successor: Successor
    session_added: SessionAdded
    session_removed: SessionRemoved
    session_extended: SessionExtended
    goodbye: Goodbye
    def __init__(self, id: _Optional[int] = ..., spilled_bytes: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., publisher_opened: _Optional[_Union[PublisherOpened, _Mapping]] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., status_reply: _Optional[_Union[StatusReply, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., error: _Optional[_Union[ControlError, _Mapping]] = ..., ring_added: _Optional[_Union[RingAdded, _Mapping]] = ..., successor: _Optional[_Union[Successor, _Mapping]] = ..., session_added: _Optional[_Union[SessionAdded, _Mapping]] = ..., session_removed: _Optional[_Union[SessionRemoved, _Mapping]] = ..., session_extended: _Optional[_Union[SessionExtended, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

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

class Hello(_message.Message):
    __slots__ = ("negotiation", "client_name", "start_time", "pid_namespace", "collector_token")
    NEGOTIATION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    PID_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_TOKEN_FIELD_NUMBER: _ClassVar[int]
    negotiation: VersionNegotiationRequest
    client_name: str
    start_time: int
    pid_namespace: int
    collector_token: str
    def __init__(self, negotiation: _Optional[_Union[VersionNegotiationRequest, _Mapping]] = ..., client_name: _Optional[str] = ..., start_time: _Optional[int] = ..., pid_namespace: _Optional[int] = ..., collector_token: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("negotiation", "bus", "boot_id", "session", "bell", "coordinator_pid")
    NEGOTIATION_FIELD_NUMBER: _ClassVar[int]
    BUS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_PID_FIELD_NUMBER: _ClassVar[int]
    negotiation: VersionNegotiationResponse
    bus: str
    boot_id: bytes
    session: int
    bell: int
    coordinator_pid: int
    def __init__(self, negotiation: _Optional[_Union[VersionNegotiationResponse, _Mapping]] = ..., bus: _Optional[str] = ..., boot_id: _Optional[bytes] = ..., session: _Optional[int] = ..., bell: _Optional[int] = ..., coordinator_pid: _Optional[int] = ...) -> None: ...

class TopicType(_message.Message):
    __slots__ = ("name", "fingerprint", "descriptors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: bytes
    descriptors: bytes
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[bytes] = ..., descriptors: _Optional[bytes] = ...) -> None: ...

class OpenPublisher(_message.Message):
    __slots__ = ("topic", "type", "producer_name")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_NAME_FIELD_NUMBER: _ClassVar[int]
    topic: str
    type: TopicType
    producer_name: str
    def __init__(self, topic: _Optional[str] = ..., type: _Optional[_Union[TopicType, _Mapping]] = ..., producer_name: _Optional[str] = ...) -> None: ...

class PublisherOpened(_message.Message):
    __slots__ = ("topic_id", "lane", "generation", "bell", "producer", "gating_sessions", "created", "on_full", "block_timeout_ms")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    GATING_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ON_FULL_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    topic_id: int
    lane: int
    generation: int
    bell: int
    producer: int
    gating_sessions: _containers.RepeatedScalarFieldContainer[int]
    created: bool
    on_full: str
    block_timeout_ms: int
    def __init__(self, topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., generation: _Optional[int] = ..., bell: _Optional[int] = ..., producer: _Optional[int] = ..., gating_sessions: _Optional[_Iterable[int]] = ..., created: bool = ..., on_full: _Optional[str] = ..., block_timeout_ms: _Optional[int] = ...) -> None: ...

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

class StartPosition(_message.Message):
    __slots__ = ("latest", "earliest", "sequence", "time_ns")
    LATEST_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    latest: bool
    earliest: bool
    sequence: int
    time_ns: int
    def __init__(self, latest: bool = ..., earliest: bool = ..., sequence: _Optional[int] = ..., time_ns: _Optional[int] = ...) -> None: ...

class Subscribe(_message.Message):
    __slots__ = ("subscription", "patterns", "lossless", "start", "type")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    LOSSLESS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    patterns: _containers.RepeatedScalarFieldContainer[str]
    lossless: bool
    start: StartPosition
    type: TopicType
    def __init__(self, subscription: _Optional[int] = ..., patterns: _Optional[_Iterable[str]] = ..., lossless: bool = ..., start: _Optional[_Union[StartPosition, _Mapping]] = ..., type: _Optional[_Union[TopicType, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("subscription", "pattern", "session", "cursor", "lossless", "start", "shed")
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LOSSLESS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    subscription: int
    pattern: str
    session: int
    cursor: int
    lossless: bool
    start: int
    shed: bool
    def __init__(self, subscription: _Optional[int] = ..., pattern: _Optional[str] = ..., session: _Optional[int] = ..., cursor: _Optional[int] = ..., lossless: bool = ..., start: _Optional[int] = ..., shed: bool = ...) -> None: ...

class RingAdded(_message.Message):
    __slots__ = ("topic", "topic_id", "lane", "generation", "bell", "has_descriptor", "bindings", "type_name")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BELL_FIELD_NUMBER: _ClassVar[int]
    HAS_DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    topic: str
    topic_id: int
    lane: int
    generation: int
    bell: int
    has_descriptor: bool
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    type_name: str
    def __init__(self, topic: _Optional[str] = ..., topic_id: _Optional[int] = ..., lane: _Optional[int] = ..., generation: _Optional[int] = ..., bell: _Optional[int] = ..., has_descriptor: bool = ..., bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., type_name: _Optional[str] = ...) -> None: ...

class SessionExtended(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: int
    def __init__(self, session: _Optional[int] = ...) -> None: ...

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

class GetStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("bus", "pid", "uptime_ms", "topics")
    BUS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    bus: str
    pid: int
    uptime_ms: int
    topics: int
    def __init__(self, bus: _Optional[str] = ..., pid: _Optional[int] = ..., uptime_ms: _Optional[int] = ..., topics: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("code", "message", "error")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    error: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
