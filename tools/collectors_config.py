"""How a collector is run: shown as its section of the configuration, and changed by `--set`.

A change is tried: the coordinator starts the collector again where that is needed, and puts back what was before when
it does not become healthy. It lasts until the configuration file is read again.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import shmbus
from shmbus.errors import ConfigurationError
from shmbus.rpc import GET_CONFIG, UPDATE_CONFIG
from shmbus.rpc.asking import make_ask
from shmbus.rpc.lives import ask_coordinator
from shmbus.rpc.values import from_values, to_value
from shmbus.v1.rpc_pb2 import ConfigData, ConfigUpdateRequest

from .config import toml
from .options import seconds

GRACE_SECONDS: Final = 60.0  # beyond what a trial takes: for the process before to end, and for what is put back


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without --bus and --json, which all actions have."""
    parser.add_argument("name", metavar="NAME", help="a collector")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        type=_change,
        help="a key of its section, or one in a table (limits.open_files=99); TOML, or else text",
    )
    parser.add_argument("--unset", action="append", default=[], metavar="KEY", help="as it is by default")
    parser.add_argument("--validate-only", action="store_true", help="say what would be changed, and change nothing")
    parser.add_argument("--restart", action="store_true", help="start it again even if it would not need that")
    parser.add_argument("--no-rollback", action="store_true", help="keep it even when the collector does not do well")
    parser.add_argument(
        "--within", type=seconds, default=10.0, metavar="S", help="it has to be healthy so soon (default: 10 s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show or change. Raises RpcError, ConnectError, AccessDenied."""
    changes = {**dict(arguments.changes), **dict.fromkeys(arguments.unset)}
    with shmbus.connect(arguments.bus, name="collectors") as bus:
        if not changes and not arguments.restart:
            ask = make_ask(arguments.name, GET_CONFIG, None, GRACE_SECONDS, None, None)
        else:
            ask = make_ask(arguments.name, UPDATE_CONFIG, _update(arguments, changes), _patience(arguments), None, None)
        data: ConfigData = ask_coordinator(bus, ask).payload
    if arguments.json:
        print(json.dumps(_facts(data)))
    elif not changes and not arguments.restart:
        sys.stdout.write("".join(f"{line}\n" for line in section(data)))
    else:
        sys.stdout.write(told(data, validated_only=arguments.validate_only))
    return 0


def section(data: ConfigData) -> Iterator[str]:
    """As it would stand in a file."""
    path = ("collectors", data.collector_id)
    lines = list(toml(from_values(data.config), path))
    if not lines or lines[0] != "":
        yield f"[{'.'.join(path)}]"
    for line in lines:
        key = line.partition(" = ")[0]
        yield f"{line}  # changed by a call" if " = " in line and key in data.changed else line


def told(data: ConfigData, *, validated_only: bool) -> str:
    """What is different now, or would be."""
    if not data.differences and not data.tried:
        return f"{data.collector_id}: that is as it is already\n"
    lines = "".join(f"{line}\n" for line in data.differences)
    if validated_only:
        return f"valid, and would change:\n{lines}"
    does = "does well with it" if data.tried else "has it from its next start on"
    return f"changed; {data.collector_id} {does}:\n{lines}"


def _update(arguments: argparse.Namespace, changes: dict[str, Any]) -> ConfigUpdateRequest:
    return ConfigUpdateRequest(
        collector_id=arguments.name,
        config_changes={key: to_value(value) for key, value in changes.items()},
        validate_only=arguments.validate_only,
        restart_required=arguments.restart,
        rollback_on_failure=not arguments.no_rollback,
        healthy_within_ms=int(arguments.within * 1000),
    )


def _patience(arguments: argparse.Namespace) -> float:
    within: float = arguments.within
    return 2 * within + GRACE_SECONDS


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE, such as nice=5")
    return key.strip(), _value(value)


def _value(text: str) -> Any:
    """What TOML makes of it; text that is none counts as it is."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        to_value(value)
    except (tomllib.TOMLDecodeError, TypeError):
        return text
    except ValueError as error:
        raise ConfigurationError("--set", None, text, str(error)) from None
    return value


def _facts(data: ConfigData) -> dict[str, Any]:
    return {
        "name": data.collector_id,
        "config": from_values(data.config),
        "changed": list(data.changed),
        "differences": list(data.differences),
    }
