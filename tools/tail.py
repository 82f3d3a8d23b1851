"""Print what is published, as it comes.

PATTERN is a topic, or several at once: `+` stands for one segment, `#` at the
end for any number of them.

    shmbus tail 'events.process.#'
    shmbus tail '#' --json --from earliest --count 100
    shmbus tail 'alerts.#' --from 15m
    shmbus tail 'events.process.+' --where 'event.process.pid == 4711'

Where messages are missing a line says how many and why: publishers wait for a
reader only if it is --lossless. What the output is piped to gets whole lines,
each as soon as there is nothing else to print.
"""

import argparse
import os
import re
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any, Final, NoReturn

import shmbus
from shmbus.errors import ReceiveTimeout
from shmbus.filter import Filter
from shmbus.message import Gap, Message
from shmbus.start import Last, Start
from shmbus.topic import check_pattern

from .event import as_json, line
from .options import add_bus, positive, seconds
from .types import Types

BATCH: Final = 512
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("patterns", metavar="PATTERN", nargs="+", help="topics to print")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--count", type=positive, metavar="N", help="end after N messages")
    parser.add_argument(
        "--from",
        dest="start",
        type=_start,
        default="latest",
        metavar="WHERE",
        help="begin at latest (default), earliest, a sequence number, last:N of each topic, "
        "an age such as 5m, or a time such as 2026-05-04T13:30 (local)",
    )
    parser.add_argument(
        "--where", metavar="EXPR", help="only messages for which this holds, such as 'priority > 5' (CEL)"
    )
    parser.add_argument("--lossless", action="store_true", help="miss nothing: publishers wait for this reader")
    parser.add_argument("--duration", type=seconds, metavar="SECONDS", help="end after that long")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print until the count, the duration or the bus ends. Raises ConnectError, AccessDenied, PatternError."""
    patterns = [check_pattern(pattern) for pattern in arguments.patterns]
    render = as_json if arguments.json else partial(line, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    end = None if arguments.duration is None else time.monotonic() + arguments.duration
    with shmbus.connect(arguments.bus, name="tail") as bus:
        wanted = None if arguments.where is None else Filter(where=arguments.where)
        with bus.subscribe(
            *patterns, lossless=arguments.lossless, start=arguments.start, filter=wanted
        ) as subscription:
            _end_with_reader()
            return _print(_batches(subscription, end), render, arguments.count, Types(bus))


def _print(
    batches: Iterator[list[Message | Gap]], render: Callable[[Message | Gap], str], count: int | None, types: Types
) -> int:
    left = count
    for batch in batches:
        if left is not None:
            batch, left = _first(batch, left)
        for item in batch:
            types.learn(item)
        sys.stdout.write("".join([f"{render(item)}\n" for item in batch]))
        sys.stdout.flush()
        if left == 0:
            break
    return 0


def _batches(subscription: Any, end: float | None) -> Iterator[list[Message | Gap]]:
    """What is there, as soon as something is."""
    while True:
        timeout = None if end is None else max(end - time.monotonic(), 0.0)
        try:
            yield subscription.receive_many(BATCH, timeout)
        except ReceiveTimeout:
            return
        except shmbus.ClosedError as error:
            print(f"shmbus: {error.reason}", file=sys.stderr)
            return
        if end is not None and time.monotonic() >= end:
            return


def _first(batch: list[Message | Gap], messages: int) -> tuple[list[Message | Gap], int]:
    """The batch up to its n-th message, and how many are still wanted then. A gap is no message."""
    for index, item in enumerate(batch):
        if isinstance(item, Message):
            messages -= 1
            if messages == 0:
                return batch[: index + 1], 0
    return batch, messages


def _end_with_reader() -> None:
    """End when whoever reads our output has gone, even while nothing comes that could be printed to find out."""
    output = sys.stdout.fileno()
    if stat.S_ISFIFO(os.fstat(output).st_mode):
        signal.signal(signal.SIGPIPE, _reader_gone)
        main = threading.get_ident()
        threading.Thread(target=_watch, args=(output, main), name="tail-reader", daemon=True).start()


def _watch(output: int, main: int) -> None:
    poll = select.poll()
    poll.register(output, 0)  # errors are always told
    poll.poll()
    signal.pthread_kill(main, signal.SIGPIPE)  # it may sleep where only a signal reaches it


def _reader_gone(number: int, _: FrameType | None) -> NoReturn:
    raise BrokenPipeError


def _start(text: str) -> Start:
    """As `Bus.subscribe` takes it; a time without a zone is local."""
    if text in ("latest", "earliest"):
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if found := re.fullmatch(r"last:([1-9][0-9]{0,17})", text):
        return Last(int(found[1]))
    if found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text):
        return timedelta(seconds=float(found[1]) * _UNIT_SECONDS[found[2]])
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of latest, earliest, a sequence number from 1 up, last:N (of each topic), "
            "an age (90s, 5m, 2h, 1d), or a time (2026-05-04T13:30)"
        ) from None
