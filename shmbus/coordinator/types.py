"""Message types of topics: may two sides that know a type by different descriptors talk to each other?

They may, if every field number that both know means the same to both: same name, type and label, and the same for the
messages and enums inside. A number that only one side knows is how protobuf grows, and no difference.
"""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from shmbus.errors import LimitError

MAX_DIFFERENCES = 8  # told of; the rest would not help
MAX_DESCRIPTOR_BYTES = 4 * 1024 * 1024

_Types = dict[str, DescriptorProto | EnumDescriptorProto]


def parse_descriptors(data: bytes, type_name: str) -> FileDescriptorSet:
    """The descriptors of a type. Raises LimitError when they are too large, ValueError when they do not describe it."""
    if len(data) > MAX_DESCRIPTOR_BYTES:
        raise LimitError(
            f"bytes of the descriptors of {type_name}", MAX_DESCRIPTOR_BYTES, len(data), "Split the .proto files."
        )
    try:
        parsed = FileDescriptorSet.FromString(data)
    except DecodeError:
        raise ValueError(
            f"{len(data)} bytes that are no FileDescriptorSet: send what shmbus.schema.descriptor_set makes"
        ) from None
    if type_name not in _types_of(parsed):
        raise ValueError(f"descriptors that do not hold the message type {type_name}: send those of that type")
    return parsed


def differences(type_name: str, ours: FileDescriptorSet, theirs: FileDescriptorSet) -> list[str]:
    """What contradicts between two descriptions of one type; empty: compatible. `ours` is the topic's."""
    found: list[str] = []
    for difference in _walk(type_name, _types_of(ours), _types_of(theirs)):
        found.append(difference)
        if len(found) == MAX_DIFFERENCES:
            break
    return found


def _types_of(files: FileDescriptorSet) -> _Types:
    types: _Types = {}
    for file in files.file:
        prefix = f"{file.package}." if file.package else ""
        types.update({prefix + enum.name: enum for enum in file.enum_type})
        pending = [(prefix, message) for message in file.message_type]
        while pending:
            prefix_here, message = pending.pop()
            name = prefix_here + message.name
            types[name] = message
            types.update({f"{name}.{enum.name}": enum for enum in message.enum_type})
            pending.extend((f"{name}.", nested) for nested in message.nested_type)
    return types


def _walk(type_name: str, ours: _Types, theirs: _Types) -> Iterator[str]:
    pending, seen = [type_name], {type_name}
    while pending:
        name = pending.pop()
        mine, yours = ours.get(name), theirs.get(name)
        if isinstance(mine, DescriptorProto) and isinstance(yours, DescriptorProto):
            yield from _message_differences(name, mine, yours)
            inside = {field.type_name.lstrip(".") for field in mine.field if field.type_name}
            pending.extend(inside - seen)
            seen |= inside
        elif isinstance(mine, EnumDescriptorProto) and isinstance(yours, EnumDescriptorProto):
            yield from _enum_differences(name, mine, yours)


def _message_differences(name: str, mine: DescriptorProto, yours: DescriptorProto) -> Iterator[str]:
    others = {field.number: field for field in yours.field}
    for field in mine.field:
        other = others.get(field.number)
        if other is not None and _described(field) != _described(other):
            yield f"field {field.number} of {name} is '{_described(field)}' in the topic, not '{_described(other)}'"


def _enum_differences(name: str, mine: EnumDescriptorProto, yours: EnumDescriptorProto) -> Iterator[str]:
    others = {value.number: value.name for value in yours.value}
    for value in mine.value:
        other = others.get(value.number, value.name)
        if other != value.name:
            yield f"value {value.number} of {name} is '{value.name}' in the topic, not '{other}'"


def _described(field: FieldDescriptorProto) -> str:
    label = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
    kind = field.type_name.lstrip(".") or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{label}{kind} {field.name}"
