"""Order of the producers: which of a subscription's lanes goes on, as merge.c chooses it."""

from typing import TYPE_CHECKING

from shmbus.testing.cursor import Cursor, Found, Look
from shmbus.testing.message import Content
from shmbus.testing.turns import Turns

if TYPE_CHECKING:
    from shmbus.testing.subscription import MemorySubscription


class Merge(Turns):
    """All lanes as one stream. What is urgent, or not held up, may overtake what others published."""

    def next(self, reader: "MemorySubscription") -> Found | None:
        """The next thing that any of them has to say."""
        while (cursor := self._choose()) is not None:
            if (found := cursor.next(reader)) is not None:
                return found
        return next((told for cursor in self._cursors if (told := cursor.idle()) is not None), None)

    def _choose(self) -> Cursor | None:
        looks = [(cursor, cursor.look()) for cursor in self._cursors]
        for cursor, look in looks:
            if look is Look.GO_ON:
                return cursor
        heads = [(look.place, cursor, look) for cursor, look in looks if isinstance(look, Content)]
        held_up = any(look is Look.HELD_UP for _, look in looks)
        if not heads:
            return None
        first = min(heads, key=lambda head: head[0])[1]
        urgent = self._cursors[: self._urgent]
        if held_up or first not in urgent:
            for _, cursor, content in heads:
                if (held_up or cursor in urgent) and self._may_overtake(cursor, content):
                    return cursor
        return None if held_up else first

    def _may_overtake(self, cursor: Cursor, content: Content) -> bool:
        """Has its producer nothing in another lane that was published before?"""
        return not any(
            other.producer.session == content.producer.session and other.place < content.place
            for lane in self._cursors
            if lane is not cursor
            for other in lane.unread()
        )
