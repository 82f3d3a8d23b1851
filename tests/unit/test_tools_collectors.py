"""The tables of collectors: why one ended, and what one can, stand below its row, whole but on a terminal."""

from shmbus.tools import collectors, collectors_health, tasks
from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.control_pb2 import CollectorStatus
from shmbus.v1.ipc_pb2 import MonitoringDomain
from shmbus.v1.rpc_pb2 import RegistrationEvent, RegistrationEventKind

REASON = "ended with status 2: error: argument --mode: invalid choice: 'nonsense' (choose from 'auto', 'scan')"
FOUND = [
    CollectorStatus(name="procmond", state="running", health="healthy", pid=4711, restarts=2, reason=REASON),
    CollectorStatus(name="netmond", state="stopped", health="unknown"),
]

LIST = f"""\
collector                state       health           pid restarts
netmond                  stopped     unknown            –        0
procmond                 running     healthy         4711        2
  last exit: {REASON}
"""


def test_the_list_has_the_whole_reason_where_nothing_has_to_fit():
    assert collectors.listing(FOUND, "lab", 80, None) == LIST


def test_on_a_terminal_every_line_fits_it():
    for lines in (
        collectors.listing(FOUND, "lab", 80, 80).splitlines(),
        collectors_health.listing(FOUND, "healthy", 80, 80).splitlines(),
    ):
        assert max(map(len, lines)) == 80 and "  last exit: ended with" in "\n".join(lines)


def test_health_has_the_reason_whole_too():
    assert f"\n  last exit: {REASON}\nall together: healthy\n" in collectors_health.listing(FOUND, "healthy", 80, None)


def test_what_a_reason_says_cannot_forge_a_line():
    [_, _, line] = collectors.listing([CollectorStatus(name="x", reason="a\nb\x1b[2J")], "lab", 80, None).splitlines()
    assert line == r"  last exit: a\nb\x1b[2J"


def test_what_a_registered_collector_can_is_not_cut():
    event = RegistrationEvent(kind=RegistrationEventKind.REGISTRATION_EVENT_KIND_REGISTERED)
    its = event.registration
    its.collector_id, its.pid = "procmond", 4711
    its.capabilities.supported_domains.extend(MonitoringDomain.values())
    its.capabilities.task_types.append(TaskType.ENUMERATE_PROCESSES)
    its.capabilities.advanced.kernel_level = True
    assert tasks.listing([event], "lab", 80, None) == (
        "collector                lease        pid domains\n"
        "procmond                 held        4711 process network filesystem performance\n"
        "  can: ENUMERATE_PROCESSES kernel_level\n"
    )
