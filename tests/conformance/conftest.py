"""Two implementations of one bus: the real one and the one in memory. Every test here is to hold for both."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

import shmbus
from process.rings import small
from shmbus.testing import ManualClock, MemoryBus


class Real:
    """A private bus in shared memory, whose time passes by itself."""

    def open(self, config: Any = None, name: str = "lab") -> Any:
        return shmbus.embedded(config, name=name)

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)


class Memory:
    """A bus in memory, whose time passes when it is told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()

    def open(self, config: Any = None, name: str = "lab") -> Any:
        return MemoryBus(config, clock=self.clock, name=name)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture(params=[Real, Memory], ids=["real", "memory"])
def world(request: pytest.FixtureRequest) -> Any:
    """Opens buses, and lets time pass."""
    return request.param()


@pytest.fixture
def bus(world: Any) -> Iterator[Any]:
    """One whose topics retain 15 messages."""
    with world.open(small()) as bus:
        yield bus
