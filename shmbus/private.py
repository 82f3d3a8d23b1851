"""A private bus: a coordinator in a thread of this process, known only to those who are told its address.

Its segments never have a name and its socket is an abstract one, so it leaves nothing behind however the process ends.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from shmbus.bus import Bus
from shmbus.coordinator import Coordinator
from shmbus.coordinator.settings import Settings

if TYPE_CHECKING:
    from shmbus.config import Config

START_SECONDS = 30.0
STOP_SECONDS = 30.0


def embedded(config: "Config | Settings | None" = None, *, name: str | None = None, timeout: float = 5.0) -> Bus:
    """A private bus that lives until it is closed, or this process ends; `bus.address` lets other processes connect.

    `name` is what others see this process as (default: the program's name). `timeout` in seconds. Raises StorageFull,
    OSError.
    """
    address, stop = start_embedded(config)
    try:
        return Bus(address, name=name or _program(), timeout=timeout, on_close=stop)
    except BaseException:
        stop()
        raise


def start_embedded(
    config: "Config | Settings | None" = None, *, log: Callable[[str], None] = lambda line: None
) -> tuple[str, Callable[[], None]]:
    """Start a private coordinator: its address ("@...", for any process of this user), and what stops it.

    Milliseconds. `log` is called on the coordinator's thread. Raises what kept it from starting (StorageFull, OSError).
    """
    runner = _Runner(config, log)
    runner.start()
    return runner.coordinator.address, runner.stop


def _program() -> str:
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"


class _Runner:
    """The thread, and how it ended."""

    def __init__(self, config: "Config | Settings | None", log: Callable[[str], None]) -> None:
        self._started = threading.Event()
        self._error: BaseException | None = None
        self.coordinator = Coordinator(config, log=log, private=True, ready=self._started.set)
        # A daemon: a process that forgets to close its bus must still be able to end.
        self._thread = threading.Thread(target=self._run, name="shmbus coordinator", daemon=True)

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise TimeoutError(f"the embedded coordinator did not start within {START_SECONDS:g} s")
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """Returns when its thread has ended. More than once does no harm."""
        self.coordinator.stop("the bus was closed")
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            self.coordinator.run(signals=False)
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()
