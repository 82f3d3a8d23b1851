"""What to do about claims that nobody finishes. Decides only; the hands are in sweep.py.

claim of a dead owner            -> repair      (abort: space and slot are free again)
claim of a live owner, overdue   -> skip        (readers step over it; its space is kept for the owner)
skipped claim at the head, and
the ring has gone round          -> successor   (the topic goes on in a new segment)
claim of a live owner, in time   -> look again when it is overdue
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Claim:
    """An unfinished slot, as Ring.claims() tells it."""

    sequence: int
    producer: int
    skipped: bool


@dataclass(slots=True)
class Verdict:
    """What is to be done with one ring, in this order."""

    repair: list[int] = field(default_factory=list)  # producer ids
    skip: list[Claim] = field(default_factory=list)
    continue_elsewhere: bool = False
    look_again_ns: int | None = None  # at this time a claim is overdue


class ClaimWatch:
    """Remembers since when each claim of one ring has been open."""

    __slots__ = ("_since", "timeout_ns")

    def __init__(self, timeout_ns: int) -> None:
        self.timeout_ns = timeout_ns
        self._since: dict[tuple[int, int], int] = {}

    def judge(
        self,
        now_ns: int,
        head: int,
        claims: Iterable[Claim],
        is_dead: Callable[[int], bool],
        *,
        gone_round: bool,
    ) -> Verdict:
        """`is_dead(producer)` is proof of death; `gone_round`: the ring needs the space at its head."""
        verdict, since = Verdict(), {}
        for claim in claims:
            if is_dead(claim.producer):
                if claim.producer not in verdict.repair:
                    verdict.repair.append(claim.producer)
            elif claim.skipped:
                verdict.continue_elsewhere |= gone_round and claim.sequence == head
            else:
                key = (claim.sequence, claim.producer)
                opened = since[key] = self._since.get(key, now_ns)
                self._judge_open(verdict, claim, opened, now_ns)
        self._since = since
        return verdict

    def _judge_open(self, verdict: Verdict, claim: Claim, opened: int, now_ns: int) -> None:
        due = opened + self.timeout_ns
        if now_ns >= due:
            verdict.skip.append(claim)
        elif verdict.look_again_ns is None or due < verdict.look_again_ns:
            verdict.look_again_ns = due
