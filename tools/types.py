"""Message types that were never imported here: learned from the bus itself, so that any topic can be printed."""

from contextlib import closing, suppress

import shmbus
from shmbus import schema, segment
from shmbus._core import KIND_TYPED
from shmbus.directory import DirectoryReader
from shmbus.errors import ShmbusError
from shmbus.message import Gap, Message


class Types:
    """What a bus's directory says about the types of its topics."""

    def __init__(self, bus: shmbus.Bus) -> None:
        self._bus = bus
        self._looked_up: set[str] = set()

    def learn(self, item: Message | Gap) -> None:
        """See to it that this message can be parsed, if anybody knows how."""
        if isinstance(item, Gap) or item.kind != KIND_TYPED or item.type_name in self._looked_up:
            return
        self._looked_up.add(item.type_name)
        try:
            schema.message_class(item.type_name)
        except KeyError:
            self._ask_directory(item.type_name)

    def _ask_directory(self, type_name: str) -> None:
        with suppress(ShmbusError, TypeError):  # descriptors that contradict those known here: it stays unknown
            with closing(DirectoryReader(self._bus.directory_fd, boot_id=segment.boot_id())) as reader:
                for entry in reader.snapshot().topics:
                    if entry.type_name == type_name:
                        schema.learn(reader.descriptors(entry))
