"""Regular looks, on an event loop whose clock jumps to just before the next timer instead of waiting for it."""

import asyncio
import selectors

import pytest

from shmbus.coordinator.rounds import Rounds

EARLY = 0.0005  # that a loop calls a timer before its time, as real ones do by the resolution of their clock


class Jumping(selectors.DefaultSelector):
    """Nothing is ever ready; how often it is waited."""

    def __init__(self):
        super().__init__()
        self.now, self.waits = 1000.3, 0

    def select(self, timeout=None):
        if timeout is None or timeout > 0:
            self.now, self.waits = self.now + max((timeout or 0) - EARLY, 0), self.waits + 1
        return super().select(0)


class Lab:
    """Rounds, what they looked at and when, and how to go on."""

    def __init__(self, loop, selector):
        self._loop, self._selector = loop, selector
        self.seen, self.faults = [], []
        self.on_look = lambda name: None
        self.rounds = Rounds(self._look)
        loop.set_exception_handler(lambda _, fault: self.faults.append(fault["message"]))

    def _look(self, name):
        self.seen.append((name, round(self._selector.now, 2)))
        self.on_look(name)

    async def go_on(self, seconds):
        """Let time pass; how often the loop waited for it."""
        before = self._selector.waits
        await asyncio.sleep(seconds)
        return self._selector.waits - before

    def stand_still(self, seconds):
        """Nobody is called for so long."""
        self._selector.now += seconds

    def times(self, name):
        return [time for one, time in self.seen if one == name]


@pytest.fixture
def run():
    """Runs a story with a lab."""

    def run(story):
        selector = Jumping()
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now  # type: ignore[method-assign]
        loop._clock_resolution = 2 * EARLY
        with asyncio.Runner(loop_factory=lambda: loop) as runner:

            async def told():
                lab = Lab(loop, selector)
                await story(lab)
                lab.rounds.close()

            runner.run(told())

    return run


def test_many_of_one_period_take_one_wake_a_period(run):
    async def story(lab):
        for number in range(50):
            lab.rounds.add(f"{number}", 0.25)
        assert await lab.go_on(2.1) <= 10  # 8 rounds, and the end of the sleep
        assert len(lab.seen) == 50 * 8

    run(story)


def test_the_first_look_comes_within_a_period_and_the_others_one_after_it(run):
    async def story(lab):
        lab.rounds.add("a", 1.0)
        await lab.go_on(0.5)
        lab.rounds.add("b", 1.0)
        await lab.go_on(2.6)
        assert lab.times("a") == [1001.0, 1002.0, 1003.0]
        assert lab.times("b") == lab.times("a")

    run(story)


def test_a_period_that_is_a_multiple_of_another_takes_no_further_wakes(run):
    async def story(lab):
        lab.rounds.add("a", 0.25)
        alone = await lab.go_on(4)
        lab.rounds.add("b", 0.5)
        assert await lab.go_on(4) == alone

    run(story)


def test_one_that_is_removed_or_has_another_period_is_looked_at_no_more_with_the_old_one(run):
    async def story(lab):
        for name in "abc":
            lab.rounds.add(name, 1.0)
        lab.on_look = lambda name: [lab.rounds.remove("b"), lab.rounds.add("c", 10.0)]
        await lab.go_on(3)
        assert [name for name, _ in lab.seen] == ["a", "a", "a"]
        lab.rounds.remove("a")
        lab.rounds.remove("a")
        await lab.go_on(10)
        assert lab.seen[3:] == [("c", 1010.0)]

    run(story)


def test_a_look_that_fails_is_told_of_and_the_others_come(run):
    async def story(lab):
        def fail(name):
            if name == "a":
                raise RuntimeError

        lab.on_look = fail
        lab.rounds.add("a", 1.0)
        lab.rounds.add("b", 1.0)
        await lab.go_on(2)
        assert (lab.times("b"), lab.faults) == ([1001.0, 1002.0], ["a look at a failed"] * 2)

    run(story)


def test_times_that_were_missed_are_left_out_and_none_comes_twice(run):
    async def story(lab):
        lab.rounds.add("a", 1.0)
        await lab.go_on(1)
        lab.stand_still(100)
        await lab.go_on(2)
        assert lab.times("a") == [1001.0, 1101.3, 1102.0, 1103.0]

    run(story)


def test_when_it_is_closed_nothing_is_waited_for(run):
    async def story(lab):
        nothing = await lab.go_on(5)
        lab.rounds.add("a", 1.0)
        lab.rounds.add("b", 2.0)
        lab.rounds.close()
        assert await lab.go_on(5) == nothing
        assert lab.seen == []

    run(story)
