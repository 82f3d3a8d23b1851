"""How the collectors do, as a table; below each why it is not healthy, if it runs, and the reason of its last crash."""

from collections.abc import Callable, Iterator, Sequence
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


def listing(collectors: Sequence[CollectorStatus], overall: str, width: int, note_width: int | None) -> str:
    """The table, and how all are together. Only on a terminal is what stands below a row cut, to `note_width`."""
    lines = rows_and_reasons(_COLUMNS, collectors, _row, width, note_width)
    return "".join(f"{line}\n" for line in (*lines, f"all together: {overall}"))


def rows_and_reasons(
    columns: Sequence[Column],
    collectors: Sequence[CollectorStatus],
    row_of: Callable[[CollectorStatus], list[Cell]],
    width: int,
    note_width: int | None,
) -> Iterator[str]:
    """The lines of a table, with why each collector ended last below it."""
    found = sorted(collectors, key=lambda one: one.name)
    title, *rows = table(columns, [row_of(one) for one in found], width)
    yield str(title)
    for one, row in zip(found, rows, strict=True):
        yield str(row)
        if one.why:
            yield text.note(f"{one.health}: {one.why}", note_width)
        if one.reason:
            yield text.note(f"last exit: {one.reason}", note_width)


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
