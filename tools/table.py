"""A table of one line a row, with columns of fixed width: the same numbers stand in the same place at every look."""

import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from .text import shorten

WIDE: Final = 110
"""From so many columns on there is room for gaps, long numbers and more columns."""

LEAST_NAME: Final = 24
DEFAULT_WIDTH: Final = 80

Cell = str | Text


class Column(NamedTuple):
    """A title and a width. The first column of a table needs no width, and is left-justified."""

    title: str
    width: int = 0
    left: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[Text]:
    """A line for the titles and one for each row.

    The first column takes what the others leave, but not more than its cells need: numbers stay near them.
    """
    gap = " " * (2 if width >= WIDE else 1)
    room = width - sum(column.width + len(gap) for column in columns[1:])
    longest = max((len(row[0]) for row in rows), default=0)
    first = columns[0]._replace(width=max(min(room, max(longest, LEAST_NAME)), 8), left=True)
    fitting = [first, *columns[1:]]
    titles = _line(fitting, [column.title for column in fitting], gap, width)
    titles.stylize("dim")
    return [titles, *(_line(fitting, row, gap, width) for row in rows)]


def widths() -> tuple[int, int | None]:
    """Of a table on stdout, and of what stands below its rows: only on a terminal is that cut."""
    if not sys.stdout.isatty():
        return DEFAULT_WIDTH, None
    columns = os.get_terminal_size().columns
    return columns, columns


def quiet(cell: str, number: float) -> Text:
    """A number that is seen when it is not 0."""
    return Text(cell, style="" if number else "dim")


def _line(columns: Sequence[Column], cells: Sequence[Cell], gap: str, width: int) -> Text:
    line = Text(no_wrap=True, overflow="crop", end="")
    for index, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        if index:
            line.append(gap)
        plain = shorten(str(cell), column.width)
        line.append(plain.ljust(column.width) if column.left else plain.rjust(column.width), _style(cell))
    line.rstrip()
    line.truncate(width)
    return line


def _style(cell: Cell) -> str:
    return str(cell.style) if isinstance(cell, Text) else ""
