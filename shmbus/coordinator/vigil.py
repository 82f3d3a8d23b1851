"""The hands of pulse.py: looks at the heartbeat words of collectors that run, and says when one's health changes."""

import asyncio
from collections.abc import Callable

from shmbus.coordinator.pulse import LOOKS, Pulse
from shmbus.directory import Health

Beats = Callable[[int], int | None]  # the heartbeat word of a session; None: that is gone
Changed = Callable[[str, Health, float], None]  # with its interval


class _Watched:
    __slots__ = ("session", "pulse", "beats", "timer")

    def __init__(self, session: int, interval: float) -> None:
        self.session, self.pulse, self.beats = session, Pulse(interval), 0
        self.timer: asyncio.TimerHandle | None = None


class Vigil:
    """Over all collectors of a bus, on a running event loop."""

    def __init__(self, beats: Beats, changed: Changed) -> None:
        self._beats, self._changed, self._loop = beats, changed, asyncio.get_running_loop()
        self._watched: dict[str, _Watched] = {}

    def watch(self, collector: str, session: int, interval: float) -> None:
        """Judge it by that session from now on. An interval of 0: do not."""
        known = self._watched.get(collector)
        if known is not None and (known.session, known.pulse.interval) == (session, interval):
            return
        self.forget(collector)
        if interval > 0:
            self._watched[collector] = watched = _Watched(session, interval)
            self._look(collector, watched)

    def rest(self, collector: str) -> None:
        """It is not expected to move until it goes on."""
        known = self._watched.get(collector)
        if known is not None and known.timer is not None:
            known.timer.cancel()
            known.pulse.rest()

    def go_on(self, collector: str) -> None:
        """It is; how long it rested does not count."""
        known = self._watched.get(collector)
        if known is not None:
            self.rest(collector)  # one look at a time
            self._look(collector, known)

    def forget(self, collector: str) -> None:
        """It does not run any more."""
        known = self._watched.pop(collector, None)
        if known is not None and known.timer is not None:
            known.timer.cancel()

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
        for collector in list(self._watched):
            self.forget(collector)

    def _look(self, collector: str, watched: _Watched) -> None:
        beats = self._beats(watched.session)
        if beats is not None:
            watched.beats = beats  # one that has hung up moves no more
        watched.timer = self._loop.call_later(watched.pulse.interval / LOOKS, self._look, collector, watched)
        if watched.pulse.look(watched.beats, self._loop.time()):
            self._changed(collector, watched.pulse.health, watched.pulse.interval)
