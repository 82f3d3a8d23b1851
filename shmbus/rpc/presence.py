"""Who serves a topic, read from shared memory: nobody is asked, and nobody needs to be there to answer.

A server's subscription is lossless, so it stands as a gate in the topic's ring, and each publisher there has the
session page that the gate names. The number of the subscription in that page says:

    SERVING | n    send to it; other lossless readers of the topic have not that bit
    n              it takes nothing new, and is reading what came until now
    0              it has read what stands before the cursor's position, and will answer that; nothing else

so that whoever published, and then sees that the bit is gone, learns whether the request was read. A server rings the
bells of all publishers when it gets to 0.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from shmbus._core import Ring
from shmbus.directory import DirectoryReader
from shmbus.process import Identity

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.subscription import Subscription

SERVING: Final = 1 << 31
_TOPIC_ID, _NUMBER = 6, 7  # in what Session.cursor() answers


class Instance(NamedTuple):
    """One server of a topic, and the cursor that says so."""

    session: int
    process: Identity
    cursor: int

    @property
    def name(self) -> str:
        """As it stands in the routing of requests that are for this one."""
        return str(self.session)


def instances(bus: "Bus", ring: Ring) -> list[Instance]:
    """All servers of the ring's topic, the dead ones too that nobody has buried yet."""
    found = []
    for _, session, cursor, _ in ring.gates():
        page = bus._foreign.get(session)
        if page is None:
            bus._learn_session(ring, session)
            page = bus._foreign.get(session)
        if page is not None and cursor < page.capacity and _serves(page.cursor(cursor), ring.topic_id):
            found.append(Instance(session, Identity(*page.identity), cursor))
    return found


def serves(bus: "Bus", topic_id: int, instance: Instance) -> bool:
    """Does it still take requests?"""
    page = bus._foreign.get(instance.session)
    return page is not None and _serves(page.cursor(instance.cursor), topic_id)


def instance_of(subscription: "Subscription") -> str:
    """What this server is called in requests."""
    return str(subscription._cursors[0][0])


def withdraw(bus: "Bus", subscription: "Subscription") -> None:
    """No more requests, please; those that have been published will be read."""
    for session, cursor in subscription._cursors:
        *_, topic_id, number = bus._sessions[session].cursor(cursor)
        _declare(bus, subscription, (session, cursor), topic_id, number & ~SERVING)


def finish(bus: "Bus", subscription: "Subscription") -> None:
    """All that will ever be read has been read."""
    for session, cursor in subscription._cursors:
        *_, topic_id, _ = bus._sessions[session].cursor(cursor)
        _declare(bus, subscription, (session, cursor), topic_id, 0)
    sessions = {owner[4] for ring, *_ in subscription._counters() for owner in _producers(ring)}
    with closing(DirectoryReader(bus.directory_fd, boot_id=bus._boot_id)) as directory:
        bells = {entry.bell for entry in directory.snapshot().sessions if entry.session in sessions}
    for bell in bells:
        bus._bells.ring(bell)


def was_read(bus: "Bus", ring: Ring, instance: Instance, sequence: int) -> bool | None:
    """By a server that has stopped serving, or is about to: None, it is not known yet.

    Raises LookupError: it has left altogether, and nothing tells what it read.
    """
    page = bus._foreign.get(instance.session)
    for _, session, cursor, _ in ring.gates():
        if session == instance.session and page is not None:
            *_, topic_id, number = page.cursor(cursor)
            if topic_id == ring.topic_id:
                # Looked at after the number: it is the last one by then, or 0 while that is being declared.
                position = page.cursor(cursor)[0]
                return None if number or not position else sequence < position
    raise LookupError(instance)


def _declare(bus: "Bus", subscription: "Subscription", place: tuple[int, int], topic_id: int, number: int) -> None:
    """Binding a cursor takes its position away: it holds at the gate's floor until it has it again."""
    session, cursor = place
    position = next((at for ring, at, *_ in subscription._counters() if ring.topic_id == topic_id), 0)
    bus._sessions[session].bind_cursor(cursor, topic_id, number)
    bus._sessions[session].set_position(cursor, position)


def _producers(ring: Ring) -> Iterator[tuple[str, int, int, int, int, int]]:
    return filter(None, map(ring.producer, range(1, ring.producer_capacity + 1)))


def _serves(cursor: tuple[int, ...], topic_id: int) -> bool:
    return cursor[_TOPIC_ID] == topic_id and bool(cursor[_NUMBER] & SERVING)
