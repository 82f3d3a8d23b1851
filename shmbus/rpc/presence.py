"""Who serves a topic, read from shared memory: nobody is asked, and nobody needs to be there to answer.

A server's subscription is lossless, so it stands as a gate in the topic's ring, and each publisher there has the
session page that the gate names. The number n of the subscription in that page, which no other of its process ever has,
says by two more bits:

    n | SERVING    send to it; other lossless readers of the topic have not that bit
    n              it takes nothing new, and is reading what came until now
    n | FINISHED   it has read what stands before the cursor's position, and will answer that; nothing else

so that whoever published, and then sees that the first bit is gone, learns whether the request was read. A server rings
the bells of all publishers when it has finished.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from shmbus._core import Group, Ring, Session
from shmbus.condition import said_by
from shmbus.directory import DirectoryReader, Health
from shmbus.process import Identity

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.subscription import Subscription

SERVING: Final = 1 << 31
FINISHED: Final = 1 << 30
_LANE_SHIFT: Final = 31  # a cursor tells its topic and, in the highest bit, its lane
_TOPIC_ID: Final = 6  # in what Session.cursor() answers


class Instance(NamedTuple):
    """One server of a topic, and the cursor that says so. Its `name` stands in the routing of requests for it."""

    session: int
    process: Identity
    cursor: int
    number: int
    name: str


def instances(bus: "Bus", ring: Ring) -> list[Instance]:
    """All servers of the ring's topic, the dead ones too that nobody has buried yet. A durable subscription is none."""
    found = []
    for _, session, cursor, _ in ring.gates():
        page = bus._pages.foreign.get(session)
        if page is None:
            bus._learn_session(ring, session)
            page = bus._pages.foreign.get(session)
        if page is not None and not isinstance(page, Group) and cursor < page.capacity:
            *_, topic_id, number = page.cursor(cursor)
            if topic_id == ring.topic_id and number & SERVING:
                number &= ~SERVING
                found.append(Instance(session, Identity(*page.identity), cursor, number, f"{session}-{number}"))
    return found


def serves(bus: "Bus", instance: Instance) -> bool:
    """Does it still take requests?"""
    page = bus._pages.foreign.get(instance.session)
    return page is not None and page.cursor_subscription(instance.cursor) == instance.number | SERVING


def health_of(bus: "Bus", session: int) -> Health:
    """What a server says of itself with `Bus.beat`, read from its page; UNKNOWN: nothing, or the page is not here."""
    page = bus._pages.foreign.get(session)
    return said_by(page.pulse[1]) if isinstance(page, Session) else Health.UNKNOWN


def was_read(bus: "Bus", instance: Instance, sequence: int) -> bool | None:
    """By a server that has stopped serving, or is about to: None, it is not known yet.

    Raises LookupError: it has left altogether, and nothing tells what it read.
    """
    page = bus._pages.foreign.get(instance.session)
    number = page.cursor_subscription(instance.cursor) if page is not None else 0
    if page is None or number & ~(SERVING | FINISHED) != instance.number:
        raise LookupError(instance)
    # Looked at after the number: it is the last one by then, or 0 while that is being declared or it has just left.
    position = page.cursor(instance.cursor)[0]
    return sequence < position if position and number & FINISHED else None


def instance_of(subscription: "Subscription") -> str:
    """What this server is called in requests."""
    return f"{subscription._cursors[0][0]}-{subscription._number & ~SERVING}"


def is_named(bus: "Bus", subscription: "Subscription", name: str) -> bool:
    """Does a request mean this server? In each ring it goes by the page of its cursor there."""
    session, _, number = name.partition("-")
    return (
        number == str(subscription._number & ~SERVING) and session.isdecimal() and int(session) in bus._pages.sessions
    )


def withdraw(bus: "Bus", subscription: "Subscription") -> None:
    """No more requests, please; those that have been published will be read."""
    _declare(bus, subscription, subscription._number & ~SERVING)


def finish(bus: "Bus", subscription: "Subscription") -> None:
    """All that will ever be read has been read."""
    _declare(bus, subscription, subscription._number & ~SERVING | FINISHED)
    ring_publishers(bus, subscription)


def ring_publishers(bus: "Bus", subscription: "Subscription") -> None:
    """Have whoever publishes what this one reads look again."""
    sessions = {owner[4] for ring, *_ in subscription._counters() for owner in _producers(ring)}
    with closing(DirectoryReader(bus.directory_fd, boot_id=bus._boot_id)) as directory:
        bells = {entry.bell for entry in directory.snapshot().sessions if entry.session in sessions}
    for bell in bells:
        bus._bells.ring(bell)


def _declare(bus: "Bus", subscription: "Subscription", number: int) -> None:
    """Binding a cursor takes its position away: it holds at the gate's floor until it has it again."""
    positions = {ring.topic_id: position for ring, position, *_ in subscription._counters() if ring.lane == 0}
    for session, cursor in subscription._cursors:
        topic_id = bus._pages.sessions[session].cursor(cursor)[_TOPIC_ID]
        if not topic_id >> _LANE_SHIFT:
            bus._pages.sessions[session].bind_cursor(cursor, topic_id, number)
            bus._pages.sessions[session].set_position(cursor, positions.get(topic_id, 0))


def _producers(ring: Ring) -> Iterator[tuple[str, int, int, int, int, int]]:
    return filter(None, map(ring.producer, range(1, ring.producer_capacity + 1)))
