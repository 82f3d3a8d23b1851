"""Log lines: one for what has changed, split by blanks into key=value."""

import shlex

from shmbus.tools.lines import Lines, line
from shmbus.tools.meter import Meter
from unit.tools_readings import STARTED, collector, reading, session, topic

NOON = 1_777_636_801.0  # 2026-05-01T12:00:01Z


def view(meter, *arguments, **more):
    return meter.update(reading(*arguments, **more), STARTED)


def still(process):
    return None


def test_everything_is_told_once_and_then_only_what_changes():
    meter, lines = Meter(cpu=still, storage=lambda: 0.1), Lines()
    tail = session(2, "tail", 4720)
    before = view(meter, 10, [topic(1, "events.a", messages=5, retained=5, fill=0.0125)], [tail], [collector()])
    assert list(lines.changes(before, NOON)) == [
        "2026-05-01T12:00:01Z bus name=lab state=running health=healthy pid=4711 "
        "address=/run/user/1000/shmbus/lab.sock",
        "2026-05-01T12:00:01Z collector name=procmond state=running pid=4712 restarts=0",
        "2026-05-01T12:00:01Z client name=tail pid=4720 uid=1000 state=connected",
        "2026-05-01T12:00:01Z topic name=events.a messages=5 rate=0.0 bytes_rate=0 retained=5 fill=0.013 publishers=1 "
        "subscribers=0 lost=0",
    ]
    assert list(lines.changes(before, NOON)) == []
    after = view(meter, 12, [topic(1, "events.a", messages=9, size=300, retained=9)], [], [collector()])
    assert list(lines.changes(after, NOON + 2)) == [
        "2026-05-01T12:00:03Z client name=tail pid=4720 uid=1000 state=gone",
        "2026-05-01T12:00:03Z topic name=events.a messages=9 rate=2.0 bytes_rate=150 retained=9 fill=0.000 "
        "publishers=1 subscribers=0 lost=0",
    ]


def test_bad_health_comes_with_its_reason():
    ill = view(Meter(cpu=still, storage=lambda: 0.1), 10, alive=False)
    (told,) = Lines().changes(ill, NOON)
    assert "state=dead health=unhealthy" in told
    assert 'reason="the coordinator (pid 4711) is dead"' in told


def test_whatever_a_process_is_called_its_line_stays_one_line_of_facts():
    name = 'a b="c"\\\n\x1b[2J'
    told = line("client", NOON, name=name, empty="", pid=1)
    assert told.isprintable()
    assert [word.partition("=")[0] for word in shlex.split(told)[2:]] == ["name", "empty", "pid"]
