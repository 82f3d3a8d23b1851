"""What is done to whom and when: by dice, so that a seed tells all of it again. No clock, no process."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WEIGHTS = {
    "kill": 20,  # a participant; another one of its name begins after `seconds`
    "stop": 20,  # SIGSTOP, and SIGCONT after `seconds`
    "end": 6,  # SIGTERM, and another one after `seconds`
    "kill-coordinator": 10,  # the next one begins after `seconds`
    "kill-coordinators": 4,  # and is killed after `seconds` of its own start, before a third one begins
    "starve-coordinator": 3,  # and cannot begin, for `seconds`, because /dev/shm is full
    "stop-coordinator": 6,
    "take-over": 3,  # another one ends it
    "kill-collector": 8,
    "stop-collector": 4,  # for `seconds`: longer ones are ended for it
    "ask-collector": 4,  # restart, or pause and resume
    "reload": 6,  # SIGHUP, with another configuration
    "fill": 5,  # /dev/shm is full for `seconds`
    "resize": 4,
    "visit": 6,  # a client comes, looks around, and goes
}
OF_PARTICIPANTS = ("kill", "stop", "end")
_OTHERS = {
    **dict.fromkeys(("kill-collector", "stop-collector", "ask-collector"), "collector"),
    **dict.fromkeys((kind for kind in WEIGHTS if "coordinator" in kind), "coordinator"),
    "take-over": "coordinator",
}


class Fault(NamedTuple):
    """`after` seconds of rest something is done to `whom`; `seconds` are its own; `roll` (0 to 1) decides the rest."""

    after: float
    what: str
    whom: str
    seconds: float
    roll: float


def faults(seed: str, participants: Sequence[str], without: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """For ever."""
    dice = random.Random(seed)
    kinds = [kind for kind in WEIGHTS if kind not in without]
    weights = [WEIGHTS[kind] for kind in kinds]
    while True:
        what = dice.choices(kinds, weights)[0]
        whom = dice.choice(participants) if what in OF_PARTICIPANTS else _OTHERS.get(what, "bus")
        longest = 6.0 if what == "stop-collector" else 2.5
        # Most are short, into the middle of something; some long enough for every timeout that is meant to be met.
        seconds = dice.choice((dice.uniform(0, 0.02), dice.uniform(0, 0.5), dice.uniform(0, longest)))
        yield Fault(dice.expovariate(3.0), what, whom, seconds, dice.random())
