"""Message types by their descriptors: fingerprints, descriptor sets, and classes for types that were never imported.

A fingerprint is the SHA-256 of a type's own file and all it imports, in dependency order, as they are serialised; two
programs with the same fingerprint agree on every field. Where fingerprints differ the coordinator compares fields.

Descriptors are typed Any: the pure-Python and the native protobuf runtime have unrelated classes for them.
"""

import hashlib
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

_learned: Final = descriptor_pool.DescriptorPool()


def class_of(descriptor: Any) -> Any:
    """The message class of a descriptor."""
    return message_factory.GetMessageClass(descriptor)


def message_class(full_name: str) -> Any:
    """The class of a type by its full name: imported, or learned from a bus's directory. Raises KeyError."""
    for pool in (descriptor_pool.Default(), _learned):
        try:
            return class_of(pool.FindMessageTypeByName(full_name))
        except KeyError:
            continue
    raise KeyError(f"the message type '{full_name}' is not known here: import its generated module, or learn it")


def is_known(full_name: str) -> bool:
    """Has `message_class` a class for it?"""
    try:
        message_class(full_name)
    except KeyError:
        return False
    return True


def learn(descriptors: bytes) -> None:
    """Make the types of a serialised FileDescriptorSet known. Raises TypeError when it contradicts what is known."""
    files = FileDescriptorSet.FromString(descriptors).file
    known = {file.name: its for file in files if (its := _imported(file.name)) is not None}
    if len(known) < len(files):
        for file in files:  # a pool takes only what it has all imports of, so those that are known go there, too
            _learned.Add(known.get(file.name, file))  # type: ignore[no-untyped-call, unused-ignore]


def _imported(file_name: str) -> FileDescriptorProto | None:
    """A file that this process has imported."""
    try:
        return _proto(descriptor_pool.Default().FindFileByName(file_name))
    except KeyError:
        return None


def descriptor_set(descriptor: Any) -> bytes:
    """The type's file and everything it imports, dependencies first, as a serialised FileDescriptorSet."""
    files: dict[str, FileDescriptorProto] = {}
    _collect(descriptor.file, files)
    return FileDescriptorSet(file=files.values()).SerializeToString(deterministic=True)


def fingerprint(descriptor: Any) -> bytes:
    """32 bytes that differ when anything about the type's files does."""
    return hashlib.sha256(descriptor_set(descriptor)).digest()


def _collect(file: Any, files: dict[str, FileDescriptorProto]) -> None:
    if file.name in files:
        return
    for dependency in file.dependencies:
        _collect(dependency, files)
    files[file.name] = _proto(file)


def _proto(file: Any) -> FileDescriptorProto:
    found = FileDescriptorProto()
    file.CopyToProto(found)
    return found
