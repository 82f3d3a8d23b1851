"""Which of several servers of one service gets the next call."""

from collections.abc import Sequence
from typing import Final, Literal

from shmbus.rpc.presence import Instance

Policy = Literal["least-loaded", "round-robin"]
POLICIES: Final = ("least-loaded", "round-robin")


class Balance:
    """Of one client and one service. Load is what the client itself has out there, and what servers said they have."""

    def __init__(self, policy: Policy = "least-loaded") -> None:
        if policy not in POLICIES:
            raise ValueError(f"balance is one of {', '.join(POLICIES)}, not {policy!r}")
        self._policy = policy
        self._turn = 0
        self._outstanding: dict[str, int] = {}
        self._reported: dict[str, int] = {}

    def choose(self, found: Sequence[Instance]) -> Instance:
        """One of them; of equals, each in turn."""
        self._turn += 1
        if len(found) == 1:
            return found[0]
        turned = [found[(self._turn + place) % len(found)] for place in range(len(found))]
        return turned[0] if self._policy == "round-robin" else min(turned, key=self._load)

    def sent(self, instance: Instance) -> None:
        """It has one call more."""
        name = instance.name
        self._outstanding[name] = self._outstanding.get(name, 0) + 1

    def ended(self, instance: Instance) -> None:
        """It has one call less."""
        name = instance.name
        left = self._outstanding.pop(name, 0) - 1
        if left > 0:
            self._outstanding[name] = left

    def reported(self, instance: Instance, hint: str) -> None:
        """What an answer said of its server's load."""
        if hint.isdecimal():
            self._reported[instance.name] = int(hint)

    def _load(self, instance: Instance) -> int:
        # What it reported holds what is outstanding here as well: the larger of the two, not the sum.
        return max(self._outstanding.get(instance.name, 0), self._reported.get(instance.name, 0))
