"""The client's side of the control socket: hello, requests and their answers, pushes in between.

    with ControlConnection.connect("default", "agent") as control:
        opened = control.request(OpenPublisher(topic="events.process.start"))
        ring = opened.take()                # a descriptor: whoever takes it closes it
        for push in control.drain(): ...    # what the coordinator said unasked, in order

The coordinator is on nobody's data path: when it is gone, `request` raises ConnectionLost, `lost` says so, and nothing
else happens. What a request causes to be pushed comes before its answer, so `drain` after `request` has it all.
"""

import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.message import Message

from shmbus import errors
from shmbus._core import killpoint
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
from shmbus.packet import close_all, message_fields, receive_packet, send_packet
from shmbus.process import own_identity
from shmbus.segment import socket_path
from shmbus.v1 import control_pb2
from shmbus.v1.control_pb2 import ClientPacket, ControlError, ErrorDetail, Hello, ServerPacket, Welcome
from shmbus.v1.eventbus_pb2 import RpcAuthInfo, VersionNegotiationRequest, VersionNegotiationResponse
from shmbus.version import OURS, Version

DEFAULT_TIMEOUT_SECONDS: Final = 5.0

BEARER_VARIABLE: Final = "SHMBUS_TOKEN"  # a bearer token, for who connects to a bus by its name and gives none

_CREDENTIALS: Final = struct.Struct("iII")
_FIELD_OF: Final = message_fields(ClientPacket, "request")


class NeedDescriptors(ShmbusError):
    """The topic has another fingerprint than the request: repeat it with the descriptors of the type."""


class Received:
    """What came: the message (`Welcome`, `RingAdded`, ...) and the descriptors beside it.

    Descriptors that nobody takes are closed with this object.
    """

    __slots__ = ("message", "_descriptors")

    def __init__(self, message: Message, descriptors: list[int]) -> None:
        self.message: Any = message
        self._descriptors = descriptors

    def take(self) -> int:
        """The next descriptor, in the order that control.proto names; the caller's to close from now on."""
        if not self._descriptors:
            raise ProtocolError("the coordinator", f"a {type(self.message).__name__} without its descriptor")
        return self._descriptors.pop(0)

    def peek(self) -> int:
        """The next descriptor, which stays here: what is done with it may have to be done again."""
        if not self._descriptors:
            raise ProtocolError("the coordinator", f"a {type(self.message).__name__} without its descriptor")
        return self._descriptors[0]

    def __len__(self) -> int:
        return len(self._descriptors)

    def close(self) -> None:
        """Close what was not taken."""
        descriptors, self._descriptors = self._descriptors, []
        close_all(descriptors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class ControlConnection:
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
        self._pushes: deque[Received] = deque()
        self._next_id = 1
        self._closed = False

    @classmethod
    def connect(
        cls,
        target: str,
        client_name: str,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        token: str | None = None,
        resume: int = 0,
        auth_info: RpcAuthInfo | None = None,
    ) -> tuple[Self, Received]:
        """Connect to the bus `target` (a name, or an address "@..." of an embedded one) and say hello.

        Answers the connection and the Welcome, with directory (ro), bells (rw) and session (rw) beside it. `timeout` in
        seconds; `resume` is the session that this process had with a coordinator that died; `auth_info` is presented
        besides what the kernel says of this process. Raises ConnectError,
        VersionError, AccessDenied, ProtocolError, ConnectionLost.
        """
        address = _address(target)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        connection = cls(channel, target, address)
        try:
            channel.settimeout(timeout)
            channel.connect(address)
            hello = _hello(client_name, token, resume, auth_info)
            welcome = connection.request(hello, timeout=timeout)
            connection.coordinator_uid = peer_uid(channel)
            connection._check(welcome)
            return connection, welcome
        except (OSError, ConnectionLost) as error:
            connection.close()
            raise _connect_error(target, address, error) from None
        except BaseException:
            connection.close()
            raise

    def request(
        self, message: Message, *, timeout: float = DEFAULT_TIMEOUT_SECONDS, auth_info: RpcAuthInfo | None = None
    ) -> Received:
        """Ask and wait for the answer, at most `timeout` seconds. `auth_info` counts for this request alone.

        Raises what the coordinator answered (AccessDenied, TypeMismatch, LimitError, ...), CapabilityError where it is
        too old for that, ConnectionLost when it is gone or silent, ForkedError, ClosedError.
        """
        self._check_usable()
        needed = needed_by(message)
        if needed is not None and needed not in self.capabilities:
            raise CapabilityError(needed, self.bus, self._coordinator_pid, str(self.version))
        with self._lock:
            deadline = time.monotonic() + timeout
            request_id = self._send(message, deadline, auth_info)
            answer = self._answer(request_id, deadline)
        if isinstance(answer.message, ControlError):
            raise restored(answer.message)
        return answer

    def drain(self) -> Iterator[Received]:
        """What was pushed since the last time, in order. Never blocks; ends early when the coordinator is gone.

        Each is dropped when the next one is asked for: one that was not gone on from, because a signal handler raised
        meanwhile, comes again. By one thread at a time.
        """
        self._check_usable()
        # A thread that is inside a request puts aside whatever comes.
        if self.lost is None and self._lock.acquire(blocking=False):
            try:
                self._receive_all()
            finally:
                self._lock.release()
        while self._pushes:
            yield self._pushes[0]
            self._pushes.popleft()

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until there is something to drain, or the coordinator is gone."""
        self._check_usable()
        if self._pushes or self.lost is not None:
            return True
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        return bool(poll.poll(max(timeout, 0.0) * 1000)) or bool(self._pushes)

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
        while self._pushes:
            self._pushes.popleft().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    def _send(self, message: Message, deadline: float, auth_info: RpcAuthInfo | None) -> int:
        if self.lost is not None:
            raise ConnectionLost(self.bus, self._coordinator_pid, self.lost)
        request_id, self._next_id = self._next_id, self._next_id + 1
        packet = ClientPacket(id=request_id, auth_info=auth_info)
        getattr(packet, _FIELD_OF[type(message).__name__]).CopyFrom(message)
        try:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            send_packet(self._channel, packet)
        except TimeoutError:
            raise ConnectionLost(self.bus, self._coordinator_pid, "it takes no requests") from None
        except OSError as error:
            # What it said before it hung up may still be here, and is the better reason.
            if (last := self._last_words()) is not None:
                raise last from None
            raise self._lose(error.strerror or str(error)) from None
        return request_id

    def _answer(self, request_id: int, deadline: float) -> Received:
        while True:
            remaining = deadline - time.monotonic()
            try:
                self._channel.settimeout(max(remaining, 0.001))
                got = receive_packet(self._channel, ServerPacket, "the coordinator")
            except TimeoutError:
                # The answer may still come: its id is then nobody's, and it is dropped.
                raise ConnectionLost(self.bus, self._coordinator_pid, "it did not answer in time") from None
            except OSError as error:
                # A peer that hangs up on an unread hello resets the connection; what it said comes after that.
                if (last := self._last_words()) is not None:
                    raise last from None
                raise self._lose(error.strerror or str(error)) from None
            except ProtocolError as error:
                self._lose(error.reason)
                raise
            if got is None:
                raise self._lose("the connection was closed")
            if (answer := self._sort(*got, request_id)) is not None:
                return answer

    def _sort(self, packet: ServerPacket, descriptors: list[int], request_id: int) -> Received | None:
        """The answer that is waited for, or None: a push was put aside, a late answer dropped."""
        body = packet.WhichOneof("body")
        if body is None:
            close_all(descriptors)
            return None
        received = Received(getattr(packet, body), descriptors)
        if descriptors:
            killpoint("handover.received")  # killed here: they go with the process
        if packet.id == 0 and body == "error":
            raise restored(packet.error)
        if packet.id == 0:
            self._pushes.append(received)
        elif packet.id == request_id:
            return received
        else:
            received.close()
        return None

    def _receive_all(self) -> None:
        self._channel.setblocking(False)
        while self.lost is None:
            try:
                got = receive_packet(self._channel, ServerPacket, "the coordinator")
                if got is None:
                    self._lose("the connection was closed")
                else:
                    self._sort(*got, request_id=0)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error.strerror or str(error))
            except ShmbusError as error:
                self._lose(str(error))

    def _last_words(self) -> ShmbusError | None:
        try:
            self._channel.setblocking(False)
            while (got := receive_packet(self._channel, ServerPacket, "the coordinator")) is not None:
                self._sort(*got, request_id=0)
        except OSError:
            return None
        except ShmbusError as error:
            self._lose(str(error))
            return error
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


def _connect_error(target: str, address: str, error: OSError | ConnectionLost) -> ShmbusError:
    if isinstance(error, PermissionError):
        return errors.AccessDenied("connect to", address, f"uid {os.geteuid()}", f"{error.strerror}.")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return ConnectError(target, address)
    if isinstance(error, ConnectionLost):
        return ConnectError(target, address, error.reason)
    return ConnectError(target, address, error.strerror or str(error) or "no answer in time")
