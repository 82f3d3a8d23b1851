from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class DeadLetter(_message.Message):
    __slots__ = ("durable", "topic", "lane", "sequence", "deliveries", "producer", "producer_pid", "producer_sequence", "timestamp", "priority", "kind", "type_name", "payload")
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_PID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TYPE_NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    durable: str
    topic: str
    lane: int
    sequence: int
    deliveries: int
    producer: str
    producer_pid: int
    producer_sequence: int
    timestamp: int
    priority: int
    kind: int
    type_name: str
    payload: bytes
    def __init__(self, durable: _Optional[str] = ..., topic: _Optional[str] = ..., lane: _Optional[int] = ..., sequence: _Optional[int] = ..., deliveries: _Optional[int] = ..., producer: _Optional[str] = ..., producer_pid: _Optional[int] = ..., producer_sequence: _Optional[int] = ..., timestamp: _Optional[int] = ..., priority: _Optional[int] = ..., kind: _Optional[int] = ..., type_name: _Optional[str] = ..., payload: _Optional[bytes] = ...) -> None: ...
