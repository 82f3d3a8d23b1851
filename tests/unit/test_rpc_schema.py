"""Operations, codes and categories are those of the schema, all of them, both ways."""

import pytest

from shmbus import rpc
from shmbus.config import CollectorSettings
from shmbus.errors import RpcError, TopicNameError
from shmbus.rpc import failure, operations
from shmbus.rpc.asking import is_coordinators, make_ask
from shmbus.rpc.topics import request_topic, response_topic
from shmbus.rpc.values import from_value, to_value
from shmbus.v1 import rpc_pb2 as wire

CODES = [name.removeprefix("RPC_ERROR_CODE_") for name in wire.RpcErrorCode.keys() if not name.endswith("UNSPECIFIED")]


def test_there_are_the_thirteen_operations_and_one_of_ours():
    named = {name: number for name, number in wire.CollectorOperation.items() if number}
    assert {f"COLLECTOR_OPERATION_{one.name}": one.value for one in rpc.Operation} == named
    assert len(rpc.Operation) == 14
    assert [one for one in rpc.Operation if one >= 100] == [rpc.GET_CONFIG]
    assert all(getattr(rpc, one.name) is one for one in rpc.Operation)


@pytest.mark.parametrize("code", CODES)
def test_an_error_goes_to_the_wire_and_back_as_it_is(code):
    error = failure.failure("lab", rpc.PAUSE, code, "so it is", context={"key": "value"}, status="UNAVAILABLE")
    response = wire.RpcResponse(operation=rpc.PAUSE, status=failure.status_to_wire(error))  # type: ignore[arg-type]
    response.error.CopyFrom(failure.to_wire(error))
    back = failure.from_wire(response, "lab", None)
    assert vars(back) == vars(error) and str(back) == str(error)
    assert back.category != "UNSPECIFIED"


def test_every_code_has_a_category_of_the_schema():
    assert set(failure.CATEGORIES) == set(CODES)
    known = {name.removeprefix("RPC_ERROR_CATEGORY_") for name in wire.RpcErrorCategory.keys()}
    assert set(failure.CATEGORIES.values()) <= known


def test_what_a_newer_server_says_is_shown_as_its_number():
    response = wire.RpcResponse(operation=99, status=98, error=wire.RpcError(code=97, category=96))  # type: ignore[arg-type]
    error = failure.from_wire(response, "lab", None)
    assert (error.operation, error.status, error.code, error.category) == ("operation 99", "98", "97", "96")


def test_what_a_handler_raises_is_told_by_its_kind():
    assert failure.as_failure("lab", rpc.PAUSE, OSError(5, "Input/output error")).code == "IO_ERROR"
    assert failure.as_failure("lab", rpc.PAUSE, KeyError("x")).context == {"exception": "KeyError"}
    own = RpcError("lab", "PAUSE", "INVALID_STATE", "not now")
    assert failure.as_failure("lab", rpc.PAUSE, own) is own


def test_payloads_are_checked_before_anything_is_sent():
    assert make_ask("lab", rpc.PAUSE, wire.Empty(), 1.0, None, None).operation is rpc.PAUSE
    for operation, payload in ((rpc.PAUSE, wire.ShutdownRequest()), (rpc.START, wire.HealthData())):
        with pytest.raises(TypeError):
            make_ask("lab", operation, payload, 1.0, None, None)
    with pytest.raises(ValueError, match="timeout"):
        make_ask("lab", rpc.PAUSE, None, 0.0, None, None)
    with pytest.raises(TopicNameError, match="are for all collectors"):
        make_ask("config", rpc.PAUSE, None, 1.0, None, None)


def test_ids_that_are_no_segment_reach_no_topic():
    assert response_topic("../up") is None and response_topic("c1-0") == "control.rpc.response.c1-0"
    for name in ("", "a.b", "Lab", "#"):
        with pytest.raises(TopicNameError):
            request_topic(name)


def test_what_the_coordinator_answers_of_an_update_is_what_a_section_of_the_configuration_has():
    assert set(CollectorSettings.model_fields) == operations.RUN_KEYS

    def coordinators(*keys):
        update = wire.ConfigUpdateRequest(config_changes=dict.fromkeys(keys, wire.ConfigValue()))
        return is_coordinators(make_ask("lab", rpc.UPDATE_CONFIG, update, 1.0, None, None))

    assert coordinators("nice") and coordinators("limits.open_files") and coordinators("interval", "nice")
    assert not coordinators() and not coordinators("interval")


@pytest.mark.parametrize("value", [None, True, -(2**63), 1.5, "x", b"x", [1, ["a"]], {"a": {"b": [None]}}])
def test_values_go_into_messages_and_back(value):
    assert from_value(to_value(value)) == value and type(from_value(to_value(value))) is type(value)


def test_what_is_no_value_is_refused():
    with pytest.raises(TypeError, match="a object is no value"):
        to_value(object())
    with pytest.raises(ValueError, match="64 bits"):
        to_value(2**63)


def test_the_payload_tables_name_fields_of_the_schema():
    fields = wire.RpcRequest.DESCRIPTOR.oneofs_by_name["payload"].fields
    assert set(operations.TAKES.values()) | {"empty"} == {field.name for field in fields}
    assert operations.NEEDS < set(operations.TAKES)
