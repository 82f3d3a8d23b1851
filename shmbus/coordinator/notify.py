"""What systemd wants to know of a service (Type=notify): ready, reloading, stopping, alive.

One datagram a notice, to the socket that it names in NOTIFY_SOCKET; without that variable nothing is said.
"""

import os
import socket
import time


class Notifier:
    """Tells the service manager of this process, if there is one."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        for_us = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        usec = os.environ.get("WATCHDOG_USEC", "") if self._address and for_us else ""
        self.watchdog_seconds = int(usec) / 1e6 / 2 if usec.isdecimal() else 0.0
        """How often it wants to hear that we are alive; 0: it does not care."""

    def ready(self) -> None:
        """It serves, for the first time or again."""
        self._say("READY=1")

    def reloading(self) -> None:
        """It reads its configuration; ready() says when it has."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It ends in order."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Its event loop turns."""
        self._say("WATCHDOG=1")

    def _say(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
            try:
                channel.sendto(state.encode(), address)
            except OSError:
                pass  # the manager is gone, or will ask again
