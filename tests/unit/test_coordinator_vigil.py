"""The coordinator is woken by what collectors say of themselves: no process, and no regular look within a test."""

import asyncio
import os

from shmbus.condition import Condition
from shmbus.coordinator.vigil import CALM_SECONDS, Vigil
from shmbus.directory import Health

HOUR = 3600.0


class Lab:
    """Pages of collectors, and what was told of them; the bell of one as that has it."""

    def __init__(self):
        self.pages, self.told, self.overdue = {1: (0, 0, "")}, [], []
        self.patience = None
        self.vigil = Vigil(
            self.pages.get, self._changed, lambda name: self.patience, lambda name, patience: self.overdue.append(name)
        )
        self.vigil.watch("one", 1, HOUR)
        self.bell = self.vigil.open_bell("one")

    def _changed(self, name, before, interval):
        self.told.append(self.vigil.condition(name).said)

    def say(self, health, reason=""):
        beats, *_ = self.pages[1]
        self.pages[1] = (beats + 1, health, reason)
        os.eventfd_write(self.bell, 1)

    async def soon(self):
        await asyncio.sleep(CALM_SECONDS / 4)


def run(story):
    """And nothing is left open by it."""
    before = len(os.listdir("/proc/self/fd"))

    async def main():
        lab = Lab()
        try:
            await story(lab)
        finally:
            lab.vigil.close()
            os.close(lab.bell)

    asyncio.run(main())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_word_is_known_without_a_look_and_with_it_that_it_moves():
    async def story(lab):
        assert lab.vigil.silent("one") is None
        lab.say(1)
        assert lab.vigil.silent("one") == 0.0  # at once
        await lab.soon()
        assert lab.told == [Health.HEALTHY] and lab.vigil.silent("one") < HOUR

    run(story)


def test_one_that_changes_its_mind_all_the_time_is_heard_now_and_then_and_the_last_word_counts():
    async def story(lab):
        for n in range(50):
            lab.say(1 + n % 3)
            await asyncio.sleep(0.001)
        lab.say(3)
        heard = len(lab.told)
        await asyncio.sleep(CALM_SECONDS * 1.5)
        assert 1 <= heard < 10 and lab.told[-1] is Health.UNHEALTHY

    run(story)


def test_one_that_rests_wakes_nobody_and_what_it_said_counts_when_it_goes_on():
    async def story(lab):
        lab.vigil.rest("one")
        lab.say(3)
        await lab.soon()
        assert lab.told == []
        lab.vigil.go_on("one")
        assert lab.told == [Health.UNHEALTHY]

    run(story)


def test_nobody_hears_the_bell_of_one_that_is_forgotten():
    async def story(lab):
        lab.vigil.forget("one")
        lab.say(3)
        os.close(lab.vigil.open_bell("one"))
        await asyncio.sleep(CALM_SECONDS * 1.5)
        assert lab.told == []
        lab.vigil.watch("one", 1, HOUR)
        assert lab.told == [Health.UNHEALTHY]

    run(story)


def test_the_page_of_one_that_has_hung_up_says_what_it_said():
    async def story(lab):
        lab.say(2, "disk full")
        await lab.soon()
        del lab.pages[1]
        lab.vigil.go_on("one")
        assert lab.vigil.condition("one") == Condition(Health.HEALTHY, Health.DEGRADED, "disk full")
        assert lab.vigil.silent("one") is not None

    run(story)


def test_who_says_for_too_long_that_it_is_unhealthy_is_overdue_and_others_are_not():
    async def story(lab):
        lab.say(3)
        await asyncio.sleep(CALM_SECONDS * 1.5)
        assert lab.overdue == []
        lab.patience = 0.0
        lab.say(3)
        await asyncio.sleep(CALM_SECONDS * 1.5)
        assert lab.overdue == ["one"]

    run(story)
