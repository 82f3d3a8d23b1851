"""Which calls are made again, and after how long. It decides only; the waiting is the client's."""

from dataclasses import dataclass
from typing import Final

from shmbus.errors import RpcError
from shmbus.rpc.operations import IDEMPOTENT

PASSING: Final = frozenset({"PROCESS_NOT_FOUND", "CLIENT_SHUTDOWN", "INVALID_STATE"})
"""UNAVAILABLE with one of these may be over soon. That nobody serves is told at once and not tried again."""


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `attempts` in all; seconds double from `first` to `longest`, each a random part of that."""

    attempts: int = 3
    first: float = 0.02
    longest: float = 1.0

    def delay(self, error: RpcError, operation: int, keyed: bool, attempts: int, dice: float) -> float | None:
        """Seconds until the next attempt, after so many; None: it is not made again. `dice` is of [0, 1)."""
        if attempts >= self.attempts or error.status != "UNAVAILABLE" or error.code not in PASSING:
            return None
        if "circuit_breaker_state" in error.context:  # it was not even sent, and is not to be for a while
            return None
        if not keyed and operation not in IDEMPOTENT:
            return None
        return dice * min(self.first * 2.0 ** (attempts - 1), self.longest)


NEVER: Final = Retry(attempts=1)
