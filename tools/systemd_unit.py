"""Print a unit file that runs a bus as a service of systemd.

shmbus systemd-unit > /etc/systemd/system/shmbus.service
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

UNIT: Final = Path(__file__).with_name("shmbus.service")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=Path("/etc/shmbus.toml"), help="(default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print it, with the path of this program."""
    unit = UNIT.read_text(encoding="utf-8")
    unit = unit.replace("@SHMBUS@", _quoted(program())).replace("/etc/shmbus.toml", _quoted(str(arguments.config)))
    sys.stdout.write(unit)
    return 0


def program() -> str:
    """The command `shmbus` of the installation that this is."""
    return os.path.join(os.path.dirname(sys.executable), "shmbus")


def _quoted(path: str) -> str:
    """As a word of a command line in a unit file."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t\"';") else escaped
