"""The stage of a run: processes for a coordinator, a reader and a writer; the latter two also run the floors."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .effort import Effort
from .peer import Part, Peer, host


@dataclass
class Stage:
    effort: Effort
    coordinator: Peer
    reader: Peer
    writer: Peer
    address: str
    library: Path | None
    """The floors, compiled; None: there is no C compiler."""
    directory: Path
    """For files of this run; gone afterwards."""
    say: Callable[[str], None]

    @contextmanager
    def more(self, role: str, count: int) -> Iterator[list[Peer]]:
        """As many processes more."""
        with ExitStack() as stack:
            yield [stack.enter_context(Peer(f"{role} {i + 2}", self.address)) for i in range(count)]

    @contextmanager
    def playing(self, peer: Peer, part: Callable[..., Part], *arguments: object) -> Iterator[Peer]:
        """A part from its beginning to its end."""
        peer.begin(part, *arguments)
        try:
            yield peer
        except BaseException:
            raise  # the processes are ended by whoever started them; asking them now would only hang
        else:
            peer.end()

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Reader and writer on a processor each."""
        cpus = sorted(os.sched_getaffinity(0))
        self.reader.place({cpus[0]})
        self.writer.place({cpus[-1]})
        try:
            yield
        finally:
            self.reader.place(set(cpus))
            self.writer.place(set(cpus))


@contextmanager
def raised(effort: Effort, library: Path | None, directory: Path, say: Callable[[str], None]) -> Iterator[Stage]:
    """A stage, with its processes running."""
    with Peer("coordinator") as coordinator:
        address = coordinator.begin(host)
        with Peer("reader", address) as reader, Peer("writer", address) as writer:
            yield Stage(effort, coordinator, reader, writer, address, library, directory, say)
        coordinator.end()
