"""Print the last message of each key of a topic, or of one key.

Read from shared memory: nobody is asked, so it works while the coordinator is
dead, too. At another user's bus its coordinator is asked, if one may read the
topic. A topic keeps them if its configuration says keep_last.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import closing

import shmbus
from shmbus import segment
from shmbus.errors import AccessDenied, SegmentError
from shmbus.message import Message
from shmbus.state import Snapshot, StateReader
from shmbus.topic import check_topic

from . import event
from .options import add_bus
from .snapshot import Probe
from .text import plural, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("key", metavar="KEY", nargs="?", help="of this key only; the status is 1 if none is kept")
    parser.add_argument("--json", action="store_true", help="one JSON object a message, a line each")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look once. Raises ConnectError, SegmentError, AccessDenied, TopicNameError."""
    topic = check_topic(arguments.topic)
    try:
        return _look(arguments, topic)
    except AccessDenied:
        with shmbus.connect(arguments.bus, name="last") as bus:
            return _tell(arguments, bus.last(topic))


def _look(arguments: argparse.Namespace, topic: str) -> int:
    number = _number(arguments.bus, topic)
    found = None if number is None else _kept(arguments.bus, number)
    if found is None:
        none = f"topic '{topic}' keeps no last messages: set keep_last in its configuration"
        what = none if number is not None else f"there is no topic '{topic}': `shmbus topics` lists them"
        print(f"shmbus: {what}", file=sys.stderr)
        return 1
    status = _tell(arguments, found.messages())
    if counts := _counts(found):
        print(f"shmbus: {counts}", file=sys.stderr)
    return status


def _tell(arguments: argparse.Namespace, kept: Iterable[Message]) -> int:
    messages = [one for one in kept if arguments.key in (None, one.key)]
    for message in messages:
        print(event.as_json(message) if arguments.json else f"{_key(message)}  {event.line(message)}")
    return 0 if messages or arguments.key is None else 1


def _number(bus: str, topic: str) -> int | None:
    with Probe(bus) as probe:
        return next((one.topic_id for one in probe.read().directory.topics if one.name == topic), None)


def _kept(bus: str, number: int) -> Snapshot | None:
    name = segment.state_name(bus, number)
    try:
        descriptor = segment.attach(name)
    except SegmentError as error:
        if error.reason != "missing":
            raise
        return None
    try:
        with closing(StateReader(descriptor, boot_id=segment.boot_id(), name=name)) as reader:
            return reader.snapshot()
    finally:
        os.close(descriptor)


def _key(message: Message) -> str:
    return printable(message.key or "")


def _counts(found: Snapshot) -> str:
    told = ((found.refused, "had no room"), (found.missed, "were lost before they could be kept"))
    return ", ".join(f"{plural(count, 'message')} {what}" for count, what in told if count)
