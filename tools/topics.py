"""List the topics of a bus.

Read from shared memory: nobody is asked, so a bus whose coordinator is dead can
be looked at, too. Of another user's bus its coordinator tells the topics that
one may read. On a terminal the table fits its width; anywhere else nothing is
cut.

    topic     name            kept     messages that are in its ring now
    type      message type    at most  limits: by count, by size, by age
    gen       generation      full     of the limit that is nearest
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from rich.text import Text

import shmbus
from shmbus.overview import TopicStatus

from . import text
from .look import look
from .options import add_bus
from .table import WIDE, Cell, Column, quiet, table

UNCUT_WIDTH = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--json", action="store_true", help="one JSON object a topic, a line each")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look once. Raises ConnectError, SegmentError, AccessDenied."""
    topics, whole = look(arguments.bus, lambda _, reading: reading.statuses(), shmbus.Bus.topics, "topics")
    if arguments.json:
        sys.stdout.write("".join(f"{one}\n" for one in as_json(topics)))
    elif topics:
        width = os.get_terminal_size().columns if sys.stdout.isatty() else UNCUT_WIDTH
        sys.stdout.write(listing(topics, width))
    elif whole:
        print(f"the bus '{arguments.bus}' has no topics yet: the first publisher makes one")
    else:
        print(f"the bus '{arguments.bus}' has no topics yet that this user may read")
    return 0


def as_json(topics: Sequence[TopicStatus]) -> list[str]:
    """A JSON object for each topic."""
    return [json.dumps(topic._asdict()) for topic in topics]


def listing(topics: Sequence[TopicStatus], width: int) -> str:
    """The table."""
    return "".join(f"{line}\n" for line in _table(topics, width))


def _table(topics: Sequence[TopicStatus], width: int) -> list[Text]:
    wide = width >= WIDE
    types = max(len(_type(topic, wide)) for topic in topics)
    columns = [
        Column("topic"),
        Column("type", max(types, 4) if wide else min(types, 15), left=True),
        Column("gen", 3),
        Column("kept", 10 if wide else 6),
        Column("at most", 28 if wide else 14, left=True),
        Column("full", 5),
        Column("pub", 3),
        Column("sub", 3),
    ]
    return table(columns, [_row(topic, columns, wide) for topic in topics], width)


def _row(topic: TopicStatus, columns: Sequence[Column], wide: bool) -> list[Cell]:
    return [
        topic.topic,
        text.shorten(_type(topic, wide), columns[1].width),
        str(topic.generation),
        text.count(topic.retained, columns[3].width),
        text.shorten(_limits(topic, wide), columns[4].width),
        text.percent(topic.fill),
        quiet(str(topic.publishers), topic.publishers),
        quiet(str(topic.subscribers), topic.subscribers),
    ]


def _type(topic: TopicStatus, whole: bool) -> str:
    name = text.printable(topic.type or "any")  # whoever made the topic has named it
    return name if whole else name.rpartition(".")[2]


def _limits(topic: TopicStatus, wide: bool) -> str:
    count, age = text.count(topic.max_messages, 0 if wide else 6), topic.retention_seconds
    limits = f"{count}, {text.size(topic.max_bytes)}"
    return f"{limits}, {text.duration(age)}" if age else limits
