"""Two readings make rates; what was counted is never counted twice or forgotten."""

from dataclasses import replace

from shmbus.directory import BusState, CollectorState, Health
from shmbus.overview import RingReading
from shmbus.tools.meter import Level, Meter
from shmbus.tools.snapshot import Losses
from unit.tools_readings import COORDINATOR, PROCMOND, STARTED, collector, cursor, reading, session, topic


def meter(cpu=None, storage=0.1):
    return Meter(cpu=(cpu or {}).get, storage=lambda: storage)


def row(view, name="events.a"):
    return next(one for one in view.topics if one.name == name)


def test_the_first_look_has_totals_and_no_rates():
    view = meter().update(reading(10, [topic(1, "events.a", messages=500, size=90_000)]), STARTED + 60)
    assert (row(view).messages, row(view).rate, row(view).byte_rate) == (500, 0, 0)
    assert view.uptime == 60


def test_a_rate_is_what_came_between_two_looks_by_the_time_between_them():
    one = meter()
    one.update(reading(10, [topic(1, "events.a", messages=500, size=1000)]), STARTED)
    view = one.update(reading(12, [topic(1, "events.a", messages=600, size=5000)]), STARTED)
    assert (row(view).rate, row(view).byte_rate) == (50, 2000)


def test_a_topic_made_between_two_looks_counts_from_its_first_message():
    one = meter()
    one.update(reading(10), STARTED)
    view = one.update(reading(11, [topic(1, "events.a", messages=7)]), STARTED)
    assert row(view).rate == 7


def test_a_topic_that_goes_on_in_a_new_ring_keeps_its_count():
    one = meter()
    one.update(reading(10, [topic(1, "events.a", messages=500)]), STARTED)
    sealed = {(1, 0, 0): RingReading(520, 0, 0, 0, 0.0, 0)}
    view = one.update(reading(11, [topic(1, "events.a", generation=1, messages=30)], parted=sealed), STARTED)
    assert (row(view).messages, row(view).rate) == (550, 50)


def test_losses_of_a_subscriber_that_has_gone_stay_counted():
    one = meter()
    topics = [topic(1, "events.a")]
    one.update(reading(10, topics, [session(1, "tail", 50, [cursor(1, overrun=5)])]), STARTED)
    view = one.update(reading(11, topics, [session(1, "tail", 50, [cursor(1, overrun=8)])]), STARTED)
    assert (row(view).losses, row(view).losing) == (Losses(8, 0, 0), True)
    view = one.update(reading(12, topics), STARTED)
    assert (row(view).losses, row(view).losing) == (Losses(8, 0, 0), False)


def test_a_cursor_that_another_subscription_takes_over_starts_from_nothing():
    one = meter()
    topics = [topic(1, "events.a"), topic(2, "events.b")]
    one.update(reading(10, topics, [session(1, "tail", 50, [cursor(1, overrun=9)])]), STARTED)
    view = one.update(reading(11, topics, [session(1, "tail", 50, [cursor(1, overrun=2)])]), STARTED)
    assert row(view).losses.total == 11
    view = one.update(reading(12, topics, [session(1, "tail", 50, [cursor(2, overrun=3)])]), STARTED)
    assert (row(view).losses.total, row(view, "events.b").losses.total) == (11, 3)


def test_a_subscription_counts_while_it_reads():
    sessions = [session(1, "tail", 50, [cursor(1), cursor(1, position=0)]), session(2, "agent", 51, [cursor(1)])]
    view = meter().update(reading(10, [topic(1, "events.a")], sessions), STARTED)
    assert row(view).subscribers == 2
    assert [client.subscriptions for client in view.clients] == [1, 1]


def test_the_pages_of_a_client_are_one_client():
    one = meter()
    pages = [session(1, "agent", 50, [cursor(1, delivered=10)]), session(2, "agent", 50, [cursor(1)], bell=1)]
    one.update(reading(10, [topic(1, "events.a")], pages), STARTED)
    pages = [
        session(1, "agent", 50, [cursor(1, delivered=14)]),
        session(2, "agent", 50, [cursor(1, delivered=2)], bell=1),
    ]
    view = one.update(reading(12, [topic(1, "events.a")], pages), STARTED)
    (client,) = view.clients
    assert (client.name, client.subscriptions, client.delivered, client.rate) == ("agent", 2, 16, 3)


def test_cpu_is_the_share_of_a_core_between_two_looks():
    used = {COORDINATOR: 1.0, PROCMOND: 2.0}
    one = meter(used)
    one.update(reading(10, collectors=[collector()]), STARTED)
    used[PROCMOND] = 2.5
    view = one.update(reading(12, collectors=[collector()]), STARTED)
    assert (view.cpu, view.collectors[0].cpu) == (0.0, 0.25)


def test_a_bus_whose_coordinator_runs_and_whose_collectors_do_is_healthy():
    view = meter().update(reading(10, collectors=[collector()]), STARTED)
    assert view.verdict == (Level.HEALTHY, ())


def test_the_worst_reason_counts_and_comes_first():
    collectors = [collector(CollectorState.BACKING_OFF, name="netmond"), collector(CollectorState.FAILED)]
    view = meter(storage=0.97).update(reading(10, collectors=collectors), STARTED)
    assert view.verdict.level is Level.UNHEALTHY
    assert view.verdict.reasons[0] == "collector procmond is failed"
    assert set(view.verdict.reasons[1:]) == {"collector netmond is backing-off", "/dev/shm is 97% full"}


def test_a_collector_that_does_not_move_is_told():
    hanging = [
        replace(collector(name="netmond"), health=Health.DEGRADED), replace(collector(), health=Health.UNRESPONSIVE),
    ]  # fmt: skip
    view = meter().update(reading(10, collectors=hanging), STARTED)
    assert view.verdict == (
        Level.UNHEALTHY,
        ("collector procmond is unresponsive: it does not move", "collector netmond is degraded: it does not move"),
    )


def test_a_collector_that_says_it_is_ill_is_told_by_that_reason():
    ill = [
        replace(collector(name="netmond"), health=Health.DEGRADED, seen=Health.HEALTHY, said=Health.DEGRADED),
        replace(collector(), health=Health.UNHEALTHY, seen=Health.HEALTHY, said=Health.UNHEALTHY),
        replace(collector(name="dnsmond"), health=Health.UNHEALTHY, seen=Health.DEGRADED, said=Health.UNHEALTHY),
        replace(collector(name="well"), health=Health.HEALTHY, seen=Health.HEALTHY, said=Health.HEALTHY),
    ]
    view = meter().update(reading(10, collectors=ill), STARTED)
    assert view.verdict == (
        Level.UNHEALTHY,
        (
            "collector procmond is unhealthy: it says so itself",
            "collector dnsmond is unhealthy: it does not move; before that it said that it is unhealthy",
            "collector netmond is degraded: it says so itself",
        ),
    )


def test_a_dead_coordinator_is_told():
    view = meter().update(reading(10, alive=False), STARTED)
    assert view.state == "dead"
    assert view.verdict == (Level.UNHEALTHY, ("the coordinator (pid 4711) is dead",))


def test_a_bus_that_was_stopped_in_order_is_not_ill():
    view = meter().update(reading(10, state=BusState.STOPPED), STARTED)
    assert (view.state, view.verdict.level) == ("stopped", Level.HEALTHY)
