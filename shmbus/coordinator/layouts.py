"""What each number of a segment's layout was, and whether a bus has only such as this version works with.

Each kind of segment has numbers of its own, apart from the version of the control protocol: two sides that understand
each other's requests may still be unable to read each other's memory. A number is raised with every change of what
stands where, or of what it means. Where the change leaves older segments usable as they are (it used bytes that were
zero, and zero means what it meant), the oldest known number stays, and a bus of such a layout is taken over in place.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final, NamedTuple, Protocol

from shmbus import directory, segment, state
from shmbus._core import LAYOUTS as CORE
from shmbus._core import AttachError, Bells, Group, Ring, Session
from shmbus.errors import LayoutError, SegmentError, ShmbusError


class Layout(NamedTuple):
    """One kind's: the number that is made, the oldest that can be taken over, and what each was."""

    newest: int
    oldest: int
    meanings: Mapping[int, str]

    @property
    def known(self) -> str:
        """For messages."""
        return str(self.newest) if self.newest == self.oldest else f"{self.oldest} to {self.newest}"

    def meaning(self, number: int) -> str:
        """What that number was."""
        return self.meanings.get(number, "made by a newer version" if number > self.newest else "no number of ours")


LAYOUTS: Final[Mapping[str, Layout]] = {
    "directory": Layout(
        directory.LAYOUT,
        directory.OLDEST_LAYOUT,
        {
            1: "without what a collector was started with",
            2: "a collector's plan and recent restarts",
            3: "what a collector says of its own health; zero before",
            4: "what follows when one that is stopping has ended; zero before",
        },
    ),
    "bells": Layout(*CORE["bells"], {1: "two words a bell", 2: "the same as 1"}),
    "session": Layout(
        *CORE["session"],
        {
            1: "zero in a cursor's last word",
            2: "there, when it last moved",
            3: "a ledger, where its row count is not zero",
            4: "what the client says of its own health, and why, where that is not zero; how many rows have memory, "
            "zero: all; whether a cursor that has not moved tells when it joined; "
            "what a row's producer had published before, where the page says that this is counted",
        },
    ),
    "group": Layout(
        *CORE["group"],
        {
            1: "laps of 32 bits",
            2: "laps of 48 bits, and what a producer had judged",
            3: "a ledger, where its row count is not zero",
            4: "runs in the ledger",
            5: "what a row's producer had published before, where the page says that this is counted",
        },
    ),
    "ring": Layout(
        *CORE["ring"],
        {
            1: "without the producers' numbers",
            2: "numbers of durable publishers",
            3: "how often an id was given out; zero before",
            4: "where its owner left, zero before; what a durable one has left out, not counted before",
        },
    ),
    "state": Layout(state.LAYOUT, state.OLDEST_LAYOUT, {1: "two halves that are folded in turn"}),
}


class _Closable(Protocol):
    def close(self) -> None: ...


_ATTACH: Final[Mapping[str, Callable[[int, bytes], _Closable]]] = {
    "directory": lambda fd, boot: directory.DirectoryReader(fd, boot_id=boot),
    "bells": lambda fd, boot: Bells.attach(fd, boot),
    "session": lambda fd, boot: Session.attach(fd, writable=False, boot_id=boot),
    "group": lambda fd, boot: Group.attach(fd, writable=False, boot_id=boot),
    "ring": lambda fd, boot: Ring.attach(fd, writable=False, boot_id=boot),
    "state": lambda fd, boot: state.StateReader(fd, boot_id=boot),
}


def check_layouts(bus: str) -> None:
    """Nothing is changed. Raises LayoutError for the first segment of a layout that this version does not work with.

    What is wrong with a segment otherwise (unfinished, from before a reboot) is not its layout, and no reason.
    """
    boot_id = segment.boot_id()
    misfits = [
        (one.name, kind, number)
        for one in segment.list_segments(bus=bus)
        if one.maker is None
        for kind in [one.what.partition(".")[0]]
        if (number := _unknown_layout(one.name, kind, boot_id)) is not None
    ]
    if misfits:
        name, kind, number = misfits[0]
        layout = LAYOUTS[kind]
        raise LayoutError(bus, name, number, layout.known, layout.meaning(number), len(misfits))


def _unknown_layout(name: str, kind: str, boot_id: bytes) -> int | None:
    """The number, if it is one that cannot be attached."""
    try:
        descriptor = segment.attach(name, writable=kind == "bells")  # which the core maps in one way only
    except ShmbusError:
        return None
    try:
        with closing(_ATTACH[kind](descriptor, boot_id)):
            return None
    except AttachError as error:
        return error.layout if error.reason == "layout" else None
    except SegmentError as error:
        return error.found if error.reason == "layout" and isinstance(error.found, int) else None
    finally:
        os.close(descriptor)
