"""Every error carries its data, says what to do, and survives the way to another process."""

import ast
import inspect
import pickle

import pytest

from shmbus import errors
from shmbus.errors import ShmbusError, size_text
from shmbus.rpc.failure import CATEGORIES

EXAMPLES = [
    ShmbusError("something"),
    errors.ConnectError("default", "/run/shmbus/default.sock"),
    errors.BusExists("default", 4121, 1700000000.0),
    errors.VersionError("1.1", "2.0"),
    errors.CapabilityError("last_per_key", "default", 4121, "1.0.0"),
    errors.ProtocolError("pid 77", "a packet of 3 bytes is no ClientPacket"),
    errors.ConnectionLost("default", 4121),
    errors.AccessDenied("publish", "events.process.start", "uid 1000 (pid 77)"),
    errors.ConfigurationError("bus.toml", "defaults.slots", 100, "must be a power of two"),
    errors.TopicNameError("Events", "a segment is [a-z0-9_-]+"),
    errors.PatternError("events.*", "write '+'"),
    errors.FilterError("where", "pid >", "Syntax error", line=1, column=5),
    errors.DurableError("agent", "2 members read it", "Close them first."),
    errors.TypeMismatch("a.b", "shmbus.v1.X", "shmbus.v1.Y", ["field 3 is string, not bytes"]),
    errors.LimitError("topics of the bus", 10, 11, "Raise bus.max_topics."),
    errors.MessageTooLarge("a.b", 2_000_000, 1 << 20),
    errors.MessageTooLarge("a.b", 2_000_000, 1 << 20, urgent=True),
    errors.BackpressureError("events.process.start", 1 << 20, 8192, "agent", 4121, 8192, 2.3),
    errors.BudgetExceeded("a.b", 1000, 1 << 20, 999.0, 2e6, 0.25),
    errors.PublishRevoked("a.b", 17, 1.0),
    errors.SegmentError("/shmbus.0.default.directory", "layout", 2, 1),
    errors.LayoutError("default", "/shmbus.0.default.bells", 7, "1 to 2", "made by a newer version", 3),
    errors.StorageFull("/shmbus.0.default.ring.1.0.0", 4 << 20, 65536),
    errors.ClosedError("the publisher of 'a.b'"),
    errors.BusyError("the publisher of 'a.b'"),
    errors.BorrowError("<Subscription a.b, lossy>"),
    errors.ForkedError("the bus 'default'", 10, 11),
    errors.ReceiveTimeout(0.5, ["a.b", "c.#"]),
    errors.CorrelationError("correlation_id", 256, 300),
    errors.RpcError("procmond", "HEALTH_CHECK", "DEADLINE_EXCEEDED", "no answer", category="TIMEOUT", seconds=0.5),
    errors.TaskError("one", "VERIFY_EXECUTABLE", "EXECUTION_ERROR", "it failed", attempts=["lab: it died"]),
]


def classes() -> set[type[ShmbusError]]:
    return {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, ShmbusError)}


def test_there_is_an_example_of_every_error():
    assert {type(error) for error in EXAMPLES} == classes()


def test_the_tree_in_the_docstring_names_every_error():
    assert errors.__doc__ is not None
    assert {cls.__name__ for cls in classes()} <= set(errors.__doc__.split())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_data(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.args == error.args


@pytest.mark.parametrize("error", EXAMPLES[1:], ids=lambda error: type(error).__name__)
def test_the_message_holds_the_data_of_the_error(error):
    for name, value in vars(error).items():
        if type(value) is int and name not in {"capacity_bytes", "needed", "free", "since"}:
            assert str(value) in str(error), name


def test_the_module_stands_on_nothing_of_its_own_package():
    tree = ast.parse(inspect.getsource(errors))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in imports for alias in node.names]
    modules = [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names + modules if "shmbus" in name]


def test_backpressure_names_the_reader_that_holds_the_topic():
    error = errors.BackpressureError("events.process.start", 1 << 20, 8192, "agent", 4121, 8192, 2.3)
    assert str(error) == (
        "topic 'events.process.start' is full (1.0 MiB, 8192 messages): subscription 'agent' of pid 4121 is 8192 "
        'messages behind, last read 2.3 s ago. Wait longer, enlarge the topic, or set on_full = "shed".'
    )


def test_backpressure_names_the_durable_subscription_that_holds_the_topic():
    held = ("events.process.start", 1 << 20, 8192, "agent", 0, 17)
    text = "durable subscription 'agent' is 17 messages behind, "
    assert text + "last settled 2.3 s ago. " in str(errors.BackpressureError(*held, 2.3))
    assert text + "has settled nothing yet. " in str(errors.BackpressureError(*held))


def test_a_connect_error_says_how_to_start_the_bus_of_that_name():
    assert "`shmbus up`" in str(errors.ConnectError("default", "/x.sock"))
    assert "`shmbus up --bus lab`" in str(errors.ConnectError("lab", "/x.sock"))
    assert "(@shmbus.1:" in str(errors.ConnectError("lab", "\0shmbus.1"))


def test_a_receive_timeout_is_also_a_timeout_error():
    with pytest.raises(TimeoutError, match="within 0.5 s"):
        raise errors.ReceiveTimeout(0.5, ["a.b"])


def test_an_error_is_restored_from_what_another_process_sent():
    error = errors.AccessDenied.restore("uid 7 may not publish", {"action": "publish"})
    assert isinstance(error, errors.AccessDenied)
    assert (str(error), error.action) == ("uid 7 may not publish", "publish")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_sizes_read_as_people_write_them(size, text):
    assert size_text(size) == text


def test_backpressure_tells_an_unfinished_publish_from_a_slow_reader():
    error = errors.BackpressureError("a.b", 4096, 63, "procmond", 4121, 63, unfinished=True)
    assert "publisher 'procmond' of pid 4121 has not finished a message 63 messages ago." in str(error)


# Whoever raises these says in the reason what to do, for it is another thing each time.
TOLD_BY_THE_REASON = {"VALIDATION_FAILED", "CONFIGURATION_ERROR", "INVALID_CONFIG_CHANGE", "REGISTRATION_INVALID"}


def test_every_code_of_a_failed_call_has_a_remedy():
    codes = {key.split()[-1] for key in errors.RpcError.remedies}
    assert codes == set(CATEGORIES) - TOLD_BY_THE_REASON


@pytest.mark.parametrize("code", ["REGISTRATION_NOT_FOUND", "ALREADY_REGISTERED"])
def test_what_to_do_goes_by_the_operation_too(code):
    one, other = (errors.RpcError("lab", operation, code, "so it is") for operation in ("DEREGISTER", "REGISTER"))
    assert str(one).split("). ")[1] == errors.RpcError.remedies[f"DEREGISTER {code}"]
    assert str(other).split("). ")[1] == errors.RpcError.remedies[code]
