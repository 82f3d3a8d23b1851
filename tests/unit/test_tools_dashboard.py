"""The live table, as it looks at 80 and at 120 columns, and that it always fits."""

import pytest

from shmbus.directory import BusState, CollectorState
from shmbus.tools.dashboard import dashboard, share
from shmbus.tools.meter import Meter
from unit.tools_readings import COORDINATOR, PROCMOND, STARTED, collector, cursor, reading, session, topic

LOG = ["12:00:00 listening on /run/user/1000/shmbus/lab.sock", "12:00:00 procmond: started as pid 4712"]

AT_80 = """\
shmbus lab  running  degraded                 pid 4711  up 3 min 20 s  cpu 0.2 %
collector netmond is backing-off
/run/user/1000/shmbus/lab.sock

topic                     messages  per s  bytes/s   kept  full pub sub   lost
events.process.metadata      1,204    2.0    1 KiB  1,204  14 %   1   0      0
events.process.start     1,234,567  4.60k 1.29 MiB  8,144  99 %   1   1  1.20M

collector               state           pid restarts    cpu
netmond                 backing-off       –        2      – killed by SIGKILL
procmond                running        4712        0  1.5 %

client                       pid    uid    reads  received  per s   lost
procmond                    4712   1000        0         0      0      0
tail                        4720   1000        1    34,567  2.28k  1.20M

12:00:00 listening on /run/user/1000/shmbus/lab.sock
12:00:00 procmond: started as pid 4712
"""

AT_120 = """\
shmbus lab  running  degraded                                                         pid 4711  up 3 min 20 s  cpu 0.2 %
collector netmond is backing-off
/run/user/1000/shmbus/lab.sock

topic                          messages     per s   bytes/s       kept  in bytes   full  pub  sub       lost
events.process.metadata           1,204       2.0     1 KiB      1,204   602 KiB   14 %    1    0          0
events.process.start          1,234,567     4.60k  1.29 MiB      8,144  3.98 MiB   99 %    1    1  1,200,000

collector           state            pid  restarts     cpu
netmond             backing-off        –         2       –  killed by SIGKILL
procmond            running         4712         0   1.5 %

client                        pid     uid     reads   received   per s    lost
procmond                     4712    1000         0          0       0       0
tail                         4720    1000         1     34,567   2.28k   1.20M

12:00:00 listening on /run/user/1000/shmbus/lab.sock
12:00:00 procmond: started as pid 4712
"""


def views(count=2):
    names = ["events.process.metadata", "events.process.start"] + [f"load.number-{n}" for n in range(count - 2)]
    first = [topic(n + 1, name, messages=1000 * n) for n, name in enumerate(names)]
    first[:2] = [topic(1, names[0], messages=1200), topic(2, names[1], messages=1_225_367, size=2_000_000)]
    yield reading(100, first, _sessions(30_000, 0), _collectors())
    second = [
        topic(1, names[0], messages=1204, size=2048, retained=1204, fill=0.147),
        topic(2, names[1], messages=1_234_567, size=4_700_000, retained=8144, fill=0.994),
        *(topic(n + 1, name, messages=1000 * n + 2) for n, name in enumerate(names) if n > 1),
    ]
    yield reading(102, second, _sessions(34_567, 1_200_000), _collectors())


def _sessions(delivered, lost):
    return [
        session(1, "procmond", 4712),
        session(2, "tail", 4720, [cursor(2, delivered=delivered, overrun=lost)]),
    ]


def _collectors():
    crashed = collector(CollectorState.BACKING_OFF, name="netmond", restarts=2, detail="killed by SIGKILL")
    return [crashed, collector()]


def view(count=2):
    used = {COORDINATOR: 1.0, PROCMOND: 2.0}
    meter = Meter(cpu=used.get, storage=lambda: 0.1)
    first, second = views(count)
    meter.update(first, STARTED)
    used.update({COORDINATOR: 1.004, PROCMOND: 2.03})
    return meter.update(second, STARTED + 200)


def test_a_bus_at_80_columns():
    assert dashboard(view(), LOG, 80, 24).plain + "\n" == AT_80


def test_a_bus_at_120_columns():
    assert dashboard(view(), LOG, 120, 40).plain + "\n" == AT_120


@pytest.mark.parametrize("width", [20, 40, 60, 80, 109, 110, 200])
@pytest.mark.parametrize("height", [4, 8, 12, 24, 50])
@pytest.mark.parametrize("count", [2, 100])
def test_it_fits_any_terminal(width, height, count):
    lines = dashboard(view(count), LOG * 20, width, height).plain.split("\n")
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_topics_that_do_not_fit_are_counted():
    lines = dashboard(view(100), LOG, 80, 24).plain.split("\n")
    shown = [line for line in lines if line.startswith(("events.", "load."))]
    assert f"… and {100 - len(shown)} more topics" in lines
    assert len(shown) >= 4
    assert "12:00:00 procmond: started as pid 4712" in lines


def test_a_bus_without_topics_says_how_to_get_one():
    empty = Meter(cpu=lambda process: None, storage=lambda: 0.1).update(reading(100), STARTED)
    assert "no topics yet: the first publisher makes one" in dashboard(empty, [], 80, 24).plain


def test_reasons_for_bad_health_are_told():
    ill = Meter(cpu=lambda process: None, storage=lambda: 0.1).update(reading(100, alive=False), STARTED)
    lines = dashboard(ill, [], 80, 24).plain.split("\n")
    assert lines[0].startswith("shmbus lab  dead  unhealthy")
    assert lines[1] == "the coordinator (pid 4711) is dead"


def test_a_stopped_bus_is_neither_healthy_nor_ill():
    stopped = Meter(cpu=lambda process: None, storage=lambda: 0.1).update(reading(100, state=BusState.STOPPED), STARTED)
    assert "healthy" not in dashboard(stopped, [], 80, 24).plain


def test_log_lines_cannot_do_anything_to_the_terminal():
    assert "\x1b" not in dashboard(view(), ["a\x1b[2Jb\nc"], 80, 24).plain


def test_lines_are_shared_by_need_then_by_rank():
    assert share(20, [30, 4, 4, 10], [4, 4, 4, 4]) == [8, 4, 4, 4]
    assert share(50, [10, 4, 0, 3], [4, 4, 4, 4]) == [10, 4, 0, 3]
    assert share(5, [30, 4, 4, 10], [4, 4, 4, 4]) == [4, 4, 4, 4]  # what is too much is cut at the end
