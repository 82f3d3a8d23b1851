"""Call a collector: its health, its configuration, its life.

    shmbus rpc procmond HEALTH_CHECK
    shmbus rpc procmond UPDATE_CONFIG --json '{"config_changes": {"interval": {"double_value": 0.5}}}'
    shmbus rpc procmond STOP

What an operation takes (--json) and answers stands in proto/shmbus/v1/rpc.proto,
with the names of its fields there. START, STOP, RESTART, FORCE_SHUTDOWN,
REGISTER and DEREGISTER are answered by the coordinator, so they also work for a
collector that does not run; the others by the collector itself.
"""

import argparse
import sys
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message

import shmbus
from shmbus.rpc import Client, Operation
from shmbus.rpc.operations import TAKES
from shmbus.v1.rpc_pb2 import Empty, RpcRequest

from .options import add_bus, fill, seconds

TIMEOUT_SECONDS: Final = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("collector", metavar="COLLECTOR", help="its id, such as procmond")
    parser.add_argument(
        "operation", metavar="OPERATION", type=_operation, help=", ".join(one.name for one in Operation)
    )
    parser.add_argument("--json", metavar="PAYLOAD", help="what the operation takes, as a JSON object")
    parser.add_argument(
        "--timeout", type=seconds, default=TIMEOUT_SECONDS, metavar="S", help="seconds to wait (default: 30)"
    )
    parser.add_argument("--key", help="idempotency key: sent again with the same, it is executed once")
    parser.add_argument("--whole", action="store_true", help="print the whole response, with the times it took")
    add_bus(parser)


def run(arguments: argparse.Namespace) -> int:
    """Call once, and print the answer. Raises RpcError, ConnectError, AccessDenied, ConfigurationError."""
    payload = _payload(arguments.operation, arguments.json)
    with shmbus.connect(arguments.bus, name="rpc") as bus, Client(bus) as client:
        answer = client.call(
            arguments.collector, arguments.operation, payload, timeout=arguments.timeout, key=arguments.key
        )
    _print(answer.whole if arguments.whole else answer.payload)
    return 0


def _operation(text: str) -> Operation:
    try:
        return Operation[text.upper().replace("-", "_")]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(one.name for one in Operation)}") from None


def _payload(operation: Operation, text: str | None) -> Message | None:
    if text is None:
        return None
    field = TAKES.get(operation)
    payload: Message = Empty() if field is None else getattr(RpcRequest(), field)
    fill(payload, text)
    return payload


def _print(message: Message) -> None:
    if not isinstance(message, Empty):
        text = json_format.MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False)
        sys.stdout.write(f"{text}\n")
