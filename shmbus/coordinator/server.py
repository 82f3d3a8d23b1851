"""The control socket: accept, hello, one request after the other, departure.

A peer is trusted with nothing: whatever it sends that is no request is told in the log, answered, and the end of its
connection, and nobody else notices.
"""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from shmbus._core import Bells, killpoint
from shmbus.coordinator.access import Access
from shmbus.coordinator.negotiation import negotiate
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.peer import Peer
from shmbus.coordinator.post import Log, Post
from shmbus.coordinator.refusal import Stopping, refusal
from shmbus.coordinator.registry import Client, Registry
from shmbus.coordinator.sessions import Sessions
from shmbus.coordinator.store import Segment
from shmbus.coordinator.tables import NumberTable
from shmbus.coordinator.topics import Topics
from shmbus.errors import LimitError, ProtocolError, ShmbusError
from shmbus.packet import message_fields
from shmbus.process import Identity, is_alive, own_namespace
from shmbus.v1.control_pb2 import ClientPacket, Goodbye, Hello, ServerPacket, Welcome
from shmbus.v1.eventbus_pb2 import RpcAuthInfo
from shmbus.version import OURS

HELLO_SECONDS = 5.0  # from connect to a complete hello
ACCEPTS_A_TURN = 64
BACKLOG = 256
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server:
    """Serves one listening socket on a running event loop."""

    def __init__(
        self, listener: socket.socket, bus: str, boot_id: bytes, registry: Registry, sessions: Sessions, topics: Topics,
        post: Post, bells: Bells, numbers: NumberTable, access: Access, shared: Sequence[Segment], log: Log,
    ) -> None:  # fmt: skip
        self._listener, self._bus, self._boot_id = listener, bus, boot_id
        self._registry, self._sessions, self._topics, self._post = registry, sessions, topics, post
        self._bells, self._numbers, self._access, self._log = bells, numbers, access, log
        self._directory, self._bells_segment = shared
        self._loop = asyncio.get_running_loop()
        self._peers: set[Peer] = set()
        self._lingering: dict[int, Client] = {}  # pidfd -> a client that hung up and may still hold claims
        self._absent: dict[int, tuple[Client, int]] = {}  # session -> whom another coordinator served, and its pidfd
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._own_namespace = own_namespace()
        self.handlers: dict[str, Any] = {}
        self.refused = 0
        self.stopping = False
        self.recognise: Callable[[str | None, Identity | None], str | None] = lambda token, process: None
        self.departed: Callable[[Client, bool], None] = lambda client, dead: None
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self, reason: str) -> None:
        """Say goodbye to everybody and hang up. More than once does no harm."""
        for peer in list(self._peers):
            peer.send(ServerPacket(goodbye=Goodbye(reason=reason)))
            if peer.client:
                self._bells.ring(peer.client.bell)
            self._leave(peer)
        self.abandon()

    def abandon(self) -> None:
        """Hang up on everybody without a word, as death would: they look for the next coordinator."""
        if self._reserve < 0:
            return
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for peer in self._peers:
            if (pidfd := peer.close()) >= 0:
                os.close(pidfd)
        self._peers.clear()
        for pidfd in list(self._lingering):
            self._forget(pidfd)
        for number in list(self._absent):
            self._came_back(number)
        os.close(self._reserve)
        self._reserve = -1

    def queued(self, client: Client) -> int:
        """Packets that wait until this client reads."""
        return sum(len(peer.outbox) for peer in self._peers if peer.client is client)

    def forget_settled(self) -> None:
        """Clients that hung up and hold no claim any more need not be watched, nor waited for if another had them."""
        for pidfd, client in list(self._lingering.items()):
            if not self._topics.holds_claims(client):
                self._forget(pidfd)
        for number, (client, _) in list(self._absent.items()):
            if client.has_left:
                self._came_back(number)
                self.let_go(client)

    def expect_back(self, client: Client) -> None:
        """It was another coordinator's, lives, and has not come back yet."""
        try:
            pidfd = os.pidfd_open(client.identity.pid)
        except (OSError, OverflowError):
            pidfd = -1  # of a pid namespace that cannot be seen from here, or dead meanwhile
        if pidfd < 0 and not is_alive(client.identity):
            return self.bury(client)
        self._absent[client.number] = client, pidfd
        if pidfd >= 0:
            self._loop.add_reader(pidfd, self._died_absent, client.number)

    def let_go(self, client: Client) -> None:
        """It was another coordinator's, lives, and has closed its connection while there was none."""
        try:
            pidfd = os.pidfd_open(client.identity.pid)
        except (OSError, OverflowError):
            pidfd = -1
        dead = not is_alive(client.identity)  # after the pidfd was opened: it is of this process, or of nobody
        self._depart(client, dead)
        self._watch_claims(client, pidfd)

    def bury(self, client: Client) -> None:
        """It was another coordinator's, and is dead."""
        self._depart(client, dead=True)

    def _came_back(self, number: int) -> Client:
        client, pidfd = self._absent.pop(number)
        if pidfd >= 0:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        return client

    def _died_absent(self, number: int) -> None:
        self.bury(self._came_back(number))

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                channel, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._turn_away(error)
                return
            try:
                self._welcome(channel)
            except OSError as error:
                channel.close()
                self._log(f"a connection was turned away: {error.strerror}")

    def _turn_away(self, error: OSError) -> None:
        """No descriptor for another connection: use the one in reserve to hang up on it, or it would ask for ever."""
        self.refused += 1
        self._log(f"a connection was turned away: {error.strerror}; raise the limit of open files (`ulimit -n`)")
        os.close(self._reserve)
        try:
            channel, _ = self._listener.accept()
            channel.close()
        except OSError:
            pass
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _welcome(self, channel: socket.socket) -> None:
        peer = Peer(channel, self._loop, self._packet, self._gone)
        self._peers.add(peer)
        try:
            self._access.check_hello(peer.person)
        except ShmbusError as error:
            self.refused += 1
            peer.send(refusal(0, error))
            self._gone(peer, str(error))
            return
        self._loop.call_later(HELLO_SECONDS, self._too_late, peer)

    def _too_late(self, peer: Peer) -> None:
        if peer.client is None and not peer.closed:
            self._gone(peer, f"it did not say hello within {HELLO_SECONDS:g} s")

    def _packet(self, peer: Peer, packet: ClientPacket) -> None:
        request = packet.WhichOneof("request")
        if request is None and packet.id and peer.client is not None and len(UnknownFieldSet(packet)):
            unknown = ShmbusError(
                f"the coordinator speaks protocol {OURS.version} and does not know this request. Upgrade it "
                "(`shmbus up --take-over`), or do without."
            )
            peer.send(refusal(packet.id, unknown))
            return
        if request is None or packet.id == 0:
            raise ProtocolError(peer.name, "a packet without a request or an id")
        if (request == "hello") is not (peer.client is None):
            raise ProtocolError(peer.name, "a hello comes first, and only once")
        try:
            if self.stopping:
                raise Stopping(f"the bus '{self._bus}' is being stopped. Connect again when it runs (`shmbus up`).")
            if peer.client is None:
                answer, openers = self._hello(peer, packet.hello)
            elif packet.HasField("auth_info"):
                answer, openers = self._handle_as(peer.client, packet.auth_info, request, packet)
            else:
                answer, openers = self.handlers[request](peer.client, getattr(packet, request))
        except ProtocolError:
            raise
        except (ShmbusError, OSError, ValueError) as error:
            peer.send(refusal(packet.id, error))
            if peer.client is None:
                self.refused += 1
                self._gone(peer, str(error))
            return
        reply = ServerPacket(id=packet.id)
        getattr(reply, _BODY[type(answer).__name__]).CopyFrom(answer)
        peer.send(reply, openers)

    def _handle_as(
        self, client: Client, auth_info: RpcAuthInfo, request: str, packet: ClientPacket
    ) -> tuple[Any, Sequence[Opener]]:
        """One request with a token of its own."""
        before = client.token
        client.token = self._access.authenticate(auth_info, client)
        try:
            answer: tuple[Any, Sequence[Opener]] = self.handlers[request](client, getattr(packet, request))
            return answer
        finally:
            client.token = before

    def _hello(self, peer: Peer, hello: Hello) -> tuple[Welcome, Sequence[Opener]]:
        negotiation = negotiate(hello.negotiation, OURS, peer.name)
        token = hello.collector_token if hello.HasField("collector_token") else None
        person = replace(peer.person, name=hello.client_name)
        with self._access.proving(person):
            collector = self.recognise(token, peer.identity())
        person = replace(person, collector=collector)
        person = replace(person, token=self._access.authenticate(hello.auth_info, person))
        self._access.check_connect(person)
        back = self._resumed(peer, hello)
        client = back or self._new_client(peer, hello)
        page = client.pages[0]
        self._post.connect(client, peer.send)
        peer.client = client
        client.collector, client.token = collector, person.token
        client.principal = self._access.principal(client)
        killpoint("hello.done")
        welcome = Welcome(
            negotiation=negotiation,
            bus=self._bus,
            boot_id=self._boot_id,
            session=client.number,
            bell=client.bell,
            coordinator_pid=os.getpid(),
            resumed=back is not None,
        )
        return welcome, [self._directory.open_read_only, self._bells_segment.open_writable, page.segment.open_writable]

    def _new_client(self, peer: Peer, hello: Hello) -> Client:
        client = self._make_client(peer, hello)
        try:
            page = self._sessions.open(client)
        except BaseException:
            self._numbers.give_back(client.bell)
            raise
        client.number = page.number
        self._registry.clients[client.number] = client
        return client

    def _resumed(self, peer: Peer, hello: Hello) -> Client | None:
        """A client that another coordinator had; None: it is a new one."""
        if hello.resume not in self._absent:
            return None
        client, _ = self._absent[hello.resume]
        if client.uid != peer.uid or client.identity != peer.identity():
            return None
        self._came_back(hello.resume)
        client.name = hello.client_name or client.name
        client.gid, client.groups = peer.gid, peer.groups
        client.sessions_known.clear()
        self._sessions.list_again(client)
        return client

    def _make_client(self, peer: Peer, hello: Hello) -> Client:
        identity = peer.identity()
        same_namespace = hello.pid_namespace == self._own_namespace
        if identity is None or (same_namespace and peer.pid and hello.start_time != identity.start_time):
            raise ProtocolError(peer.name, "it is not the process that connected: that one is dead")
        bell = self._numbers.take()
        if bell is None:
            capacity = self._numbers.capacity
            raise LimitError(
                "topics and clients of the bus",
                capacity,
                capacity + 1,
                "Close some, or raise bus.max_topics or bus.max_sessions.",
            )
        client = Client(0, hello.client_name or "?", identity, peer.uid, peer.gid)
        client.groups, client.bell, client.connected_ns = peer.groups, bell, time.time_ns()
        return client

    def _gone(self, peer: Peer, reason: str) -> None:
        if peer.closed:
            return
        if reason != "hung up":
            self._log(f"{peer.name}: {reason}")
        self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        self._peers.discard(peer)
        dead = peer.is_dead()
        pidfd = peer.close()
        client = peer.client
        if client is not None:
            self._depart(client, dead)
            if not dead:
                return self._watch_claims(client, pidfd)
        if pidfd >= 0:
            os.close(pidfd)

    def _watch_claims(self, client: Client, pidfd: int) -> None:
        """It hung up. As long as a ring names it, nobody else gets its ids, and its claims go with its death only."""
        if pidfd >= 0 and self._topics.holds_claims(client):
            self._lingering[pidfd] = client
            self._loop.add_reader(pidfd, self._died_later, pidfd)
        elif pidfd >= 0:
            os.close(pidfd)

    def _depart(self, client: Client, dead: bool) -> None:
        """Everything that hangs from a client goes."""
        self._post.disconnect(client)
        del self._registry.clients[client.number]
        self.departed(client, dead)
        killpoint("depart.begun")
        self._topics.drop_client(client)
        if dead:
            client.alive = False
            aborted = self._topics.bury(client)
            if aborted:
                self._log(f"{client.who}: {aborted} claims of it were aborted")
        for key, producers in list(client.producers.items()):
            for producer in list(producers):
                self._topics.close(self._registry.lane(*key), client, producer)
        self._sessions.close(client)
        self._numbers.give_back(client.bell)
        killpoint("depart.done")

    def _died_later(self, pidfd: int) -> None:
        client = self._lingering[pidfd]
        client.alive = False
        self._topics.bury(client)
        self._forget(pidfd)

    def _forget(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        del self._lingering[pidfd]


_BODY = message_fields(ServerPacket, "body")
