"""What of a bus one process has mapped, by the numbers that the coordinator calls it by."""

import time
from collections.abc import Collection
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from shmbus._core import AttachError, Group, Ring, Session
from shmbus.segment import mapped
from shmbus.state import StateReader
from shmbus.v1 import control_pb2 as wire

TopicLane = tuple[int, int]


class Pages:
    """Mapped when the coordinator hands them over, and for as long as something here is in need of them."""

    def __init__(self, boot_id: bytes, session: int, descriptor: int) -> None:
        """With the session that the coordinator has given to this client; the descriptor stays the caller's.

        Raises SegmentError.
        """
        self._boot_id: Final = boot_id
        own = self.map_own_session(descriptor, session)
        self.sessions: Final = {own.session: own}  # this client's; when its cursors are all taken it is given another
        self.foreign: Final[dict[int, Session]] = {}  # of whoever holds a topic that is published here
        self.groups: Final[dict[int, Group]] = {}  # of durable subscriptions that are read here
        self.readable: Final[dict[tuple[int, int, int], Ring]] = {}
        self.writable: Final[dict[TopicLane, Ring]] = {}
        self.successors: Final[dict[TopicLane, Ring]] = {}  # that no publisher has gone on to yet
        self.states: Final[dict[str, StateReader]] = {}  # of topics whose last messages have been asked for

    def map_ring(self, descriptor: int, topic: str, *, writable: bool) -> Ring:
        """The descriptor stays the caller's, as with all of these. Raises SegmentError."""
        return mapped(
            descriptor, lambda fd: Ring.attach(fd, writable=writable, boot_id=self._boot_id), f"ring of {topic}"
        )

    def map_state(self, descriptor: int, topic: str) -> StateReader:
        name = f"last messages of {topic}"
        return mapped(descriptor, lambda fd: StateReader(fd, boot_id=self._boot_id, name=name), name)

    def map_own_session(self, descriptor: int, session: int) -> Session:
        return mapped(
            descriptor, lambda fd: Session.attach(fd, writable=True, boot_id=self._boot_id), f"session {session}"
        )

    def map_group(self, descriptor: int, group: int) -> Group:
        return mapped(
            descriptor,
            lambda fd: Group.attach(fd, writable=True, boot_id=self._boot_id),
            f"durable subscription {group}",
        )

    def map_holder(self, descriptor: int, session: int) -> Session:
        """The page of whoever holds a topic that is published here: a durable subscription's, or a client's."""
        return mapped(descriptor, self._attach_holder, f"session {session}")

    def forget_groups(self, read: Collection[str]) -> None:
        """All but durable subscriptions of those names: whoever subscribes again is given them again."""
        for number in self.groups_beside(read):
            del self.groups[number]

    def groups_beside(self, read: Collection[str]) -> list[int]:
        """The durable subscriptions that have none of those names."""
        return [number for number, page in self.groups.items() if durable_of(page) not in read]

    def drop_states(self) -> None:
        for state in self.states.values():
            state.close()
        self.states.clear()

    def leave(self) -> None:
        """Say on this client's own pages that it closes its connection: it may be that nobody is there to be told."""
        for own in self.sessions.values():
            own.leave()

    def close(self) -> None:
        """Unmap rings and states; the pages of sessions go when nobody refers to them."""
        self.drop_states()
        for ring in (*self.readable.values(), *self.writable.values(), *self.successors.values()):
            ring.close()

    def _attach_holder(self, descriptor: int) -> Session:
        try:
            return Group.attach(descriptor, writable=False, boot_id=self._boot_id)
        except AttachError as error:
            if error.reason != "foreign":
                raise  # it is a group's, and who reads for it could not be seen in a session's page
            return Session.attach(descriptor, writable=False, boot_id=self._boot_id)


def durable_of(page: Group) -> str:
    """The name of the durable subscription; its members could have written anything there."""
    try:
        return wire.DurableRecord.FromString(page.record).durable.name
    except DecodeError:
        return ""


class Activity(NamedTuple):
    """When somebody last did what others wait for."""

    since_seconds: float | None  # how long ago; None: nobody knows
    has_moved: bool  # False: it has not yet, and that is how long ago it began


def activity_of(page: Session, cursor: int) -> Activity:
    """When that cursor has moved, or was made."""
    at_ns, has_moved = page.cursor_active(cursor) if cursor < page.capacity else (0, False)
    return Activity(max(0.0, (time.monotonic_ns() - at_ns) / 1e9) if at_ns else None, has_moved)
