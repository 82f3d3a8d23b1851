"""Standard output whose reader has gone."""

import os
import sys


def abandon() -> None:
    """What is still buffered, and whatever is printed from now on, goes nowhere: it must not fail again at the end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
