"""The messages are those of the published schema: the same names, numbers, types and labels, and the same bytes."""

import pytest
from google.protobuf.descriptor import FieldDescriptor

from shmbus.v1 import common_pb2, eventbus_pb2, ipc_pb2, rpc_pb2
from unit.schema_table import ENUMS, MESSAGES, THREE_UNDEFINED

MODULES = (common_pb2, ipc_pb2, eventbus_pb2, rpc_pb2)
OURS = 100  # what we add to a published message or enum takes numbers from here up
SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("string", "bytes", "bool", "double", "int64", "uint32", "uint64")
}


def rows(text):
    return {line.strip() for line in text.splitlines() if line.strip()}


def message_descriptor(name):
    return next(found for module in MODULES if (found := module.DESCRIPTOR.message_types_by_name.get(name)))


def enum_descriptor(name):
    return next(found for module in MODULES if (found := module.DESCRIPTOR.enum_types_by_name.get(name)))


def is_map(field):
    return bool(field.message_type) and field.message_type.GetOptions().map_entry


def type_name(field):
    if is_map(field):
        entry = field.message_type.fields_by_name
        return f"map<{type_name(entry['key'])}, {type_name(entry['value'])}>"
    named = field.message_type or field.enum_type
    return named.name if named else SCALARS[field.type]


def label(field):
    if field.is_repeated:
        return "" if is_map(field) else "[]"
    oneof = field.containing_oneof
    if oneof is None:
        return ""
    return "?" if oneof.name == f"_{field.name}" else f" ({oneof.name})"  # proto3 puts an optional into its own oneof


def row(field):
    return f"{field.number} {field.name}: {type_name(field)}{label(field)}"


@pytest.mark.parametrize("name", MESSAGES)
def test_message_has_every_published_field(name):
    fields = message_descriptor(name).fields
    assert {row(field) for field in fields if field.number < OURS} == rows(MESSAGES[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_what_we_add_to_a_published_message_is_optional(name):
    added = [field for field in message_descriptor(name).fields if field.number >= OURS]
    assert all(label(field) or is_map(field) for field in added)


@pytest.mark.parametrize("name", ENUMS)
def test_enum_has_every_published_value(name):
    values = enum_descriptor(name).values
    assert {f"{value.number} {value.name}" for value in values if value.number < OURS} == rows(ENUMS[name])


def test_nothing_is_published_that_the_table_does_not_know():
    files = (common_pb2.DESCRIPTOR, ipc_pb2.DESCRIPTOR, eventbus_pb2.DESCRIPTOR)
    assert {name for file in files for name in file.message_types_by_name} == set(MESSAGES)
    assert {name for file in files for name in file.enum_types_by_name} == set(ENUMS)


@pytest.mark.parametrize(("name", "prefix"), THREE_UNDEFINED)
def test_enum_of_ours_has_every_known_value_under_its_prefix(name, prefix):
    known = THREE_UNDEFINED[name, prefix].split()
    unset = [] if name == "HealthStatus" else ["UNSPECIFIED"]
    values = [value.name for value in enum_descriptor(name).values if value.number < OURS]
    assert values == [prefix + value for value in unset + known]


@pytest.mark.parametrize("message", [rpc_pb2.RpcRequest, rpc_pb2.RpcResponse])
def test_every_rpc_payload_is_a_message(message):
    payload = message.DESCRIPTOR.oneofs_by_name["payload"].fields
    assert payload and all(field.message_type for field in payload)


# Written out by hand from the table, a line a field: tag (number << 3 | wire type), then the value.

PROCESS_RECORD = bytes.fromhex(
    "08 99 20"  # 1 pid = 4121
    "10 01"  # 2 ppid = 1
    "1a 02 73 68"  # 3 name = "sh"
    "2a 02 73 68 2a 02 2d 63"  # 5 command_line = ["sh", "-c"]
    "39 00 00 00 00 00 00 f8 3f"  # 7 cpu_usage = 1.5
    "60 01"  # 12 accessible
    "70 d2 09"  # 14 collection_time = 1234
    "80 01 01"  # 16 on_disk_mismatch
)

ENVELOPE = bytes.fromhex(
    "0a 09"  # 1 metadata
    "   0a 01 6d"  # 1 message_id = "m"
    "   12 01 74"  # 2 topic = "t"
    "   20 c0 01"  # 4 priority = 192; 3 message_type is COLLECTION_EVENT, 0, and so not written
    "1a 32"  # 3 collection_event
    "   12 08 0a 02 00 01 12 02 10 01"  # 2 source_capabilities: domains PROCESS, NETWORK (packed); advanced.realtime
    "   1a 26"  # 3 process_event
    f"      0a 22 {PROCESS_RECORD.hex()}"  # 1 process
    "       10 02"  # 2 subtype = PROCESS_TERMINATED
)

HEARTBEAT = bytes.fromhex(
    "0a 01 63"  # 1 component_id = "c"
    "10 03"  # 2 health_status = UNHEALTHY
    "22 0c 0a 01 78 11 00 00 00 00 00 00 e0 3f"  # 4 metrics = {"x": 0.5}
    "28 00"  # 5 active_connections = 0, and said to be
)


def process_record():
    return common_pb2.ProcessRecord(
        pid=4121,
        ppid=1,
        name="sh",
        command_line=["sh", "-c"],
        cpu_usage=1.5,
        accessible=True,
        collection_time=1234,
        on_disk_mismatch=True,
    )


def envelope():
    return eventbus_pb2.EventBusMessage(
        metadata=eventbus_pb2.MessageMetadata(message_id="m", topic="t", priority=192),
        collection_event=eventbus_pb2.CollectionEventPayload(
            source_capabilities=ipc_pb2.CollectionCapabilities(
                supported_domains=[ipc_pb2.PROCESS, ipc_pb2.NETWORK],
                advanced=ipc_pb2.AdvancedCapabilities(realtime=True),
            ),
            process_event=eventbus_pb2.ProcessEventData(
                process=process_record(), subtype=eventbus_pb2.PROCESS_TERMINATED
            ),
        ),
    )


def heartbeat():
    return eventbus_pb2.HeartbeatPayload(
        component_id="c", health_status=rpc_pb2.UNHEALTHY, metrics={"x": 0.5}, active_connections=0
    )


@pytest.mark.parametrize(
    ("message", "golden"),
    [(process_record(), PROCESS_RECORD), (envelope(), ENVELOPE), (heartbeat(), HEARTBEAT)],
    ids=["process record", "envelope", "heartbeat"],
)
def test_message_has_the_published_bytes(message, golden):
    assert message.SerializeToString(deterministic=True) == golden
    assert type(message).FromString(golden) == message
