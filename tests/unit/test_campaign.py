"""The judges of a campaign of kills: every kind of broken promise is found, and nothing else is taken for one."""

from itertools import islice

import pytest

from campaign import verdict
from campaign.diary import Diary, Note, read
from campaign.plan import OF_PARTICIPANTS, WEIGHTS, faults
from campaign.verdict import Sent, Which

TOPIC = "lab.a"


def notes(*lines: str) -> list[Note]:
    """One a microsecond."""
    return [Note(1000 * at, what, tuple(words)) for at, (what, *words) in enumerate(line.split() for line in lines)]


def sent(count: int) -> Sent:
    lines = notes(*(f"sent {TOPIC} {number} normal" for number in range(1, count + 1)))
    return Sent.of({"p": [lines]}, numbered=())


def got(number: int, delivery: int = 1, what: str = "got", lane: str = "normal") -> str:
    return f"{what} {TOPIC} {lane} p.0 {number} {delivery}"


def stream(*lines: str, across_topics: bool = False) -> list[str]:
    return list(verdict.judge_stream("reader", notes(*lines), sent(9), across_topics=across_topics))


def durable(*lines: str, lost: int = 0, due: int = 2) -> list[str]:
    return list(verdict.judge_durable("reader", [notes(*lines)], sent(due).to([TOPIC]), lost))


def test_a_seed_throws_the_same_again_and_everything_is_thrown():
    first = list(islice(faults("seed", ["a", "b"]), 1000))
    assert first == list(islice(faults("seed", ["a", "b"]), 1000)) != list(islice(faults("other", ["a", "b"]), 1000))
    assert {fault.what for fault in first} == set(WEIGHTS)
    assert {fault.whom for fault in first if fault.what in OF_PARTICIPANTS} == {"a", "b"}
    assert "fill" not in {fault.what for fault in islice(faults("seed", ["a"], frozenset({"fill"})), 1000)}


def test_what_is_noted_is_read_again(tmp_path):
    Diary(tmp_path / "diary").note("got", TOPIC, 7)
    (note,) = read(tmp_path / "diary")
    assert (note.what, note.words) == ("got", (TOPIC, "7")) and note.at > 0


def test_numbers_of_a_durable_publisher_are_its_names_and_others_are_each_incarnations():
    lines = notes(f"sent {TOPIC} 1 normal", f"revoked {TOPIC} 2", f"sent {TOPIC} 3 urgent")
    whose = Sent.of({"p": [lines, lines], "d": [lines, lines]}, numbered=["d"]).messages
    assert whose == {Which(TOPIC, tag, number): number == 3 for tag in ("p.0", "p.1", "d") for number in (1, 3)}


def test_a_stream_in_order_with_what_is_missing_told_is_none_to_complain_of():
    assert not stream(got(3), got(4), got(5))  # it began late and ended early
    assert not stream(got(1), f"gap {TOPIC} p 2 overrun", got(4))
    assert not stream(got(5, lane="urgent"), got(1), got(2))
    assert not stream("got events.x normal task seven 1")


@pytest.mark.parametrize(
    ("lines", "breach"),
    [
        ((got(1), got(1)), "1 came after 1"),
        ((got(2), got(1)), "1 came after 2"),
        ((got(1), got(3)), "1 of lab.a are missing, 0 were told"),
        ((got(1), f"gap {TOPIC} p 1 overrun", got(4)), "2 of lab.a are missing, 1 were told"),
    ],
)
def test_a_stream_that_is_doubled_or_disordered_or_has_a_hole_is_found(lines, breach):
    assert any(breach in problem for problem in stream(*lines))


def test_order_across_topics_is_one_order_of_a_publisher():
    assert stream(got(5, lane="urgent"), got(2), across_topics=True)


def test_a_durable_subscription_that_got_everything_and_again_what_it_had_not_settled_is_fine():
    assert not durable(got(1), got(1, 2), got(1, 2, "kept"), got(2), got(2, 1, "kept"))
    assert not durable(got(1), got(1, 1, "kept"), lost=1)
    # Somebody was stopped with it in hand; it noted that when another had been given it, and settled it.
    assert not durable(got(1, 2), got(1, 2, "kept"), got(1, 1), got(2))


@pytest.mark.parametrize(
    ("lines", "breach"),
    [
        ((got(1),), "1 never came, 0 are told as lost"),
        ((got(1), got(1, 1, "kept"), got(1, 2), got(2)), "came again as delivery 2, settled as 1"),
        ((got(1), got(1, 1, "kept"), got(1, 2, "kept"), got(2)), "was settled twice"),
        ((got(1), got(1), got(2)), "came twice for the first time"),
    ],
)
def test_a_durable_subscription_that_lost_or_doubled_is_found(lines, breach):
    assert any(breach in problem for problem in durable(*lines))


def row(**counts: int) -> dict[str, object]:
    parts = dict.fromkeys(
        ("published", "delivered", "overrun", "expired", "corrupt", "filtered", "dead", "in_flight"), 0
    )
    return {"topic": TOPIC, "publisher": "p", **parts, **counts}


@pytest.mark.parametrize(
    ("rows", "breach"),
    [
        ([row(published=2, delivered=1)], "does not sum up"),
        ([row(published=2, delivered=1, in_flight=1)], "1 of lab.a (p) are still in flight"),
        ([row(published=1, delivered=1)], "1 published, where publishers noted 2"),
        ([row(published=4, delivered=4)], "4 published, where publishers noted 2 (at most 1 more)"),
    ],
)
def test_a_ledger_that_does_not_account_for_everything_is_found(rows, breach):
    found = verdict.judge_accounts("reader", rows, sent(2).to([TOPIC]), unnoted=1)
    assert any(breach in problem for problem in found)


@pytest.mark.parametrize("published", [2, 3])
def test_a_ledger_that_does_is_fine_also_with_one_that_its_publisher_did_not_live_to_note(published):
    rows = [row(published=published, delivered=published)]
    assert not list(verdict.judge_accounts("reader", rows, sent(2).to([TOPIC]), unnoted=1))


def test_a_task_has_one_result_if_it_is_done_and_no_more_than_one_if_not():
    result = "got events.process.batch normal task {} {}"
    steering = [notes("asked one", "done one", "asked two", "failed two TIMEOUT DEADLINE", "asked three", "done three")]
    results = [
        notes(result.format("one", 1), result.format("one", 2), result.format("two", 1), result.format("three", 2))
    ]
    assert not list(verdict.judge_tasks(steering, results))
    assert list(verdict.judge_tasks(steering, [results[0][:1]])) == [
        "results: three was done, and its result never came"
    ]
    assert list(verdict.judge_tasks([], [[*results[0], *results[0]]]))[0].endswith("came 2 times")


def test_whoever_was_left_without_an_answer_is_found():
    lines = notes("waits ConnectError 0.010", "waits ConnectError 31.5")
    assert list(verdict.judge_waits("reader", lines, 30)) == ["reader: ConnectError after 31.5 s without an answer"]
