"""Account for every message: who got how many of whom, what was lost, and why.

Read from shared memory: nobody is asked, so it also speaks for processes that
were killed, as long as the bus has their pages. In every line

    published = delivered + overrun + expired + corrupt + filtered + dead + waiting

overrun   the ring went round before they were read
expired   they were past their time
corrupt   their checksum or bounds were wrong
filtered  read, and not wanted by the subscription's filter
dead      sent to the dead letters of the durable subscription
waiting   published, and not read yet; of a durable subscription, not settled

A durable subscription stands under its name, in brackets: its members have one
account together, whether somebody reads for it or not.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from rich.text import Text

from shmbus.ledger import LedgerEntry

from . import text
from .options import add_bus
from .snapshot import Account, Probe, Reading
from .table import WIDE, Cell, Column, quiet, table

UNCUT_WIDTH = 200

Line = tuple[Account, LedgerEntry]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: a subscription, a topic, a publisher"
    )
    parser.add_argument("--lost", action="store_true", help="only where something was lost")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look once. Raises ConnectError, SegmentError, AccessDenied."""
    with Probe(arguments.bus) as probe:
        reading = probe.read()
        lines = [(account, entry) for account in probe.ledger(reading) for entry in account.entries]
    if arguments.lost:
        lines = [line for line in lines if line[1].lost]
    if not reading.alive:
        print(f"shmbus: the coordinator (pid {reading.coordinator.pid}) is dead; this is what it left", file=sys.stderr)
    if arguments.json:
        sys.stdout.write("".join(f"{json.dumps(_facts(*line))}\n" for line in lines))
    else:
        width = os.get_terminal_size().columns if sys.stdout.isatty() else UNCUT_WIDTH
        sys.stdout.write(listing(reading, lines, width))
    return 0


def listing(reading: Reading, lines: Sequence[Line], width: int) -> str:
    """The table."""
    if not lines:
        return f"nobody on the bus '{reading.bus}' has anything to account for\n"
    return "".join(f"{line}\n" for line in _table(lines, width))


def _table(lines: Sequence[Line], width: int) -> list[Text]:
    wide = width >= WIDE
    number, name = (10, 16) if wide else (5, 9)
    titles = ["publ.", "deliv.", "overrun", "expired", "corrupt", "filtered", "dead", "waiting"] if wide else [
        "publ.", "got", "overr", "exprd", "corr", "filt", "dead", "wait"]  # fmt: skip
    columns = [Column("topic"), Column("reads", name, left=True), Column("publisher", name, left=True)]
    columns += [Column(title, number) for title in titles]
    return table(columns, [_row(*line, name, number) for line in lines], width)


def _row(account: Account, entry: LedgerEntry, name: int, number: int) -> list[Cell]:
    reader = f"[{account.reader}]" if account.durable else account.reader
    topic = entry.topic if entry.lane == "normal" else f"{entry.topic} !"
    publisher = entry.producer.name if entry.producer else "(left)"
    counts = (entry.overrun, entry.expired, entry.corrupt, entry.filtered, entry.dead, entry.in_flight)
    return [
        topic,
        text.shorten(reader, name),
        text.shorten(publisher, name),
        text.count(entry.published, number),
        text.count(entry.delivered, number),
        *(quiet(text.count(count, number), count) for count in counts),
    ]


def _facts(account: Account, entry: LedgerEntry) -> dict[str, object]:
    producer = entry.producer
    return {
        "subscriber": account.reader,
        "subscriber_pid": account.pid,
        "subscription": account.subscription,
        "durable": account.durable,
        **{name: value for name, value in entry._asdict().items() if name != "producer"},
        "publisher": producer.name if producer else None,
        "publisher_pid": producer.pid if producer else None,
    }
