"""Whose coordinator a client has: one that serves it, none at present, or none any more.

    served ──it died──▶ alone ──nobody took over yet──▶ alone, and not looked for again before RETRY_SECONDS
       ▲                 │ ├──another took over, but does not know this client, or speaks another protocol──▶ ended
       └───resumed───────┘ └──── the bus was stopped, also from served ─────▶ ended

No clock and no socket: the client says what happened and when. Being alone is nothing bad: rings are read and written
on.
"""

from enum import Enum
from typing import Final

RETRY_SECONDS: Final = 0.1  # between two looks for a coordinator that takes over from a dead one


class Found(Enum):
    """What a look for another coordinator came to."""

    NOBODY = "nobody took over yet, or not for long"
    RESUMED = "another one took over, and goes on with this client"
    STRANGER = "its coordinator died, and the next one knows nothing of it. Connect again"
    UNLIKE = "its coordinator died, and with the next one there is no common protocol: "


class Reconnect:
    """One client's."""

    def __init__(self) -> None:
        self.ended: str | None = None  # why there will be no coordinator any more
        self._not_before_ns = 0

    def look(self, now_ns: int) -> bool:
        """The coordinator is gone: is another one to be looked for now? If so, not again for a while."""
        if self.ended is not None or now_ns < self._not_before_ns:
            return False
        self._not_before_ns = now_ns + int(RETRY_SECONDS * 1e9)
        return True

    def found(self, what: Found, detail: str = "") -> bool:
        """What the look came to; True: go on with the other one."""
        if what in (Found.STRANGER, Found.UNLIKE):
            self.end(what.value + detail)
        return what is Found.RESUMED

    def end(self, reason: str) -> None:
        """The bus was stopped, or cannot be gone on with. The first reason counts."""
        self.ended = self.ended or reason or "the bus was stopped"
