"""In which order a subscription hands out what it reads from several topics.

    None            each topic and lane in its own order; what is urgent before all else
    "producer"      what one client published, across topics and lanes, as it published it (shmbus/core/python/merge.c)
    "correlation"   what belongs to one root, by sequence_number, across topics (shmbus/core/python/correlated.c)

Both are made where the rings are read, so every way to receive has them, and a subscription without pays nothing.

A producer is a client: one connection of a process. What its threads publish at the same time is in no order; if one
publish has returned before the other was called, it comes first, whichever thread did either. What is urgent overtakes
the messages of others, never an earlier one of its own producer. Nothing is held back: what waits for its turn waits in
its ring. A claim that somebody leaves unfinished holds up its topic and those that have published there behind it,
until it is repaired or revoked (`claim_timeout_ms`); others overtake.

Members of a durable subscription take messages in that order, together: what one is given was published after all that
anybody was given before. What is given back comes again as the oldest of its topic. A topic whose window is full, or
that was resized, holds up what its producers published after that until enough is settled.

In a correlation group a missing number is waited for `order_wait` seconds after a later one came, then told in a Gap
of reason "order"; if it comes after that, it is handed out when it comes. So is the second of two with one number.
What could be read when that time had passed is not missing, however late the caller looks; what stands behind a claim
that somebody leaves unfinished, or behind what others have to settle first, is not waited for any longer. What is read
from the middle of a group on begins with the lowest number that comes within that time. What has no correlation passes
at once, and is number 0 of what is published while it is handled. A filter's rejects are not missing. At most 8,192
messages or 64 MiB are held back, of 4,096 groups: beyond, the oldest goes early, told by its gaps, and counted in
`released_early`.

What a durable subscription holds back is its reader's: the time to settle it begins anew when it is handed out, and it
comes again when the reader dies; what comes again passes at once. Each member puts in order what it was given, and what
others were given is missing there: have one reader at a time for that order.
"""

from typing import Final, Literal, NamedTuple

Order = Literal["producer", "correlation"]

DEFAULT_WAIT_SECONDS: Final = 1.0


class Ordering(NamedTuple):
    """An order, and how long it waits for what is missing."""

    order: Order
    wait_ns: int


def resolve(order: Order | None, order_wait: float, ack_deadline: float | None = None) -> Ordering | None:
    """What was asked for, checked; of a durable subscription against its `ack_deadline`, seconds. Raises ValueError."""
    if order not in (None, "producer", "correlation"):
        raise ValueError(f"order is 'producer', 'correlation' or None, not {order!r}")
    if not 0 <= order_wait < 1e9:
        raise ValueError(f"order_wait is a number of seconds from 0 up, not {order_wait!r}")
    if order == "correlation" and ack_deadline is not None and order_wait >= ack_deadline:
        raise ValueError(
            f"order_wait is {order_wait!r} s, but what is not settled for {ack_deadline!r} s comes again, also what is "
            "held back. Choose an order_wait below the ack_deadline of the durable subscription, or raise that"
        )
    return None if order is None else Ordering(order, round(order_wait * 1e9))
