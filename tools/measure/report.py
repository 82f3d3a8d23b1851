"""Showing figures: as tables for people, as JSON for later."""

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table

import shmbus
from shmbus import _core

from .effort import Effort
from .figure import Figure, Unit
from .percentiles import RANKS

WIDE: Final = 110  # columns from which the spread of the rounds fits, too
BUSY: Final = 0.5  # processors in use before the run, as the load average has it


def document(figures: Sequence[Figure], effort: Effort, started: float, seconds: float) -> dict[str, Any]:
    """All there is to know about a run. `started` is Unix seconds."""
    return {
        "shmbus": shmbus.__version__,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(seconds, 1),
        "machine": machine(),
        "effort": effort._asdict(),
        "figures": [figure.as_dict() for figure in figures],
    }


def write_json(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "crc32c": _core.crc32c_implementation(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        found = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
        return next(found, platform.machine())


# ---- tables ----------------------------------------------------------------------------------------------------------


def tables(figures: Sequence[Figure], width: int = 80) -> RenderableType:
    """`width` in columns: a narrow table leaves the spread out, so that what was measured can be read."""
    parts: list[RenderableType] = [_figures(figures, spread=width >= WIDE)]
    if any(figure.percentiles for figure in figures):
        parts.append(_percentiles(figures))
    return Group(*parts)


def show(console: Console, figures: Sequence[Figure], about: dict[str, Any], seconds: float) -> None:
    console.print(tables(figures, console.width))
    held = [figure.met for figure in figures if figure.met is not None]
    console.print(
        f"{about['processors']} × {about['processor']}, Linux {about['kernel']}, Python {about['python']}; "
        f"load before {about['load']}; {seconds:.0f} s. Medians of rounds. {sum(held)} of {len(held)} targets met.",
        soft_wrap=True,
    )
    if about["load"] > BUSY:
        console.print(
            "[yellow]The machine was busy before the run began. Processes that have to share a processor take turns "
            "instead of overlapping: throughputs and targets mean little then.[/]",
            soft_wrap=True,
        )


def _figures(figures: Sequence[Figure], *, spread: bool) -> Table:
    table = Table(title="shmbus bench", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("what", overflow="fold", min_width=30)
    table.add_column("median", justify="right", no_wrap=True)
    if spread:
        table.add_column("spread", justify="right", no_wrap=True)
    for name in ("floor", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figure in figures:
        table.add_row(*_cells(figure, spread))
    return table


def _cells(figure: Figure, spread: bool) -> Iterator[str]:
    yield f"{figure.what} [dim]({figure.note})[/]" if figure.note else figure.what
    yield _text(figure.median, figure.unit)
    if spread:
        yield _spread(figure)
    yield _text(figure.floor, figure.unit) if figure.floor is not None else ""
    if figure.target is None:
        yield ""
    else:
        yield f"{'≥' if figure.target.at_least else '≤'} {_text(figure.target.bound, figure.unit)}"
    yield {None: "", True: "[green]met[/]", False: "[red]not met[/]"}[figure.met]


def _spread(figure: Figure) -> str:
    if len(figure.rounds) < 2:
        return ""
    return f"{_text(min(figure.rounds), figure.unit)} … {_text(max(figure.rounds), figure.unit)}"


def _percentiles(figures: Sequence[Figure]) -> Table:
    title = "percentiles (medians of rounds)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("what", overflow="fold")
    for name in RANKS:
        table.add_column(name, justify="right", no_wrap=True)
    for figure in figures:
        if figure.percentiles:
            table.add_row(figure.what, *(_text(figure.percentiles[name], figure.unit) for name in RANKS))
    return table


_SCALES: Final[dict[Unit, tuple[tuple[float, str], ...]]] = {
    "ns": ((1e6, "ms"), (1e3, "µs"), (1, "ns")),
    "/s": ((1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
}


def _text(value: float | None, unit: Unit) -> str:
    if value is None:
        return "–"
    if unit == "share":
        return f"{value:.0%}"
    if unit == "ratio":
        return f"{value:.2f} ×"
    if unit == "cores":
        return f"{value:.1%} core"
    if unit == "MB":
        return f"{value:.1f} MB"
    scale, name = next((entry for entry in _SCALES[unit] if abs(value) >= entry[0]), (1, unit))
    return f"{value / scale:.3g} {name}"
