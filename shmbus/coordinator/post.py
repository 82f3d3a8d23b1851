"""Pushes to clients, by client instead of by socket."""

from collections.abc import Callable, Sequence

from shmbus._core import Bells
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.registry import Client
from shmbus.v1.control_pb2 import ServerPacket

Log = Callable[[str], None]


class Post:
    """Delivers pushes, and wakes whoever waits at the client's bell for messages instead of reading its socket."""

    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self._routes: dict[int, Callable[[ServerPacket, Sequence[Opener]], None]] = {}

    def connect(self, client: Client, route: Callable[[ServerPacket, Sequence[Opener]], None]) -> None:
        """Its pushes go this way."""
        self._routes[client.number] = route

    def disconnect(self, client: Client) -> None:
        """What is pushed to it from now on is dropped."""
        self._routes.pop(client.number, None)

    def push(self, client: Client, packet: ServerPacket, openers: Sequence[Opener] = ()) -> None:
        """Send it, or have it wait until the client reads."""
        route = self._routes.get(client.number)
        if route is not None:
            route(packet, openers)
            self.wake(client)

    def wake(self, client: Client) -> None:
        """Have it look at what may have changed."""
        self._bells.ring(client.bell)
