"""Percentiles of many samples: by nearest rank, so every one of them is a sample that was measured."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, NamedTuple

RANKS: Final = {"p50": 500, "p99": 990, "p99.9": 999, "max": 1000}  # per mille


class Paced(NamedTuple):
    """A round at a steady pace: percentiles of one way in ns, and how many processors both sides kept busy."""

    ns: dict[str, float]
    cores: float


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and max, in the samples' unit."""
    ordered = sorted(samples)
    return {name: ordered[(rank * len(ordered) - 1) // 1000] for name, rank in RANKS.items()}


def medians(rounds: Iterable[dict[str, float]]) -> dict[str, float]:
    """Of each percentile the median over the rounds. Empty when there were none."""
    found = list(rounds)
    return {name: median(one[name] for one in found) for name in RANKS} if found else {}
