"""The command procmond: options, mode, log."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from shmbus.bus import Bus
from shmbus.errors import ShmbusError
from shmbus.rpc import Mailbox

from .connector import Connector, Unavailable
from .monitor import Intervals, Monitor, Signals, connector_misses, scan_misses
from .priority import Priority
from .service import Service
from .sink import Sink, SinkGone, bus_sink

_log = logging.getLogger("procmond")


def main(arguments: Sequence[str] | None = None) -> int:
    """Watches processes and publishes their events until SIGTERM or SIGINT. SIGHUP compares with /proc at once.

    The status is 0 after a signal, 1 when the bus is not there or goes away, 2 when the mode asked for cannot be had.
    """
    options = parse(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="procmond: %(message)s")
    try:
        with bus_sink(options.bus) as (sink, bus):
            return run(options, sink, bus)
    except SinkGone as error:
        _log.error("%s", error)
        return 1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; SystemExit with status 2 when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="procmond",
        description="Publishes the starts, stops and changes of all processes, on events.process.*.",
    )
    parser.add_argument(
        "--bus", metavar="NAME", help="the bus to publish on (default: $SHMBUS_BUS, else the default bus)"
    )
    parser.add_argument(
        "--mode",
        choices=("auto", "connector", "scan"),
        default="auto",
        help="listen to the kernel's process connector, or scan /proc (default: the connector if the kernel lets us)",
    )
    parser.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S", help="seconds between two scans (default: 1)"
    )
    parser.add_argument(
        "--metadata-interval",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="seconds in which the metadata of every process is published once (default: 30)",
    )
    parser.add_argument(
        "--await-begin", action="store_true", help="publish nothing until an agent says to begin (begin_monitoring)"
    )
    parser.add_argument("--no-hash", action="store_true", help="compute no hashes of executables")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, sink: Sink, bus: Bus | None = None) -> int:
    """Watches with these options and publishes to `sink`; the status as of `main`. SinkGone: it takes no more.

    Calls are answered on `bus`.
    """
    with Signals() as signals:
        try:
            connector = choose(options.mode, options.interval)
        except Unavailable as error:
            _log.error("%s; --mode scan works without it", error)
            return 2
        intervals = Intervals(options.interval, options.metadata_interval)
        with ExitStack() as stack:
            priority = None
            if connector is not None:
                stack.callback(connector.close)
                priority = stack.enter_context(Priority())
            monitor = Monitor(sink, connector, priority, not options.no_hash, intervals)
            if bus is not None:
                serve(bus, monitor, signals, stack, await_begin=options.await_begin)
            monitor.run(signals)
    return 0


def serve(bus: Bus, monitor: Monitor, signals: Signals, stack: ExitStack, *, await_begin: bool = False) -> None:
    """Have the monitor answer calls; where the bus does not allow that, it watches without."""
    try:
        service = Service(monitor, lambda: signals.ask_to_stop("a call"))
        mailbox = stack.enter_context(Mailbox(bus, service))
        monitor.attend(mailbox)
        if await_begin:
            stack.enter_context(service.told_to_begin(bus, mailbox))
            monitor.wait()
            _log.info("publishing nothing until an agent says to begin")
    except ShmbusError as error:
        _log.warning("calls are not answered: %s", error)
        return
    try:
        stack.enter_context(service.registered(bus))
    except ShmbusError as error:
        _log.warning("agents are not told what can be asked of it: %s", error)


def choose(mode: str, interval_s: float) -> Connector | None:
    """The connector, or None to scan; says on the log which, and what it misses. Unavailable: mode is "connector"."""
    if mode != "scan":
        try:
            connector = Connector()
        except Unavailable as error:
            if mode == "connector":
                raise
            _log.warning("%s", error)
        else:
            _log.info(
                "mode connector, receive buffer %d bytes; misses: %s", connector.receive_bytes, connector_misses()
            )
            return connector
    _log.info("mode scan, every %g s; misses: %s", interval_s, scan_misses(interval_s))
    return None


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and 86400 seconds")
    return value
