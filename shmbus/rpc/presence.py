"""Who serves a topic, read from shared memory: nobody is asked, and nobody needs to be there to answer.

A server's subscription is lossless, so it stands as a gate in the topic's ring, and each publisher there has the
session page that the gate names. The subscription's number in that page has the bit SERVING: other lossless readers of
the topic have not. A server that leaves takes the bit away first, then reads what came until then: whoever published
and sees the bit still set afterwards is answered.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from shmbus._core import Ring
from shmbus.process import Identity

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.subscription import Subscription

SERVING: Final = 1 << 31
_TOPIC_ID, _NUMBER = 6, 7  # in what Session.cursor() answers


class Instance(NamedTuple):
    """One server of a topic."""

    session: int
    process: Identity

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
            found.append(Instance(session, Identity(*page.identity)))
    return found


def instance_of(subscription: "Subscription") -> str:
    """What this server is called in requests."""
    return str(subscription._cursors[0][0])


def withdraw(bus: "Bus", subscription: "Subscription") -> None:
    """No more requests, please; those that have been published will be read."""
    for session, cursor in subscription._cursors:
        page = bus._sessions[session]
        position, *_, topic_id, number = page.cursor(cursor)
        page.bind_cursor(cursor, topic_id, number & ~SERVING)
        page.set_position(cursor, position)


def _serves(cursor: tuple[int, ...], topic_id: int) -> bool:
    return cursor[_TOPIC_ID] == topic_id and bool(cursor[_NUMBER] & SERVING)
