"""Have a detection task done by a collector that can, list who can do what, or say to begin.

    shmbus tasks collectors
    shmbus tasks run ENUMERATE_PROCESSES --json '{"process_filter": {"process_names": ["sshd"]}}'
    shmbus tasks begin

What a task takes (--json) and what its result holds stands in
proto/shmbus/v1/ipc.proto (DetectionTask, DetectionResult). The result is also
published, on the topic of its kind. A word to begin reaches collectors that come
later, too.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Final

from google.protobuf import json_format

import shmbus
from shmbus.agent import Agent
from shmbus.errors import ConfigurationError
from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, DetectionTask, MonitoringDomain
from shmbus.v1.rpc_pb2 import RegistrationEvent, RegistrationEventKind

from . import text
from .options import add_bus, fill, seconds
from .table import Column, table, widths

TIMEOUT_SECONDS: Final = 30.0
NEEDS: Final = ("kernel_level", "realtime", "system_wide")
STATES: Final = {"REGISTERED": "held", "RENEWED": "held", "RENEWAL_FAILED": "late", "EXPIRED": "expired"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    commands = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    run_one = commands.add_parser("run", help="have a task done, and print its result")
    run_one.add_argument("type", metavar="TYPE", choices=TaskType.keys(), help=", ".join(TaskType.keys()))
    run_one.add_argument("--json", metavar="TASK", default="{}", help="what it takes, as a JSON object")
    run_one.add_argument("--needs", metavar="WHAT", action="append", choices=NEEDS, default=[], help=", ".join(NEEDS))
    run_one.add_argument(
        "--priority", type=int, default=0, metavar="N", help="0 to 255, the highest first (default: 0)"
    )
    run_one.add_argument(
        "--timeout", type=seconds, default=TIMEOUT_SECONDS, metavar="S", help="seconds to wait (default: 30)"
    )
    run_one.add_argument("--patience", type=seconds, metavar="S", help="seconds to wait for a collector that can")
    add_bus(run_one)
    collectors = commands.add_parser("collectors", help="who is registered, and for what")
    collectors.add_argument("--json", action="store_true", help="one JSON object a collector, a line each")
    add_bus(collectors)
    add_bus(commands.add_parser("begin", help="tell all collectors to begin, also those that come later"))


def run(arguments: argparse.Namespace) -> int:
    """Do it. Raises TaskError, ConnectError, AccessDenied, ConfigurationError."""
    with shmbus.connect(arguments.bus, name="tasks") as bus, Agent(bus) as agent:
        if arguments.action == "run":
            _run(agent, arguments)
        elif arguments.action == "begin":
            sys.stdout.write(f"epoch {agent.begin_monitoring()}\n")
        else:
            found = sorted(agent.collectors(), key=lambda one: one.registration.collector_id)
            sys.stdout.write(_lines(found) if arguments.json else listing(found, arguments.bus, *widths()))
    return 0


def listing(collectors: Sequence[RegistrationEvent], bus: str, width: int, note_width: int | None) -> str:
    """The table, with what each can below it; only on a terminal is that cut, to `note_width`."""
    if not collectors:
        return f"no collector is registered with the bus '{bus}'\n"
    found = list(map(_facts, collectors))
    columns = [
        Column("collector"),
        Column("lease", 8, left=True),
        Column("pid", 7),
        Column("domains", max(len(facts["domains"]) for facts in found), left=True),
    ]
    rows = [[text.printable(facts["name"]), facts["lease"], facts["pid"], facts["domains"]] for facts in found]
    title, *lines = table(columns, rows, width)
    shown = [str(title)]
    for facts, line in zip(found, lines, strict=True):
        shown += [str(line), text.note(f"can: {facts['can'] or 'nothing that is known here'}", note_width)]
    return "".join(f"{line}\n" for line in shown)


def _run(agent: Agent, arguments: argparse.Namespace) -> None:
    task = DetectionTask()
    fill(task, arguments.json)
    task.task_type = arguments.type
    needs = AdvancedCapabilities(**dict.fromkeys(arguments.needs, True))
    try:
        submitted = agent.submit_task(
            task,
            timeout=arguments.timeout,
            priority=arguments.priority,
            needs=needs,
            patience=arguments.patience or 0.0,
        )
    except ValueError as error:
        raise ConfigurationError("--priority", None, arguments.priority, str(error)) from None
    result = submitted.result()
    shown = json_format.MessageToJson(result, preserving_proto_field_name=True, ensure_ascii=False)
    sys.stdout.write(f"{shown}\n")


def _lines(collectors: Sequence[RegistrationEvent]) -> str:
    return "".join(f"{json.dumps(_facts(one))}\n" for one in collectors)


def _facts(one: RegistrationEvent) -> dict[str, str]:
    its = one.registration
    kind = RegistrationEventKind.Name(one.kind).removeprefix("REGISTRATION_EVENT_KIND_")
    domains, types = set(MonitoringDomain.values()), set(TaskType.values())
    able = [TaskType.Name(number) for number in its.capabilities.task_types if number in types]
    able += [name for name in NEEDS if getattr(its.capabilities.advanced, name)]
    return {
        "name": its.collector_id,
        "lease": STATES.get(kind, kind.lower()),
        "pid": str(its.pid),
        "domains": " ".join(
            MonitoringDomain.Name(one).lower() for one in its.capabilities.supported_domains if one in domains
        ),
        "can": " ".join(able),
    }
