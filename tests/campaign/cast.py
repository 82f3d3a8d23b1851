"""Who takes part, and what the bus is configured to."""

from dataclasses import dataclass

OTHER_USER = "nobody"
LAB_TOPICS = ("lab.a", "lab.b", "lab.numbered")


@dataclass(frozen=True)
class Role:
    """A participant. `settles` is the durable subscription that it reads for, of `topics`."""

    name: str
    part: str
    options: tuple[str, ...] = ()
    settles: str = ""
    topics: tuple[str, ...] = ()
    alone: bool = False  # nobody shares what comes with it, so what it gets is in order


def _reader(name: str, *options: str, part: str = "read", settles: str = "", topics: tuple[str, ...] = LAB_TOPICS,
            patterns: str = "lab.#", alone: bool = False) -> Role:  # fmt: skip
    durable = (f"durable={settles}",) if settles else ()
    return Role(name, part, (f"patterns={patterns}", *durable, *options), settles, topics, alone)


def readers(*, as_root: bool) -> tuple[Role, ...]:
    """One of every kind. They begin before anybody publishes."""
    guests = (
        (_reader("guest", f"user={OTHER_USER}", settles="guest", patterns="guest.#", topics=("guest.x",)),)
        if as_root
        else ()
    )
    return (
        _reader("lossy", alone=True),
        _reader("lossless", "lossless=", "many=", alone=True),
        _reader("ordered", "lossless=", "order=producer", alone=True),
        _reader("single", settles="single"),
        *(_reader(f"trio-{number}", "deadline=1", settles="trio") for number in range(3)),
        _reader("batches", "many=", settles="batches"),
        _reader("queue", "order=producer", settles="queue"),
        _reader("once", "once=", settles="once", patterns="lab.numbered", topics=("lab.numbered",)),
        _reader("loop", part="aio", settles="loop"),
        _reader("results", settles="results", patterns="events.process.batch", topics=()),
        _reader("events", "lossless=", patterns="events.process.+"),
        *guests,
    )


def publishers(*, as_root: bool) -> tuple[Role, ...]:
    """Those of plain numbers, of durable ones, of another user; and the agent."""
    guests = (Role("outsider", "publish", ("topics=guest.x", "pace=0.1", f"user={OTHER_USER}")),) if as_root else ()
    return (
        Role("plain-a", "publish", ("topics=lab.a,lab.b", "pace=0.05")),
        Role("plain-b", "publish", ("topics=lab.b,lab.a", "pace=0.08")),
        Role("numbered", "number", ("topics=lab.numbered", "pace=0.04")),
        Role("agent", "steer", ("pace=0.2",)),
        *guests,
    )


NUMBERED = frozenset({"numbered"})
COLLECTORS = ("procmond", "lab")


def configuration(command: list[str], *, as_root: bool, variant: int) -> str:
    """The bus's, in two variants, for reloads; `command` runs the other collector."""
    if as_root:
        command = [*command, f"user={OTHER_USER}"]
    rules = "".join(
        f'[[access.{act}]]\ntopic = "guest.#"\nusers = ["{OTHER_USER}"]\n' for act in ("publish", "subscribe")
    )
    return f"""
[bus]
heartbeat_ms = 2000
grace_seconds = 10.0
[defaults]
slots = 2048
arena_bytes = 1_048_576
max_message_bytes = 262_144
max_messages = {2000 - 500 * variant}
urgent_slots = 256
urgent_arena_bytes = 524_288
[collectors.procmond]
restart_first_seconds = 0.2
restart_budget = 100_000
nice = {variant}
[collectors.lab]
command = {command!r}
restart_first_seconds = 0.2
restart_budget = 100_000
{rules if as_root else ""}
"""
