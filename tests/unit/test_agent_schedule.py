"""Tasks and who does them, told as histories: no process, no clock."""

import random

import pytest

from shmbus.agent.capability import Candidate, Requirement
from shmbus.agent.schedule import Impossible, Job, Overdue, Recall, Schedule, Send, State
from shmbus.directory import Health
from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, CollectionCapabilities, MonitoringDomain
from shmbus.v1.rpc_pb2 import REGISTRATION_EVENT_KIND_RENEWAL_FAILED, RegistrationEvent, RegistrationRequest

PROCESSES = Requirement(TaskType.ENUMERATE_PROCESSES)
HASH = Requirement(TaskType.CHECK_PROCESS_HASH)
NETWORK = Requirement(TaskType.MONITOR_NETWORK_CONNECTIONS)


def candidate(
    number, name="", domains=(MonitoringDomain.PROCESS,), tasks=(), advanced=(False,) * 3, preference=0, **more
):
    return Candidate(number, name or f"c{number}", frozenset(domains), frozenset(tasks), advanced, preference, **more)


class History:
    """A schedule with these collectors; jobs are named."""

    def __init__(self, *candidates, window=1):
        self.its, self.now, self.jobs = Schedule(window), 0.0, {}
        for one in candidates:
            self.its.arrived(one)

    def add(self, name, requirement=PROCESSES, priority=0, timeout=100.0, patience=0.0):
        job = self.jobs[name] = Job(requirement, priority, self.now + timeout, patience)
        self.its.add(job)

    def pump(self, after=0.0):
        self.now += after
        names = {job: name for name, job in self.jobs.items()}
        return [
            (names[one.job], one.candidate.name) if isinstance(one, Send) else (names[one.job], type(one))
            for one in self.its.pump(self.now)
        ]

    def done(self, name, load=0):
        self.its.done(self.jobs[name], load)

    def failed(self, name, again=True):
        self.its.failed(self.jobs[name], "it died", again=again)


def test_the_task_of_the_highest_priority_goes_first_and_of_equals_the_oldest():
    history = History(candidate(1))
    for name, priority in (("a", 0), ("b", 0), ("urgent", 200), ("c", 0), ("soon", 100)):
        history.add(name, priority=priority)
    order = []
    while sent := history.pump():
        order += [name for name, _ in sent]
        history.done(order[-1])
    assert order == ["urgent", "soon", "a", "b", "c"]


def test_only_who_can_gets_it():
    history = History(
        candidate(1, "net", domains=[MonitoringDomain.NETWORK]),
        candidate(2, "hashes", tasks=[TaskType.CHECK_PROCESS_HASH]),
        candidate(3, "kernel", advanced=(True, False, False)),
        window=10,
    )
    history.add("list")
    history.add("hash", HASH._replace(kernel_level=False))
    history.add("connections", NETWORK)
    history.add("realtime", PROCESSES._replace(realtime=True))
    sent = dict(history.pump())
    assert sent["list"] == "kernel" and sent["connections"] == "net" and sent["realtime"] is Impossible
    assert sent["hash"] in ("hashes", "kernel")
    history.add("deep", PROCESSES._replace(kernel_level=True))
    assert history.pump() == [("deep", "kernel")]


def test_the_most_preferred_gets_it_then_the_least_loaded_then_each_in_turn():
    history = History(candidate(1), candidate(2), candidate(3, preference=5), window=2)
    for number in range(6):
        history.add(str(number))
    sent = [name for _, name in history.pump()]
    assert sent[:2] == ["c3", "c3"] and sorted(sent[2:]) == ["c1", "c1", "c2", "c2"]
    assert sent[2] != sent[3]


def test_the_healthy_come_before_the_degraded_whatever_is_preferred():
    history = History(candidate(1), candidate(2, preference=9), candidate(3, late=True, preference=5))
    history.its.judge({1: Health.UNKNOWN, 2: Health.DEGRADED})
    for number in range(4):
        history.add(str(number))
    assert [name for _, name in history.pump()] == ["c1", "c2", "c3"]  # of equals the preferred
    history.its.judge({1: Health.DEGRADED, 2: Health.HEALTHY})
    for number in range(3):
        history.done(str(number))
    assert history.pump() == [("3", "c2")]


def test_an_unhealthy_one_gets_nothing_while_another_can_and_is_waited_for_where_it_is_the_only_one():
    history = History(candidate(1), candidate(2))
    history.its.judge({1: Health.UNHEALTHY, 2: Health.DEGRADED})
    history.add("a")
    history.add("b")
    assert history.pump() == [("a", "c2")]  # b waits for that one
    history.failed("a")
    assert history.pump() == [("a", "c1"), ("b", "c2")]  # whoever failed it is no other one for it
    history.done("a")
    history.done("b")
    history.its.left(2)
    history.add("c")
    assert history.pump() == [("c", "c1")]
    history.its.arrived(candidate(3))
    history.add("d")
    history.its.judge({1: Health.UNHEALTHY})
    history.done("c")
    assert history.pump() == [("d", "c3")]


def test_one_that_does_not_move_gets_nothing_and_is_named():
    history = History(candidate(1, "still"))
    history.its.hung(candidate(1, "still"))
    history.its.hung(candidate(2, "net", domains=[MonitoringDomain.NETWORK]))
    history.add("a")
    assert history.pump() == [("a", Impossible)]
    assert [one.name for one in history.its.unresponsive(PROCESSES)] == ["still"]
    history.its.arrived(candidate(3, "still"))
    history.its.left(2)
    assert not history.its.unresponsive(PROCESSES) and not history.its.unresponsive(NETWORK)
    history.its.replace([], [candidate(3, "still")])
    assert [one.number for one in history.its.unresponsive(PROCESSES)] == [3]
    history.its.left(3)
    assert not history.its.unresponsive(PROCESSES)


def test_what_a_collector_says_it_has_to_do_counts():
    history = History(candidate(1), candidate(2), window=8)
    history.add("a")
    ((_, first),) = history.pump()
    history.done("a", load=50)  # for other agents
    for number in range(4):
        history.add(str(number))
    assert {name for _, name in history.pump()} == {"c1", "c2"} - {first}


def test_a_collector_gets_no_more_than_its_window_and_the_rest_waits():
    history = History(candidate(1), window=2)
    for name in "abc":
        history.add(name)
    assert [name for name, _ in history.pump()] == ["a", "b"] and history.pump() == []
    history.done("b")
    assert history.pump() == [("c", "c1")]


def test_what_dies_is_done_elsewhere_and_not_where_it_failed():
    history = History(candidate(1), candidate(2))
    history.add("a")
    ((_, first),) = history.pump()
    history.failed("a")
    ((_, second),) = history.pump()
    assert {first, second} == {"c1", "c2"}
    history.failed("a")
    assert history.pump() == [("a", Impossible)]
    assert history.jobs["a"].attempts == [f"{first}: it died", f"{second}: it died"]


def test_what_fails_for_good_is_not_tried_again():
    history = History(candidate(1), candidate(2))
    history.add("a")
    history.pump()
    history.failed("a", again=False)
    assert history.pump() == [] and history.jobs["a"].state is State.FINISHED


def test_one_that_has_registered_anew_may_do_it():
    history = History(candidate(1, "mine"))
    history.add("a", patience=10)
    history.pump()
    history.failed("a")
    assert history.pump() == []
    history.its.left(1)
    history.its.arrived(candidate(2, "mine"))
    assert history.pump(after=1) == [("a", "mine")]


def test_nobody_who_can_is_told_at_once_or_when_the_patience_is_over():
    history = History()
    history.add("a")
    history.add("b", patience=5.0)
    assert history.pump() == [("a", Impossible)]
    assert history.its.due() == 5.0
    assert history.pump(after=4.9) == [] and history.pump(after=0.2) == [("b", Impossible)]


def test_who_waits_for_somebody_holds_up_nobody_else():
    history = History(candidate(1))
    history.add("a", patience=50.0)
    history.pump()
    history.failed("a")  # tried the only one
    history.add("b")
    assert history.pump() == [("b", "c1")]


def test_a_deadline_ends_it_wherever_it_is():
    history = History(candidate(1))
    history.add("running", timeout=1.0)
    history.add("waiting", timeout=2.0)
    history.add("late", timeout=9.0)
    assert history.pump() == [("running", "c1")]
    assert history.its.due() == 1.0
    assert history.pump(after=1.0) == [("running", Overdue), ("waiting", "c1")]
    assert history.pump(after=1.0) == [("waiting", Overdue), ("late", "c1")]
    history.done("late")
    assert history.its.due() is None and not history.its.unfinished()


def test_what_is_with_one_that_hangs_is_done_by_another_if_there_is_any():
    history = History(candidate(1))
    history.add("a")
    history.pump()
    history.its.hung(candidate(1))
    assert history.pump() == []  # it may still come
    history.its.arrived(candidate(2))
    assert history.pump() == [("a", Recall), ("a", "c2")]
    assert "it hangs" in history.jobs["a"].attempts[0]


def test_one_that_hung_and_goes_on_keeps_what_it_has():
    history = History(candidate(1, "mine"))
    history.add("a")
    history.pump()
    history.its.hung(candidate(1, "mine"))
    history.its.arrived(candidate(2, "mine"))
    history.its.arrived(candidate(3, "other"))
    assert history.pump() == []
    history.done("a")
    assert not history.its.unfinished()


def test_what_another_agent_gave_a_collector_counts_there_and_is_done_elsewhere_when_that_dies():
    history = History(candidate(1), candidate(2))
    history.jobs["adopted"] = job = Job(PROCESSES, deadline=50.0)
    history.its.adopt(job, candidate(1))
    history.add("a")
    assert history.pump() == [("a", "c2")]  # the window of c1 is full
    history.failed("adopted")
    history.done("a")
    assert history.pump() == [("adopted", "c2")]
    assert history.pump(after=50.0) == [("adopted", Overdue)]


def test_what_is_cancelled_makes_room():
    history = History(candidate(1))
    history.add("a")
    history.add("b")
    history.pump()
    history.its.cancelled(history.jobs["a"])
    assert history.pump() == [("b", "c1")]


def test_a_registration_that_was_missed_is_made_up_for():
    history = History(candidate(1), candidate(2))
    history.its.replace([candidate(2), candidate(3)])
    assert sorted(one.number for one in history.its.candidates) == [2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_every_task_ends_once_whatever_happens(seed):
    """Random deaths, hangs, refusals, cancellations: no task is in two hands, none is forgotten."""
    dice, history, ended, numbers = random.Random(seed), History(window=3), {}, iter(range(10_000))
    hands = {}

    def end(name, how):
        assert name not in ended
        ended[name] = how
        hands.pop(name, None)

    for step in range(600):
        what = dice.random()
        if what < 0.3 and step < 500:
            history.add(str(step), dice.choice([PROCESSES, NETWORK, HASH]), dice.randrange(3), dice.uniform(1, 60), 5)
        elif what < 0.4:
            domains = dice.sample([MonitoringDomain.PROCESS, MonitoringDomain.NETWORK], dice.randint(1, 2))
            history.its.arrived(candidate(next(numbers), f"n{dice.randrange(4)}", domains))
        elif what < 0.5 and history.its.candidates:
            one = dice.choice(history.its.candidates)
            dice.choice([lambda: history.its.left(one.number), lambda: history.its.hung(one)])()  # noqa: B023
        elif what < 0.55:
            history.its.judge({one.number: Health(dice.randrange(4)) for one in history.its.candidates})
        elif what < 0.85 and hands:
            name = dice.choice(sorted(hands))
            if dice.random() < 0.6:
                history.done(name)
                end(name, "done")
            else:
                history.failed(name)
                del hands[name]
        elif what < 0.9 and (open_ := sorted(history.jobs.keys() - ended.keys())):
            name = dice.choice(open_)
            history.its.cancelled(history.jobs[name])
            end(name, "cancelled")
        for name, how in history.pump(after=dice.random()):
            assert name not in ended
            if isinstance(how, str):
                assert name not in hands
                hands[name] = how
            elif how is Recall:
                del hands[name]
            else:
                end(name, how)
    history.pump(after=1000.0)
    assert not history.its.unfinished() and history.its.due() is None
    assert not any(history.its._loads.values()) and not history.its._running and not history.its._hung


def test_a_candidate_is_what_was_registered():
    event = RegistrationEvent(
        registration_id=7,
        session=12,
        kind=REGISTRATION_EVENT_KIND_RENEWAL_FAILED,
        registration=RegistrationRequest(
            collector_id="mine",
            capabilities=CollectionCapabilities(
                supported_domains=[MonitoringDomain.PROCESS],
                advanced=AdvancedCapabilities(realtime=True),
                task_types=[TaskType.VERIFY_EXECUTABLE],
            ),
            attributes={"priority": "900"},
        ),
    )
    found = Candidate.of(event)
    assert found == candidate(
        7,
        "mine",
        tasks=[TaskType.VERIFY_EXECUTABLE],
        advanced=(False, True, False),
        preference=255,
        session=12,
        late=True,
    )
    assert str(found) == "mine (PROCESS)"
    for text in ("-1", "high", "", "9" * 5000, "²"):
        event.registration.attributes["priority"] = text
        assert Candidate.of(event).preference == 0


def test_every_type_of_task_has_a_domain_and_a_topic():
    for number in TaskType.values():
        assert Requirement.of(number, None).result_topic.startswith("events.")
    with pytest.raises(ValueError, match="there are no tasks of type 99"):
        Requirement.of(99, None)
    needs = AdvancedCapabilities(kernel_level=True, system_wide=True)
    assert str(Requirement.of(TaskType.ENUMERATE_PROCESSES, needs)) == (
        "ENUMERATE_PROCESSES takes PROCESS, kernel_level, system_wide"
    )
