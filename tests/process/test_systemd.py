"""The unit that we ship, as a systemd that really runs has it: start, reload, watchdog, a killed coordinator, stop."""

import pwd
import signal
import sys

import pytest

from process import hugetlb, machine
from process.buses import eventually
from process.collectors import open_directory, script

UNIT = "/etc/systemd/system/shmbus.service"
CONFIG = "/etc/shmbus.toml"
CAP_NET_ADMIN, CAP_SYS_MODULE, CAP_SYS_PTRACE, CAP_SYS_BOOT = 12, 16, 19, 22
COUNTING = """
import itertools, shmbus
with shmbus.connect(name="counter") as bus, bus.publisher("lab.count") as publisher:
    bus.ready()
    for number in itertools.count():
        publisher.publish(b"%d" % number)
        bus.beat()
        __import__("time").sleep(0.002)
"""
CONFIGURED = """
[bus]
heartbeat_ms = 1000
[collectors.procmond]
enabled = false
[collectors.counter]
command = ["{}"]
restart_first_seconds = 0.1
"""
READ_ALL = """
import shmbus
with shmbus.connect(name="reader") as bus, bus.subscribe("lab.count", start="earliest") as subscription:
    numbers = [int(message.payload) for message in subscription.receive_many(8192)]
print(numbers == list(range(len(numbers))), len(numbers))
"""


@pytest.fixture(scope="module")
def host():
    """A machine of its own, with the unit installed as its first lines say."""
    if (why := machine.missing()) is not None:
        pytest.skip(why)
    with machine.booted() as found:
        found.write(UNIT, found.run("shmbus", "systemd-unit"))
        yield found


@pytest.fixture(scope="module")
def counter():
    """A collector that numbers what it publishes."""
    with open_directory() as directory:
        yield script(directory / "counter", COUNTING)


class Service:
    """The unit shmbus on that machine."""

    def __init__(self, host):
        self.host = host

    def configure(self, text):
        self.host.write(CONFIG, text)

    def start(self):
        self.host.run("systemctl", "start", "shmbus")

    def stop(self):
        self.host.run("systemctl", "stop", "shmbus")

    def main(self):
        return int(self.host.show("shmbus", "MainPID"))

    def kill(self, number):
        """The coordinator, whatever else is in the unit."""
        self.host.run("systemctl", "kill", "--kill-whom=main", f"--signal={number.name}", "shmbus")

    def wait_for_another(self, pid):
        """Until a coordinator is ready that is not this one."""
        eventually(lambda: self.main() not in (0, pid) and self.host.show("shmbus", "ActiveState") == "active")

    def collector(self, name):
        """Its state and pid."""
        words = next(line.split() for line in self.shmbus("collectors", "list").splitlines() if line.startswith(name))
        return words[1], int(words[3])

    def shmbus(self, *words):
        return self.host.run("shmbus", *words)

    def lines(self, *options):
        """What the bus has said since the test began."""
        return self.host.journal("--unit=shmbus", "--output=cat", *options).splitlines()

    @property
    def cgroup(self):
        """Of the unit, as it is seen from outside."""
        return self.host.cgroup / "system.slice/shmbus.service"

    def left(self):
        """What there is of it: segments, sockets, its cgroup, which is there as long as there is a process in it."""
        found = self.host.attempt("ls", "-A", "/dev/shm", "/run/shmbus", "/sys/fs/cgroup/system.slice/shmbus.service")
        return [line for line in found.out.split() if not line.startswith("/")]


@pytest.fixture
def service(host, counter):
    """Configured, not started; at the end it is stopped, and nothing is left of it."""
    found = Service(host)
    host.run("journalctl", "--rotate", "--vacuum-time=1us", "--quiet")
    found.configure(CONFIGURED.format(counter))
    yield found
    host.run("systemctl", "stop", "shmbus")
    host.attempt("systemctl", "reset-failed", "shmbus")
    host.run("rm", "-rf", "/run/systemd/system/shmbus.service.d")
    host.run("systemctl", "daemon-reload")
    assert found.left() == []


def set_in_unit(host, text):
    """Override what the unit says."""
    host.run("mkdir", "-p", "/run/systemd/system/shmbus.service.d")
    host.write("/run/systemd/system/shmbus.service.d/test.conf", f"[Service]\n{text}\n")
    host.run("systemctl", "daemon-reload")


def test_who_starts_it_waits_until_it_is_ready(service, host):
    host.run("sh", "-c", "systemctl start shmbus && test -S /run/shmbus/default.sock")
    assert host.show("shmbus", "ActiveState") == "active"
    assert service.collector("counter")[0] in ("starting", "running")


def test_the_journal_has_what_is_logged_with_its_priority_and_no_counters(service, host):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    _, pid = service.collector("counter")
    host.run("kill", "-KILL", str(pid))
    eventually(lambda: any("killed by SIGKILL" in line for line in service.lines("--priority=warning")))
    assert f"counter: started as pid {pid}" in service.lines("--priority=info")
    assert all("killed by SIGKILL" in line for line in service.lines("--priority=warning", "_COMM=shmbus"))
    service.stop()
    assert "stopped: SIGTERM" in service.lines()
    assert not any("topic name=" in line or "T00" in line for line in service.lines())


def test_one_that_cannot_start_says_why_as_an_error(service, host):
    service.configure("[bus]\nheartbeat = 5\n")
    assert host.attempt("systemctl", "start", "shmbus").status != 0
    (said,) = service.lines("--priority=err", "_COMM=shmbus")
    assert said.startswith(f"shmbus: {CONFIG}:2: bus.heartbeat = 5: ")


def test_a_killed_coordinator_is_started_again_and_goes_on_with_collectors_and_messages(service, host):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    coordinator, (_, collector) = service.main(), service.collector("counter")
    service.kill(signal.SIGKILL)
    service.wait_for_another(coordinator)
    assert service.collector("counter") == ("running", collector)
    assert host.run("python3", "-c", READ_ALL).startswith("True ")


def test_one_that_hangs_is_found_by_the_watchdog(service, host):
    set_in_unit(host, "WatchdogSec=1s")
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    coordinator, (_, collector) = service.main(), service.collector("counter")
    service.kill(signal.SIGSTOP)
    service.wait_for_another(coordinator)
    assert service.collector("counter") == ("running", collector)
    assert any("Watchdog timeout" in line for line in service.lines())


def test_stopped_it_leaves_nothing(service):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    assert service.left() != []
    service.stop()
    assert service.left() == []


def test_collectors_have_what_they_need_and_not_what_the_unit_keeps_back(service, host):
    service.configure("[collectors.procmond]\n[collectors.tool]\ncommand = ['/bin/sleep', '1000']\nuser = 'nobody'\n")
    service.start()
    eventually(lambda: service.collector("procmond")[0] == "running")
    pid = service.collector("procmond")[1]
    its = dict(line.split(":\t") for line in host.run("grep", "^Cap", f"/proc/{pid}/status").splitlines())
    assert not int(its["CapBnd"], 16) & (1 << CAP_SYS_MODULE | 1 << CAP_SYS_BOOT)
    assert int(its["CapEff"], 16) & 1 << CAP_SYS_PTRACE and int(its["CapEff"], 16) & 1 << CAP_NET_ADMIN
    assert host.run("cat", f"/proc/{pid}/oom_score_adj") == "0\n"
    uid = pwd.getpwnam("nobody").pw_uid
    eventually(lambda: host.run("stat", "--format=%u", f"/proc/{service.collector('tool')[1]}") == f"{uid}\n")
    # They see this host as it is.
    assert host.run("readlink", f"/proc/{pid}/ns/mnt") == host.run("readlink", "/proc/1/ns/mnt")


STOP, KILL = "systemctl stop shmbus", "systemctl kill --kill-whom=main --signal=KILL shmbus"
UNTIL_IT_STARTS = 'until [ "$(systemctl show --property SubState --value shmbus)" = start ]; do :; done'


@pytest.mark.parametrize("script", [f"{KILL}; {UNTIL_IT_STARTS}; {STOP}", f"{STOP} --no-block; {KILL}; {STOP}"])
def test_stopped_and_killed_it_leaves_nothing_either(service, host, script):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    host.run("sh", "-c", script)
    assert service.left() == []


def test_a_reload_is_done_when_it_returns_and_fails_where_the_file_is_wrong(service, host, counter):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    coordinator = service.main()
    service.configure(CONFIGURED.format(counter) + "enabled = false\n")
    host.run("systemctl", "reload", "shmbus")
    eventually(lambda: "stopped" in service.shmbus("collectors", "list"))
    service.configure("[bus]\nheartbeat = 5\n")
    assert host.attempt("systemctl", "reload", "shmbus").status != 0
    assert any("bus.heartbeat = 5: " in line for line in service.lines("--priority=err"))
    assert (host.show("shmbus", "ActiveState"), service.main()) == ("active", coordinator)


def test_killed_with_a_wrong_configuration_it_fails_at_once_and_goes_on_when_that_is_mended(service, host, counter):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    _, collector = service.collector("counter")
    service.configure("[bus]\nheartbeat = 5\n")
    service.kill(signal.SIGKILL)
    eventually(lambda: host.show("shmbus", "ActiveState") == "failed")
    assert host.show("shmbus", "NRestarts") == "1"
    service.configure(CONFIGURED.format(counter))
    service.start()
    assert service.collector("counter") == ("running", collector)
    assert host.run("python3", "-c", READ_ALL).startswith("True ")


def test_of_a_unit_that_has_failed_the_rest_is_ended_by_hand(service, host):
    service.start()
    eventually(lambda: service.collector("counter")[0] == "running")
    service.configure("[bus]\nheartbeat = 5\n")
    service.kill(signal.SIGKILL)
    eventually(lambda: host.show("shmbus", "ActiveState") == "failed")
    service.stop()
    assert service.left() != []
    assert service.shmbus("down").splitlines()[-1] == "the bus 'default', which nobody ran any more, has stopped"
    assert service.left() == []


@pytest.fixture
def confining(service, host, counter):
    """The same with a collector in a cgroup, whose limit takes a controller that is there."""
    with hugetlb.lent() as top, open_directory() as directory:
        if top is None:
            pytest.skip("no controller that cgroups in there could have")
        (directory / "up").write_text(hugetlb.program("shmbus.tools.main"))
        command = f"{sys.executable} -P {directory}/up up --plain --config {CONFIG}"
        set_in_unit(host, f"ExecStart=\nExecStart={command}")
        service.configure(CONFIGURED.format(counter) + "cgroup = { memory_max_bytes = 4_194_304 }\n")
        for handing in (host.cgroup, host.cgroup / "system.slice"):
            (handing / "cgroup.subtree_control").write_text("+hugetlb")
        yield service
        service.stop()
        for handing in (host.cgroup / "system.slice", host.cgroup):
            (handing / "cgroup.subtree_control").write_text("-hugetlb")


def test_limits_by_cgroup_are_the_unit_s_own_to_set_and_hold_after_a_kill_too(confining, host):
    confining.start()
    eventually(lambda: confining.collector("counter")[0] == "running")
    coordinator, (_, collector) = confining.main(), confining.collector("counter")
    place = confining.cgroup / "collector.default.counter"
    assert (place / hugetlb.FILE).read_text() == "4194304\n"
    confining.kill(signal.SIGKILL)
    confining.wait_for_another(coordinator)
    assert confining.collector("counter") == ("running", collector)
    assert (place / hugetlb.FILE).read_text() == "4194304\n"
    assert host.run("cat", f"/proc/{collector}/cgroup").splitlines()[-1].endswith("/collector.default.counter")
    confining.stop()
    assert confining.left() == []
