"""Whose fault an exception is: this package's code raises it, or a signal handler does that runs in the midst of it.

Handlers raise what they like, TimeoutError and ShmbusError included. What is caught here as a fault of the bus (its
coordinator died, a segment is no ring, ...) must not be one of those: they are meant for the caller.
"""

from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]


def is_own(error: BaseException) -> bool:
    """Every function that it came through, from the one that asks, is this package's: no handler is among them."""
    trace = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name != _PACKAGE and not name.startswith(_PACKAGE + "."):
            return False
        trace = trace.tb_next
    return True
