"""What two sides agree on, by histories of hellos; and what a client then may ask for."""

import socket
import threading

import pytest

from shmbus.capability import needed_by
from shmbus.control import ControlConnection
from shmbus.coordinator.negotiation import negotiate
from shmbus.errors import CapabilityError, VersionError
from shmbus.packet import receive_packet, send_packet
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.control_pb2 import ClientPacket, ServerPacket
from shmbus.v1.eventbus_pb2 import VersionNegotiationRequest, VersionNegotiationResponse
from shmbus.version import OURS, Speaker, Version

LAB = Speaker(Version(1, 1), {0: ("walk",), 1: ("swim", "fly")}, {"walk": "swim"})


def version(text):
    return Version(*map(int, text.split(".")))


def asked(supported, preferred=None, capabilities=()):
    return VersionNegotiationRequest(
        supported_versions=[version(one).message() for one in supported],
        preferred_version=version(preferred).message() if preferred else None,
        client_capabilities=capabilities,
    )


@pytest.mark.parametrize(
    ("supported", "preferred", "chosen"),
    [
        (["1.0.0", "1.1.0"], "1.0.3", "1.0.3"),
        (["1.0.0", "1.1.7", "1.2.0", "2.0.0"], "2.0.0", "1.1.7"),
        (["1.0.0"], None, "1.0.0"),
        (["1.2.0", "1.0.0"], "1.2.0", "1.0.0"),
        ([], "1.1.9", "1.1.9"),
    ],
)
def test_the_preferred_version_is_taken_else_the_highest_acceptable(supported, preferred, chosen):
    answer = negotiate(asked(supported, preferred), LAB, "x")
    assert answer.negotiation_success
    assert answer.negotiated_version.protocol_version == chosen
    told = [f"version {chosen} is spoken, not the preferred {preferred}"] if preferred not in (None, chosen) else []
    assert list(answer.compatibility_warnings) == told


@pytest.mark.parametrize("theirs", [[], ["2.0.0"], ["1.2.0"], ["0.9.0"]])
def test_no_common_version_is_an_error_that_names_both(theirs):
    with pytest.raises(VersionError, match="1.1.0") as raised:
        negotiate(asked(theirs), LAB, "pid 7")
    assert all(one in str(raised.value) for one in theirs)


def test_what_can_be_done_is_what_the_spoken_version_has():
    assert negotiate(asked(["1.0.0"]), LAB, "x").server_capabilities == ["walk"]
    assert negotiate(asked(["1.1.0"]), LAB, "x").server_capabilities == ["walk", "swim", "fly"]


def test_a_wanted_capability_that_is_missing_and_one_that_is_deprecated_are_warnings():
    answer = negotiate(asked(["1.1.0"], None, ["fly", "teleport", "walk"]), LAB, "x")
    assert list(answer.compatibility_warnings) == [
        "the coordinator lacks the capability 'teleport'",
        "the capability 'walk' is deprecated: swim",
    ]
    older = negotiate(asked(["1.0.0"], None, ["fly"]), LAB, "x")
    assert list(older.compatibility_warnings) == ["the coordinator lacks the capability 'fly'"]


def test_we_speak_every_minor_version_up_to_ours_and_each_has_what_the_one_before_had():
    assert [str(one) for one in OURS.supported()] == ["1.1.0", "1.0.0"]
    older = OURS.able(Version(1, 0))
    assert older == ("basic_pub_sub", "rpc_calls", "correlation_tracking")
    assert OURS.able(OURS.version)[: len(older) + 2] == (*older, "advanced_routing", "circuit_breaker")
    answer = negotiate(asked(["1.1.0", "1.0.0"], "1.1.0", OURS.able(OURS.version)), OURS, "x")
    assert not answer.compatibility_warnings


DURABLE = wire.Durable(name="agent")
REQUESTS = [
    (wire.OpenPublisher(topic="a"), None),
    (wire.OpenPublisher(topic="a", lane=1), "advanced_routing"),
    (wire.OpenPublisher(topic="a", durable=True), "durable_publishers"),
    (wire.OpenPublisher(topic="a", only_make=True), "caller_rings"),
    (wire.ListTopics(), "overview"),
    (wire.ReadLedger(), "overview"),
    (wire.Subscribe(subscription=1, start=wire.StartPosition(earliest=True), lossless=True), None),
    (wire.Subscribe(subscription=1, durable=DURABLE), "durable_subscriptions"),
    (wire.Subscribe(subscription=1, start=wire.StartPosition(last_per_key=True)), "last_per_key"),
    (wire.ForgetDurable(name="agent"), "durable_subscriptions"),
    (wire.GetKept(topic="a"), "last_per_key"),
    (wire.Resize(topic="a"), "topic_changes"),
    (wire.SetLimits(topic="a"), "topic_changes"),
    (wire.Resume(), "takeover"),
    (wire.AuthorizeCall(service="a"), "call_rules"),
    (wire.ExplainAccess(topic="a"), "call_rules"),
    (wire.ReloadConfig(), "configuration_changes"),
    (wire.GetStatus(), None),
]


@pytest.mark.parametrize(("request_", "needed"), REQUESTS)
def test_a_request_needs_a_capability_that_this_version_has(request_, needed):
    assert needed_by(request_) == needed
    assert needed is None or needed in OURS.able(OURS.version)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def agree(connection, **said):
    connection._agree(VersionNegotiationResponse(negotiation_success=True, **said))


@pytest.mark.parametrize("request_", [one for one, needed in REQUESTS if needed])
def test_a_coordinator_that_lacks_a_capability_is_not_even_asked(pair, request_):
    with ControlConnection(pair[0], "lab", "@lab") as connection:
        agree(connection, negotiated_version=Version(1, 0).message(), server_capabilities=["basic_pub_sub"])
        with pytest.raises(CapabilityError, match="protocol 1.0.0. Upgrade it") as raised:
            connection.request(request_)
        assert raised.value.capability == needed_by(request_)
        pair[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            pair[1].recv(1)


def test_what_needs_none_is_asked_of_any(pair):
    def serve():
        packet, _ = receive_packet(pair[1], ClientPacket, "x")
        send_packet(pair[1], ServerPacket(id=packet.id, done=wire.Done()))

    thread = threading.Thread(target=serve)
    thread.start()
    with ControlConnection(pair[0], "lab", "@lab") as connection:
        agree(connection, negotiated_version=Version(1, 0, 7).message(), compatibility_warnings=["old"])
        assert (connection.version, connection.capabilities, connection.warnings) == ((1, 0, 7), frozenset(), ("old",))
        connection.request(wire.OpenPublisher(topic="a")).close()
    thread.join()


@pytest.mark.parametrize("chosen", [(2, 0, 0), (1, 2, 0), (0, 9, 0)])
def test_a_coordinator_that_chooses_what_was_not_offered_is_refused(pair, chosen):
    with ControlConnection(pair[0], "lab", "@lab") as connection:
        with pytest.raises(VersionError, match="this process speaks 1.1.0"):
            agree(connection, negotiated_version=Version(*chosen).message())
