"""List the topics of a bus.

Read from shared memory: nobody is asked, so a bus whose coordinator is dead can
be looked at, too. On a terminal the table fits its width; anywhere else nothing
is cut.

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

from . import text
from .options import add_bus
from .snapshot import Probe, Reading, TopicReading
from .table import WIDE, Cell, Column, quiet, table

UNCUT_WIDTH = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--json", action="store_true", help="one JSON object a topic, a line each")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look once. Raises ConnectError, SegmentError, AccessDenied."""
    with Probe(arguments.bus) as probe:
        reading = probe.read()
    if not reading.alive:
        print(f"shmbus: the coordinator (pid {reading.coordinator.pid}) is dead; this is what it left", file=sys.stderr)
    if arguments.json:
        sys.stdout.write("".join(f"{one}\n" for one in as_json(reading)))
    else:
        _print(reading)
    return 0


def as_json(reading: Reading) -> Sequence[str]:
    """A JSON object for each topic."""
    subscribers = reading.subscribers()
    return [json.dumps(_facts(topic, subscribers.get(topic.entry.topic_id, 0))) for topic in reading.topics]


def listing(reading: Reading, width: int) -> str:
    """The table."""
    if not reading.topics:
        return f"the bus '{reading.bus}' has no topics yet: the first publisher makes one\n"
    return "".join(f"{line}\n" for line in _table(reading, width))


def _print(reading: Reading) -> None:
    width = os.get_terminal_size().columns if sys.stdout.isatty() else UNCUT_WIDTH
    sys.stdout.write(listing(reading, width))


def _table(reading: Reading, width: int) -> list[Text]:
    wide = width >= WIDE
    types = max(len(_type(topic, wide)) for topic in reading.topics)
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
    subscribers = reading.subscribers()
    rows = [_row(topic, subscribers.get(topic.entry.topic_id, 0), columns, wide) for topic in reading.topics]
    return table(columns, rows, width)


def _row(topic: TopicReading, subscribers: int, columns: Sequence[Column], wide: bool) -> list[Cell]:
    return [
        topic.entry.name,
        text.shorten(_type(topic, wide), columns[1].width),
        str(topic.generation),
        text.count(topic.retained, columns[3].width),
        text.shorten(_limits(topic, wide), columns[4].width),
        text.percent(topic.fill),
        quiet(str(topic.publishers), topic.publishers),
        quiet(str(subscribers), subscribers),
    ]


def _type(topic: TopicReading, whole: bool) -> str:
    name = topic.entry.type_name or "any"
    return name if whole else name.rpartition(".")[2]


def _limits(topic: TopicReading, wide: bool) -> str:
    entry = topic.entry
    count, age = text.count(entry.max_messages, 0 if wide else 6), entry.retention_ns / 1e9
    limits = f"{count}, {text.size(entry.max_bytes)}"
    return f"{limits}, {text.duration(age)}" if age else limits


def _facts(topic: TopicReading, subscribers: int) -> dict[str, object]:
    entry = topic.entry
    return {
        "topic": entry.name,
        "topic_id": entry.topic_id,
        "type": entry.type_name,
        "generation": topic.generation,
        "messages": sum(ring.messages for ring in topic.rings.values()),
        "retained": topic.retained,
        "used_bytes": topic.used_bytes,
        "fill": round(topic.fill, 6),
        "max_messages": entry.max_messages,
        "max_bytes": entry.max_bytes,
        "max_message_bytes": entry.max_message_bytes,
        "retention_seconds": entry.retention_ns / 1e9,
        "on_full": entry.on_full,
        "publishers": topic.publishers,
        "subscribers": subscribers,
        "lossless_subscribers": topic.gates,
    }
