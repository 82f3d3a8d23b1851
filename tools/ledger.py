"""Account for every message: who got how many of whom, what was lost, and why.

Read from shared memory: nobody is asked, so it also speaks for processes that
were killed, as long as the bus has their pages. Of another user's bus its
coordinator tells the topics that one may read. Below each topic and reader
stand the publishers, one a line, in which

    published = delivered + overrun + expired + corrupt + filtered + dead + waiting

overrun   the ring went round before they were read
expired   they were past their time
corrupt   their checksum or bounds were wrong
filtered  read, and not wanted by the subscription's filter
dead      sent to the dead letters of the durable subscription
waiting   published, and not read yet; of a durable subscription, not settled

A durable subscription stands under its name, in brackets: its members have one
account together, whether somebody reads for it or not. The pid of a process
that has ended is marked with a dagger (†); "!" stands for the urgent lane.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from rich.text import Text

import shmbus
from shmbus.ledger import LedgerEntry
from shmbus.overview import Account
from shmbus.process import Identity

from . import text
from .look import look
from .options import add_bus
from .table import WIDE, Cell, Column, quiet, table

UNCUT_WIDTH = 200
PID_WIDTH = 8  # of 4194304, the highest that there is, and its mark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: a subscription, a topic, a publisher"
    )
    parser.add_argument("--lost", action="store_true", help="only where something was lost")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look once. Raises ConnectError, SegmentError, AccessDenied."""
    accounts, whole = look(arguments.bus, lambda probe, reading: probe.ledger(reading), shmbus.Bus.ledger, "ledger")
    if arguments.lost:
        accounts = [one._replace(entries=[entry for entry in one.entries if entry.lost]) for one in accounts]
    accounts = [account for account in accounts if account.entries]
    if arguments.json:
        lines = [json.dumps(_facts(account, entry)) for account in accounts for entry in account.entries]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    elif accounts:
        width = os.get_terminal_size().columns if sys.stdout.isatty() else UNCUT_WIDTH
        sys.stdout.write(listing(accounts, width))
    else:
        lost = "lost anything" if arguments.lost else "has anything to account for"
        print(f"nobody on the bus '{arguments.bus}' {lost}{'' if whole else ', in what this user may read'}")
    return 0


def listing(accounts: Sequence[Account], width: int) -> str:
    """The table, with a line for each topic and reader, and below it one for each publisher."""
    number = 12 if width >= UNCUT_WIDTH else 8 if width >= WIDE else 5
    titles = ["publ.", "deliv.", "overrun", "expired", "corrupt", "filtered", "dead", "waiting"] if width >= WIDE else [
        "publ.", "got", "overr", "exprd", "corr", "filt", "dead", "wait"]  # fmt: skip
    columns = [Column("topic, reader/publisher"), Column("pid", PID_WIDTH), *(Column(one, number) for one in titles)]
    ordered = sorted(accounts, key=lambda one: (one.entries[0].topic, one.entries[0].lane, one.reader, one.pid or 0))
    rows = [_row(account, entry, number) for account in ordered for entry in account.entries]
    head, *lines = table(columns, rows, width)
    shown, place = [head], 0
    for account in ordered:
        shown.append(Text(_heading(account, width)))
        shown += lines[place : place + len(account.entries)]
        place += len(account.entries)
    return "".join(f"{line}\n" for line in shown)


def _heading(account: Account, width: int) -> str:
    first = account.entries[0]
    topic = first.topic if first.lane == "normal" else f"{first.topic} !"
    reader = text.printable(account.reader)
    its = f"[{reader}]" if account.process is None else f"{reader} {_pid(account, account.process)}"
    return f"{text.shorten(topic, max(width - len(its) - 2, 8))}  {its}"


def _row(account: Account, entry: LedgerEntry, number: int) -> list[Cell]:
    producer = entry.producer
    counts = (entry.overrun, entry.expired, entry.corrupt, entry.filtered, entry.dead, entry.in_flight)
    return [
        f"  {text.printable(producer.name) if producer else '(left)'}",
        _pid(account, producer.process) if producer else "",
        text.count(entry.published, number),
        text.count(entry.delivered, number),
        *(quiet(text.count(count, number), count) for count in counts),
    ]


def _pid(account: Account, process: Identity) -> str:
    """None is known (0) of a process in a pid namespace that the coordinator cannot see."""
    return f"{'†' if account.is_dead(process) else ''}{process.pid or '?'}"


def _facts(account: Account, entry: LedgerEntry) -> dict[str, object]:
    producer = entry.producer
    return {
        "subscriber": account.reader,
        "subscriber_pid": account.pid,
        "subscriber_dead": account.is_dead(account.process),
        "subscription": account.subscription,
        "durable": account.durable,
        **{name: value for name, value in entry._asdict().items() if name != "producer"},
        "publisher": producer.name if producer else None,
        "publisher_pid": producer.pid if producer else None,
        "publisher_dead": account.is_dead(producer),
    }
