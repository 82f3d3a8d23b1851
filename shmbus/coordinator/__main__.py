"""A coordinator without a face: `python -m shmbus.coordinator --bus NAME --config FILE`. It logs to standard error."""

import argparse
import sys
from pathlib import Path

from shmbus.coordinator import Coordinator
from shmbus.coordinator.configured import settings_from
from shmbus.errors import ShmbusError


def main() -> int:
    """0: stopped in order; 1: it could not start, and why is on standard error."""
    parser = argparse.ArgumentParser(prog="python -m shmbus.coordinator", description=__doc__)
    parser.add_argument("--bus", help="name of the bus (default: as configured, or $SHMBUS_BUS, or 'default')")
    parser.add_argument("--config", type=Path, help="configuration file (TOML)")
    parser.add_argument("--collectors", help="names of collectors to start, joined by commas (default: as configured)")
    given = parser.parse_args()
    try:
        named = given.collectors
        wanted = None if named is None else [name for name in named.split(",") if name]
        settings = settings_from(given.config, bus=given.bus, collectors=wanted)
        coordinator = Coordinator(settings, log=_log, ready=lambda: _log("ready"))
        _log(f"stopped: {coordinator.run()}")
    except ShmbusError as error:
        _log(str(error))
        return 1
    return 0


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
