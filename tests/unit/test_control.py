"""The control connection and its packets, against a coordinator that the test plays itself."""

import contextlib
import os
import socket
import threading

import pytest

from shmbus.control import ControlConnection, NeedDescriptors, detailed, restored
from shmbus.errors import (
    AccessDenied,
    ClosedError,
    ConnectError,
    ConnectionLost,
    ForkedError,
    ProtocolError,
    TypeMismatch,
)
from shmbus.packet import MAX_BODY_BYTES, MAX_PACKET_BYTES, close_all, receive_packet, send_packet
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.control_pb2 import ClientPacket, ServerPacket


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def connection(pair):
    connection = ControlConnection(pair[0], "lab", "@lab")
    with connection:
        yield connection


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def no_descriptor_leaks():
    before = open_descriptors()
    yield
    assert open_descriptors() == before


@contextlib.contextmanager
def a_file():
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def answering(theirs, *packets):
    """A coordinator that answers one request with these packets; the last one gets the request's id."""

    def serve():
        got = receive_packet(theirs, ClientPacket, "the client")
        assert got is not None
        for packet in packets[:-1]:
            send_packet(theirs, packet)
        packets[-1].id = got[0].id
        send_packet(theirs, packets[-1])

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_packet_arrives_with_its_descriptors_in_order(pair):
    with no_descriptor_leaks():
        with open("/dev/zero") as zero, open("/dev/null") as null:
            send_packet(pair[0], ServerPacket(id=7), [zero.fileno(), null.fileno()])
        packet, descriptors = receive_packet(pair[1], ServerPacket, "x")
        assert packet.id == 7
        assert [os.readlink(f"/proc/self/fd/{one}") for one in descriptors] == ["/dev/zero", "/dev/null"]
        assert not any(os.get_inheritable(one) for one in descriptors)
        close_all(descriptors)


def test_a_packet_too_large_for_the_socket_is_spilled_to_memory(pair):
    descriptors = bytes(3 * MAX_PACKET_BYTES)
    request = ClientPacket(id=3, open_publisher=wire.OpenPublisher(type=wire.TopicType(descriptors=descriptors)))
    with no_descriptor_leaks():
        send_packet(pair[0], request)
        assert receive_packet(pair[1], ClientPacket, "x") == (request, [])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff" * 40, "no ClientPacket"),
        (b"\0" * (MAX_PACKET_BYTES + 1), "more than"),
        (ClientPacket(id=1, spilled_bytes=10).SerializeToString(), "none came with it"),
        (ClientPacket(id=1, spilled_bytes=MAX_BODY_BYTES + 1).SerializeToString(), "the limit is"),
    ],
)
def test_garbage_is_a_protocol_error(pair, data, reason):
    pair[0].send(data)
    with pytest.raises(ProtocolError, match=reason):
        receive_packet(pair[1], ClientPacket, "x")


def test_a_spilled_packet_must_stand_in_a_sealed_memfd(pair):
    envelope = ClientPacket(id=1, spilled_bytes=10).SerializeToString()
    with no_descriptor_leaks():
        reading, writing = os.pipe()
        loose = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
        os.write(loose, bytes(10))
        for descriptor in (reading, loose):
            socket.send_fds(pair[0], [envelope], [descriptor])
            with pytest.raises(ProtocolError, match="sealed"):
                receive_packet(pair[1], ClientPacket, "x")
        for descriptor in (reading, writing, loose):
            os.close(descriptor)


def test_descriptors_of_a_refused_packet_are_closed(pair):
    with no_descriptor_leaks(), a_file() as descriptor:
        socket.send_fds(pair[0], [b"\xff" * 9], [descriptor] * 3)
        with pytest.raises(ProtocolError):
            receive_packet(pair[1], ClientPacket, "x")
        socket.send_fds(pair[0], [b""], [descriptor] * 40)
        with pytest.raises(ProtocolError, match="more than 16 descriptors"):
            receive_packet(pair[1], ClientPacket, "x")


def test_pushes_that_come_before_an_answer_are_kept_in_order(pair, connection):
    pushes = [ServerPacket(session_removed=wire.SessionRemoved(session=number)) for number in (4, 5)]
    thread = answering(pair[1], *pushes, ServerPacket(done=wire.Done()))
    with connection.request(wire.GetStatus(), timeout=5) as answer:
        assert isinstance(answer.message, wire.Done)
    thread.join()
    assert [push.message.session for push in connection.drain()] == [4, 5]
    assert list(connection.drain()) == []


def test_descriptors_that_nobody_takes_are_closed(pair, connection):
    with no_descriptor_leaks():
        with a_file() as descriptor:
            for number in (1, 2):
                push = ServerPacket(session_added=wire.SessionAdded(session=number))
                send_packet(pair[1], push, [descriptor])
        pushes = connection.drain()
        os.close(next(pushes).take())
        next(pushes).close()


def test_a_push_without_its_descriptor_is_a_protocol_error(pair, connection):
    send_packet(pair[1], ServerPacket(session_added=wire.SessionAdded(session=1)))
    with next(connection.drain()) as push, pytest.raises(ProtocolError, match="SessionAdded"):
        push.take()


def test_a_push_that_was_not_gone_on_from_comes_again(pair, connection):
    for session in (1, 2):
        send_packet(pair[1], ServerPacket(session_removed=wire.SessionRemoved(session=session)))
    assert next(connection.drain()).message.session == 1
    assert [push.message.session for push in connection.drain()] == [1, 2]


def test_closing_drops_what_was_not_drained(pair, connection):
    with no_descriptor_leaks(), a_file() as descriptor:
        send_packet(pair[1], ServerPacket(session_added=wire.SessionAdded(session=1)), [descriptor])
        send_packet(pair[1], ServerPacket(session_removed=wire.SessionRemoved(session=1)))
        pushes = connection.drain()
        assert [type(next(pushes).message) for _ in range(2)] == [wire.SessionAdded, wire.SessionRemoved]
    connection.close()
    with pytest.raises(ClosedError):
        connection.request(wire.GetStatus())


def test_a_coordinator_that_dies_is_noticed_at_the_next_request_only(pair, connection):
    send_packet(pair[1], ServerPacket(goodbye=wire.Goodbye(reason="bye")))
    pair[1].close()
    assert [push.message.reason for push in connection.drain()] == ["bye"]
    assert connection.lost is not None
    assert connection.wait(1)
    with pytest.raises(ConnectionLost, match="shmbus up"):
        connection.request(wire.GetStatus())


def test_a_silent_coordinator_is_given_up_in_time(connection):
    with pytest.raises(ConnectionLost, match="did not answer in time"):
        connection.request(wire.GetStatus(), timeout=0.05)
    assert connection.lost is None


def test_an_answer_that_comes_too_late_is_nobodys(pair, connection):
    with pytest.raises(ConnectionLost):
        connection.request(wire.GetStatus(), timeout=0.01)
    late = receive_packet(pair[1], ClientPacket, "x")
    send_packet(pair[1], ServerPacket(id=late[0].id, done=wire.Done()))
    thread = answering(pair[1], ServerPacket(subscribed=wire.Subscribed(rings=3)))
    with connection.request(wire.Subscribe(subscription=1), timeout=5) as answer:
        assert answer.message.rings == 3
    thread.join()


def test_what_the_coordinator_said_before_it_hung_up_is_the_error(pair, connection):
    refusal = wire.ControlError(code=wire.CONTROL_ERROR_ACCESS_DENIED, message="not you", error="AccessDenied")
    send_packet(pair[1], ServerPacket(error=refusal))
    pair[1].close()
    with pytest.raises(AccessDenied, match="not you"):
        connection.request(wire.GetStatus())


def test_an_error_is_raised_again_with_its_data():
    error = TypeMismatch("a.b", "X", "Y", ["field 3"])
    answer = wire.ControlError(code=wire.CONTROL_ERROR_TYPE_MISMATCH, message=str(error), error="TypeMismatch")
    for name, detail in detailed(vars(error)).items():
        answer.details[name].CopyFrom(detail)
    again = restored(answer)
    assert type(again) is TypeMismatch
    assert (str(again), again.topic, again.differences) == (str(error), "a.b", ("field 3",))
    assert again.code == wire.CONTROL_ERROR_TYPE_MISMATCH


def test_an_error_of_no_known_class_is_still_one_of_ours():
    assert "BaseException" not in type(restored(wire.ControlError(message="m", error="BaseException"))).__name__
    assert isinstance(restored(wire.ControlError(code=wire.CONTROL_ERROR_NEED_DESCRIPTORS)), NeedDescriptors)


def test_where_nobody_listens_the_error_says_how_to_start_the_bus(bus_name):
    with no_descriptor_leaks(), pytest.raises(ConnectError, match=f"shmbus up --bus {bus_name}"):
        ControlConnection.connect(bus_name, "test")


def test_a_listener_that_never_answers_is_no_bus(tmp_path):
    path = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        with no_descriptor_leaks(), pytest.raises(ConnectError, match="in time"):
            ControlConnection.connect(str(path), "test", timeout=0.05)


def test_a_forked_child_never_uses_the_connection(pair, connection):
    child = os.fork()
    if child == 0:
        try:
            connection.request(wire.GetStatus(), timeout=1)
        except ForkedError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_two_threads_get_each_its_own_answer(pair, connection):
    def serve():
        for _ in range(40):
            packet, _ = receive_packet(pair[1], ClientPacket, "x")
            send_packet(
                pair[1], ServerPacket(id=packet.id, subscribed=wire.Subscribed(rings=packet.subscribe.subscription))
            )

    def ask(first):
        for number in range(first, first + 20):
            with connection.request(wire.Subscribe(subscription=number), timeout=10) as answer:
                wrong.extend([number] if answer.message.rings != number else [])

    wrong = []
    threads = [threading.Thread(target=serve), *(threading.Thread(target=ask, args=(n,)) for n in (1, 100))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
