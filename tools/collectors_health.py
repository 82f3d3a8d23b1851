"""How the collectors do, as a table; below each why it is not healthy, if it runs, and the reason of its last crash."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from shmbus.v1.control_pb2 import CollectorStatus

from . import text
from .table import Cell, Column, quiet, table

ILL: Final = {"degraded": "yellow", "unhealthy": "red", "unresponsive": "red"}
_COLUMNS: Final = (
    Column("collector"),
    Column("state", 11, left=True),
    Column("health", 12, left=True),
    Column("since", 10),
    Column("last beat", 10),
    Column("queue", 6),
    Column("restarts", 8),
)


def listing(collectors: Sequence[CollectorStatus], overall: str, width: int) -> str:
    """The table, and how all are together."""
    return "".join(f"{line}\n" for line in (*_lines(collectors, width), f"all together: {overall}"))


def _lines(collectors: Sequence[CollectorStatus], width: int) -> Iterator[str]:
    found = sorted(collectors, key=lambda one: one.name)
    title, *rows = table(_COLUMNS, [_row(one) for one in found], width)
    yield str(title)
    for one, row in zip(found, rows, strict=True):
        yield str(row)
        if one.why:
            yield text.shorten(f"  {one.health}: {text.printable(one.why)}", width)
        if one.reason:
            yield text.shorten(f"  last exit: {text.printable(one.reason)}", width)


def _row(one: CollectorStatus) -> list[Cell]:
    return [
        text.printable(one.name),
        one.state,
        Text(one.health, style=ILL.get(one.health, "")),
        text.duration(one.since_ms / 1000),
        text.duration(one.silent_ms / 1000) if one.HasField("silent_ms") else "–",
        quiet(text.count(one.queue_depth, 6), one.queue_depth),
        quiet(str(one.restarts), one.restarts),
    ]
