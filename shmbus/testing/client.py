"""Who somebody is on a bus in memory."""

import os
from itertools import count
from typing import Final

from shmbus.coordinator.topics import NAME_BYTES
from shmbus.message import Producer
from shmbus.process import own_identity

_sessions: Final = count(1)


class Client:
    """One connection: always of this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.session = next(_sessions)
        self.identity = own_identity()

    @property
    def pid(self) -> int:
        """Of this process."""
        return self.identity.pid

    @property
    def who(self) -> str:
        """For messages: name, pid and uid."""
        return f"{self.name!r} (pid {self.pid}, uid {os.geteuid()})"

    def producer(self, name: str) -> Producer:
        """As which it publishes under that name."""
        short = name.encode()[:NAME_BYTES].decode(errors="ignore")
        return Producer(short, *self.identity, self.session, os.geteuid())
