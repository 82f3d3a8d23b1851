"""Which versions of the control protocol work together, and what is missing then: found out, and made into a table.

    cd tests && python -m process.compatibility

A coordinator of today serves clients of other versions, each a process that puts the bytes of its time on the socket
(frozen_client.py); a client of today asks coordinators that look like those of other versions (relay.py).
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import shmbus
from process.buses import coordinator
from process.frozen_client import KEPT, SPEAKS
from process.relay import GUISES, relay
from shmbus import segment
from shmbus.v1.eventbus_pb2 import HeartbeatPayload
from shmbus.version import OURS

TESTS = Path(__file__).resolve().parents[1]
TODAY = f"{OURS.version.major}.{OURS.version.minor}"
COLUMNS = {
    "publish": "publish", "read": "read", "status": "status", "urgent": "urgent lane", "durable": "durable reading",
    "numbers": "durable publishing", "last": "last of each key", "resize": "resize", "rewind": "what 1.2 adds",
}  # fmt: skip


class Pair(NamedTuple):
    """Two versions, and what came of it; `found` has what was spoken, and each thing that was tried."""

    client: str
    coordinator: str
    found: dict[str, Any]


def pairs(bus: str, directory: Path) -> list[Pair]:
    """All of them, one after the other."""
    config = directory / "bus.toml"
    config.write_text(f'[[topics]]\ntopic = "{KEPT}"\nkeep_last = 4\n')
    with coordinator(bus, "--config", str(config)):
        found = [Pair(client, TODAY, _frozen(bus, client)) for client in SPEAKS]
        found += [Pair(TODAY, other, _today(bus, other)) for other in (TODAY, *GUISES)]
    return sorted(found)


def table(found: list[Pair]) -> str:
    """As the README shows it."""
    lines = [("client", "coordinator", "spoken", *COLUMNS.values())]
    lines.append(("---",) * len(lines[0]))
    for client, other, its in found:
        lines.append((client, other, its["spoken"], *(its.get(name, "–") for name in COLUMNS)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _frozen(bus: str, client: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "process.frozen_client", client, str(segment.socket_path(bus))]
    environment = {**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _today(bus: str, other: str) -> dict[str, Any]:
    with ExitStack() as stack:
        address = bus if other == TODAY else stack.enter_context(relay(bus, other))
        told = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        try:
            connected = stack.enter_context(shmbus.connect(address, name=f"today-{other.replace('.', '-')}"))
        except shmbus.VersionError as error:
            return {"spoken": f"refused: {type(error).__name__}"}
        found: dict[str, Any] = {
            "spoken": connected.protocol_version,
            "capabilities": sorted(connected.capabilities),
            "warnings": list(connected.compatibility_warnings),
            "told": [str(one.message) for one in told if one.category is shmbus.CompatibilityWarning],
        }
        return found | {name: _tried(what, connected) for name, what in TRIES.items()}


def _tried(what: Callable[[shmbus.Bus], str], bus: shmbus.Bus) -> str:
    try:
        return what(bus)
    except shmbus.ShmbusError as error:
        return f"no: {type(error).__name__}"


def _topic(bus: shmbus.Bus) -> str:
    return f"lab.{bus.client_name}"


def _published(bus: shmbus.Bus) -> str:
    with bus.publisher(_topic(bus)) as publisher:
        publisher.publish_many([b"0", b"1", b"2"])
    return "yes"


def _read(bus: shmbus.Bus) -> str:
    with bus.subscribe(_topic(bus), lossless=True, start="earliest") as subscription:
        found = [subscription.receive(timeout=20).payload for _ in range(3)]
    return "yes" if found == [b"0", b"1", b"2"] else f"no: {found}"


def _urgent(bus: shmbus.Bus) -> str:
    with bus.subscribe("lab.urgent", lossless=True) as subscription, bus.publisher("lab.urgent") as publisher:
        publisher.publish(b"fire", priority=shmbus.URGENT)
        return "yes" if subscription.receive(timeout=20).lane else "normal lane"


def _durable(bus: shmbus.Bus) -> str:
    with bus.subscribe("lab.durable", durable="today") as subscription, bus.publisher("lab.durable") as publisher:
        publisher.publish(b"kept")
        return "yes" if subscription.ack(subscription.receive(timeout=20)) else "no"


def _numbers(bus: shmbus.Bus) -> str:
    with bus.publisher("lab.numbers", durable=True) as publisher:
        publisher.publish(b"seven", number=7)
        return "yes" if publisher.last_number == 7 else "no"


def _last(bus: shmbus.Bus) -> str:
    with bus.publisher(KEPT) as publisher:
        publisher.publish(HeartbeatPayload(component_id="x"), key="x")
        bus.last(KEPT)
    return "yes"


def _resized(bus: shmbus.Bus) -> str:
    bus.resize(_topic(bus), slots=32)
    return "yes"


TRIES: dict[str, Callable[[shmbus.Bus], str]] = {
    "publish": _published, "read": _read, "status": lambda bus: "yes" if bus.status().pid else "no",
    "urgent": _urgent, "durable": _durable, "numbers": _numbers, "last": _last, "resize": _resized,
}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ.setdefault("SHMBUS_RUNTIME_DIR", directory)
        print(table(pairs(f"compatibility-{os.getpid()}", Path(directory))))


if __name__ == "__main__":
    main()
