"""What was asked with which key, so that a request that comes again is executed once and answered again.

A key is for one thing: what was `asked` with it is kept beside it, in a short form that can be compared, so that
whoever finds a key known sees whether it was for the same. Bounded twice, in entries and in bytes of answers: the
answers that were given longest ago are forgotten first. What is being executed is never forgotten.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_Waiting = TypeVar("_Waiting")
_Answer = TypeVar("_Answer")
_Asked = TypeVar("_Asked", bound=Hashable)


class Once(Generic[_Waiting, _Answer, _Asked]):
    """One server's table. No clock, no I/O."""

    def __init__(self, entries: int = 1024, size: int = 1 << 20) -> None:
        self._entries, self._size = entries, size
        self._running: dict[Hashable, tuple[_Asked, list[_Waiting]]] = {}
        self._answers: OrderedDict[Hashable, tuple[_Asked, _Answer, int]] = OrderedDict()
        self.used_bytes = 0

    def begin(self, key: Hashable, asked: _Asked) -> bool:
        """True: it is new, and being executed from now on. False: it is known, see `asked`, `answer` and `join`."""
        if key in self._running or key in self._answers:
            return False
        self._running[key] = asked, []
        return True

    def asked(self, key: Hashable) -> _Asked:
        """What was asked with it, which is known."""
        return (self._running.get(key) or self._answers[key])[0]

    def answer(self, key: Hashable) -> _Answer | None:
        """What was answered, or None while it is being executed."""
        found = self._answers.get(key)
        return None if found is None else found[1]

    def join(self, key: Hashable, waiting: _Waiting) -> None:
        """Whoever asks meanwhile is told by `finish`."""
        self._running[key][1].append(waiting)

    def finish(self, key: Hashable, answer: _Answer, size: int) -> list[_Waiting]:
        """It has been executed: who else waits for the answer. One that is larger than the whole table is not kept."""
        asked, waiting = self._running.pop(key)
        if size <= self._size:
            self._answers[key] = asked, answer, size
            self.used_bytes += size
            self._forget()
        return waiting

    def abandon(self, key: Hashable) -> list[_Waiting]:
        """It was not executed, so that it may be, when it comes again: who else waits for it."""
        return self._running.pop(key)[1]

    def __len__(self) -> int:
        return len(self._running) + len(self._answers)

    def _forget(self) -> None:
        while len(self._answers) > self._entries or self.used_bytes > self._size:
            _, (*_, size) = self._answers.popitem(last=False)
            self.used_bytes -= size
