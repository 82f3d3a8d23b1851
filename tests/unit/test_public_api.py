"""The public surface is what `shmbus.__all__` says, documented, importable from where it stands, and nothing else."""

import inspect
import subprocess
import sys

import pytest

import shmbus
from shmbus import errors

PUBLIC = """
AccessDenied AsyncBus AsyncPublisher AsyncSubscription BackpressureError BorrowError Borrowed BudgetExceeded Bus
BusExists BusyError CapabilityError ClosedError CompatibilityWarning ConfigurationError ConnectError ConnectionLost
CorrelationError CorrelationTracker
Durable DurableError Filter FilterError ForkedError Gap Last LastPerKey LayoutError LimitError Message MessageTooLarge
PatternError Producer ProtocolError PublishRevoked Publisher ReceiveTimeout RpcError
SegmentError ShmbusError StorageFull Subscription TaskError TopicNameError TypeMismatch URGENT VersionError agent
connect correlation embedded errors rpc
""".split()

# What a user calls, by class: a method more or less is a change of the contract.
METHODS = {
    "Bus": "address beat capabilities client_name close closed compatibility_warnings directory_fd forget last"
    " ledger name protocol_version publisher ready reload_config resize set_limits status stop subscribe topics",
    "Publisher": "close closed forget_key last_number publish publish_many published try_publish",
    "Subscription": "ack ack_many borrow close closed delivered ended extend filter_faults filtered held_back ledger"
    " lost nack receive receive_many released_early topics try_receive",
    "AsyncBus": "address beat capabilities close closed compatibility_warnings forget last ledger name"
    " protocol_version publisher ready reload_config resize set_limits status stop subscribe topics",
    "AsyncPublisher": "close closed forget_key last_number publish publish_many published topic try_publish",
    "AsyncSubscription": "ack ack_many borrow close closed delivered ended extend filter_faults filtered held_back"
    " ledger lost nack patterns receive receive_many released_early topics try_receive",
    "Durable": "ack_deadline ack_deadline_ns dead_letter dead_letter_topic exactly_once max_deliveries name window"
    " wire",
    "CorrelationTracker": "by_stage by_tag counts incomplete observe workflow workflows",
    "Gap": "count first group last pattern producer reason topic",
    "Producer": "name pid pid_namespace process session start_time uid",
    "Borrowed": "data deliveries envelope event expires_ns flags key kind lane pattern payload priority producer"
    " producer_sequence release sequence time time_ns topic type_name",
    "Message": "deliveries envelope event expires_ns flags key kind lane pattern payload priority producer"
    " producer_sequence sequence time time_ns topic type_name",
}


@pytest.mark.parametrize("name", ["Bus", "Publisher", "Subscription"])
def test_asyncio_has_all_that_there_is_without_it(name):
    apart = {"client_name", "directory_fd"}  # of the process, and for tools
    assert set(METHODS[name].split()) - apart <= set(METHODS[f"Async{name}"].split())


def test_all_is_the_public_surface():
    assert sorted(shmbus.__all__) == sorted(PUBLIC)
    assert shmbus.__all__ == sorted(shmbus.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))


def test_nothing_else_is_public_without_an_underscore():
    public = {name: value for name, value in vars(shmbus).items() if not name.startswith("_")}
    ours = {name for name, value in public.items() if getattr(value, "__module__", "").startswith("shmbus")}
    assert ours <= set(shmbus.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(shmbus, name)
    assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", METHODS)
def test_a_class_offers_what_is_listed_and_no_more(name):
    kind = getattr(shmbus, name)
    inherited = set(dir(tuple if issubclass(kind, tuple) else object))
    offered = {one for one in dir(kind) if not one.startswith("_")} - inherited
    expected = set(METHODS[name].split())
    # those set in __init__
    attributes = {"client_name", "directory_fd", "name", "address", "topic", "patterns", "lossless", "durable"}
    assert offered - attributes == expected - attributes


@pytest.mark.parametrize("name", [name for name in PUBLIC if name in vars(errors)])
def test_every_error_is_one_of_ours(name):
    assert issubclass(getattr(shmbus, name), shmbus.ShmbusError | Warning)


def test_every_error_of_ours_is_public():
    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ShmbusError)
    }
    assert ours <= set(PUBLIC)


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert shmbus.__version__ == version("shmbus")


def test_importing_prints_and_warns_nothing_and_starts_nothing():
    program = "import shmbus, threading; assert threading.active_count() == 1; shmbus.embedded; shmbus.AsyncBus"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        shmbus.nothing  # noqa: B018
