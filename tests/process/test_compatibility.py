"""Clients and coordinators of unlike versions of the protocol, and what is told where one can less than the other."""

import warnings
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

import shmbus
from process.buses import coordinator
from process.compatibility import TODAY, pairs, table
from process.relay import BASIC, relay
from protocols import minor_0_pb2, minor_2
from shmbus.v1 import control_pb2, eventbus_pb2
from shmbus.version import OURS

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def found(bus_name, tmp_path):
    return pairs(bus_name, tmp_path)


def test_every_pair_does_what_the_readme_says_of_it(found):
    print(table(found))
    assert table(found) in README.read_text()

    its = {(client, other): one for client, other, one in found}
    able = sorted(OURS.able(OURS.version))
    both, older, newer = (its[TODAY, other] for other in (TODAY, "1.0", "1.2"))
    assert (both["capabilities"], both["warnings"], both["told"]) == (able, [], [])
    assert newer["capabilities"] == able and not newer["warnings"]
    assert older["capabilities"] == sorted(BASIC)
    lacking = [f"the coordinator lacks the capability '{name}'" for name in OURS.able(OURS.version)[len(BASIC) :]]
    assert older["warnings"] == lacking
    assert len(older["told"]) == len(lacking) and all("bus '" in line for line in older["told"])

    assert its["1.0", TODAY]["capabilities"] == sorted(BASIC) and not its["1.0", TODAY]["warnings"]
    assert its["1.2", TODAY]["capabilities"] == able
    assert its["1.2", TODAY]["warnings"] == [
        "version 1.1.0 is spoken, not the preferred 1.2.0",
        f"the coordinator lacks the capability '{minor_2.CAPABILITY}'",
    ]


def message_of_today(name):
    for module in (control_pb2, eventbus_pb2):
        if name in module.DESCRIPTOR.message_types_by_name:
            return module.DESCRIPTOR.message_types_by_name[name]
    raise AssertionError(f"{name} is gone")


def shape(field):
    oneof = field.containing_oneof.name if field.containing_oneof else None
    kind = field.message_type.name if field.message_type else field.enum_type and "enum" or field.type
    return field.name, kind, field.is_repeated, oneof


@pytest.mark.parametrize("older", minor_0_pb2.DESCRIPTOR.message_types_by_name.values(), ids=lambda one: one.name)
def test_nothing_that_an_older_minor_version_says_means_another_thing_today(older: Descriptor):
    today = message_of_today(older.name)
    for field in older.fields:
        now = today.fields_by_number[field.number]
        if (older.name, field.name) != ("ControlError", "code"):  # an enum; the same on the wire
            assert shape(now) == shape(field)


def test_what_a_newer_coordinator_pushes_that_nobody_knows_is_passed_over(bus_name):
    with coordinator(bus_name), relay(bus_name, "1.2") as address, shmbus.connect(address) as bus:
        with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x") as publisher:
            publisher.publish(b"all is well")
            assert subscription.receive(timeout=20).payload == b"all is well"


def test_what_an_older_coordinator_lacks_is_a_warning_that_can_be_made_an_error(bus_name):
    with coordinator(bus_name), relay(bus_name, "1.0") as address:
        with warnings.catch_warnings():
            warnings.simplefilter("error", shmbus.CompatibilityWarning)
            with pytest.raises(shmbus.CompatibilityWarning, match="lacks the capability 'advanced_routing'"):
                shmbus.connect(address)
        with pytest.warns(shmbus.CompatibilityWarning), shmbus.connect(address) as bus:
            with pytest.raises(shmbus.CapabilityError, match="protocol 1.0.0. Upgrade it, or ask first"):
                bus.subscribe("lab.x", durable="agent")
            assert "durable_subscriptions" not in bus.capabilities
            with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
                publisher.publish(b"still used")
                assert subscription.receive(timeout=20).payload == b"still used"


def test_the_warning_points_at_whoever_connects(bus_name):
    with coordinator(bus_name), relay(bus_name, "1.0") as address:
        with pytest.warns(shmbus.CompatibilityWarning) as told:
            shmbus.connect(address).close()
    assert {one.filename for one in told} == {__file__}


def test_a_coordinator_of_another_major_version_that_takes_over_ends_it_with_the_reason(bus_name):
    with coordinator(bus_name) as first, relay(bus_name, "1.2") as address, shmbus.connect(address) as bus:
        subscription = bus.subscribe("lab.x")
        first.process.kill()
        first.rest()
        with relay_moved(address), coordinator(bus_name), relay(bus_name, "2.0") as again:
            assert again == address

            with pytest.raises(shmbus.ClosedError, match=r"no common protocol: .* 2\.0\.0, .* 1\.1\.0"):
                subscription.receive(timeout=20)


class relay_moved:
    """The first relay's address is another's for a while."""

    def __init__(self, address):
        self.here, self.there = Path(address), Path(address + ".old")

    def __enter__(self):
        self.here.rename(self.there)

    def __exit__(self, *_):
        self.there.rename(self.here)
