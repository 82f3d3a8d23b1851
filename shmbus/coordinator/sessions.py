"""Session segments of clients and the cursors in them.

A client's first page holds the configured number of cursors; when it is full the client gets another one of twice the
size, so that ten thousand subscriptions cost little more than their cursors. Its ledger has room for all publishers
that a topic may have, and memory for those that the client has to do with, which it takes itself.
"""

from shmbus import segment
from shmbus._core import Session, killpoint
from shmbus.coordinator.listing import Listing
from shmbus.coordinator.registry import LANE_SHIFT, Client, CursorRef, Page, Registry, Topic
from shmbus.coordinator.store import Store

MOST_CURSORS = 1 << 16  # of one page


class Sessions:
    """Makes and removes the pages."""

    def __init__(self, store: Store, registry: Registry, listing: Listing, first_cursors: int, publishers: int) -> None:
        """`publishers`: so many any topic has at most."""
        self._store, self._registry, self._listing = store, registry, listing
        self._first_cursors, self._publishers = first_cursors, publishers
        self._last = 0

    def open(self, client: Client) -> Page:
        """The first page of a client, or the next one. Raises StorageFull."""
        number, cursors = self.next_number(), min(self._first_cursors << len(client.pages), MOST_CURSORS)
        size, backed = Session.layout(cursors, self._publishers)

        def initialise(descriptor: int) -> Session:
            return Session.create(
                descriptor,
                session=number,
                cursors=cursors,
                publishers=self._publishers,
                bell=client.bell,
                pid=client.identity.pid,
                start_time=client.identity.start_time,
                pid_namespace=client.identity.namespace,
                boot_id=self._store.boot_id,
            )

        name = segment.session_name(self._store.bus, number)
        made, session = self._store.make(name, size, initialise, backed=backed)
        killpoint("session.made")
        page = Page(number, made, session)
        client.pages.append(page)
        self._registry.pages[number] = page
        self._listing.put_client(client)
        return page

    def list_again(self, client: Client) -> None:
        """What is said of it has changed."""
        self._listing.put_client(client)

    def continue_from(self, last: int) -> None:
        """Pages up to that number were there before."""
        self._last = max(self._last, last)

    def next_number(self) -> int:
        """Of a page, a session's or a group's: gates name either."""
        self._last += 1
        return self._last

    def take_cursor(self, client: Client, topic: Topic, subscription: int) -> tuple[CursorRef, Page | None]:
        """A cursor that holds at its gate's floor, and the page that had to be added for it. Raises StorageFull."""
        added = None
        for page in reversed(client.pages):
            if (index := page.cursors.take()) is not None:
                break
        else:
            page = added = self.open(client)
            index = page.cursors.take()
            assert index is not None
        page.session.bind_cursor(index, topic.number | topic.lane << LANE_SHIFT, subscription)
        return CursorRef(page.number, index), added

    def give_back_cursor(self, client: Client, cursor: CursorRef) -> None:
        """Nobody uses it, and no gate names it."""
        for page in client.pages:
            if page.number == cursor.session:
                page.session.bind_cursor(cursor.place, 0, 0)  # whoever takes over finds it unused
                page.cursors.give_back(cursor.place)

    def close(self, client: Client) -> None:
        """The client is gone and no gate names its sessions."""
        self._listing.remove_client(client)
        for page in client.pages:
            del self._registry.pages[page.number]
            page.session.close()
            self._store.give_up(page.segment)
            killpoint("session.removed")
        client.pages.clear()
