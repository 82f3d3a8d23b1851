"""Which versions of a message type may meet on a topic."""

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

from shmbus.coordinator.types import MAX_DIFFERENCES, differences, parse_descriptors
from shmbus.errors import LimitError


def described(*fields, enum=()):
    """A message lab.Event; a field is (number, name, type[, repeated])."""
    files = FileDescriptorSet()
    file = files.file.add(name="lab.proto", package="lab")
    message = file.message_type.add(name="Event")
    for number, name, kind, *repeated in fields:
        label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
        field = message.field.add(number=number, name=name, label=label)
        if isinstance(kind, str):
            field.type_name, field.type = kind, FieldDescriptorProto.TYPE_MESSAGE
        else:
            field.type = kind
    nested = message.nested_type.add(name="Inner")
    nested.field.add(number=1, name="x", type=TEXT if enum != "changed" else NUMBER, label=1)
    return files


TEXT, NUMBER = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_UINT64


def test_a_field_that_only_one_side_knows_is_no_difference():
    old, new = described((1, "pid", NUMBER)), described((1, "pid", NUMBER), (2, "name", TEXT))
    assert differences("lab.Event", old, new) == differences("lab.Event", new, old) == []


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ((1, "pid", TEXT), "'string pid'"),
        ((1, "pid", NUMBER, "repeated"), "'repeated uint64 pid'"),
        ((1, "process", NUMBER), "'uint64 process'"),
    ],
)
def test_a_field_of_another_type_label_or_name_is_named(field, told):
    found = differences("lab.Event", described((1, "pid", NUMBER)), described(field))
    assert found == [f"field 1 of lab.Event is 'uint64 pid' in the topic, not {told}"]


def test_the_messages_inside_are_compared_too():
    ours, theirs = (described((1, "inner", ".lab.Event.Inner"), enum=kind) for kind in ((), "changed"))
    assert differences("lab.Event", ours, theirs) == [
        "field 1 of lab.Event.Inner is 'string x' in the topic, not 'uint64 x'"
    ]


def test_a_message_that_holds_itself_is_compared_once():
    assert differences("lab.Event", *[described((1, "next", ".lab.Event"))] * 2) == []


def test_no_more_differences_are_told_than_help():
    ours = described(*((number, "a", TEXT) for number in range(1, 50)))
    theirs = described(*((number, "b", TEXT) for number in range(1, 50)))
    assert len(differences("lab.Event", ours, theirs)) == MAX_DIFFERENCES


def test_descriptors_must_hold_the_type_they_come_for():
    data = described().SerializeToString()
    assert parse_descriptors(data, "lab.Event.Inner")
    with pytest.raises(ValueError, match="lab.Other"):
        parse_descriptors(data, "lab.Other")
    with pytest.raises(ValueError, match="no FileDescriptorSet"):
        parse_descriptors(b"\xff\xff", "lab.Event")
    with pytest.raises(LimitError):
        parse_descriptors(bytes(5 << 20), "lab.Event")
