"""Numbers, sizes and times in few characters, and text from elsewhere that is safe to print."""

from typing import Final

from shmbus.directory import CollectorState

_THOUSANDS: Final = ("", "k", "M", "G", "T", "P", "E")
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def count(number: int, width: int = 0) -> str:
    """1,204, or 1.20M where the digits take more than `width` characters (0: as many as it takes)."""
    digits = f"{number:,}"
    return digits if not width or len(digits) <= width else _scaled(number, 1000, _THOUSANDS, "")


def rate(per_second: float) -> str:
    """At most 6 characters: 0, 0.4, 12, 1.53k."""
    if per_second < 0.05:
        return "0"
    return f"{per_second:.1f}" if per_second < 9.95 else _scaled(per_second, 1000, _THOUSANDS, "")


def size(number: float) -> str:
    """At most 8 characters: 512 B, 1.53 KiB, exactly 64 MiB."""
    return _scaled(number, 1024, _SIZES, " ")


def percent(share: float) -> str:
    """0 %, <1 %, 12 %, of a share of 1. What is not nothing never looks like nothing."""
    return "<1 %" if 0 < share < 0.01 else f"{int(share * 100)} %"


def duration(seconds: float) -> str:
    """850 ms, 12 s, 3 min 20 s, 5 h 12 min, 3 d 4 h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    total = int(seconds)
    for unit, part, name, part_name in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if total >= unit:
            rest = total % unit // part
            return f"{total // unit} {name}" + (f" {rest} {part_name}" if rest else "")
    return f"{total} s" if seconds == total or seconds >= 10 else f"{seconds:.1f} s"


def plural(number: int, thing: str) -> str:
    """1 topic, 2 topics."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def shorten(text: str, width: int) -> str:
    """The text in at most `width` characters, without its middle if need be: the end of a topic says most."""
    if len(text) <= width:
        return text
    if width < 3:
        return text[:width]
    front = (width - 1) // 3
    return f"{text[:front]}…{text[len(text) - (width - 1 - front) :]}"


def note(text: str, width: int | None) -> str:
    """A line below a row of a table, in at most `width` columns (None: whole). What it says may come from anybody."""
    line = f"  {printable(text)}"
    return line if width is None else shorten(line, width)


def printable(text: str) -> str:
    """The text with whatever could move a cursor, ring a bell or forge a line escaped. It came from any process."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    # A command line that is no UTF-8 comes as lone surrogates.
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _scaled(number: float, base: int, units: tuple[str, ...], blank: str) -> str:
    value, scale = float(number), 0
    while value >= base - 0.5 and scale < len(units) - 1:
        value, scale = value / base, scale + 1
    if scale == 0:
        return f"{value:.0f}{blank}{units[0]}"
    decimals = 0 if value == int(value) else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}{blank}{units[scale]}"


def state_text(state: CollectorState) -> str:
    """The name of a collector's state, as the coordinator spells it."""
    return state.name.lower().replace("_", "-")
