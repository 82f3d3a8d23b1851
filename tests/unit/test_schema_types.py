"""Message types by their descriptors: fingerprints tell versions apart; what was never imported can be learned."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from shmbus import schema
from shmbus.v1.eventbus_pb2 import EventBusMessage


def reading(package, *fields):
    """A message class in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}/reading.proto", package=package, syntax="proto3")
    message = file.message_type.add(name="Reading")
    for number, name in enumerate(fields, 1):
        message.field.add(name=name, number=number, type=3, label=1)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Reading"))


def test_a_fingerprint_is_that_of_everything_a_type_is_made_of():
    one, same, other = reading("fp", "a", "b"), reading("fp", "a", "b"), reading("fp", "a", "c")
    assert schema.fingerprint(one.DESCRIPTOR) == schema.fingerprint(same.DESCRIPTOR)
    assert schema.fingerprint(one.DESCRIPTOR) != schema.fingerprint(other.DESCRIPTOR)
    assert len(schema.fingerprint(EventBusMessage.DESCRIPTOR)) == 32


def test_a_descriptor_set_has_dependencies_first_and_once():
    names = [file.name for file in FileDescriptorSet.FromString(schema.descriptor_set(EventBusMessage.DESCRIPTOR)).file]
    assert names[-1] == "shmbus/v1/eventbus.proto" and "shmbus/v1/common.proto" in names[:-1]
    assert len(names) == len(set(names))


def test_a_type_that_was_never_imported_is_learned_from_its_descriptors():
    theirs = reading("learned", "value")
    with pytest.raises(
        KeyError, match="the message type 'learned.Reading' is not known here: import its generated module"
    ):
        schema.message_class("learned.Reading")
    schema.learn(schema.descriptor_set(theirs.DESCRIPTOR))
    ours = schema.message_class("learned.Reading")
    assert ours.FromString(theirs(value=42).SerializeToString()).value == 42
    schema.learn(schema.descriptor_set(theirs.DESCRIPTOR))


def test_an_imported_type_counts_more_than_a_learned_one():
    schema.learn(schema.descriptor_set(EventBusMessage.DESCRIPTOR))
    assert schema.message_class("shmbus.v1.EventBusMessage") is EventBusMessage
    assert schema.class_of(EventBusMessage.DESCRIPTOR) is EventBusMessage


def test_another_version_of_what_was_learned_is_refused():
    schema.learn(schema.descriptor_set(reading("twice", "a").DESCRIPTOR))
    with pytest.raises(TypeError):
        schema.learn(schema.descriptor_set(reading("twice", "b").DESCRIPTOR))
