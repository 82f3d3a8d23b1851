"""Measure how fast the bus is on this machine, beside what the machine can do without it."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from shmbus.tools.measure.effort import LONG, SHORT, Effort
from shmbus.tools.measure.figure import BenchError, Figure
from shmbus.tools.measure.floors import build_floors
from shmbus.tools.measure.matrix import BENCHMARKS
from shmbus.tools.measure.report import document, machine, show, write_json
from shmbus.tools.measure.stage import raised


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--long", action="store_true", help="every shape and size, longer rounds: some minutes, not one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round of every figure there, too")
    parser.add_argument(
        "--only", action="append", choices=list(BENCHMARKS), metavar="NAME", help=f"only this: {', '.join(BENCHMARKS)}"
    )


def run(args: argparse.Namespace) -> int:
    """0: measured. 1: a benchmark failed or lost a message. That a target is not met is a result, no failure."""
    console = Console()
    try:
        measure(args.only or list(BENCHMARKS), LONG if args.long else SHORT, console, args.json)
    except BenchError as error:
        Console(stderr=True).print(f"shmbus bench: {error}", markup=False)
        return 1
    return 0


def measure(names: Sequence[str], effort: Effort, console: Console, json_file: Path | None = None) -> list[Figure]:
    """Run the named benchmarks on a private bus, show the table, write the file. Raises BenchError."""
    about, started, clock = machine(), time.time(), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="shmbus-bench-") as directory,
        raised(effort, build_floors(Path(directory)), Path(directory), _say) as stage,
    ):
        figures = [figure for name in names for figure in BENCHMARKS[name](stage)]
    seconds = time.monotonic() - clock
    _say("")
    show(console, figures, about, seconds)
    if json_file:
        write_json(json_file, document(figures, effort, started, seconds) | {"machine": about})
    return figures


def _say(what: str) -> None:
    """What is being measured, on one line. Nothing moves meanwhile: a spinner would take time from a processor."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="shmbus bench", description=__doc__)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
