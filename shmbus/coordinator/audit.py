"""The audit trail: a line for every grant, every denial and every administrative act. No secret is ever in it.

A line is a JSON object:

    time        Unix seconds
    outcome     "granted", "denied", or "done": an act that needed no grant
    action      "publish to", "subscribe to", "call HEALTH_CHECK of", "stop", ...
    object      a topic, a pattern, a collector, "the bus"
    rule        what decided: the place of a rule in the configuration, or why none was needed
    uid, pid    of the process, as the kernel attests them
    client      what it calls itself
    collector   the supervised collector that it is, if it is one
    token       the name of the token that it has presented, if it has

They go to the logger `shmbus.audit` (denials as warnings) and to the file that the configuration names. What is decided
once is told once: a grant to publish is one line, however much is published; a call to a collector is told at the
first of its caller and operation, until the rules change.
"""

import json
import logging
import os
import time
from typing import Final

from shmbus.coordinator.access import Decision, Subject
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.post import Log

LOGGER: Final = logging.getLogger("shmbus.audit")
LOGGER.addHandler(logging.NullHandler())  # nothing is printed by itself where nobody has configured logging


def open_trail(path: str) -> int:
    """The file of that absolute path, to be written on; -1 for "": none. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600) if path else -1


class Audit:
    """Of one bus."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._path, self._file = "", -1
        self._failed = False

    def write_to(self, path: str, descriptor: int) -> None:
        """Have it written there from now on, by a descriptor of `open_trail`, which is ours to close."""
        self.close()
        self._path, self._file, self._failed = path, descriptor, False

    def close(self) -> None:
        """Write to no file any more."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def decided(self, subject: Subject, action: str, thing: str, decision: Decision) -> None:
        """Somebody was granted something, or denied it."""
        if not decision.allowed:
            self._log(Warn(f"denied: {subject.who} may not {action} '{thing}' ({decision.rule})"))
        self._write(subject, "granted" if decision.allowed else "denied", action, thing, decision.rule)

    def done(self, subject: Subject, action: str, thing: str, reason: str) -> None:
        """Something was done that is nobody's grant."""
        self._write(subject, "done", action, thing, reason)

    def _write(self, subject: Subject, outcome: str, action: str, thing: str, rule: str) -> None:
        level = logging.WARNING if outcome == "denied" else logging.INFO
        heard = LOGGER.isEnabledFor(level)
        if not heard and self._file < 0:
            return
        entry = {"time": round(time.time(), 3), "outcome": outcome, "action": action, "object": thing, "rule": rule}
        entry |= {"uid": subject.uid, "pid": subject.pid, "client": subject.name}
        if subject.collector:
            entry["collector"] = subject.collector
        if subject.token:
            entry["token"] = subject.token.name
        line = json.dumps(entry)
        if heard:
            LOGGER.log(level, "%s", line, extra={"audit": entry})
        if self._file >= 0:
            self._append(line)

    def _append(self, line: str) -> None:
        try:
            os.write(self._file, f"{line}\n".encode())
        except OSError as error:
            if not self._failed:  # told once, or a full disk fills the log as well
                self._log(Warn(f"{self._path}: {error.strerror}: the audit trail has gaps from now on"))
            self._failed = True
