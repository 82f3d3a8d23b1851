"""Lines of the log that say how urgent they are, for journald.

A service whose standard error goes to the journal may begin each line with <N>, N as of syslog(3). Anywhere else lines
are as they are.
"""

import os
from typing import TextIO

INFO = 6
WARNING = 4
ERROR = 3


class Warn(str):
    """A line that somebody ought to look at."""

    __slots__ = ()


class Fail(str):
    """Why it ends now."""

    __slots__ = ()


def is_journal(stream: TextIO) -> bool:
    """Is that where systemd has connected this process's output to the journal?"""
    told = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


def for_journal(line: str) -> str:
    """The line with its priority."""
    priority = ERROR if isinstance(line, Fail) else WARNING if isinstance(line, Warn) else INFO
    return f"<{priority}>{line}"
