"""The command `shmbus`: finds the file of a command, runs it, and turns what is raised into one line and a status.

0    done, or ended as asked for
1    it cannot be done: nobody runs the bus, somebody else does, access denied, /dev/shm full
2    the command line or the configuration is wrong
130  interrupted (Ctrl-C) before it was done
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

import shmbus

from .output import abandon

COMMANDS: Final = {
    "up": "Run a bus: its coordinator and its collectors, in the foreground.",
    "tail": "Print what is published, as it comes.",
    "last": "Print the last message of each key of a topic.",
    "topics": "List the topics of a bus.",
    "ledger": "Account for every message: who got how many of whom, what was lost, and why.",
    "collectors": "List the collectors of a bus, see how they do, change, start, stop and pause them.",
    "rpc": "Call a collector: its health, its configuration, its life.",
    "tasks": "Have a detection task done by a collector that can, list who can do what, or say to begin.",
    "down": "Stop a bus.",
    "doctor": "Name what an unclean end left behind, and remove it.",
    "access": "Tell who may do what, and make tokens.",
    "config": "Check a configuration, show all of it, explain its keys, or have a bus read its own again.",
    "systemd-unit": "Print a unit file that runs a bus as a service of systemd.",
    "bench": "Measure how fast the bus is on this machine.",
}
INTERRUPTED: Final = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its status."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # also while another error was being told
        return INTERRUPTED
    finally:
        if arguments is None:  # it is this process's command: nothing is left but the interpreter's own end
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _terminated)
    try:
        options = _parser(arguments).parse_args(arguments)
        return int(options.run(options))
    except BrokenPipeError:
        abandon()
        return 0
    except Exception as error:
        return _explain(error)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Only the file of the command that is asked for is imported, so that each starts quickly."""
    parser = argparse.ArgumentParser(prog="shmbus", description="An event bus for one host, over POSIX shared memory.")
    parser.add_argument("--version", action="version", version=f"shmbus {shmbus.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked_for = next((one for one in arguments if not one.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name != asked_for:
            commands.add_parser(name, help=summary)
            continue
        module = importlib.import_module(f"shmbus.tools.{name.replace('-', '_')}")
        command = commands.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _explain(error: Exception) -> int:
    from shmbus.errors import ConfigurationError, PatternError, ShmbusError, TopicNameError

    from .text import printable

    if isinstance(error, ConfigurationError | PatternError | TopicNameError):
        status = 2
    elif isinstance(error, ShmbusError | OSError):
        status = 1
    else:
        raise error  # a mistake of ours: its traceback is wanted
    for text in error.problems if isinstance(error, ConfigurationError) else (_text(error),):
        line = printable(" ".join(text.split()))  # it may name what others have given themselves as names
        print(_as_of_a_service(f"shmbus: {line}"), file=sys.stderr)
    return status


def _as_of_a_service(line: str) -> str:
    """With its priority, where it goes to the journal."""
    if "JOURNAL_STREAM" not in os.environ:
        return line
    from shmbus.coordinator.journal import Fail, for_journal, is_journal

    return for_journal(Fail(line)) if is_journal(sys.stderr) else line


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _terminated(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
