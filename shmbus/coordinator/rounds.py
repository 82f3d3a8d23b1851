"""Looks at many things at regular times, on a running event loop: those of one period together.

A wake of the loop costs ten times what a look does, so fifty collectors are to cost as many wakes as one. The times of
a period are its multiples on the loop's clock: where one period is a multiple of another, they share wakes, too.
"""

import asyncio
from collections.abc import Callable


class _Round:
    """All that are looked at with one period."""

    __slots__ = ("names", "number", "timer")

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.number = 0  # of periods since the clock began, at the last look or when the first name came
        self.timer: asyncio.TimerHandle | None = None


class Rounds:
    """Calls `look` with each name once a period, the first time within one. A time that is missed is left out."""

    def __init__(self, look: Callable[[str], None]) -> None:
        self._look, self._loop = look, asyncio.get_running_loop()
        self._periods: dict[str, float] = {}
        self._rounds: dict[float, _Round] = {}

    def add(self, name: str, period: float) -> None:
        """Look at it once in `period` seconds (above 0) from now on, with no other period any more."""
        if self._periods.get(name) == period:
            return
        self.remove(name)
        self._periods[name] = period
        one = self._rounds.get(period)
        if one is None:
            one = self._rounds[period] = _Round()
            self._wait(period, one)
        one.names[name] = None

    def remove(self, name: str) -> None:
        """Look at it no more; more than once does no harm."""
        period = self._periods.pop(name, None)
        if period is None:
            return
        one = self._rounds[period]
        del one.names[name]
        if not one.names:
            del self._rounds[period]
            if one.timer is not None:
                one.timer.cancel()

    def has(self, name: str) -> bool:
        """Is it looked at?"""
        return name in self._periods

    def close(self) -> None:
        """Look at nothing any more."""
        for name in list(self._periods):
            self.remove(name)

    def _wait(self, period: float, one: _Round) -> None:
        # The loop may call a little early: never twice at one time.
        one.number = max(int(self._loop.time() / period), one.number) + 1
        one.timer = self._loop.call_at(one.number * period, self._come_round, period, one)

    def _come_round(self, period: float, one: _Round) -> None:
        self._wait(period, one)
        for name in list(one.names):
            if name in one.names:  # no look before has removed it
                try:
                    self._look(name)
                except Exception as error:  # a mistake of ours, and not the others'
                    told = {"message": f"a look at {name} failed", "exception": error}
                    self._loop.call_exception_handler(told)
