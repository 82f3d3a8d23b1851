"""The hands of pulse.py: looks at the heartbeat words of collectors that run, and says when one's health changes."""

import asyncio
from collections.abc import Callable

from shmbus.coordinator.pulse import LOOKS, Pulse
from shmbus.coordinator.rounds import Rounds
from shmbus.directory import Health

Beats = Callable[[int], int | None]  # the heartbeat word of a session; None: that is gone
Changed = Callable[[str, Health, float], None]  # with its interval


class _Watched:
    __slots__ = ("session", "pulse", "beats")

    def __init__(self, session: int, interval: float) -> None:
        self.session, self.pulse, self.beats = session, Pulse(interval), 0


class Vigil:
    """Over all collectors of a bus, on a running event loop."""

    def __init__(self, beats: Beats, changed: Changed) -> None:
        self._beats, self._changed, self._loop = beats, changed, asyncio.get_running_loop()
        self._watched: dict[str, _Watched] = {}
        self._rounds = Rounds(self._look)

    def watch(self, collector: str, session: int, interval: float) -> None:
        """Judge it by that session from now on. An interval of 0: do not."""
        known = self._watched.get(collector)
        if known is not None and (known.session, known.pulse.interval) == (session, interval):
            return
        self.forget(collector)
        if interval > 0:
            self._watched[collector] = _Watched(session, interval)
            self._begin(collector)

    def rest(self, collector: str) -> None:
        """It is not expected to move until it goes on."""
        known = self._watched.get(collector)
        if known is not None:
            self._rounds.remove(collector)
            known.pulse.rest()

    def go_on(self, collector: str) -> None:
        """It is; how long it rested does not count."""
        known = self._watched.get(collector)
        if known is not None:
            known.pulse.rest()
            self._begin(collector)

    def forget(self, collector: str) -> None:
        """It does not run any more."""
        self._watched.pop(collector, None)
        self._rounds.remove(collector)

    def health(self, collector: str) -> Health:
        """What its heartbeat says."""
        known = self._watched.get(collector)
        return known.pulse.health if known is not None else Health.UNKNOWN

    def silent(self, collector: str) -> float | None:
        """Seconds since its last beat; None: it is not judged by any."""
        known = self._watched.get(collector)
        return known.pulse.silent(self._loop.time()) if known is not None else None

    def close(self) -> None:
        """Look no more."""
        self._rounds.close()
        self._watched.clear()

    def _begin(self, collector: str) -> None:
        self._rounds.add(collector, self._watched[collector].pulse.interval / LOOKS)
        self._look(collector)

    def _look(self, collector: str) -> None:
        watched = self._watched[collector]
        beats = self._beats(watched.session)
        if beats is not None:
            watched.beats = beats  # one that has hung up moves no more
        if watched.pulse.look(watched.beats, self._loop.time()):
            self._changed(collector, watched.pulse.health, watched.pulse.interval)
