"""Correlation: children know their parent and their root, and limits refuse rather than cut."""

import asyncio
from dataclasses import dataclass

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from shmbus import correlation
from shmbus.correlation import HANDLING, CorrelationContext, check, child_of, current, handling, new, resolve
from shmbus.errors import CorrelationError
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, EventBusMessage, MessageMetadata


@dataclass
class Received:
    """What a subscription hands out, as far as correlation looks at it."""

    topic: str = "a.b"
    sequence: int = 17
    envelope: EventBusMessage | None = None


def test_a_root_is_its_own_root_and_has_no_parent():
    root = new(stage="detect", tags={"host": "x"}, trace_id="t", span_id="s")
    assert root.correlation_id == root.root_correlation_id != ""
    assert not root.HasField("parent_correlation_id")
    assert (root.sequence_number, root.workflow_stage, dict(root.correlation_tags)) == (0, "detect", {"host": "x"})
    assert (root.trace_id, root.span_id) == ("t", "s")
    assert not new().HasField("trace_id") and not new().HasField("workflow_stage")


def test_ids_differ_and_can_be_chosen():
    assert len({new().correlation_id for _ in range(1000)}) == 1000
    assert new(correlation_id="case-7").root_correlation_id == "case-7"


def test_a_child_carries_what_its_parent_has():
    root = new(stage="detect", tags={"host": "x"}, trace_id="t", span_id="s")
    child = child_of(root)
    grandchild = child_of(child, stage="respond", tags={"host": "y", "rule": "7"})
    assert child.parent_correlation_id == root.correlation_id
    assert grandchild.parent_correlation_id == child.correlation_id
    assert {child.root_correlation_id, grandchild.root_correlation_id} == {root.correlation_id}
    assert (child.sequence_number, grandchild.sequence_number) == (1, 2)
    assert (child.workflow_stage, grandchild.workflow_stage) == ("detect", "respond")
    assert dict(child.correlation_tags) == {"host": "x"}
    assert dict(grandchild.correlation_tags) == {"host": "y", "rule": "7"}
    assert (grandchild.trace_id, grandchild.span_id) == ("t", "s")
    assert dict(root.correlation_tags) == {"host": "x"}


def test_children_of_one_context_are_numbered():
    context = CorrelationContext(child_of(new()))
    assert [context.child().sequence_number for _ in range(3)] == [2, 3, 4]


def test_children_of_what_is_being_handled_are_numbered_however_they_are_made():
    message = Received(envelope=EventBusMessage(correlation=new(stage="detect")))
    with handling(message):
        first, second, third = resolve(None), child_of(message, stage="triage"), resolve(message)
        with handling(message) as again:
            fourth = again.child()
    assert [one.sequence_number for one in (first, second, third, fourth)] == [1, 2, 3, 4]
    assert second.workflow_stage == "triage" and third.workflow_stage == "detect"
    assert child_of(message).sequence_number == 1


def test_what_is_published_while_handling_is_a_child():
    root = new()
    assert current() is None and resolve(None) is None
    with handling(Received(envelope=EventBusMessage(correlation=root))) as context:
        first, second = resolve(None), resolve(None)
        assert current() is context
    assert first is not None and second is not None
    assert first.parent_correlation_id == second.parent_correlation_id == root.correlation_id
    assert (first.sequence_number, second.sequence_number) == (1, 2)
    assert current() is None


def test_handling_nests_and_ends_with_its_block_also_on_an_error():
    with handling(new()) as outer:
        with pytest.raises(RuntimeError), handling(new()):
            assert current() is not outer
            raise RuntimeError
        assert current() is outer


def test_a_task_started_while_handling_handles_the_same_and_others_do_not():
    async def look():
        await asyncio.sleep(0)
        return current()

    async def main():
        outside = asyncio.create_task(look())
        with handling(new()) as context:
            inside = asyncio.create_task(look())
        return context, await inside, await outside

    context, inside, outside = asyncio.run(main())
    assert inside is context and outside is None


def test_a_bare_message_set_by_a_loop_numbers_its_children():
    token = HANDLING.set(Received(envelope=EventBusMessage(correlation=new())))
    assert [resolve(None).sequence_number for _ in range(2)] == [1, 2]
    HANDLING.reset(token)
    assert current() is None


def test_what_a_loop_of_this_thread_handles_is_the_parent_and_numbers_its_children(monkeypatch):
    message = Received(envelope=EventBusMessage(correlation=new()))
    monkeypatch.setattr(correlation._core, "handling", lambda: message)
    found = [resolve(None).sequence_number for _ in range(2)]
    message = Received(envelope=EventBusMessage(correlation=new()))
    found += [resolve(None).sequence_number]
    assert found == [1, 2, 1]
    with handling(new()) as context:
        assert current() is context
    message = None
    assert current() is None


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (Received(), "a.b:17"),
        (Received(envelope=EventBusMessage()), "a.b:17"),
        (Received(envelope=EventBusMessage(metadata=MessageMetadata(message_id="m-1"))), "m-1"),
    ],
)
def test_a_message_without_correlation_is_the_root_of_its_children(message, name):
    child = resolve(message)
    assert child is not None
    assert child.parent_correlation_id == child.root_correlation_id == name


def test_a_message_is_not_parsed_before_there_is_a_child():
    class Unread(Received):
        @property
        def envelope(self):
            raise AssertionError("parsed")

        @envelope.setter
        def envelope(self, value):
            pass

    with handling(Unread()) as context:
        pass
    with pytest.raises(AssertionError, match="parsed"):
        context.child()


def test_what_is_given_counts_more_than_what_is_handled():
    mine = new(correlation_id="mine")
    with handling(new(correlation_id="handled")):
        assert resolve(mine) is mine
        assert resolve(False) is None
        assert resolve(CorrelationContext(mine)).parent_correlation_id == "mine"
        assert resolve(True).parent_correlation_id == "handled"


def test_a_sequence_number_at_its_end_goes_round():
    parent = CorrelationMetadata(correlation_id="x", sequence_number=2**64 - 1)
    assert child_of(parent).sequence_number == 0


@pytest.mark.parametrize("field", correlation._IDS)
def test_an_id_has_at_most_256_bytes(field):
    check(CorrelationMetadata(**{field: "é" * 128}))
    with pytest.raises(CorrelationError, match=f"{field} of a correlation: 257 bytes, the limit is 256"):
        check(CorrelationMetadata(**{field: "é" * 128 + "x"}))


def test_a_stage_has_at_most_128_bytes():
    assert new(stage="x" * 128).workflow_stage == "x" * 128
    with pytest.raises(CorrelationError, match="workflow_stage"):
        new(stage="x" * 129)


def test_there_are_at_most_64_tags():
    full = new(tags={str(number): "" for number in range(64)})
    child_of(full, tags={"0": "other"})
    with pytest.raises(CorrelationError, match="correlation_tags of a correlation: 65 tags, the limit is 64"):
        child_of(full, tags={"one more": ""})


def test_tags_are_limited_in_key_and_value():
    new(tags={"k" * 128: "v" * 1024})
    with pytest.raises(CorrelationError, match="tag key"):
        new(tags={"k" * 129: ""})
    with pytest.raises(CorrelationError, match="value of tag 'k'"):
        new(tags={"k": "v" * 1025})


def test_a_parent_from_elsewhere_that_is_over_the_limits_is_refused():
    with pytest.raises(CorrelationError, match="parent_correlation_id"):
        child_of(CorrelationMetadata(correlation_id="x" * 257, root_correlation_id="r"))


@pytest.mark.parametrize("field", ["trace_id", "span_id"])
def test_a_parents_trace_id_that_can_be_none_is_not_carried_on(field):
    parent = new(trace_id="t", span_id="s")
    setattr(parent, field, "x" * 257)
    child = child_of(parent)
    assert not child.HasField("trace_id") and not child.HasField("span_id")
    assert child.parent_correlation_id == parent.correlation_id


def test_a_message_with_a_broken_envelope_is_the_root_of_its_children():
    class Broken(Received):
        @property
        def envelope(self):
            raise DecodeError

        @envelope.setter
        def envelope(self, value):
            pass

    assert child_of(Broken()).root_correlation_id == "a.b:17"


@given(st.text(max_size=300))
def test_an_id_is_taken_whole_or_refused(text):
    if len(text.encode()) <= 256:
        assert new(correlation_id=text).correlation_id == text
    else:
        with pytest.raises(CorrelationError):
            new(correlation_id=text)
