"""How much is measured: enough to be shown, enough to be believed, or just enough to see that it works."""

from typing import Final, NamedTuple


class Effort(NamedTuple):
    """`seconds` is the length of one round of a throughput; `samples` are round trips of a latency's round."""

    rounds: int
    seconds: float
    samples: int
    paced_samples: int
    idle_seconds: float
    subscriptions: int
    every_shape: bool
    collectors: int = 50


SHORT: Final = Effort(5, 0.25, 20_000, 700, 4.0, 10_000, False)
LONG: Final = Effort(9, 1.0, 100_000, 5_000, 20.0, 10_000, True)
