"""What a server says of its own health, and why."""

from shmbus import rpc
from shmbus.rpc.health import Vitals
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, UNHEALTHY, ComponentHealth


def component(name, status, message=""):
    return ComponentHealth(name=name, status=status, message=message)


def test_the_reason_is_that_of_the_worst_component():
    vitals = Vitals("lab")
    assert vitals.why([component("disk", DEGRADED, "97 % full"), component("net", UNHEALTHY)]) == "net"
    assert vitals.why([component("disk", DEGRADED, "97 % full")]) == "disk: 97 % full"
    vitals.queued = 1
    assert vitals.why([component("disk", HEALTHY)]) == "rpc: 1 of at most 1 requests wait"


def test_components_that_are_well_are_no_reason():
    assert Vitals("lab").why([component("disk", HEALTHY, "3 % full")]) == ""

    class Lab(rpc.Collector):
        def own_health(self):
            return DEGRADED

    assert Lab("lab").own_reason() == ""
