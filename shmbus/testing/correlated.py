"""Order of the correlation groups: what belongs to one root, by sequence number, as correlated.c does it."""

from bisect import insort
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from shmbus._core import KIND_EVENT
from shmbus.message import Gap
from shmbus.testing.clock import Clock
from shmbus.testing.cursor import Found
from shmbus.testing.message import MemoryMessage

MOST_HELD: Final = 8192  # messages
MOST_BYTES: Final = 64 << 20
MOST_GROUPS: Final = 4096
MOST_NUMBER: Final = 2**64 - 1


@dataclass(slots=True)
class Held:
    """A message that waits for its turn; not `wanted`: only its number counts."""

    number: int
    message: MemoryMessage
    wanted: bool
    came_ns: int

    @property
    def bytes(self) -> int:
        """What it takes."""
        return len(self.message.payload) if self.wanted else 0


@dataclass(slots=True)
class Group:
    """What belongs to one root, and the number that it waits for."""

    root: str
    next: int = 0
    begun: bool = False
    held: list[Held] = field(default_factory=list)  # by number, then as they came

    def release(self, upto: int) -> list[Held | Gap]:
        """All whose turn it is; in spite of gaps, which are told, what is held up to that number."""
        found: list[Held | Gap] = []
        while self.held and (self.held[0].number <= upto or (self.begun and self.held[0].number <= self.next)):
            one = self.held.pop(0)
            if not self.begun:
                self.begun, self.next = True, one.number
            if one.number > self.next:
                found.append(self._gap(one))
            self.pass_by(one.number)
            found.append(one)
        return found

    def pass_by(self, number: int) -> None:
        """That number is not waited for any more."""
        self.next = max(self.next, min(number + 1, MOST_NUMBER))

    def _gap(self, one: Held) -> Gap:
        missing = one.number - self.next
        return Gap(one.message.topic, one.message.pattern, self.next, missing, "order", group=self.root)


class Correlated:
    """What is held back of all groups, and what may go."""

    def __init__(self, wait_ns: int, clock: Clock) -> None:
        self._wait_ns, self._clock = wait_ns, clock
        self._groups: OrderedDict[str, Group] = OrderedDict()  # the one that was quiet for longest first
        self._roots: OrderedDict[str, Group] = OrderedDict()  # those of what has no correlation, until it has children
        self._waiting: dict[int, tuple[Group, Held]] = {}  # the one that came first, first
        self._ready: deque[Found] = deque()
        self._bytes = 0
        self.early = 0

    @property
    def held(self) -> int:
        """Messages that are not handed out yet."""
        waiting = sum(one.wanted for _, one in self._waiting.values())
        return waiting + sum(not isinstance(one, Gap) for one in self._ready)

    def ready(self) -> Found | None:
        """What may go now."""
        while not self._ready and (len(self._waiting) > MOST_HELD or self._bytes > MOST_BYTES):
            self.early += 1
            self._release_oldest()
        return self._ready.popleft() if self._ready else None

    def take(self, message: MemoryMessage, wanted: bool = True) -> bool:
        """It has come. True: it is to be handed out at once; False: it is held, or not `wanted`."""
        root, number, implied = _place(message)
        group = self._group(root, implied)
        group.begun |= number == 0
        if not group.begun or number > group.next:
            held = Held(number, message, wanted, self._clock.now_ns())
            insort(group.held, held, key=lambda one: one.number)
            self._waiting[id(held)] = group, held
            self._bytes += held.bytes
            return False
        group.pass_by(number)
        self._release(group, -1)
        return wanted

    def release_due(self, at_end: bool) -> bool:
        """There is nothing left to read: does the one that came first go, having waited for long enough?"""
        if not self._waiting:
            return False
        oldest = next(iter(self._waiting.values()))[1]
        if not at_end and self._clock.now_ns() < oldest.came_ns + self._wait_ns:
            return False
        self._release_oldest()
        return True

    def clear(self) -> None:
        """Nothing is handed out any more."""
        for kept in (self._groups, self._roots, self._waiting, self._ready):
            kept.clear()

    def _release_oldest(self) -> None:
        group, oldest = next(iter(self._waiting.values()))
        self._release(group, oldest.number)

    def _release(self, group: Group, upto: int) -> None:
        for one in group.release(upto):
            if isinstance(one, Gap):
                self._ready.append(one)
                continue
            del self._waiting[id(one)]
            self._bytes -= one.bytes
            if one.wanted:
                self._ready.append(one.message)

    def _group(self, root: str, implied: bool) -> Group:
        kept = self._groups if root in self._groups or not implied else self._roots
        group = kept.get(root)
        if group is None:
            if len(kept) >= MOST_GROUPS:
                self._forget(kept)
            group = kept[root] = self._roots.pop(root) if root in self._roots else Group(root)
        kept.move_to_end(root)
        return group

    def _forget(self, kept: OrderedDict[str, Group]) -> None:
        group = kept.popitem(last=False)[1]
        self.early += bool(group.held)
        self._release(group, MOST_NUMBER)


def _place(message: MemoryMessage) -> tuple[str, int, bool]:
    """Its group and its number there; and whether it says so itself, or is the root of what is published for it."""
    envelope = message.envelope if message.kind == KIND_EVENT else None
    its = envelope.correlation if envelope is not None else None
    if its is not None and its.correlation_id:
        return its.root_correlation_id or its.correlation_id, its.sequence_number, False
    own = envelope.metadata.message_id if envelope is not None else ""
    return own or f"{message.topic}:{message.sequence}", 0, True
