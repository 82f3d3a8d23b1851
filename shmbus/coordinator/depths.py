"""How much waits to be read at a collector: read from the rings and cursors, when somebody asks."""

from collections.abc import Iterator

from shmbus.coordinator.registry import Client, Registry


def queue_depth(registry: Registry, collector: str) -> int:
    """Messages in its longest queue.

    A queue is a topic that it publishes to, as far as the slowest lossless or durable reader has not read it, or a
    topic that it reads, as far as it has not read that itself.
    """
    ours = [client for client in registry.clients.values() if client.collector == collector]
    return max(
        (depth for client in ours for depth in (*_published(registry, client), *_read(registry, client))), default=0
    )


def _published(registry: Registry, client: Client) -> Iterator[int]:
    for key in client.producers:
        if (topic := registry.find_lane(*key)) is not None:
            ring = topic.live.ring
            for _, session, cursor, floor in ring.gates():
                yield _behind(registry, ring.head, ring.tail, session, cursor, floor)


def _read(registry: Registry, client: Client) -> Iterator[int]:
    for topic in registry.lanes():
        ring = topic.live.ring
        for subscription in client.subscriptions.values():
            if (place := topic.bindings.get(subscription)) is not None:
                yield _behind(registry, ring.head, ring.tail, *place, ring.tail)


def _behind(registry: Registry, head: int, tail: int, session: int, cursor: int, otherwise: int) -> int:
    """From the place of a cursor, or from another one while it has none, to the end."""
    page = registry.pages.get(session)
    position = page.session.cursor(cursor)[0] if page is not None and cursor < page.session.capacity else 0
    return max(tail - max(position or otherwise, head), 0)
