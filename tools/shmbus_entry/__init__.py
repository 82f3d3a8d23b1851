"""Where the command `shmbus` begins, installed as `shmbus_entry`, beside the package and not in it.

Whatever is imported from a package has the package itself imported before, which is most of the time that a command
takes to start. Here is nothing that takes time, so a Ctrl-C in all of that ends the command as one does later.
"""

import os
import signal
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 128 + signal.SIGINT


def main() -> int:
    """The command's status."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is not signal.SIG_IGN:  # as of what a shell has started in the background
            signal.signal(signal.SIGINT, _end)
        from shmbus.tools.main import main as run

        signal.signal(signal.SIGINT, before)
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """At once: nothing has been done that could be undone, and an exception might be swallowed by what is imported."""
    os._exit(INTERRUPTED)
