"""What requests and responses are filled into is used again: nothing of one is left in the next."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from shmbus.process import Identity
from shmbus.rpc.breaker import State
from shmbus.rpc.draft import Draft
from shmbus.rpc.failure import failure
from shmbus.rpc.operations import EXECUTE_TASK, PAUSE, UPDATE_CONFIG
from shmbus.rpc.pending import Ask, Pending
from shmbus.rpc.presence import Instance
from shmbus.rpc.response import Form
from shmbus.v1.eventbus_pb2 import RpcAuthInfo, RpcRequestPayload
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask
from shmbus.v1.rpc_pb2 import ConfigUpdateRequest

OUTCOMES = (
    None,
    DetectionResult(task_id="7", success=True),
    failure("lab", PAUSE, "EXECUTION_ERROR", "it broke"),
    RpcRequestPayload(),  # what no response carries
)
PAYLOADS = (None, DetectionTask(task_id="7"), ConfigUpdateRequest(collector_id="lab"))


def answer(form, outcome, operation, instance, load):
    request = SimpleNamespace(
        message=SimpleNamespace(time_ns=1_000_000), received_ns=2_000_000, started_ns=3_000_000, parsing_ns=0,
        request_id=f"{operation}-{load}", number=operation, service="lab",
    )  # fmt: skip
    whole = form.fill(request, outcome, instance, load, 4_000_000)
    whole.response.timestamp = whole.performance_metrics.serialization_time_us = 0
    return whole, form.failed


@given(
    st.lists(
        st.tuples(
            st.sampled_from(OUTCOMES), st.sampled_from((PAUSE, EXECUTE_TASK)), st.sampled_from("ab"), st.integers(0, 2)
        )
    )
)
def test_a_form_that_was_filled_before_is_as_good_as_a_new_one(answers):
    used = Form("lab")
    for one in answers:
        assert answer(used, *one) == answer(Form("lab"), *one)


def asked(draft, payload, operation, key, token, priority, attempt, state, instance):
    auth = RpcAuthInfo(auth_token=token) if token else None
    ask = Ask("lab", operation, payload, 1.0, 5, key, False, auth, priority)
    service = SimpleNamespace(breaker=SimpleNamespace(state=state))
    pending = Pending(ask, service, Instance(1, Identity(1, 1, 1), 0, 1, instance), f"{operation}-{attempt}")
    whole = draft.fill(pending, attempt)
    whole.request.timestamp = 0
    return whole


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PAYLOADS), st.sampled_from((PAUSE, UPDATE_CONFIG)), st.sampled_from((None, "k")),
            st.sampled_from((None, "secret")), st.integers(0, 1), st.integers(1, 2), st.sampled_from(State),
            st.sampled_from(("1-1", "2-1")),
        )
    )
)  # fmt: skip
def test_a_draft_that_was_filled_before_is_as_good_as_a_new_one(calls):
    used = Draft("c0-0", "control.collector.lab")
    for one in calls:
        assert asked(used, *one) == asked(Draft("c0-0", "control.collector.lab"), *one)
