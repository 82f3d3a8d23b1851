"""Which lossless readers stand in the way of a full ring for too long. No clock and no I/O of its own."""

from collections.abc import Mapping
from typing import NamedTuple


class _Hold(NamedTuple):
    position: int
    since_ns: int


class StallWatch:
    """Watches the gates of one ring."""

    __slots__ = ("_holds",)

    def __init__(self) -> None:
        self._holds: dict[int, _Hold] = {}  # by gate: those that hold the head, and since when they do so there

    def judge(self, now_ns: int, limit_ns: int, *, full: bool, head: int, held: Mapping[int, int]) -> dict[int, int]:
        """The gates that have held the full ring's head at one position for `limit_ns`, and how long each has.

        `held`: where each gate holds. Time in which the ring is not full does not count, and progress starts it anew.
        """
        if not full:
            self._holds.clear()
            return {}
        holds = {}
        for gate, position in held.items():
            if position <= head:
                before = self._holds.get(gate)
                holds[gate] = before if before and before.position == position else _Hold(position, now_ns)
        self._holds = holds
        return {gate: now_ns - hold.since_ns for gate, hold in holds.items() if now_ns - hold.since_ns >= limit_ns}
