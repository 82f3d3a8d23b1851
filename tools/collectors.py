"""List the collectors of a bus, see how they do, change, start, stop and pause them.

    shmbus collectors list
    shmbus collectors health
    shmbus collectors config procmond --set nice=5 --set 'arguments=["-v"]'
    shmbus collectors restart procmond

Of what `config` changes it is waited for whether the collector does well with it;
else that is put back. Everything else that is asked for is begun, not waited for:
what is printed is how the collector is right after. A pause is a SIGSTOP to its
process group, a reload a SIGHUP to its process. Restarts that are asked for count
in no budget.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from shmbus.control import ControlConnection, bearer_info, own_bearer
from shmbus.v1.control_pb2 import CollectorStatus, ControlCollector, GetStatus

from . import collectors_config, collectors_health, text
from .options import add_bus
from .table import Cell, Column, quiet, widths

ACTIONS: Final = {
    "start": "have it run",
    "stop": "have it end: SIGTERM, and SIGKILL after its grace",
    "restart": "stop it, then start it",
    "pause": "have it stand still",
    "resume": "have it go on",
    "reload": "have it read its configuration again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    commands = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    _add_common(commands.add_parser("list", help="how each of them is"))
    _add_common(commands.add_parser("health", help="how each of them does, and all together"))
    config = commands.add_parser("config", help="how one of them is run", description=collectors_config.__doc__)
    collectors_config.add_arguments(config)
    _add_common(config)
    for name, summary in ACTIONS.items():
        command = commands.add_parser(name, help=summary, description=f"For each NAME: {summary}.")
        command.add_argument("names", nargs="+", metavar="NAME", help="a collector")
        _add_common(command)


def run(arguments: argparse.Namespace) -> int:
    """Do it and tell. Raises ConnectError, AccessDenied, RpcError, ShmbusError where it cannot be done."""
    if arguments.action == "config":
        return collectors_config.run(arguments)
    overall = ""
    control, welcome = ControlConnection.connect(arguments.bus, "collectors", auth_info=bearer_info(own_bearer()))
    with welcome, closing(control):
        if arguments.action in ("list", "health"):
            with control.request(GetStatus()) as answer:
                found, overall = list(answer.message.collectors), answer.message.health
        else:
            found = [_act(control, arguments.action, name) for name in arguments.names]
    if arguments.json:
        sys.stdout.write("".join(f"{json.dumps(_facts(one))}\n" for one in found))
    elif arguments.action == "health" and found:
        sys.stdout.write(collectors_health.listing(found, overall, *widths()))
    else:
        sys.stdout.write(listing(found, arguments.bus, *widths()))
    return 0


def listing(collectors: Sequence[CollectorStatus], bus: str, width: int, note_width: int | None) -> str:
    """The table. Only on a terminal is what stands below a row cut, to `note_width`."""
    if not collectors:
        return f"the bus '{bus}' has no collectors\n"
    columns = [
        Column("collector"),
        Column("state", 11, left=True),
        Column("health", 12, left=True),
        Column("pid", 7),
        Column("restarts", 8),
    ]
    lines = collectors_health.rows_and_reasons(columns, collectors, _row, width, note_width)
    return "".join(f"{line}\n" for line in lines)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a collector, a line each")
    add_bus(parser)


def _act(control: ControlConnection, action: str, name: str) -> CollectorStatus:
    with control.request(ControlCollector(name=name, action=f"ACTION_{action.upper()}")) as answer:
        status: CollectorStatus = answer.message
        return status


def _row(one: CollectorStatus) -> list[Cell]:
    return [
        text.printable(one.name),
        one.state,
        one.health,
        str(one.pid or "–"),
        quiet(str(one.restarts), one.restarts),
    ]


def _facts(one: CollectorStatus) -> dict[str, object]:
    return {
        "name": one.name,
        "state": one.state,
        "health": one.health,
        "pid": one.pid or None,
        "restarts": one.restarts,
        "reason": one.reason or None,
        "last_lines": list(one.last_lines),
        "since_seconds": one.since_ms / 1000,
        "last_beat_seconds": one.silent_ms / 1000 if one.HasField("silent_ms") else None,
        "queue_depth": one.queue_depth,
        "said": one.said or None,
        "said_reason": one.said_reason or None,
        "why": one.why or None,
    }
