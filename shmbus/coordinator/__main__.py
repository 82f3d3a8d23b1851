"""A coordinator without a face: `python -m shmbus.coordinator --bus NAME --config FILE`. It logs to standard error.

SIGTERM ends it in order, SIGHUP has it read FILE again.
"""

import argparse
import sys
from pathlib import Path

from shmbus.coordinator import Coordinator
from shmbus.coordinator.configuration import Configuration
from shmbus.coordinator.journal import Fail, for_journal, is_journal
from shmbus.coordinator.logfile import LogFile
from shmbus.errors import ShmbusError

_JOURNAL = is_journal(sys.stderr)
_WRITE = LogFile(sys.stderr.fileno())


def main() -> int:
    """0: stopped in order; 1: it could not start, and why is on standard error."""
    parser = argparse.ArgumentParser(prog="python -m shmbus.coordinator", description=__doc__)
    parser.add_argument("--bus", help="name of the bus (default: as configured, or $SHMBUS_BUS, or 'default')")
    parser.add_argument("--config", type=Path, help="configuration file (TOML)")
    parser.add_argument("--collectors", help="names of collectors to start, joined by commas (default: as configured)")
    parser.add_argument("--take-over", action="store_true", help="end whoever runs the bus, and go on with it as it is")
    given = parser.parse_args()
    try:
        named = given.collectors
        wanted = None if named is None else [name for name in named.split(",") if name]
        configuration = Configuration(given.config, bus=given.bus, collectors=wanted)
        settings = configuration.begin()
        coordinator = Coordinator(
            settings, log=_log, ready=lambda: _log("ready"), configuration=configuration, take_over=given.take_over
        )
        _log(f"stopped: {coordinator.run()}")
    except ShmbusError as error:
        _log(Fail(error))
        return 1
    finally:
        _WRITE.close()
    return 0


def _log(line: str) -> None:
    _WRITE(for_journal(line) if _JOURNAL else line)


if __name__ == "__main__":
    sys.exit(main())
