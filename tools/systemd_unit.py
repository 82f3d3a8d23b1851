"""Print a unit file that runs a bus as a service of systemd.

shmbus systemd-unit > /etc/systemd/system/shmbus.service

It is for the systemd that this machine has.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

UNIT: Final = Path(__file__).with_name("shmbus.service")
HAS_SUBGROUPS: Final = 254
# The kernel lets no process into a cgroup that hands controllers on, and that is where systemd puts the coordinator.
SUBGROUP: Final = """\
# One that was killed is started again beside what it left running in there, with its limits.
DelegateSubgroup=coordinator
"""
NO_SUBGROUP: Final = """\
# One that was killed is started again beside what it left running in there. While that has limits, systemd cannot do so
# (status 219): they are lifted, it is tried once more, and the coordinator sets them anew. From systemd 254 on
# DelegateSubgroup=coordinator does without that; make this file again then.
ExecStopPost=-/bin/sh -c '[ "$$EXIT_STATUS" = 219 ] || exit 0; \\
    cd "/sys/fs/cgroup/$$(systemctl show --property ControlGroup --value %n)" && \\
    for one in $$(cat cgroup.subtree_control); do echo "-$$one" >cgroup.subtree_control; done'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=Path("/etc/shmbus.toml"), help="(default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print it, with the path of this program."""
    unit = UNIT.read_text(encoding="utf-8")
    unit = unit.replace("@SHMBUS@", _quoted(program())).replace("/etc/shmbus.toml", _quoted(str(arguments.config)))
    version = systemd_version()
    subgroup = SUBGROUP if version is not None and version >= HAS_SUBGROUPS else NO_SUBGROUP
    sys.stdout.write(unit.replace("@SUBGROUP@\n", subgroup))
    return 0


def systemd_version() -> int | None:
    """Of this machine; None: it has none that could be asked."""
    try:
        told = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d+)", told)
    return None if found is None else int(found[1])


def program() -> str:
    """The command `shmbus` of the installation that this is."""
    return os.path.join(os.path.dirname(sys.executable), "shmbus")


def _quoted(path: str) -> str:
    """As a word of a command line in a unit file."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t\"';") else escaped
