"""Options that several commands have, and kinds of values."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message


def add_bus(parser: argparse.ArgumentParser) -> None:
    """--bus; the value is never None."""
    parser.add_argument(
        "--bus",
        metavar="NAME",
        default=default_bus(),
        help="the bus (default: $SHMBUS_BUS, else 'default'; now: %(default)s)",
    )


def add_bus_or_file(parser: argparse.ArgumentParser) -> None:
    """FILE, or else --bus; see `bus_of`."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the bus that this configuration is of")
    add_bus(parser)


def bus_of(arguments: argparse.Namespace) -> str:
    """The bus that FILE names, whatever else stands in there, or else --bus. Raises ConfigurationError."""
    if arguments.file is None:
        return str(arguments.bus)
    from shmbus.config import read  # takes longer than most commands

    section = read(arguments.file).get("bus")
    name = section.get("name") if isinstance(section, dict) else None
    return name if isinstance(name, str) else default_bus()


def default_bus() -> str:
    """The bus that is meant where none is named."""
    return os.environ.get("SHMBUS_BUS") or "default"


def fill(message: "Message", text: str) -> None:
    """What --json says goes into a message. Raises ConfigurationError."""
    from google.protobuf import json_format

    from shmbus.errors import ConfigurationError

    kind = type(message).__name__
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):  # an empty list would pass for a message without fields
            raise json_format.ParseError(f"{text} is no JSON object")
        json_format.ParseDict(fields, message)
    except (json.JSONDecodeError, json_format.ParseError) as error:
        raise ConfigurationError("--json", None, text, f"it is no {kind}: {error}") from None


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
