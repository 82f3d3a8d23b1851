"""Check a configuration, show all of it, explain its keys, or have a bus read its own again.

    shmbus config check bus.toml
    shmbus config show
    shmbus config explain defaults
    shmbus config reload

`check` says nothing but that it is valid, or else all that is wrong: file, line,
key, value, and what may stand there; and it warns of programs and directories
that are not there. `show` prints TOML that makes the same bus. Without FILE both
are about the default configuration. `explain` says what each key means. `reload`
is what SIGHUP to the coordinator is: all of its file counts, or nothing, and then
it says why.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import shmbus
from shmbus.config import CollectorSettings, Config, installed_collectors, load
from shmbus.coordinator.configured import settings_of

from .config_explain import explanation
from .options import add_bus_or_file, bus_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    commands = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    for name, summary in (("check", "is it valid?"), ("show", "print all of it, defaults included")):
        command = commands.add_parser(name, help=summary)
        command.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a configuration in TOML")
        if name == "show":
            command.add_argument("--json", action="store_true", help="as JSON")
    explain = commands.add_parser("explain", help="what does each key mean?")
    explain.add_argument("key", nargs="?", metavar="KEY", help="a key or section, such as bus.name or access.publish")
    reload = commands.add_parser("reload", help="have a bus that runs read its configuration again")
    reload.add_argument("--validate-only", action="store_true", help="say what would be changed, and change nothing")
    add_bus_or_file(reload)


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell. Raises ConfigurationError; ConnectError and AccessDenied where a bus is asked."""
    if arguments.action == "reload":
        return _reload(arguments)
    if arguments.action == "explain":
        sys.stdout.write(explanation(arguments.key))
        return 0
    config = load(arguments.file)
    if arguments.action == "check":
        settings = settings_of(config)
        enabled = [plan.name for plan in settings.collectors if plan.enabled]
        collectors = ", ".join(enabled) or "no collectors"
        print(f"{arguments.file or 'the default configuration'} is valid: bus '{settings.bus}', {collectors}")
        for doubt in doubts(config):
            print(f"shmbus: warning: {doubt}", file=sys.stderr)
        return 0
    shown = whole(config)
    if arguments.json:
        print(json.dumps(shown, indent=2))
    else:
        sys.stdout.write("\n".join(toml(shown)).lstrip("\n") + "\n")
    return 0


def _reload(arguments: argparse.Namespace) -> int:
    with shmbus.connect(bus_of(arguments), name="config") as bus:
        found = bus.reload_config(validate_only=arguments.validate_only)
    print("would change:" if found and arguments.validate_only else "changed:" if found else "nothing is different")
    for line in found:
        print(f"  {line}")
    return 0


def doubts(config: Config) -> Iterator[str]:
    """What is valid and would not work on this machine, as it is now."""
    installed = installed_collectors()
    for name, its in config.collectors.items():
        key = f"collectors.{name}"
        path = its.environment.get("PATH")
        if not its.command and name not in installed and "PYTHONPATH" not in its.environment:
            there = ", ".join(sorted(installed)) or "none"
            yield f"{key}: no collector of that name is installed (there are: {there}), and it has no command"
        elif its.command and shutil.which(its.command[0], path=path) is None:
            yield f"{key}.command: there is no program {its.command[0]!r} that could be run"
        if its.working_directory and not os.path.isdir(its.working_directory):
            yield f"{key}.working_directory: there is no directory {its.working_directory!r}"
    audit = config.access.audit_file
    if audit and not os.path.isdir(os.path.dirname(audit)):
        yield f"access.audit_file: there is no directory {os.path.dirname(audit)!r}, so the bus will not start"


def whole(config: Config) -> dict[str, Any]:
    """All of it, with each collector that there is."""
    found = config.model_dump(mode="json", exclude_none=True)
    for name in config.collector_names():
        if name not in found["collectors"]:
            found["collectors"][name] = CollectorSettings().model_dump(mode="json", exclude_none=True)
    return found


def toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines of a table: its values first, then the tables in it, then lists of tables."""
    yield from (f"{_dotted((key,))} = {_value(value)}" for key, value in table.items() if not _is_nested(value))
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, Mapping) and (value or len(here) == 1):
            if any(not _is_nested(one) for one in value.values()) or not value:
                yield from ("", f"[{_dotted(here)}]")
            yield from toml(value, here)
        elif _is_nested(value):
            for one in value:
                yield from ("", f"[[{_dotted(here)}]]")
                yield from toml(one, here)


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(one, Mapping) for one in value))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # Of texts, numbers and truth values TOML writes the same, but for halves of characters and the one for deleting.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(part if part.replace("_", "").replace("-", "").isalnum() and part.isascii() else _value(part)
                    for part in path)  # fmt: skip
