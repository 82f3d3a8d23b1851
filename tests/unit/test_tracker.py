"""The tracker: what belongs together, in order, what is missing; bounded, and what goes is counted."""

import math
import threading
import tracemalloc
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmbus import CorrelationTracker, Gap
from shmbus._core import KIND_EVENT, KIND_RAW
from shmbus.correlation import CorrelationContext, child_of, new
from shmbus.errors import ConfigurationError
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, EventBusMessage, MessageMetadata
from shmbus.workflow import Workflow

NUMBERS = count(1)


@dataclass
class Received:
    """What a subscription hands out, as far as a tracker looks at it."""

    envelope: EventBusMessage | None = None
    topic: str = "a.b"
    sequence: int = field(default_factory=lambda: next(NUMBERS))
    lane: int = 0
    time_ns: int = 0
    producer: SimpleNamespace | None = None
    payload: bytes = b""
    kind: int = KIND_EVENT

    def __post_init__(self):
        self.payload = self.payload or (self.envelope or EventBusMessage()).SerializeToString()


def received(its=None, **more):
    return Received(EventBusMessage(correlation=its), **more)


def tracked(*found, **options):
    tracker = CorrelationTracker(**options)
    for its in found:
        tracker.observe(received(its) if isinstance(its, CorrelationMetadata) else its)
    return tracker


def names(entries):
    return [entry.correlation_id for entry in entries]


def named(name, parent=None, **more):
    """Metadata with an id of its own, of the workflow that its parent is of."""
    if parent is None:
        return new(correlation_id=name, **more)
    made = parent.child(**more) if isinstance(parent, CorrelationContext) else child_of(parent, **more)
    made.correlation_id = name
    return made


def a_tree():
    """root -> one -> deep; root -> two; root -> three."""
    root = named("root", stage="detect", tags={"host": "h1"})
    context = CorrelationContext(root)
    one, two, three = (named(name, context, stage="triage") for name in ("one", "two", "three"))
    return root, one, two, three, named("deep", one, tags={"case": "7"})


def test_a_timeline_is_in_order_and_says_what_places_each_message():
    root, one, two, three, deep = a_tree()
    one.trace_id, one.span_id = "t", "s"
    tracker = CorrelationTracker()
    for its, time in ((three, 9), (deep, 7), (two, 5), (root, 1), (one, 3)):
        producer = SimpleNamespace(name=f"by {its.correlation_id}")
        tracker.observe(received(its, topic=f"t.{its.correlation_id}", time_ns=time, producer=producer))
    found = tracker.workflow("root")
    assert names(found.timeline) == ["root", "one", "two", "deep", "three"]
    entry = found.timeline[1]
    assert (entry.parent, entry.root, entry.sequence_number, entry.stage) == ("root", "root", 1, "triage")
    assert (entry.topic, entry.lane, entry.source, entry.time_ns) == ("t.one", 0, "by one", 3)
    assert (entry.trace_id, entry.span_id, entry.tags) == ("t", "s", {"host": "h1"})
    assert found.timeline[0].parent is None and found.timeline[0].trace_id is None
    assert found.timeline[0].time < datetime.now(UTC)
    assert found.duration == 8e-9 and found.complete


def test_the_source_is_what_the_message_says_where_the_producer_is_not_known():
    message = Received(
        EventBusMessage(metadata=MessageMetadata(source_id="probe"), correlation=new(correlation_id="x"))
    )
    assert tracked(message).workflow("x").timeline[0].source == "probe"


def test_the_tree_of_a_message_and_of_everything():
    found = tracked(*a_tree()).workflow("root")
    assert [(depth, one.correlation_id) for depth, one in found.tree()] == [
        (0, "root"), (1, "one"), (2, "deep"), (1, "two"), (1, "three"),
    ]  # fmt: skip
    assert [(depth, one.correlation_id) for depth, one in found.tree("one")] == [(0, "one"), (1, "deep")]
    assert names(found.children("root")) == ["one", "two", "three"]
    assert found.tree("nobody") == found.children("nobody") == []


def test_messages_that_name_each_other_as_parents_end_no_walk():
    a, b, own = (CorrelationMetadata(correlation_id=name, root_correlation_id="r") for name in "abc")
    a.parent_correlation_id, b.parent_correlation_id, own.parent_correlation_id = "b", "a", "c"
    found = tracked(a, b, own).workflow("r")
    assert sorted(names(one for _, one in found.tree())) == ["a", "b", "c"]
    assert names(one for _, one in found.tree("b")) == ["b", "a"]


def test_a_long_chain_is_no_deep_recursion():
    its, chain = new(correlation_id="root"), []
    for _ in range(3000):
        chain.append(its)
        its = child_of(its)
    found = tracked(*chain, max_messages_per_workflow=5000).workflow("root")
    assert found.tree()[-1][0] == 2999 and found.complete


def test_a_workflow_of_which_a_parent_is_missing_is_incomplete():
    root, one, two, three, deep = a_tree()
    found = tracked(root, deep, two, three).workflow("root")
    assert found.missing_parents == ["one"] and not found.complete
    assert (0, "deep") in [(depth, entry.correlation_id) for depth, entry in found.tree()]


def test_a_child_left_out_is_missed_even_if_another_branch_has_its_number():
    root, one, two, three, deep = a_tree()
    assert deep.sequence_number == two.sequence_number
    found = tracked(root, one, three, deep).workflow("root")
    assert found.missing_numbers == [range(2, 3)] and found.missing_parents == []


def test_a_link_left_out_of_a_chain_is_missed_by_number_and_as_a_parent():
    first = named("first")
    second = named("second", first)
    third = named("third", second)
    found = tracked(first, third).workflow("first")
    assert (found.missing_numbers, found.missing_parents) == ([range(1, 2)], ["second"])


def test_a_workflow_without_its_root_misses_everything_before():
    found = tracked(*a_tree()[1:]).workflow("root")
    assert (found.missing_parents, found.missing_numbers) == (["root"], [range(0, 1)])


def test_numbers_may_start_anywhere_if_the_root_does_and_may_be_huge():
    root = CorrelationMetadata(correlation_id="r", root_correlation_id="r", sequence_number=5)
    last = CorrelationMetadata(
        correlation_id="x", root_correlation_id="r", parent_correlation_id="r", sequence_number=2**64 - 1
    )
    found = tracked(root, last).workflow("r")
    assert found.missing_numbers == [range(6, 2**64 - 1)]
    assert tracked(root).incomplete() == []


def test_incomplete_workflows_are_told():
    whole, torn = new(), new()
    tracker = tracked(whole, child_of(whole), torn, child_of(child_of(torn)))
    assert [one.root for one in tracker.incomplete()] == [torn.correlation_id]
    assert [one.root for one in tracker.workflows()] == [whole.correlation_id, torn.correlation_id]


@pytest.mark.parametrize(
    ("wanted", "any", "expected"),
    [
        (["host"], False, ["a", "b"]),
        ([("host", "h1")], False, ["a"]),
        (["host", "case"], False, ["b"]),
        ([("host", "h2"), ("case", "7")], False, ["b"]),
        ([("host", "h2"), ("case", "8")], False, []),
        (["host", "case"], True, ["a", "b", "c"]),
        ([("host", "h1"), ("case", "7")], True, ["a", "b", "c"]),
        (["nothing"], True, []),
        ([("k=v", "x=y")], False, ["d"]),
    ],
)
def test_by_tags_across_workflows(wanted, any, expected):
    tags = ({"host": "h1"}, {"host": "h2", "case": "7"}, {"case": "7"}, {"k=v": "x=y"}, {})
    tracker = CorrelationTracker()
    for number, (name, its) in enumerate(zip("abcde", tags, strict=True)):
        tracker.observe(received(named(name, tags=its), time_ns=number))
    assert names(tracker.by_tag(*wanted, any=any)) == expected


def test_by_stage_across_workflows_and_by_time():
    tracker = CorrelationTracker()
    for name, stage, time in (("a", "triage", 3), ("b", "detect", 2), ("c", "triage", 1)):
        tracker.observe(received(named(name, stage=stage), time_ns=time))
    assert names(tracker.by_stage("triage")) == ["c", "a"]


@pytest.mark.parametrize("child_first", [False, True])
@pytest.mark.parametrize("kind", [KIND_EVENT, KIND_RAW])
def test_a_message_without_correlation_is_the_root_of_its_children(child_first, kind):
    envelope = EventBusMessage(metadata=MessageMetadata(message_id="m-1")) if kind == KIND_EVENT else None
    message = Received(envelope, payload=b"\xff" if kind == KIND_RAW else b"", kind=kind)
    child = received(child_of(message))
    tracker = tracked(*((child, message) if child_first else (message, child)))
    found = tracker.workflow(message)
    assert found == tracker.workflow(child) and len(found.timeline) == 2 and found.complete
    tracker.observe(message)
    assert tracker.counts.duplicates == 1


def test_messages_without_correlation_push_no_workflow_out():
    root = named("root")
    tracker = tracked(root, max_workflows=3)
    for _ in range(10):
        tracker.observe(received())
    assert tracker.workflow("root") is not None
    assert (tracker.counts.kept, tracker.counts.evicted) == (4, 7)
    assert [one.root for one in tracker.workflows()] == ["root"]


def test_a_message_that_comes_again_counts_once_and_two_of_one_id_count_twice():
    message, other = (received(named("x")) for _ in range(2))
    tracker = tracked(message, message, other)
    assert names(tracker.workflow("x").timeline) == ["x", "x"]
    assert (tracker.counts.duplicates, tracker.counts.kept) == (1, 2)


def test_the_workflow_that_was_quiet_for_longest_makes_room():
    tracker = tracked(named("a"), named("b"), named("c"), max_workflows=3)
    tracker.observe(received(named("a2", named("a"))))
    tracker.observe(received(named("d")))
    assert [one.root for one in tracker.workflows()] == ["c", "a", "d"]
    assert tracker.workflow("b") is None and tracker.counts.evicted == 1


def test_a_workflow_with_too_many_messages_loses_its_oldest_and_says_so():
    root, *rest = a_tree()
    tracker = tracked(root, *rest, max_messages_per_workflow=3)
    found = tracker.workflow("root")
    assert names(found.timeline) == ["two", "deep", "three"] and found.evicted == 2
    assert set(found.missing_parents) == {"root", "one"}
    assert (tracker.counts.evicted, tracker.counts.kept) == (2, 3)


TINY, LARGE = {f"{n}": "" for n in range(64)}, {f"{n}": f"\U0001f40d{n}" + "x" * 1000 for n in range(64)}


@pytest.mark.parametrize(("tags", "count"), [({}, 2000), (TINY, 200), (LARGE, 10)])
@pytest.mark.parametrize("in_one_workflow", [True, False])
def test_memory_stays_within_its_bound_whatever_is_in_the_messages(tags, count, in_one_workflow):
    roots = [named(f"root {n}") for n in range(1 if in_one_workflow else count)]
    found = [received(child_of(roots[n % len(roots)], tags=tags)) for n in range(count)]
    tracker = CorrelationTracker(max_bytes=1_000_000, max_workflows=10**9, max_messages_per_workflow=10**9)
    tracemalloc.start()
    for message in found:
        tracker.observe(message)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 300_000 < taken < 1_100_000
    assert tracker.counts.kept + tracker.counts.evicted == count and tracker.counts.evicted > 0


def test_the_quiet_make_room_before_the_one_in_progress():
    tracker = tracked(named("quiet"), max_bytes=3000)
    busy = named("busy")
    for _ in range(5):
        tracker.observe(received(child_of(busy)))
    assert [one.root for one in tracker.workflows()] == ["busy"]
    found = tracker.workflow("busy")
    assert found.evicted == 5 - len(found.timeline) > 0


def test_what_does_not_fit_at_all_is_not_kept():
    tracker = tracked(named("x", tags=LARGE), max_bytes=1000)
    assert tracker.workflow("x") is None and tracker.counts.evicted == 1


def test_what_is_quiet_for_too_long_expires_also_when_nothing_comes_any_more():
    now = 0.0
    tracker = CorrelationTracker(max_age=10, clock=lambda: now)
    tracker.observe(received(named("a")))
    tracker.observe(received())
    now = 8.0
    tracker.observe(received(named("b")))
    now = 11.0
    assert [one.root for one in tracker.workflows()] == ["b"]
    assert tracker.counts.expired == 2
    tracker.observe(received(named("b2", named("b"))))
    now = 20.0
    assert len(tracker.workflow("b").timeline) == 2
    now = 21.5
    assert tracker.workflow("b") is None and tracker.counts.kept == 0


def test_what_cannot_be_read_or_is_above_the_limits_is_counted_and_not_kept():
    broken = Received(payload=b"\x0a\xff")
    huge = CorrelationMetadata(correlation_id="x", workflow_stage="y" * 129)
    tracker = tracked(broken, huge)
    assert (tracker.counts.observed, tracker.counts.unreadable, tracker.counts.kept) == (2, 2, 0)


def test_gaps_are_counted_and_everything_passes_through_a_filter():
    found = [received(new()), Gap("a.b", "#", 7, 3, "overrun"), Received(payload=b"\x0a\xff")]
    tracker = CorrelationTracker()
    assert list(filter(tracker.observe, found)) == found
    assert (tracker.counts.lost, tracker.counts.observed) == (3, 2)


def test_messages_are_kept_only_on_demand():
    message = received(named("x"))
    assert tracked(message).workflow("x").timeline[0].message is None
    assert tracked(message, keep_messages=True).workflow("x").timeline[0].message is message


@pytest.mark.parametrize("name", ["max_workflows", "max_messages_per_workflow", "max_bytes", "max_age"])
@pytest.mark.parametrize("value", [0, -1, math.nan, True, "7", None])
def test_limits_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"CorrelationTracker: {name} = .*at least 1|seconds above 0"):
        CorrelationTracker(**{name: value})


def test_a_number_of_messages_is_whole():
    with pytest.raises(ConfigurationError, match="max_workflows = 1.5: it is a whole number"):
        CorrelationTracker(max_workflows=1.5)
    CorrelationTracker(max_age=math.inf)


def test_many_threads_observe_and_ask_at_once():
    tracker, per_thread = CorrelationTracker(max_workflows=20, max_messages_per_workflow=10), 400
    messages = [[received(named(f"w{n % 30}")) for n in range(per_thread)] for _ in range(4)]
    asked = threading.Event()

    def ask():
        while not asked.is_set():
            tracker.incomplete(), tracker.by_tag("host"), tracker.workflow("w1"), tracker.counts

    threads = [threading.Thread(target=lambda own=own: [*map(tracker.observe, own)]) for own in messages]
    asking = threading.Thread(target=ask)
    for thread in (asking, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    asked.set()
    asking.join()
    counts = tracker.counts
    assert counts.observed == 4 * per_thread == counts.kept + counts.evicted
    assert counts.kept == sum(len(one.timeline) for one in tracker.workflows()) <= 200


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["observe", "alone", "again", "unreadable", "wait"]),
        st.sampled_from("abcd"),
        st.floats(0, 6),
    ),
    max_size=60,
)


@given(steps=STEPS, workflows=st.integers(1, 3), messages=st.integers(1, 4))
def test_every_message_is_accounted_for_and_no_bound_is_passed(steps, workflows, messages):
    now, seen = 0.0, []
    tracker = CorrelationTracker(
        max_workflows=workflows, max_messages_per_workflow=messages, max_age=10, clock=lambda: now
    )
    for step, root, wait in steps:
        if step == "wait":
            now += wait
            continue
        if step == "unreadable":
            message = Received(payload=b"\x0a\xff")
        elif step == "again" and seen:
            message = seen[-1]
        else:
            message = received() if step == "alone" else received(named(root))
            seen.append(message)
        tracker.observe(message)
        its = tracker.counts
        assert its.observed == its.kept + its.duplicates + its.unreadable + its.evicted + its.expired
        assert 0 <= its.kept <= workflows * messages + workflows
        assert len(tracker.workflows()) <= workflows
        assert all(len(one.timeline) <= messages for one in tracker.workflows())


def test_a_workflow_of_nothing_lasts_no_time():
    assert Workflow.of("x", []).duration == 0.0
