"""The control protocol as a version 1.2 may have it: all of today's, and one of each kind of thing that a minor adds.

Made from today's when it is imported, so it is always the next one: a request, a push, and a field in messages that
there are. Messages of it are unlike those of `shmbus.v1` in Python; on the wire they are the same.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from shmbus.v1 import control_pb2

FILE, PACKAGE = "protocols/minor_2.proto", "protocols.minor_2"
CAPABILITY = "rewinding"

_TEXT, _NUMBER, _MESSAGE = 9, 13, 11  # FieldDescriptorProto.Type
_OPTIONAL = 1


def _file() -> descriptor_pb2.FileDescriptorProto:
    made = descriptor_pb2.FileDescriptorProto()
    control_pb2.DESCRIPTOR.CopyToProto(made)
    ours = {f".{made.package}.{one.name}" for one in (*made.message_type, *made.enum_type)}
    for message in made.message_type:
        _rename(message, ours, made.package)
    made.name, made.package = FILE, PACKAGE
    found = {message.name: message for message in made.message_type}
    made.message_type.add(name="Rewind").field.add(name="to", number=1, type=_NUMBER, label=_OPTIONAL)
    made.message_type.add(name="Weather").field.add(name="text", number=1, type=_TEXT, label=_OPTIONAL)
    for name, body in (("ClientPacket", "Rewind"), ("ServerPacket", "Weather")):
        added = found[name].field.add(name=body.lower(), number=90, type=_MESSAGE, label=_OPTIONAL, oneof_index=0)
        added.type_name = f".{PACKAGE}.{body}"
    for name in ("Hello", "Welcome", "OpenPublisher", "Subscribe"):
        found[name].field.add(name="mood", number=90, type=_TEXT, label=_OPTIONAL)
    return made


def _rename(message: descriptor_pb2.DescriptorProto, ours: set[str], package: str) -> None:
    """What it names of its own file is in another package now."""
    for field in message.field:
        if field.type_name in ours or field.type_name.startswith(f".{package}.{message.name}."):
            field.type_name = field.type_name.replace(package, PACKAGE, 1)
    for nested in message.nested_type:
        _rename(nested, ours, package)


descriptor_pool.Default().Add(_file())
_messages = descriptor_pool.Default().FindFileByName(FILE).message_types_by_name
ClientPacket = message_factory.GetMessageClass(_messages["ClientPacket"])
ServerPacket = message_factory.GetMessageClass(_messages["ServerPacket"])
