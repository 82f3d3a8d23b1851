"""Which of several servers of one service gets the next call: of those that say they are best, the policy's."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from shmbus.directory import Health
from shmbus.rpc.presence import Instance

Policy = Literal["least-loaded", "round-robin"]
POLICIES: Final = ("least-loaded", "round-robin")


class Balance:
    """Of one client and one service. Load is what the client itself has out there, and what servers said they have."""

    def __init__(
        self, policy: Policy = "least-loaded", health: Callable[[int], Health] = lambda _: Health.UNKNOWN
    ) -> None:
        """`health` of a server, by its session, is looked at for each call where there are several: so be quick."""
        if policy not in POLICIES:
            raise ValueError(f"balance is one of {', '.join(POLICIES)}, not {policy!r}")
        self._policy, self._health = policy, health
        self._turn = 0
        self._outstanding: dict[str, int] = {}
        self._reported: dict[str, int] = {}

    def choose(self, found: Sequence[Instance]) -> Instance:
        """One of the best of them; of equals, each in turn."""
        self._turn += 1
        if len(found) == 1:
            return found[0]
        found = self._best(found)
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

    def _best(self, found: Sequence[Instance]) -> Sequence[Instance]:
        each = [self._health(one.session) for one in found]
        if max(each) <= Health.HEALTHY:  # mostly; one that says nothing is as good as any
            return found
        best = max(min(each), Health.HEALTHY)
        return [one for one, its in zip(found, each, strict=True) if its <= best]

    def _load(self, instance: Instance) -> int:
        # What it reported holds what is outstanding here as well: the larger of the two, not the sum.
        return max(self._outstanding.get(instance.name, 0), self._reported.get(instance.name, 0))
