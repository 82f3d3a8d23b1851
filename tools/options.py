"""Options that several commands have, and kinds of values."""

import argparse
import os


def add_bus(parser: argparse.ArgumentParser) -> None:
    """--bus; the value is never None."""
    parser.add_argument(
        "--bus",
        metavar="NAME",
        default=default_bus(),
        help="the bus (default: $SHMBUS_BUS, else 'default'; now: %(default)s)",
    )


def default_bus() -> str:
    """The bus that is meant where none is named."""
    return os.environ.get("SHMBUS_BUS") or "default"


def seconds(text: str) -> float:
    """A positive number of seconds. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return value


def positive(text: str) -> int:
    """A whole number from 1 up. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)
