"""A view as log lines for programs: `<time> <what> key=value ...`, one for what has changed, and nothing else.

    2026-05-01T12:00:01Z topic name=events.process.start messages=12 rate=3.0 bytes_rate=1520 retained=12 fill=0.001 ...
    2026-05-01T12:00:01Z collector name=procmond state=running pid=4712 restarts=0
    2026-05-01T12:00:02Z client name=tail pid=4720 uid=1000 state=connected
    2026-05-01T12:00:03Z log text="procmond: 231 processes at the start"

A value with a blank, a quote or nothing in it stands in double quotes, as in JSON.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .text import state_text

if TYPE_CHECKING:
    from .meter import ClientRow, CollectorRow, TopicRow, View


class Lines:
    """Remembers what was told, so that only changes are."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, object], object] = {}
        self._clients: dict[int, ClientRow] = {}

    def changes(self, view: "View", now: float) -> Iterator[str]:
        """One line for each thing that is not as it was at the last call. `now` in Unix seconds."""
        if self._is_new("bus", view.bus, (view.state, view.verdict)):
            yield _bus(view, now)
        for collector in view.collectors:
            life = (collector.entry.state, collector.pid, collector.entry.restarts)
            if self._is_new("collector", collector.entry.name, life):
                yield _collector(collector, now)
        yield from self._client_changes(view, now)
        for topic in view.topics:
            facts = (topic.messages, topic.retained, topic.publishers, topic.subscribers, topic.losses)
            if self._is_new("topic", topic.entry.topic_id, facts):
                yield _topic(topic, now)

    def _client_changes(self, view: "View", now: float) -> Iterator[str]:
        present = {client.session: client for client in view.clients}
        for session, client in present.items():
            if session not in self._clients:
                yield _client(client, "connected", now)
        for session, client in self._clients.items():
            if session not in present:
                yield _client(client, "gone", now)
        self._clients = present

    def _is_new(self, kind: str, key: object, facts: object) -> bool:
        if self._told.get((kind, key)) == facts:
            return False
        self._told[kind, key] = facts
        return True


def log_line(text: str, now: float) -> str:
    """What the coordinator or a collector said."""
    return line("log", now, text=text)


def line(what: str, now: float, **facts: object) -> str:
    """One line; `now` in Unix seconds."""
    time = datetime.fromtimestamp(now, UTC)
    return " ".join([f"{time:%Y-%m-%dT%H:%M:%SZ}", what, *(f"{key}={_value(fact)}" for key, fact in facts.items())])


def _bus(view: "View", now: float) -> str:
    health = view.verdict.level.name.lower()
    reasons = {"reason": "; ".join(view.verdict.reasons)} if view.verdict.reasons else {}
    return line(
        "bus", now, name=view.bus, state=view.state, health=health, pid=view.pid, address=view.address, **reasons
    )


def _topic(row: "TopicRow", now: float) -> str:
    return line(
        "topic",
        now,
        name=row.name,
        messages=row.messages,
        rate=f"{row.rate:.1f}",
        bytes_rate=f"{row.byte_rate:.0f}",
        retained=row.retained,
        fill=f"{row.fill:.3f}",
        publishers=row.publishers,
        subscribers=row.subscribers,
        lost=row.losses.total,
    )


def _collector(row: "CollectorRow", now: float) -> str:
    entry = row.entry
    detail = {"detail": entry.detail} if entry.detail else {}
    return line(
        "collector",
        now,
        name=entry.name,
        state=state_text(entry.state),
        pid=row.pid or "-",
        restarts=entry.restarts,
        **detail,
    )


def _client(row: "ClientRow", state: str, now: float) -> str:
    return line("client", now, name=row.name, pid=row.pid, uid=row.uid, state=state)


def _value(fact: object) -> str:
    text = str(fact)
    plain = text and text.isprintable() and not any(one in text for one in ' "=\\')
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())
