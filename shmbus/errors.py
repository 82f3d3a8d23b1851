"""Everything that shmbus raises on purpose.

    ShmbusError
     ├─ ConnectError          nobody runs the bus
     ├─ BusExists             somebody else already runs it
     ├─ VersionError          the two sides speak no common protocol version
     ├─ CapabilityError       the coordinator is too old for what is asked of it
     ├─ ProtocolError         a peer sent what the protocol does not allow
     ├─ ConnectionLost        the coordinator hung up or died
     ├─ AccessDenied          the rules do not allow it
     ├─ ConfigurationError    a key of the configuration
     ├─ TopicNameError        no valid topic name
     ├─ PatternError          no valid topic pattern
     ├─ FilterError           a filter makes no sense (also a ValueError)
     ├─ DurableError          a durable subscription cannot be had like that
     ├─ TypeMismatch          the topic carries another message type
     ├─ LimitError            something is at its limit
     │   └─ MessageTooLarge   one message is above its topic's limit
     ├─ BackpressureError     the topic is full and a reader holds it
     ├─ BudgetExceeded        a publisher is above its budget
     ├─ PublishRevoked        a claim was taken away before it was committed
     ├─ SegmentError          shared memory that is not what it should be
     ├─ LayoutError           a bus of another version cannot be taken over
     ├─ StorageFull           /dev/shm has no room
     ├─ ClosedError           used after it was closed
     ├─ BusyError             used by two at once
     ├─ BorrowError           nothing would protect a borrowed message (also a BufferError)
     ├─ ForkedError           used in a forked child
     ├─ ReceiveTimeout        nothing came in time (also a TimeoutError)
     ├─ CorrelationError      correlation metadata outside its limits
     ├─ RpcError              a call was not answered with success
     └─ TaskError             a detection task got no result

CompatibilityWarning is told by the module `warnings`.

Each error carries its data as attributes and builds its message from them: what, the limit, the present value, what to
do. All of them survive pickling and `restore`, which rebuilds one that another process raised.
"""

import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

_LONGEST_VALUE = 160  # characters of a configured one that are shown


class ShmbusError(Exception):
    """The root: whatever the bus raises on purpose is one of these."""

    @classmethod
    def restore(cls, message: str, data: Mapping[str, Any]) -> Self:
        """The error that another process raised, from its message and attributes."""
        error = cls.__new__(cls, message)
        error.args = (message,)
        error.__dict__.update(data)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors take the data, not the message, so Exception's own way of calling them again cannot work.
        return type(self).restore, (str(self), self.__dict__.copy())


class ConnectError(ShmbusError):
    """Nobody runs the bus at `address`."""

    def __init__(self, bus: str, address: str, reason: str = "nobody listens") -> None:
        self.bus, self.address, self.reason = bus, address, reason
        option = "" if bus == "default" else f" --bus {bus}"
        super().__init__(
            f"no coordinator runs the bus '{bus}' ({_address(address)}: {reason}). Start one with `shmbus up{option}`, "
            "or use shmbus.embedded() for a private bus."
        )


class BusExists(ShmbusError):
    """The bus already has a coordinator: process `pid`, since `since` (Unix seconds), where that is known."""

    def __init__(self, bus: str, pid: int | None = None, since: float | None = None) -> None:
        self.bus, self.pid, self.since = bus, pid, since
        who = "another process" if pid is None else f"pid {pid}"
        when = "" if since is None else time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(since))
        option = "" if bus == "default" else f" --bus {bus}"
        super().__init__(
            f"the bus '{bus}' is already run by {who}{when}. Stop it with `shmbus down{option}`, go on in its place "
            "with `shmbus up --take-over`, or give this one another name with `--bus`."
        )


class VersionError(ShmbusError):
    """Client and coordinator have no protocol version in common."""

    def __init__(self, ours: str, theirs: str, peer: str = "the coordinator") -> None:
        self.ours, self.theirs, self.peer = ours, theirs, peer
        super().__init__(
            f"{peer} speaks protocol {theirs}, this process speaks {ours}: the major versions must be equal and the "
            "coordinator's minor version not below the client's. Upgrade the older side."
        )


class CapabilityError(ShmbusError):
    """The coordinator of `bus` lacks the `capability` that a request needs; `version` is what it speaks with us."""

    def __init__(self, capability: str, bus: str, pid: int | None, version: str) -> None:
        self.capability, self.bus, self.pid, self.version = capability, bus, pid, version
        who = "the coordinator" if pid is None else f"the coordinator (pid {pid})"
        super().__init__(
            f"{who} of the bus '{bus}' lacks the capability '{capability}', which this needs: it speaks protocol "
            f"{version}. Upgrade it, or ask first: '{capability}' in bus.capabilities."
        )


class CompatibilityWarning(UserWarning):
    """The coordinator is of another version: what follows from that, in its words. Never raised by itself."""


class ProtocolError(ShmbusError):
    """A peer sent what the control protocol does not allow; the connection to it is closed."""

    def __init__(self, peer: str, reason: str) -> None:
        self.peer, self.reason = peer, reason
        super().__init__(
            f"{peer} broke the control protocol: {reason}. The connection is closed; check that both sides run the "
            "same version of shmbus."
        )


class ConnectionLost(ShmbusError):
    """The coordinator hung up or died. Rings that are already open can still be read and written."""

    def __init__(self, bus: str, pid: int | None = None, reason: str = "the connection was closed") -> None:
        self.bus, self.pid, self.reason = bus, pid, reason
        who = "the coordinator" if pid is None else f"the coordinator (pid {pid})"
        super().__init__(
            f"{who} of the bus '{bus}' is gone: {reason}. Open topics go on; for anything new start a coordinator "
            "with `shmbus up` and connect again."
        )


class AccessDenied(ShmbusError):
    """The access rules do not let `who` do `action` on `thing`."""

    default_remedy: ClassVar[str] = "Allow it in the section [access] of the configuration."

    def __init__(self, action: str, thing: str, who: str, remedy: str | None = None) -> None:
        self.action, self.thing, self.who = action, thing, who
        self.remedy = remedy or self.default_remedy
        super().__init__(f"{who} may not {action} '{thing}'. {self.remedy}")


class ConfigurationError(ShmbusError):
    """`key` of `file`, in `line`, has a `value` that cannot be; `allowed` says what can.

    `file`, `line` and `key` may be None. `problems` has a text for each thing that is wrong, this one first; of more
    than `most_told` the last text says how many there are.
    """

    most_told: ClassVar[int] = 20

    def __init__(
        self, file: str | None, key: str | None, value: object, allowed: str, *, line: int | None = None
    ) -> None:
        self.file, self.key, self.value, self.allowed, self.line = file, key, _plain(value), allowed, line
        where = file or "configuration"
        if line is not None:
            where += f":{line}"
        if key is not None:
            where += f": {key}" if _has_tables(value) else f": {key} = {_shortened(_toml(value))}"
        text = f"{where}: {allowed}"
        self.problems: tuple[str, ...] = (text,)
        super().__init__(text)

    @classmethod
    def joined(cls, errors: Sequence[Self]) -> Self:
        """The first of them, which tells the others, too. There is at least one."""
        first, told = errors[0], [str(error) for error in errors[: cls.most_told]]
        if left := len(errors) - len(told):
            told.append(f"{first.file or 'configuration'}: and {left} more")
        first.problems, first.args = tuple(told), ("; ".join(told),)
        return first


class TopicNameError(ShmbusError):
    """`topic` is no valid name; `reason` says what is wrong and what to write."""

    def __init__(self, topic: str, reason: str) -> None:
        self.topic, self.reason = topic, reason
        super().__init__(f"topic {topic!r} is no valid name: {reason}")


class PatternError(ShmbusError):
    """`pattern` is no valid topic pattern; `reason` says what is wrong and what to write."""

    def __init__(self, pattern: str, reason: str) -> None:
        self.pattern, self.reason = pattern, reason
        super().__init__(f"topic pattern {pattern!r} is not valid: {reason}")


class FilterError(ShmbusError, ValueError):
    """A filter's `field` makes no sense as `present`; `line` and `column` (from 1) say where, in an expression."""

    def __init__(self, field: str, present: object, reason: str, *, line: int = 0, column: int = 0) -> None:
        self.field, self.present, self.reason, self.line, self.column = field, present, reason, line, column
        where = f" at line {line}, column {column}" if line else ""
        super().__init__(f"filter: {field} = {present!r}{where}: {reason}")


class DurableError(ShmbusError):
    """The durable subscription (or publisher) `name` cannot be had like that: `reason`; `remedy` says what to do."""

    def __init__(self, name: str, reason: str, remedy: str, thing: str = "subscription") -> None:
        self.name, self.reason, self.remedy, self.thing = name, reason, remedy, thing
        super().__init__(f"durable {thing} '{name}': {reason}. {remedy}")


class TypeMismatch(ShmbusError):
    """The topic carries another message type, or an incompatible version of it; `differences` names the fields."""

    def __init__(self, topic: str, expected: str, found: str, differences: Sequence[str] = ()) -> None:
        self.topic, self.expected, self.found, self.differences = topic, expected, found, tuple(differences)
        fields = f": {'; '.join(self.differences)}" if self.differences else ""
        super().__init__(
            f"topic '{topic}' carries {found}, not {expected}{fields}. Use the topic's type, or another topic."
        )


class LimitError(ShmbusError):
    """`thing` is at its `limit`: `present` is what it would have become or is; `remedy` is a sentence."""

    def __init__(self, thing: str, limit: int, present: int, remedy: str) -> None:
        self.thing, self.limit, self.present, self.remedy = thing, limit, present, remedy
        super().__init__(f"{thing}: {present}, the limit is {limit}. {remedy}")


class MessageTooLarge(LimitError):
    """One message of `size` bytes is above the `limit` of its topic, or of what that topic's `urgent` lane holds."""

    def __init__(self, topic: str, size: int, limit: int, *, urgent: bool = False) -> None:
        self.topic, self.size, self.urgent = topic, size, urgent
        key = "urgent_arena_bytes" if urgent else "max_message_bytes"
        lane = "the urgent lane of " if urgent else ""
        what = f"bytes of a message for {lane}topic '{topic}'"
        super().__init__(what, limit, size, f"Split it, or raise {key} of the topic.")


class BackpressureError(ShmbusError):
    """A topic is full and its oldest message may not go yet: `holder` of process `pid` stands there.

    `capacity_bytes` and `messages` are the topic's capacity; `behind` messages have come since. `unfinished` tells a
    publisher that never finished that message from a reader that has not read it. `since_seconds` is how long ago the
    holder was last active (None: never). A `pid` of 0 stands for whoever reads for the durable subscription `holder`.
    """

    def __init__(
        self,
        topic: str,
        capacity_bytes: int,
        messages: int,
        holder: str,
        pid: int,
        behind: int,
        since_seconds: float | None = None,
        unfinished: bool = False,
    ) -> None:
        self.topic, self.capacity_bytes, self.messages = topic, capacity_bytes, messages
        self.holder, self.pid, self.behind = holder, pid, behind
        self.since_seconds, self.unfinished = since_seconds, unfinished
        super().__init__(
            f"topic '{topic}' is full ({size_text(capacity_bytes)}, {messages} messages): {self._culprit()} "
            'Wait longer, enlarge the topic, or set on_full = "shed".'
        )

    def _culprit(self) -> str:
        if self.unfinished:
            return f"publisher '{self.holder}' of pid {self.pid} has not finished a message {self.behind} messages ago."
        ago = self.since_seconds
        if not self.pid:
            last = "has settled nothing yet" if ago is None else f"last settled {ago:.1f} s ago"
            return f"durable subscription '{self.holder}' is {self.behind} messages behind, {last}."
        last = "has read nothing yet" if ago is None else f"last read {ago:.1f} s ago"
        return f"subscription '{self.holder}' of pid {self.pid} is {self.behind} messages behind, {last}."


class BudgetExceeded(ShmbusError):
    """This client has published to `topic` all that its rule lets it: the message was not published.

    The budget is `messages_per_second` and `bytes_per_second` on average (0: no limit), for all its publishers of the
    topic together; a second's worth may go at once. `present_messages` and `present_bytes` are the rates of late. After
    `retry_seconds` the message may go.
    """

    def __init__(
        self,
        topic: str,
        messages_per_second: int,
        bytes_per_second: int,
        present_messages: float,
        present_bytes: float,
        retry_seconds: float,
    ) -> None:
        self.topic, self.retry_seconds = topic, retry_seconds
        self.messages_per_second, self.bytes_per_second = messages_per_second, bytes_per_second
        self.present_messages, self.present_bytes = present_messages, present_bytes
        limits, presents = [], []
        if messages_per_second:
            limits.append(f"{messages_per_second} messages/s")
            presents.append(f"{present_messages:.0f} messages/s")
        if bytes_per_second:
            limits.append(f"{bytes_per_second} bytes/s")
            presents.append(f"{present_bytes:.0f} bytes/s")
        super().__init__(
            f"this client's budget for topic '{topic}' is {' and '.join(limits)}, and it has lately published "
            f"{' and '.join(presents)}: it may go on in {retry_seconds:.3f} s. Wait longer, publish less, or raise the "
            "budget in [[access.publish]]."
        )


class PublishRevoked(ShmbusError):
    """The claim on `sequence` was taken away before it was committed: the message was not published."""

    def __init__(self, topic: str, sequence: int, claim_timeout_seconds: float) -> None:
        self.topic, self.sequence, self.claim_timeout_seconds = topic, sequence, claim_timeout_seconds
        super().__init__(
            f"message {sequence} of topic '{topic}' was not published: this process stood still inside the publish for "
            f"longer than the claim timeout of {claim_timeout_seconds:g} s, and the claim was revoked. Publish it "
            "again, or raise claim_timeout_ms of the topic."
        )


class SegmentError(ShmbusError):
    """A shared-memory segment is not what it should be. `reason` is one of `reasons`."""

    reasons: ClassVar[Mapping[str, str]] = {
        "missing": "it does not exist. Check that the bus runs",
        "exists": "it exists already. `shmbus doctor` says whose it is and removes it if nobody's",
        "early": "it is still being created. Try again",
        "foreign": "it is not a shmbus segment of this kind. `shmbus doctor` can remove it",
        "layout": "it has another layout. Stop the bus with the version of shmbus that runs it, and start it anew",
        "boot": "it was left over from before a reboot. `shmbus doctor` removes it",
        "size": "its real size does not fit what its header says. Restart the bus",
        "corrupt": "its content contradicts itself. Restart the bus",
        "torn": "its writer died in the middle of a change. Restart the bus",
    }

    def __init__(self, name: str, reason: str, found: object = None, expected: object = None) -> None:
        self.name, self.reason, self.found, self.expected = name, reason, _plain(found), _plain(expected)
        values = "" if found is None and expected is None else f" (found {found!r}, expected {expected!r})"
        if reason == "layout":
            values = f" (layout {found}, known here: {expected})"
        super().__init__(f"segment '{name}'{values}: {self.reasons.get(reason, reason)}.")


class LayoutError(ShmbusError):
    """`bus` was left as it is: its `segment` has layout `found` (`meaning`); `count` of them have one not `known`."""

    def __init__(self, bus: str, segment: str, found: int, known: str, meaning: str, count: int) -> None:
        self.bus, self.segment, self.found, self.known = bus, segment, found, known
        self.meaning, self.count = meaning, count
        option = "" if bus == "default" else f" --bus {bus}"
        super().__init__(
            f"the bus '{bus}' was left as it is, for this version of shmbus cannot take it over: segment '{segment}' "
            f"has layout {found} ({meaning}), known here: {known} (segments like that: {count}). Run it with the "
            f"version that made it, and stop it there (`shmbus down{option}`) before this one starts; or, when nobody "
            f"uses it and nothing of it is needed any more, remove it with `shmbus doctor --clean{option}`."
        )


class StorageFull(ShmbusError):
    """/dev/shm has `free` bytes and `needed` are needed."""

    def __init__(self, name: str, needed: int, free: int, path: str = "/dev/shm") -> None:
        self.name, self.needed, self.free, self.path = name, needed, free, path
        super().__init__(
            f"{path} is full: segment '{name}' needs {size_text(needed)}, {size_text(free)} are free. Enlarge it (as "
            f"root: `mount -o remount,size=2G {path}`; in a container: `--shm-size=2g`), or lower arena_bytes."
        )


class ClosedError(ShmbusError):
    """`thing` was used after it had been closed."""

    def __init__(self, thing: str, reason: str = "it has been closed") -> None:
        self.thing, self.reason = thing, reason
        super().__init__(f"{thing} cannot be used: {reason}. Open it again.")


class BusyError(ShmbusError):
    """`thing` was used by two at once, and is made for one at a time."""

    def __init__(self, thing: str, reason: str = "another thread or task is using it") -> None:
        self.thing, self.reason = thing, reason
        super().__init__(f"{thing} is busy: {reason}. Give each of them one of its own.")


class BorrowError(ShmbusError, BufferError):
    """Nothing of `subscription` would protect a borrowed message; or it has left the ring, being `held_back`."""

    def __init__(self, subscription: str, held_back: bool = False) -> None:
        self.subscription, self.held_back = subscription, held_back
        if held_back:
            message = (
                f"{subscription} lends nothing: what it holds back to put it in order has left the ring. Receive a "
                'copy, or subscribe with order="producer" or without an order.'
            )
        else:
            message = (
                f"{subscription} is lossy: nothing keeps publishers from overwriting what is borrowed. Subscribe with "
                "lossless=True or durable=..., receive a copy, or borrow(unprotected=True) and be told afterwards."
            )
        super().__init__(message)


class ForkedError(ShmbusError):
    """`thing` was opened by process `opened_by` and used in its forked child `pid`."""

    def __init__(self, thing: str, opened_by: int, pid: int) -> None:
        self.thing, self.opened_by, self.pid = thing, opened_by, pid
        super().__init__(
            f"{thing} belongs to pid {opened_by} and cannot be used in its forked child (pid {pid}). Connect again in "
            "the child."
        )


class ReceiveTimeout(ShmbusError, TimeoutError):
    """No message came within `seconds` on `patterns`."""

    def __init__(self, seconds: float, patterns: Sequence[str]) -> None:
        self.seconds, self.patterns = seconds, tuple(patterns)
        super().__init__(
            f"no message on {', '.join(repr(pattern) for pattern in self.patterns)} within {seconds:g} s. Wait longer, "
            "or look with `shmbus topics` whether anybody publishes there."
        )


class CorrelationError(ShmbusError):
    """`thing` of the correlation metadata is `present` (bytes or entries), above its `limit`."""

    def __init__(self, thing: str, limit: int, present: int, unit: str = "bytes") -> None:
        self.thing, self.limit, self.present, self.unit = thing, limit, present, unit
        super().__init__(
            f"{thing} of a correlation: {present} {unit}, the limit is {limit}. Nothing is cut: shorten it."
        )


class RpcError(ShmbusError):
    """The call of `operation` on `service` did not succeed: `status`, `code` and `category` are those of the schema.

    `reason` says what happened, `context` has more of it, `seconds` is how long the caller was ready to wait (None: not
    the caller's doing). `remedies` says what to do, by code, or by operation and code; of some the reason does.
    """

    remedies: ClassVar[Mapping[str, str]] = {
        "DEADLINE_EXCEEDED": "Allow more time (`timeout=`), or look at its queue with HEALTH_CHECK.",
        "UNSUPPORTED_OPERATION": "GET_CAPABILITIES lists what it supports.",
        "INVALID_PAYLOAD": "Send the payload that rpc.proto names for the operation.",
        "REGISTRATION_NOT_FOUND": "Start it (`shmbus rpc NAME START`), or look with `shmbus topics` for its name.",
        "DEREGISTER REGISTRATION_NOT_FOUND": "`shmbus tasks collectors` lists those that are registered.",
        "REGISTRATION_EXPIRED": "REGISTER anew, if it is to be registered.",
        "PROCESS_NOT_FOUND": "START runs it, if it is one of the coordinator's.",
        "INVALID_STATE": "Wait, then call again.",
        "ACCESS_DENIED": "Allow it in [[access.call]] of the configuration.",
        "ALREADY_RUNNING": "Use RESTART to have it run anew.",
        "ALREADY_REGISTERED": "Choose another collector_id, or DEREGISTER that one.",
        "DEREGISTER ALREADY_REGISTERED": "Have that process do it, or end it; or set `force`, if you may administer.",
        "SPAWN_FAILED": "Mend its command, user or directory in the configuration, then START it again.",
        "TERMINATE_FAILED": "FORCE_SHUTDOWN ends it.",
        "PERSISTENCE_FAILED": "Make room, or give the bus's user the right to write there, then send the change again.",
        "ROLLBACK_FAILED": "Mend its section in the configuration, then `shmbus config reload`.",
        "PLATFORM_NOT_SUPPORTED": "Use a machine that has it; GET_CAPABILITIES lists what it takes.",
        "TIMEOUT": "Allow more time (`timeout=`).",
        "IO_ERROR": "Look how it does (`shmbus collectors health`), then call again, with `key=` if once is enough.",
        "CLIENT_SHUTDOWN": "Call again, if its answer is still wanted.",
        "CONFIG_NOT_FOUND": "`shmbus collectors list` has those that there are.",
        "EXECUTION_ERROR": "Look at the collector's log.",
    }

    def __init__(
        self,
        service: str,
        operation: str,
        code: str,
        reason: str,
        *,
        status: str = "ERROR",
        category: str = "INTERNAL",
        context: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        self.service, self.operation, self.code, self.reason = service, operation, code, reason
        self.status, self.category, self.context, self.seconds = status, category, dict(context or {}), seconds
        within = "" if seconds is None else f" within {seconds:g} s"
        remedy = self.remedies.get(f"{operation} {code}") or self.remedies.get(code, "")
        told = f"{operation} of '{service}'{within}: {reason} ({code}, {category}). {remedy}"
        super().__init__(told.rstrip())


class TaskError(ShmbusError):
    """The detection task `task_id` has no result: `status` and `code` are those of the schema, as of RpcError.

    `reason` says why, `attempts` what came of it with each collector that had it. `remedies` says what to do, by code.
    """

    remedies: ClassVar[Mapping[str, str]] = {
        "REGISTRATION_NOT_FOUND": "Start a collector that can, or allow time for one to come (`patience=`).",
        "DEADLINE_EXCEEDED": "Allow more time (`timeout=`), or look at the collectors' queues with HEALTH_CHECK.",
        "EXECUTION_ERROR": "Look at the collector's log.",
        "INVALID_PAYLOAD": "Send what tasks of its type take.",
    }

    def __init__(
        self,
        task_id: str,
        task_type: str,
        code: str,
        reason: str,
        *,
        status: str = "ERROR",
        attempts: Sequence[str] = (),
    ) -> None:
        self.task_id, self.task_type, self.code, self.reason, self.status = task_id, task_type, code, reason, status
        self.attempts = tuple(attempts)
        tried = f" It was tried: {'; '.join(self.attempts)}." if self.attempts else ""
        told = f"task '{task_id}' ({task_type}): {reason} ({code}).{tried} {self.remedies.get(code, '')}"
        super().__init__(told.rstrip())


def size_text(size: int) -> str:
    """A size in bytes as people write it: '512 bytes', '1.0 MiB'."""
    if size < 1024:
        return f"{size} bytes"
    value, units = size / 1024, iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and unit != "TiB":
        value, unit = value / 1024, next(units)
    return f"{value:.1f} {unit}"


def _address(address: str) -> str:
    return "@" + address[1:] if address.startswith("\0") else address


def _plain(value: object) -> object:
    """What can be carried to another process: a value of a plain type, or else its text."""
    return value if isinstance(value, str | bytes | int | float | None) else repr(value)


def _toml(value: object) -> str:
    """A value as it is written in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _has_tables(value: object) -> bool:
    """Is it too much to be shown in an error? Its key says which one is meant."""
    return isinstance(value, Mapping) or (isinstance(value, list) and any(map(_has_tables, value)))
