"""The client's side of the control socket: hello, requests and their answers, pushes in between.

    with ControlConnection.connect("default", "agent") as control:
        opened = control.request(OpenPublisher(topic="events.process.start"))
        ring = opened.take()                # a descriptor: whoever takes it closes it
        for push in control.drain(): ...    # what the coordinator said unasked, in order

The coordinator is on nobody's data path: when it is gone, `request` raises ConnectionLost, `lost` says so, and nothing
else happens. What a request causes to be pushed comes before its answer, so `drain` after `request` has it all.
"""

import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from google.protobuf.message import Message

from shmbus import errors
from shmbus._core import Closing, Parcel, killpoint, receive, send
from shmbus.blame import is_own
from shmbus.capability import needed_by
from shmbus.errors import (
    CapabilityError,
    ClosedError,
    ConnectError,
    ConnectionLost,
    ForkedError,
    ProtocolError,
    ShmbusError,
    VersionError,
)
from shmbus.packet import MAX_PACKET_BYTES, encoded, message_fields, parsed
from shmbus.process import own_identity
from shmbus.segment import socket_path
from shmbus.v1 import control_pb2
from shmbus.v1.control_pb2 import ClientPacket, ControlError, ErrorDetail, Hello, OpenPublisher, ServerPacket, Welcome
from shmbus.v1.eventbus_pb2 import RpcAuthInfo, VersionNegotiationRequest, VersionNegotiationResponse
from shmbus.version import OURS, Version

DEFAULT_TIMEOUT_SECONDS: Final = 5.0

BEARER_VARIABLE: Final = "SHMBUS_TOKEN"  # a bearer token, for who connects to a bus by its name and gives none

_NOBODY: Final = -1  # no answer is waited for
_HELLO_ID: Final = 1
_TO_BE_SETTLED: Final = OpenPublisher  # a producer id was given that nobody gives back who does not know it
_CREDENTIALS: Final = struct.Struct("iII")
_FIELD_OF: Final = message_fields(ClientPacket, "request")


class NeedDescriptors(ShmbusError):
    """The topic has another fingerprint than the request: repeat it with the descriptors of the type."""


class Received:
    """What came: the message (`Welcome`, `RingAdded`, ...) and the descriptors beside it.

    Descriptors that nobody takes are closed when the packet goes.
    """

    __slots__ = ("message", "parcel", "_spilled")

    def __init__(self, message: Message, parcel: Parcel, spilled: bool = False) -> None:
        self.message: Any = message
        self.parcel: Final = parcel
        self._spilled = spilled  # the last descriptor is what the message stood in

    def take(self) -> int:
        """The next descriptor, in the order that control.proto names; the caller's to close from now on."""
        self.peek()
        return self.parcel.take()

    def peek(self, place: int = 0) -> int:
        """The next descriptor, or one behind it, which stays here: what is done with it may have to be done again."""
        if place >= len(self):
            raise ProtocolError("the coordinator", f"a {type(self.message).__name__} without its descriptor")
        return self.parcel.peek(place)

    def __len__(self) -> int:
        return len(self.parcel) - self._spilled

    def close(self) -> None:
        """Close what was not taken."""
        self.parcel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Content(NamedTuple):
    """What is in a parcel."""

    id: int
    body: str  # the field of ServerPacket; "": none that is known
    message: Any
    spilled: bool


class ControlConnection(Closing):
    """One connection of this process to a coordinator. Safe to use from several threads, not in a forked child."""

    def __init__(self, channel: socket.socket, bus: str, address: str) -> None:
        self.bus, self.address = bus, address
        self.lost: str | None = None  # why the coordinator cannot be asked any more
        self.version = OURS.version  # what is spoken, once the coordinator has answered the hello
        self.capabilities: frozenset[str] = frozenset(OURS.able(OURS.version))
        self.warnings: tuple[str, ...] = ()
        self.coordinator_uid = -1  # -1: not connected yet
        self._channel = channel
        self._pid = os.getpid()
        self._coordinator_pid: int | None = None
        self._lock = threading.Lock()
        self._inbox: list[Parcel] = []  # as it came: pushes, until they are taken in, and answers
        self._sent: list[int] = []  # requests that went out; the core says so with the sending itself
        self._unsettled: set[int] = set()  # requests whose answers must not get lost, see `settle`
        self._overdue: set[int] = set()  # those of them that have been waited for long enough
        self._next_id = _HELLO_ID + 1
        self._closed = False

    @classmethod
    def connect(
        cls,
        target: str,
        client_name: str,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        token: str | None = None,
        auth_info: RpcAuthInfo | None = None,
    ) -> tuple[Self, Received]:
        """Connect to the bus `target` (a name, or an address "@..." of an embedded one) and say hello.

        Answers the connection and the Welcome, with directory (ro), bells (rw) and session (rw) beside it. `timeout` in
        seconds; `auth_info` is presented besides what the kernel says of this process. Raises ConnectError,
        VersionError, AccessDenied, ProtocolError, ConnectionLost.
        """
        connection = cls.prepared(target)
        try:
            welcome = connection.join(client_name, timeout=timeout, token=token, auth_info=auth_info)
            connection.settle(welcome)
            return connection, welcome
        except BaseException:
            connection.close()
            raise

    @classmethod
    def prepared(cls, target: str) -> Self:
        """A connection that is to `join` the bus `target`, and has done nothing for it yet."""
        address = _address(target)
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC), target, address)

    def join(
        self,
        client_name: str,
        *,
        timeout: float,
        token: str | None = None,
        resume: int = 0,
        auth_info: RpcAuthInfo | None = None,
    ) -> Received:
        """Connect and say hello, as `connect` does. What a signal handler ends in the middle may be called again.

        The Welcome comes again until it is settled. `resume` is the session that this process had with a coordinator
        that died.
        """
        deadline = time.monotonic() + timeout
        if self.coordinator_uid < 0:
            if (failed := self._reach(timeout)) is not None:
                try:
                    raise failed
                finally:
                    del failed  # an error and the frame that it came through would keep each other
            self.coordinator_uid = peer_uid(self._channel)
        with self._lock:
            if _HELLO_ID not in self._sent:
                hello = _hello(client_name, token, resume, auth_info)
                self._unsettled.add(_HELLO_ID)
                answer = self._send(_HELLO_ID, hello, deadline, None) or self._answer(_HELLO_ID, deadline)
            else:
                answer = self._answer(_HELLO_ID, deadline)
        if isinstance(answer, ConnectionLost):
            raise ConnectError(self.bus, self.address, answer.reason)
        if isinstance(answer, ShmbusError):
            try:
                raise answer
            finally:
                del answer  # an error and the frame that it came through would keep each other
        if isinstance(answer.message, ControlError):
            raise restored(answer.message)
        self._check(answer)
        return answer

    def request(
        self, message: Message, *, timeout: float = DEFAULT_TIMEOUT_SECONDS, auth_info: RpcAuthInfo | None = None
    ) -> Received:
        """Ask and wait for the answer, at most `timeout` seconds. `auth_info` counts for this request alone.

        Raises what the coordinator answered (AccessDenied, TypeMismatch, LimitError, ...), CapabilityError where it is
        too old for that, ConnectionLost when it is gone or silent, ForkedError, ClosedError.
        """
        answer = self.ask(message, timeout=timeout, auth_info=auth_info)
        if isinstance(answer, ShmbusError):
            try:
                raise answer
            finally:
                del answer  # an error and the frame that it came through would keep each other
        return answer

    def ask(
        self, message: Message, *, timeout: float = DEFAULT_TIMEOUT_SECONDS, auth_info: RpcAuthInfo | None = None
    ) -> Received | ShmbusError:
        """The same, but for what the coordinator answered or failed to: that is a value, so no handler's exception."""
        self._check_usable()
        needed = needed_by(message)
        if needed is not None and needed not in self.capabilities:
            return CapabilityError(needed, self.bus, self._coordinator_pid, str(self.version))
        with self._lock:
            deadline = time.monotonic() + timeout
            request_id, self._next_id = self._next_id, self._next_id + 1
            self._sent = [one for one in self._sent if one in self._unsettled]
            if isinstance(message, _TO_BE_SETTLED):
                self._unsettled.add(request_id)
            answer = self._send(request_id, message, deadline, auth_info) or self._answer(request_id, deadline)
            if isinstance(answer, ShmbusError):
                return answer
            refused = restored(answer.message) if isinstance(answer.message, ControlError) else None
            if refused is not None or request_id not in self._unsettled:
                self.settle(answer)
        return answer if refused is None else refused

    def say(self, message: Message, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> int | None:
        """Ask, and leave the answer to `hear`, or to nobody. What to hear it by; None: it could not be said."""
        self._check_usable()
        with self._lock:
            request_id, self._next_id = self._next_id, self._next_id + 1
            self._sent = [one for one in self._sent if one in self._unsettled]
            failed = self._send(request_id, message, time.monotonic() + timeout, None)
        return request_id if failed is None else None

    def hear(self, request_id: int, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Wait for the answer to what was said last, whatever it is, at most `timeout` seconds."""
        with self._lock:
            answer = self._answer(request_id, time.monotonic() + timeout)
        if isinstance(answer, Received):
            self.settle(answer)

    def settle(self, answer: Received) -> None:
        """What was answered has been made use of: it does not come again, neither here nor among the `orphans`."""
        content = answer.parcel.content
        if content is not None:
            self._unsettled.discard(content.id)
            self._overdue.discard(content.id)
        self._drop(answer.parcel)

    def orphans(self, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> list[Received]:
        """Answers that nobody settled: whoever asked was interrupted, or did not wait for so long.

        Those of requests that were interrupted are waited for, at most `timeout` seconds, once.
        """
        if not self._unsettled:
            return []
        with self._lock:
            self._unsettled &= set(self._sent)
            deadline = time.monotonic() + timeout
            for request_id in self._unsettled - self._overdue:
                self._answer(request_id, deadline)
        found = [(parcel, self._opened(parcel)) for parcel in list(self._inbox)]
        return [
            self._received(parcel)
            for parcel, content in found
            if isinstance(content, _Content) and content.id in self._unsettled
        ]

    def drain(self) -> Iterator[Received]:
        """What was pushed since the last time, in order. Ends early when the coordinator is gone.

        Never blocks, unless another thread is inside a request. Each is dropped when the next one is asked for: one
        that was not gone on from, because a signal handler raised meanwhile, comes again. By one thread at a time.
        """
        self._check_usable()
        if self.lost is None:
            with self._lock:
                self._receive_all()
        while (parcel := self._first_push()) is not None:
            yield self._received(parcel)
            self._drop(parcel)

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until there is something to drain, or the coordinator is gone."""
        self._check_usable()
        if self.lost is not None or self._first_push() is not None:
            return True
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        return bool(poll.poll(max(timeout, 0.0) * 1000)) or self._first_push() is not None

    def fileno(self) -> int:
        """The socket, readable when there is something to drain."""
        return self._channel.fileno()

    @property
    def closed(self) -> bool:
        """Closed by this process."""
        return self._closed

    def close(self) -> None:
        """Hang up. What was pushed and not drained is dropped, with its descriptors. A forked child closes its copy."""
        self._closed = True
        self._channel.close()
        self._inbox.clear()

    def __del__(self) -> None:
        if hasattr(self, "_channel"):
            self._channel.close()

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise ForkedError(f"the connection to the bus '{self.bus}'", self._pid, os.getpid())
        if self._closed:
            raise ClosedError(f"the connection to the bus '{self.bus}'")

    def _check(self, welcome: Received) -> None:
        message: Welcome = welcome.message
        self._coordinator_pid = message.coordinator_pid
        self.bus = message.bus
        if len(welcome) != 3 or len(message.boot_id) != 16:
            raise ProtocolError("the coordinator", f"a Welcome with {len(welcome)} descriptors, 3 are expected")
        self._agree(message.negotiation)

    def _agree(self, negotiation: VersionNegotiationResponse) -> None:
        chosen = Version.of(negotiation.negotiated_version)
        offered = {version[:2] for version in OURS.supported()}  # what it says of the patch version means nothing
        if not negotiation.negotiation_success or chosen[:2] not in offered:
            raise VersionError(str(OURS.version), str(chosen))
        self.version = chosen
        self.capabilities = frozenset(negotiation.server_capabilities)
        self.warnings = tuple(negotiation.compatibility_warnings)

    def _reach(self, timeout: float) -> ShmbusError | None:
        """Connect, unless that was done before a handler raised. Why it cannot be, or None."""
        try:
            self._channel.settimeout(timeout)
            number = self._channel.connect_ex(self.address)
        except OSError as error:  # an address that cannot be one
            if not is_own(error):
                raise
            return _connect_error(self.bus, self.address, error)
        if number in (0, errno.EISCONN):
            return None
        return _connect_error(self.bus, self.address, OSError(number, os.strerror(number)))

    def _send(
        self, request_id: int, message: Message, deadline: float, auth_info: RpcAuthInfo | None
    ) -> ShmbusError | None:
        """Why it could not be sent, or None."""
        if self.lost is not None:
            return ConnectionLost(self.bus, self._coordinator_pid, self.lost)
        packet = ClientPacket(id=request_id, auth_info=auth_info)
        getattr(packet, _FIELD_OF[type(message).__name__]).CopyFrom(message)
        data, memory = encoded(packet)
        try:
            left = deadline - time.monotonic()
            number = send(self._channel.fileno(), data, memory, left, self._sent, request_id)
        finally:
            if memory >= 0:
                os.close(memory)
        if number == errno.ETIMEDOUT:
            return ConnectionLost(self.bus, self._coordinator_pid, "it takes no requests")
        # What it said before it hung up may still be here, and is the better reason.
        return (self._last_words() or self._lose(os.strerror(number))) if number else None

    def _answer(self, request_id: int, deadline: float) -> Received | ShmbusError:
        """What was answered, which stays in the inbox, or why there is nothing."""
        for parcel in list(self._inbox):  # nearly always pushes, unless this goes on with what a handler interrupted
            if (found := self._sorted(parcel, request_id)) is not None:
                return found
        while True:
            number = self._receive(deadline - time.monotonic())
            if number == errno.ETIMEDOUT:
                # The answer may still come: its id is then nobody's, and it is dropped, unless it is to be settled.
                self._overdue |= {request_id} & self._unsettled
                return ConnectionLost(self.bus, self._coordinator_pid, "it did not answer in time")
            if number > 0:
                # A peer that hangs up on an unread hello resets the connection; what it said comes after that.
                return self._last_words() or self._lose(os.strerror(number))
            if number < 0:
                return self._lose("the connection was closed")
            if (found := self._sorted(self._inbox[-1], request_id)) is not None:
                return found

    def _receive(self, timeout: float) -> int:
        """One more in the inbox, or an error number, ETIMEDOUT after `timeout` seconds; -1: the other side hung up."""
        return receive(self._channel.fileno(), self._inbox, MAX_PACKET_BYTES, timeout)

    def _sorted(self, parcel: Parcel, request_id: int) -> Received | ShmbusError | None:
        """The answer that is waited for, or what ends the connection. Pushes stay, late answers are dropped."""
        content = self._opened(parcel)
        if isinstance(content, ProtocolError):
            self._lose(content.reason)
            self._drop(parcel)
            return content
        if content.id == 0 and content.body == "error":
            self._drop(parcel)
            return restored(content.message)
        if content.body and content.id == request_id:
            return self._received(parcel)
        if not content.body or (content.id and content.id not in self._unsettled):
            self._drop(parcel)
        return None

    def _opened(self, parcel: Parcel) -> _Content | ProtocolError:
        """What is in it, looked into once."""
        if parcel.content is None:
            try:
                packet, spilled = parsed(parcel, ServerPacket, "the coordinator")
            except ProtocolError as error:
                if not is_own(error):
                    raise
                return error
            body = packet.WhichOneof("body") or ""
            if len(parcel):
                killpoint("handover.received")  # killed here: they go with the process
            parcel.content = _Content(packet.id, body, getattr(packet, body) if body else None, spilled)
        content: _Content = parcel.content
        return content

    @staticmethod
    def _received(parcel: Parcel) -> Received:
        content: _Content = parcel.content
        return Received(content.message, parcel, content.spilled)

    def _drop(self, parcel: Parcel) -> None:
        if parcel in self._inbox:
            self._inbox.remove(parcel)

    def _first_push(self) -> Parcel | None:
        for most in (1, None):  # nearly always it is the first one, and there may be thousands
            for parcel in self._inbox[:most]:
                content = self._opened(parcel)
                if isinstance(content, _Content) and content.id == 0 and content.body not in ("", "error"):
                    return parcel
                if isinstance(ended := self._sorted(parcel, _NOBODY), ShmbusError):
                    self._lose(str(ended))
        return None

    def _receive_all(self) -> None:
        while self.lost is None:
            number = self._receive(0.0)
            if number == errno.ETIMEDOUT:
                return
            if number:
                self._lose(os.strerror(number) if number > 0 else "the connection was closed")

    def _last_words(self) -> ShmbusError | None:
        """What it said before it hung up, if that is why."""
        while self._receive(0.0) == 0:
            if isinstance(ended := self._sorted(self._inbox[-1], _NOBODY), ShmbusError):
                self._lose(str(ended))
                return ended
        return None

    def _lose(self, reason: str) -> ConnectionLost:
        self.lost = self.lost or reason
        return ConnectionLost(self.bus, self._coordinator_pid, reason)


def restored(error: ControlError) -> ShmbusError:
    """The exception that the coordinator meant; its attribute `code` is the ControlErrorCode."""
    kind = getattr(errors, error.error, None)
    if error.code == control_pb2.CONTROL_ERROR_NEED_DESCRIPTORS:
        kind = NeedDescriptors
    elif not (isinstance(kind, type) and issubclass(kind, ShmbusError)):
        kind = ShmbusError
    data = {name: _plain(detail) for name, detail in error.details.items()}
    return kind.restore(error.message, {**data, "code": error.code})


def detailed(data: Mapping[str, object]) -> dict[str, ErrorDetail]:
    """The attributes of an error as the protocol carries them."""
    return {name: _detail(value) for name, value in data.items()}


def _detail(value: object) -> ErrorDetail:
    detail = ErrorDetail()
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        detail.integer = value
    elif isinstance(value, float):
        detail.real = value
    elif isinstance(value, tuple | list):
        detail.texts.values.extend(str(one) for one in value)
    elif value is not None:
        detail.text = str(value)
    return detail


def _plain(detail: ErrorDetail) -> object:
    which = detail.WhichOneof("value")
    return tuple(detail.texts.values) if which == "texts" else getattr(detail, which) if which else None


def bearer_info(token: str | None) -> RpcAuthInfo | None:
    """What presents a bearer token; None: there is none to be presented."""
    return RpcAuthInfo(auth_method="bearer", auth_token=token) if token else None


def own_bearer() -> str | None:
    """The token that the environment gives this process, if it does."""
    return os.environ.get(BEARER_VARIABLE) or None


def peer_uid(channel: socket.socket) -> int:
    """The user whose process listens, as the kernel says."""
    _, uid, _ = _CREDENTIALS.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def _hello(client_name: str, token: str | None, resume: int, auth_info: RpcAuthInfo | None) -> Hello:
    ourselves = own_identity()
    negotiation = VersionNegotiationRequest(
        supported_versions=[version.message() for version in OURS.supported()],
        preferred_version=OURS.version.message(),
        client_capabilities=OURS.able(OURS.version),
    )
    return Hello(
        negotiation=negotiation,
        client_name=client_name,
        start_time=ourselves.start_time,
        pid_namespace=ourselves.namespace,
        collector_token=token,
        resume=resume,
        auth_info=auth_info,
    )


def _address(target: str) -> str:
    if target.startswith("@"):
        return "\0" + target[1:]
    return target if "/" in target else str(socket_path(target))


def _connect_error(target: str, address: str, error: OSError) -> ShmbusError:
    if isinstance(error, PermissionError):
        remedy = (
            f"{error.strerror}: run this as the user who runs the bus, or have a rule in its [access] name this one."
        )
        return errors.AccessDenied("connect to", address, f"uid {os.geteuid()}", remedy)
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return ConnectError(target, address)
    return ConnectError(target, address, error.strerror or str(error) or "no answer in time")
