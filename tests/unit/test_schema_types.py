"""Message types by their descriptors: fingerprints tell versions apart; what was never imported can be learned."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from shmbus import schema
from shmbus.v1 import common_pb2
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


def test_a_type_that_imports_what_is_known_here_is_learned():
    """Whether that is of protobuf or of ours; and again, when more of it is known."""
    pool, common = descriptor_pool.DescriptorPool(), common_pb2.DESCRIPTOR
    for name in ("own", "more"):
        file = descriptor_pb2.FileDescriptorProto(name=f"importing/{name}.proto", package=name, syntax="proto3")
        file.dependency.extend([timestamp_pb2.DESCRIPTOR.name, common.name])
        message = file.message_type.add(name="Reading")
        message.field.add(name="at", number=1, type=11, label=1, type_name=".google.protobuf.Timestamp")
        message.field.add(name="of", number=2, type=11, label=1, type_name=".shmbus.v1.ProcessRecord")
        for one in (timestamp_pb2.DESCRIPTOR, *common.dependencies, common):
            imported = descriptor_pb2.FileDescriptorProto()
            one.CopyToProto(imported)
            pool.Add(imported)
        pool.Add(file)
        theirs = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{name}.Reading"))
        schema.learn(schema.descriptor_set(theirs.DESCRIPTOR))
        sent = theirs(at={"seconds": 7}, of={"pid": 42}).SerializeToString()
        ours = schema.message_class(f"{name}.Reading").FromString(sent)
        assert (ours.at.ToSeconds(), ours.of.pid) == (7, 42)
    assert schema.message_class("shmbus.v1.ProcessRecord") is common_pb2.ProcessRecord


def test_an_imported_type_counts_more_than_a_learned_one():
    schema.learn(schema.descriptor_set(EventBusMessage.DESCRIPTOR))
    assert schema.message_class("shmbus.v1.EventBusMessage") is EventBusMessage
    assert schema.class_of(EventBusMessage.DESCRIPTOR) is EventBusMessage


def test_another_version_of_what_was_learned_is_refused():
    schema.learn(schema.descriptor_set(reading("twice", "a").DESCRIPTOR))
    with pytest.raises(TypeError):
        schema.learn(schema.descriptor_set(reading("twice", "b").DESCRIPTOR))
