"""Ways to look at what came."""

import shmbus


def rest(subscription):
    """All that is there at once."""
    return list(iter(subscription.try_receive, None))


def payloads(found):
    """Of the messages among it."""
    return [one.payload for one in found if not isinstance(one, shmbus.Gap)]


def gaps(found):
    """As (first, count, reason)."""
    return [(one.first, one.count, one.reason) for one in found if isinstance(one, shmbus.Gap)]


def numbered(first, last):
    """Payloads that tell their number."""
    return [b"%d" % number for number in range(first, last)]
