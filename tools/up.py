"""Run a bus: its coordinator and its collectors, in the foreground.

On a terminal a table shows what happens; anywhere else, and with --plain, log
lines `<time> <what> key=value ...` do. Ctrl-C, SIGTERM and `shmbus down` end it
in order, and nothing is left behind. SIGHUP has it read its configuration again
(without one, and on a terminal, it ends).

    shmbus up
    shmbus up --bus lab --collectors none --duration 60
    shmbus up --take-over           # after an upgrade: the collectors, and all that is under way, go on

--take-over kills the coordinator that runs the bus, whatever its version, and
goes on from what it leaves. If this version cannot, it says why and changes
nothing.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from shmbus.coordinator import Coordinator
from shmbus.coordinator.configuration import Configuration
from shmbus.coordinator.launch import GROUP
from shmbus.errors import ConfigurationError

from .options import seconds
from .screen import Screen, face_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--bus", metavar="NAME", help="its name (default: as configured, else $SHMBUS_BUS, else 'default')"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a configuration in TOML (default: none is needed)")
    parser.add_argument(
        "--collectors", metavar="A,B", help="collectors to run, or none (default: as configured, else all installed)"
    )
    parser.add_argument("--duration", type=seconds, metavar="SECONDS", help="end after that long")
    parser.add_argument(
        "--take-over", action="store_true", help="end the coordinator that runs it, and go on with the bus as it is"
    )
    parser.add_argument("--plain", action="store_true", help="log lines on a terminal, too")


def run(arguments: argparse.Namespace) -> int:
    """Serve until it is ended. Raises BusExists, LayoutError, ConfigurationError, AccessDenied, StorageFull."""
    configuration = Configuration(arguments.config, bus=arguments.bus, collectors=chosen(arguments.collectors))
    settings = configuration.begin()
    screen = Screen(settings.bus, face_for(plain=arguments.plain))

    def ready() -> None:
        if arguments.duration is not None:
            reason = f"the {arguments.duration:g} s are over"
            asyncio.get_running_loop().call_later(arguments.duration, coordinator.stop, reason)
        screen.log(f"listening on {coordinator.address}")
        screen.ready()

    coordinator = Coordinator(
        settings,
        log=screen.log,
        ready=ready,
        configuration=configuration,
        hangup_stops=arguments.config is None or sys.stdin.isatty(),
        take_over=arguments.take_over,
    )
    signal.signal(signal.SIGWINCH, lambda number, _: screen.redraw())
    try:
        screen.log(f"stopped: {coordinator.run()}")
    finally:
        shown = screen.close()
    if not shown:
        os._exit(0)  # everything is cleaned up, and the interpreter's own end would wait for the output
    return 0


def chosen(names: str | None) -> list[str] | None:
    """What --collectors asks for; None: as configured. Raises ConfigurationError for one that is not installed."""
    if names is None or names == "none":
        return None if names is None else []
    from importlib.metadata import entry_points  # not needed by a bus without collectors

    installed = entry_points(group=GROUP).names
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in wanted:
        if name not in installed:
            known = ", ".join(sorted(installed)) or "no collector"
            raise ConfigurationError("--collectors", None, name, f"'{name}' is not installed; installed are: {known}")
    return wanted
