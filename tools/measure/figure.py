"""What came out of a benchmark: a figure with its rounds, what it is held against, and what it should be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

from shmbus.errors import ShmbusError

Unit = Literal["ns", "/s", "share", "ratio", "MB", "cores"]


class BenchError(ShmbusError):
    """A benchmark could not be run, or the bus did not do in it what it promises."""


@dataclass(frozen=True)
class Target:
    """A bound of a figure's median, in the figure's unit."""

    bound: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One value a round. `floor` is what the machine can do without a bus, in the same unit and the same run."""

    what: str
    unit: Unit
    rounds: Sequence[float]
    target: Target | None = None
    floor: float | None = None
    percentiles: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float | None:
        """None: it was not measured, and `note` says why."""
        return median(self.rounds) if self.rounds else None

    @property
    def met(self) -> bool | None:
        """None: there is no target, or nothing was measured."""
        if self.target is None or self.median is None:
            return None
        return self.target.met_by(self.median)

    def as_dict(self) -> dict[str, Any]:
        spread = {"lowest": min(self.rounds), "highest": max(self.rounds)} if self.rounds else {}
        return asdict(self) | {"rounds": list(self.rounds), "median": self.median, **spread, "met": self.met}
