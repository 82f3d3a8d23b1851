"""What a durable subscription is to be: its name, and when a message that was given out comes again."""

from dataclasses import dataclass
from typing import Final

from shmbus.message import Message
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.delivery_pb2 import DeadLetter

DEFAULT_WINDOW: Final = 1024
DEFAULT_DEADLINE_SECONDS: Final = 30.0
DEAD_LETTERS: Final = "dead."  # the topic of a durable subscription's dead letters, unless it names another


@dataclass(frozen=True, slots=True)
class Durable:
    """A subscription by name, which outlives whoever reads for it.

    What it hands out comes again until `ack`: after a `nack`, when its reader dies or closes, and after `ack_deadline`
    seconds (None: never). After `max_deliveries` times (0: no limit) it goes to the topic `dead_letter` instead
    (default: "dead.<name>"), as a `DeadLetter`. `window`, a power of two, is how many messages of one topic may be out
    at a time. `exactly_once` removes what a publisher published twice, by its name's `producer_sequence`.

    Several that subscribe with one name at a time share what comes: each message goes to one of them.
    """

    name: str
    ack_deadline: float | None = DEFAULT_DEADLINE_SECONDS
    max_deliveries: int = 0
    dead_letter: str | None = None
    exactly_once: bool = False
    window: int = DEFAULT_WINDOW

    def __post_init__(self) -> None:
        deadline: object = self.ack_deadline  # whatever its type says
        if deadline is not None and not (isinstance(deadline, int | float) and 0.001 <= deadline < 2**32):
            raise ValueError(f"ack_deadline is a number of seconds from 0.001 up, or None; not {self.ack_deadline!r}")
        for field in ("max_deliveries", "window"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
                raise ValueError(f"{field} is a whole number from 0 up, not {value!r}")
        if self.dead_letter is not None and not self.max_deliveries:
            raise ValueError("dead_letter takes max_deliveries above 0: after how many a message goes there")

    @property
    def dead_letter_topic(self) -> str:
        """Where its dead letters go."""
        return self.dead_letter or DEAD_LETTERS + self.name

    @property
    def ack_deadline_ns(self) -> int:
        """0: never."""
        return 0 if self.ack_deadline is None else max(1, round(self.ack_deadline * 1e3)) * 1_000_000

    def wire(self, filter: str | None = None) -> wire.Durable:
        """For the coordinator; `filter` is that of the subscription in words, by which members are compared."""
        return wire.Durable(
            name=self.name,
            window=self.window,
            exactly_once=self.exactly_once,
            ack_deadline_ms=self.ack_deadline_ns // 1_000_000,
            max_deliveries=self.max_deliveries,
            dead_letter_topic=self.dead_letter_topic if self.max_deliveries else "",
            filter=filter,
        )


def unlike(present: wire.Durable, asked: wire.Durable) -> str | None:
    """What one asks for otherwise than those who read for the name; None: nothing. Who says of no filter has any."""
    for field in asked.DESCRIPTOR.fields:
        theirs, its = getattr(present, field.name), getattr(asked, field.name)
        if field.name == "filter":
            if present.HasField("filter") and asked.HasField("filter") and theirs != its:
                return f"it is being read with another filter: {theirs or 'none'}, not {its or 'none'}"
        elif theirs != its:
            return f"it is being read with {field.name} = {theirs}, not {its}"
    return None


def dead_letter(durable: str, message: Message) -> DeadLetter:
    """What is published of a message that nobody settles."""
    producer = message.producer
    return DeadLetter(
        durable=durable,
        topic=message.topic,
        lane=message.lane,
        sequence=message.sequence,
        deliveries=message.deliveries - 1,  # this one went here
        producer=producer.name if producer else "",
        producer_pid=producer.pid if producer else 0,
        producer_sequence=message.producer_sequence,
        timestamp=int(message.time.timestamp() * 1e3),
        priority=message.priority,
        kind=message.kind,
        type_name=message.type_name,
        payload=message.payload,
    )
