"""A view as a live table: fits 80 columns and 24 lines, and uses more where there is more.

the bus       name, state, health, address; uptime, CPU of the coordinator
topics        those with the most messages where not all fit; shown by name
collectors
clients       connected processes and what they read
log           the last lines, in what is left
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from rich.text import Text

from shmbus.directory import CollectorState

from . import text
from .meter import ClientRow, CollectorRow, Level, TopicRow, View
from .table import WIDE, Cell, Column, quiet, table

LOG_LINES: Final = 4  # with the blank one above: are kept free as long as each table has a few rows
ROWS: Final = 4  # of each table, title and "more" included, come before anything gets more

_Row = TypeVar("_Row")

_LEVEL_STYLES: Final = {Level.HEALTHY: "bold green", Level.DEGRADED: "bold yellow", Level.UNHEALTHY: "bold red"}
_STATE_STYLES: Final = {
    CollectorState.RUNNING: "green",
    CollectorState.WAITING: "dim",
    CollectorState.STARTING: "cyan",
    CollectorState.STOPPING: "cyan",
    CollectorState.STOPPED: "dim",
    CollectorState.PAUSED: "yellow",
    CollectorState.BACKING_OFF: "yellow",
    CollectorState.FAILED: "bold red",
}


def dashboard(view: View, log: Sequence[str], width: int, height: int) -> Text:
    """The whole screen: at most `height` lines of `width` columns."""
    head = _head(view, width)
    tables = (len(view.topics), len(view.collectors), len(view.clients))
    wanted = [*(count + 2 if count else 0 for count in tables), len(log) + 1 if log else 0]
    given = share(height - len(head) - (0 if view.topics else 2), wanted, (ROWS, ROWS, ROWS, LOG_LINES))
    lines = list(head)
    if not view.topics:
        lines += [Text(), Text("no topics yet: the first publisher makes one", style="dim")]
    lines += _section(view.topics, given[0], _busiest, lambda rows: _topics(rows, width), "topics")
    lines += _section(view.collectors, given[1], _first, lambda rows: _collectors(rows, width), "collectors")
    lines += _section(view.clients, given[2], _first, lambda rows: _clients(rows, width), "clients")
    lines += _log(log, given[3], width)
    return Text("\n", no_wrap=True, overflow="crop").join(lines[:height])


def share(lines: int, wanted: Sequence[int], least: Sequence[int]) -> list[int]:
    """So many lines for each: first the least that it needs, then, in order, as much as it wants."""
    given = [min(want, few) for want, few in zip(wanted, least, strict=True)]
    left = lines - sum(given)
    for index, want in enumerate(wanted):
        more = max(min(want - given[index], left), 0)
        given[index] += more
        left -= more
    return given


def _head(view: View, width: int) -> list[Text]:
    name = Text("shmbus ", style="bold") + Text(view.bus, style="bold cyan") + Text(f"  {view.state}  ")
    health = Text(view.verdict.level.name.lower(), style=_LEVEL_STYLES[view.verdict.level])
    cpu = "" if view.cpu is None else f"  cpu {_cpu(view.cpu)}"
    facts = Text(f"pid {view.pid}  up {text.duration(view.uptime)}{cpu}", style="dim")
    lines = [_spread(name if view.state == "stopped" else name + health, facts, width)]
    lines += [Text(text.shorten(reason, width), style="yellow") for reason in view.verdict.reasons[:2]]
    return [*lines, Text(text.shorten(view.address, width), style="dim")]


def _spread(left: Text, right: Text, width: int) -> Text:
    blank = width - left.cell_len - right.cell_len
    return _cut(left + Text(" " * blank) + right if blank >= 2 else left, width)


def _section(
    rows: Sequence[_Row],
    lines: int,
    choose: Callable[[Sequence[_Row], int], Sequence[_Row]],
    render: Callable[[Sequence[_Row]], list[Text]],
    things: str,
) -> list[Text]:
    """A blank line, a title and as many rows as there is room for; nothing at all where there is nothing."""
    if not rows or lines < 3:
        return []
    if len(rows) <= lines - 2:
        return [Text(), *render(rows)]
    shown = choose(rows, max(lines - 3, 1))
    return [Text(), *render(shown), Text(f"… and {len(rows) - len(shown):,} more {things}", style="dim")]


def _first(rows: Sequence[_Row], count: int) -> Sequence[_Row]:
    return rows[:count]


def _busiest(rows: Sequence[TopicRow], count: int) -> Sequence[TopicRow]:
    chosen = sorted(rows, key=lambda row: -row.messages)[:count]
    return sorted(chosen, key=lambda row: row.name)


def _topics(rows: Sequence[TopicRow], width: int) -> list[Text]:
    wide = width >= WIDE
    columns = [
        Column("topic"),
        Column("messages", 13 if wide else 9),
        Column("per s", 8 if wide else 6),
        Column("bytes/s", 8),
        Column("kept", 9 if wide else 6),
        *([Column("in bytes", 8)] if wide else []),
        Column("full", 5),
        Column("pub", 3),
        Column("sub", 3),
        Column("lost", 9 if wide else 6),
    ]
    return table(columns, [_topic(row, wide) for row in rows], width)


def _topic(row: TopicRow, wide: bool) -> list[Cell]:
    return [
        row.name,
        text.count(row.messages, 13 if wide else 9),
        quiet(text.rate(row.rate), row.rate),
        quiet(text.size(row.byte_rate), row.byte_rate),
        text.count(row.retained, 9 if wide else 6),
        *([text.size(row.used_bytes)] if wide else []),
        text.percent(row.fill),
        quiet(str(row.publishers), row.publishers),
        quiet(str(row.subscribers), row.subscribers),
        _lost(row.losses.total, row.losing, 9 if wide else 6),
    ]


def _collectors(rows: Sequence[CollectorRow], width: int) -> list[Text]:
    columns = [
        Column("collector"),
        Column("state", 11, left=True),
        Column("pid", 7),
        Column("restarts", 8),
        Column("cpu", 6),
        Column("", max(width - 60, 12), left=True),
    ]
    return table(columns, [_collector(row) for row in rows], width)


def _collector(row: CollectorRow) -> list[Cell]:
    entry = row.entry
    return [
        entry.name,
        Text(text.state_text(entry.state), style=_STATE_STYLES[entry.state]),
        str(row.pid or "–"),
        quiet(str(entry.restarts), entry.restarts),
        quiet(_cpu(row.cpu), row.cpu or 0),
        Text(text.printable(entry.detail), style="dim"),
    ]


def _clients(rows: Sequence[ClientRow], width: int) -> list[Text]:
    columns = [
        Column("client"),
        Column("pid", 7),
        Column("uid", 6),
        Column("reads", 8),
        Column("received", 9),
        Column("per s", 6),
        Column("lost", 6),
    ]
    return table(columns, [_client(row) for row in rows], width)


def _client(row: ClientRow) -> list[Cell]:
    return [
        Text(text.printable(row.name), style="" if row.alive else "dim"),
        str(row.pid or "–"),
        str(row.uid),
        quiet(text.count(row.subscriptions, 8), row.subscriptions),
        quiet(text.count(row.delivered, 9), row.delivered),
        quiet(text.rate(row.rate), row.rate),
        _lost(row.losses.total, False, 6),
    ]


def _log(log: Sequence[str], lines: int, width: int) -> list[Text]:
    if not log or lines < 2:
        return []
    return [Text(), *(_cut(Text(text.printable(line), style="dim"), width) for line in log[-(lines - 1) :])]


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _lost(number: int, now: bool, width: int) -> Text:
    return Text(text.count(number, width), style="bold red" if now else "yellow" if number else "dim")


def _cpu(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %"
