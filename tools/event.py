"""An event in one line for people, and as a JSON object for programs."""

import base64
import json
import pwd
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from google.protobuf import json_format, text_format
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from shmbus.message import Gap, Message
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import (
    FilesystemEventData,
    NetworkEventData,
    PerformanceEventData,
    ProcessEventData,
    ProcessEventSubtype,
)

from .text import plural, printable

RAW_BYTES_SHOWN: Final = 64
GIST_CHARACTERS: Final = 400
COMMAND_CHARACTERS: Final = 240

_COLOURS: Final = ("\x1b[2m", "\x1b[36m", "\x1b[1;31m", "\x1b[0m")
_NO_COLOURS: Final = ("", "", "", "")

_REASONS: Final = {
    "overrun": "overrun: the ring went round before they were read",
    "expired": "expired: they were past their time",
    "corrupt": "corrupt: their checksum or bounds were wrong",
    "demoted": "demoted: this reader held the full topic up for too long, publishers wait for it no more",
    "order": "order: these numbers of a correlation group did not come in time",
}
_URGENT_LANE: Final = 1
_PROCESS_VERBS: Final = {
    ProcessEventSubtype.PROCESS_CREATED: "start",
    ProcessEventSubtype.PROCESS_UPDATED: "update",
    ProcessEventSubtype.PROCESS_TERMINATED: "stop",
    ProcessEventSubtype.PROCESS_SUSPENDED: "suspend",
    ProcessEventSubtype.PROCESS_RESUMED: "resume",
}
_ENDS: Final = {"exit_status": "status", "exit_signal": "killed by"}


def line(item: Message | Gap, *, colour: bool = False) -> str:
    """Time of day (local), topic, sequence, producer, and what happened; without a newline."""
    dim, topic, alarm, plain = _COLOURS if colour else _NO_COLOURS
    if isinstance(item, Gap):
        lost = f"{plural(item.count, 'message')} lost, {_REASONS[item.reason]}"
        return f"{' ' * 12}  {topic}{item.topic}{plain} #{item.first}  {alarm}GAP{plain}  {lost}"
    time = item.time.astimezone()
    clock = f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"
    place = f"#{item.sequence}{_lane(item)}"
    return (
        f"{dim}{clock}{plain}  {topic}{item.topic}{plain} {dim}{place}  {_producer(item)}{plain}  {gist(_event(item))}"
    )


def as_json(item: Message | Gap) -> str:
    """The same as one JSON object; the event with the field names of the schema, fields without a value too."""
    return json.dumps(_gap(item) if isinstance(item, Gap) else _message(item), ensure_ascii=False, default=str)


def gist(event: object) -> str:
    """What an event says, in one printable line."""
    if isinstance(event, bytes):
        return _raw(event)
    if not isinstance(event, ProtobufMessage):
        return "(no payload)" if event is None else printable(str(event))
    tell = _GISTS.get(type(event).__name__)
    text = tell(event) if tell else f"{event.DESCRIPTOR.name} {text_format.MessageToString(event, as_one_line=True)}"
    text = printable(text)
    return text if len(text) <= GIST_CHARACTERS else text[: GIST_CHARACTERS - 1] + "…"


def _event(message: Message) -> object:
    try:
        return message.event
    except (DecodeError, KeyError):
        return message.payload  # no event, whatever it says, or of a type that nobody here knows: show what came


def _process(event: ProcessEventData) -> str:
    process = event.process
    words = [_PROCESS_VERBS.get(event.subtype, f"subtype {event.subtype}"), f"pid {process.pid}"]
    if process.HasField("ppid"):
        words.append(f"(ppid {process.ppid})")
    words.extend(_end(event))
    words.append(_command(process))
    if process.HasField("user_id"):
        words.append(f"user {_user(process.user_id)}")
    return " ".join(words)


def _command(process: ProcessRecord) -> str:
    if not process.command_line:
        return process.executable_path or f"[{process.name}]"
    arguments = list(process.command_line)
    if process.executable_path.endswith(f"/{arguments[0]}"):
        arguments[0] = process.executable_path
    command = " ".join(one if one and not any(map(str.isspace, one)) else f"'{one}'" for one in arguments)
    return command if len(command) <= COMMAND_CHARACTERS else command[: COMMAND_CHARACTERS - 1] + "…"


@cache
def _user(user_id: str) -> str:
    """Its name, where there is one."""
    try:
        return pwd.getpwuid(int(user_id)).pw_name
    except (KeyError, ValueError, OverflowError):
        return user_id


def _end(event: ProcessEventData) -> list[str]:
    if event.subtype != ProcessEventSubtype.PROCESS_TERMINATED:
        return []
    labels = dict(label.partition("=")[::2] for label in event.security_context.security_labels)
    return [f"{words} {labels[name]}" for name, words in _ENDS.items() if name in labels]


def _network(event: NetworkEventData) -> str:
    one = event.network
    return f"{_subtype(event)} {one.protocol} {one.source_address} → {one.destination_address} {one.state}{_of(one)}"


def _filesystem(event: FilesystemEventData) -> str:
    return f"{_subtype(event)} {event.filesystem.path}{_of(event.filesystem)}"


def _performance(event: PerformanceEventData) -> str:
    one = event.performance
    return f"{_subtype(event)} {one.metric_name} {one.value:g} {one.unit}{_of(one)}"


def _subtype(event: Any) -> str:
    field = event.DESCRIPTOR.fields_by_name["subtype"]
    value = field.enum_type.values_by_number.get(event.subtype)
    return value.name.lower().replace("_", " ") if value else f"subtype {event.subtype}"


def _of(record: Any) -> str:
    return f" pid {record.pid}" if record.HasField("pid") else ""


_GISTS: Final[dict[str, Callable[[Any], str]]] = {
    "ProcessEventData": _process,
    "NetworkEventData": _network,
    "FilesystemEventData": _filesystem,
    "PerformanceEventData": _performance,
}


def _raw(data: bytes) -> str:
    shown = data[:RAW_BYTES_SHOWN]
    text = "".join(chr(one) if 32 <= one < 127 and one != 92 else f"\\x{one:02x}" for one in shown)
    return f"{plural(len(data), 'byte')} {text}{'…' if len(data) > len(shown) else ''}"


def _producer(message: Message) -> str:
    producer = message.producer
    return "?" if producer is None else f"{printable(producer.name)}[{producer.pid}]"


def _lane(message: Message) -> str:
    """Each lane has sequences of its own."""
    return " urgent" if message.lane == _URGENT_LANE else ""


def _gap(gap: Gap) -> dict[str, object]:
    return {"gap": {"topic": gap.topic, "first": gap.first, "count": gap.count, "reason": gap.reason}}


def _message(message: Message) -> dict[str, object]:
    producer = message.producer
    told: dict[str, object] = {
        "topic": message.topic,
        "sequence": message.sequence,
        "lane": message.lane,
        "time": _iso(message.time),
        "producer": None if producer is None else {"name": producer.name, "pid": producer.pid, "uid": producer.uid},
        "priority": message.priority,
    }
    if message.key is not None:
        told["key"] = message.key
    event = _event(message)
    if isinstance(event, ProtobufMessage):
        told["type"] = event.DESCRIPTOR.full_name
        told["event"] = _dict(event)
    elif isinstance(event, bytes):
        told["payload"] = base64.b64encode(event).decode()
    told.update(_correlation(message))
    return told


def _correlation(message: Message) -> dict[str, object]:
    try:
        envelope = message.envelope
    except DecodeError:
        return {}
    if envelope is None or not envelope.HasField("correlation"):
        return {}
    return {"correlation": _dict(envelope.correlation)}


def _dict(message: ProtobufMessage) -> Any:
    # Without a value too: start is the first value of its enum, and would not be there.
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
