"""The hands of pulse.py and said.py: looks at the session pages of collectors that run, and says when one's condition
changes.

It looks at regular times, for silence wakes nobody, and at once when a collector says something else of itself than
before: that one writes to an eventfd, which it was given when it announced itself. Of one that changes its mind all the
time the coordinator is woken once in CALM_SECONDS. A collector without an eventfd, or a word that came while nobody
coordinated, is found by the next look.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from shmbus.condition import Condition
from shmbus.coordinator.pulse import LOOKS, Pulse
from shmbus.coordinator.rounds import Rounds
from shmbus.coordinator.said import Said

CALM_SECONDS: Final = 0.1  # between two wakes by one collector

Words = Callable[[int], tuple[int, int, str] | None]  # a page's heartbeat, health and reason; None: that is gone
Changed = Callable[[str, Condition, float], None]  # with what it was before, and its interval
Patience = Callable[[str], float | None]  # seconds that one may say it is unhealthy; None: for ever
Overdue = Callable[[str, float], None]  # with its patience


class _Watched:
    __slots__ = ("session", "pulse", "said", "words", "bell")

    def __init__(self, session: int, interval: float) -> None:
        self.session, self.pulse, self.said, self.words = session, Pulse(interval), Said(), (0, 0, "")
        self.bell = _new_bell()

    @property
    def condition(self) -> Condition:
        return Condition(self.pulse.health, self.said.health, self.said.reason)


class Vigil:
    """Over all collectors of a bus, on a running event loop."""

    def __init__(self, words: Words, changed: Changed, patience: Patience, overdue: Overdue) -> None:
        self._words, self._changed, self._patience, self._overdue = words, changed, patience, overdue
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, _Watched] = {}
        self._rounds = Rounds(self._look)

    def watch(self, collector: str, session: int, interval: float) -> None:
        """Judge it by that session from now on. An interval of 0: do not."""
        known = self._watched.get(collector)
        if known is not None and (known.session, known.pulse.interval) == (session, interval):
            return
        self.forget(collector)
        if interval > 0:
            watched = self._watched[collector] = _Watched(session, interval)
            self._listen(collector, watched)
            self._begin(collector)

    def open_bell(self, collector: str) -> int:
        """For the collector, to wake us by: a descriptor of its own. Where it is watched no more nobody hears it."""
        known = self._watched.get(collector)
        return _new_bell() if known is None else os.dup(known.bell)

    def watches(self, collector: str) -> bool:
        """Is it watched?"""
        return collector in self._watched

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
        known = self._watched.pop(collector, None)
        self._rounds.remove(collector)
        if known is not None:
            self._loop.remove_reader(known.bell)
            os.close(known.bell)

    def condition(self, collector: str) -> Condition:
        """How it is, as far as can be seen from its page."""
        known = self._watched.get(collector)
        return known.condition if known is not None else Condition()

    def silent(self, collector: str) -> float | None:
        """Seconds since its last beat; None: it is not judged by any."""
        known = self._watched.get(collector)
        if known is None:
            return None
        beats, *_ = self._words(known.session) or known.words
        return known.pulse.silent(beats, self._loop.time())

    def close(self) -> None:
        """Look no more."""
        for collector in list(self._watched):
            self.forget(collector)
        self._rounds.close()

    def _begin(self, collector: str) -> None:
        self._rounds.add(collector, self._watched[collector].pulse.interval / LOOKS)
        self._look(collector)

    def _look(self, collector: str) -> None:
        watched, now = self._watched[collector], self._loop.time()
        watched.words = self._words(watched.session) or watched.words  # one that has hung up moves no more
        beats, word, reason = watched.words
        before = watched.condition
        watched.pulse.look(beats, now)
        watched.said.look(word, watched.pulse.fresh, now, reason)
        if watched.condition != before:
            self._changed(collector, before, watched.pulse.interval)
        patience = self._patience(collector)
        if watched.said.overdue(patience, now) and patience is not None:
            self._overdue(collector, patience)

    def _listen(self, collector: str, watched: _Watched) -> None:
        if self._watched.get(collector) is watched:
            self._loop.add_reader(watched.bell, self._woken, collector, watched)

    def _woken(self, collector: str, watched: _Watched) -> None:
        with suppress(BlockingIOError):  # whoever has it can read it, too
            os.eventfd_read(watched.bell)
        self._loop.remove_reader(watched.bell)
        self._loop.call_later(CALM_SECONDS, self._listen, collector, watched)
        if self._rounds.has(collector):  # else it rests, and is looked at when it goes on
            self._look(collector)


def _new_bell() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
