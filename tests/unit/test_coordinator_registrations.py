"""Registrations and their leases, told as histories: no process, no clock."""

import pytest

from shmbus.coordinator.registrations import LOOKS, REMEMBERED, Refused, Registrations, State
from shmbus.v1 import rpc_pb2 as wire

ME, OTHER = 7, 8
KINDS = "REGISTERED RENEWAL_FAILED RENEWED EXPIRED DEREGISTERED".split()


def kind(change):
    return wire.RegistrationEventKind.Name(change.kind).removeprefix("REGISTRATION_EVENT_KIND_")


def kinds(changes):
    return [kind(change) for change in changes]


def request(name="mine", interval=1000, **fields):
    return wire.RegistrationRequest(collector_id=name, heartbeat_interval_ms=interval, **fields)


def refused(call):
    with pytest.raises(Refused) as found:
        call()
    return found.value


class History:
    """Looks four times an interval at these beats; what was told, and when."""

    def __init__(self, most=1024):
        self.its = Registrations(100, most)
        self.now = 0.0

    def register(self, name="mine", holder=ME, **fields):
        return kinds(self.its.register(request(name, **fields), holder, f"session {holder}", self.now))

    def looks(self, *beats, name="mine", step=1 / LOOKS):
        told = []
        for one in beats:
            self.now += step
            change = self.its.look(name, one, self.now)
            told += [(kind(change), self.now)] if change else []
        return told

    def state(self, name="mine"):
        return self.its.get(name).state


def test_one_that_beats_keeps_its_registration():
    history = History()
    assert history.register() == ["REGISTERED"]
    assert history.looks(*(1 + n // LOOKS for n in range(100))) == []


def test_one_that_stops_is_told_of_first_and_expires_after_three_intervals():
    history = History()
    history.register()
    told = history.looks(*[5] * 20)
    assert [one for one, _ in told] == ["RENEWAL_FAILED", "EXPIRED"]
    begun = 1 / LOOKS  # the first look
    assert told[0][1] - begun == pytest.approx(1.5) and told[1][1] - begun == pytest.approx(3.0)


def test_one_that_registers_and_never_beats_expires_too():
    history = History()
    history.register()
    assert [one for one, _ in history.looks(*[0] * 20)] == ["RENEWAL_FAILED", "EXPIRED"]


def test_one_that_moves_again_in_time_is_renewed_and_after_that_registered_anew():
    history = History()
    history.register()
    number = history.its.get("mine").number
    assert [one for one, _ in history.looks(*[5] * 8, 6)] == ["RENEWAL_FAILED", "RENEWED"]
    assert history.its.get("mine").number == number
    assert [one for one, _ in history.looks(*[6] * 13, 7)] == ["RENEWAL_FAILED", "EXPIRED", "REGISTERED"]
    assert history.its.get("mine").number > number and history.state() is State.HELD


def test_whoever_looks_late_begins_to_count_anew():
    history = History()
    history.register()
    history.looks(5, 5)
    assert history.looks(5, step=60.0) == [] and history.state() is State.HELD
    assert [one for one, _ in history.looks(*[5] * 6)] == ["RENEWAL_FAILED"]


def test_a_name_is_one_holders_until_it_expires():
    history = History()
    history.register()
    error = refused(lambda: history.register(holder=OTHER))
    assert (error.code, str(error)) == ("ALREADY_REGISTERED", "it is session 7")
    history.looks(*[5] * 20)
    assert history.register(holder=OTHER) == ["DEREGISTERED", "REGISTERED"]
    assert refused(lambda: history.register(holder=ME)).code == "ALREADY_REGISTERED"


def test_registering_again_renews_and_tells_what_is_new():
    history = History()
    history.register()
    assert history.register() == []
    assert history.register(version="2") == ["REGISTERED"]
    history.looks(*[5] * 8)
    assert history.state() is State.LATE
    assert history.register(version="2") == ["RENEWED"]
    history.looks(*[5] * 20)
    assert history.state() is State.EXPIRED
    assert history.register(version="2") == ["REGISTERED"]


def test_deregistering_takes_the_holder_or_force():
    history = History()
    deregister = history.its.deregister
    assert refused(lambda: deregister("mine", ME, force=False)).code == "REGISTRATION_NOT_FOUND"
    history.register()
    assert refused(lambda: deregister("mine", OTHER, force=False)).code == "ALREADY_REGISTERED"
    change = deregister("mine", OTHER, force=True, reason="maintenance")
    assert (kind(change), change.reason) == ("DEREGISTERED", "maintenance")
    assert refused(lambda: deregister("mine", ME, force=False)).code == "REGISTRATION_NOT_FOUND"


def test_all_of_a_holder_that_is_gone_ends_and_is_said_to_have_expired_once():
    history = History()
    history.register("one")
    history.register("two")
    history.register("three", holder=OTHER)
    assert kinds(history.its.holder_gone(ME, "its process died")) == ["DEREGISTERED"] * 2
    assert [one.name for one in history.its.all()] == ["three"]
    error = refused(lambda: history.its.deregister("one", OTHER, force=False))
    assert error.code == "REGISTRATION_EXPIRED" and "its process died" in str(error)
    assert refused(lambda: history.its.deregister("one", OTHER, force=False)).code == "REGISTRATION_NOT_FOUND"


def test_how_many_are_registered_and_remembered_is_bounded():
    history = History(most=2)
    history.register("one")
    history.register("two")
    error = refused(lambda: history.register("three"))
    assert error.code == "REGISTRATION_INVALID" and "2 is the limit" in str(error)
    for number in range(2 * REMEMBERED):
        history.its.holder_gone(ME, "gone")
        history.register(f"n{number}")
    assert len(history.its._ended) == REMEMBERED


def test_revisions_only_rise_and_a_registration_has_that_of_its_first_event():
    its = Registrations(100)
    changes = its.register(request(), ME, "me", 0.0) + its.register(request(version="2"), ME, "me", 0.0)
    changes += its.holder_gone(ME, "gone") + its.register(request(), ME, "me", 1.0)
    assert [change.revision for change in changes] == [101, 102, 103, 104]
    assert changes[0].wire().registration_id == 101
    assert changes[3].wire() == wire.RegistrationEvent(
        kind=wire.REGISTRATION_EVENT_KIND_REGISTERED,
        registration=request(),
        registration_id=104,
        revision=104,
        lease_ms=3000,
        session=ME,
    )


def test_the_next_coordinator_goes_on_with_leases_that_begin_anew():
    history = History()
    (change,) = history.its.register(request(), ME, "me", 0.0)
    successor = History()
    successor.its.adopt(change.wire(), "me", 0.0)
    assert successor.register(holder=ME) == []
    assert refused(lambda: successor.register(holder=OTHER)).code == "ALREADY_REGISTERED"
    assert [one for one, _ in successor.looks(*[5] * 20)] == ["RENEWAL_FAILED", "EXPIRED"]
    assert kind(successor.its.stale(change.wire(), "nobody")) == "DEREGISTERED"


def test_one_that_had_expired_has_under_the_next_coordinator_too():
    history = History()
    history.register()
    changes = []
    for number in range(20):
        change = history.its.look("mine", 5, number / LOOKS)
        changes += [change] if change else []
    successor = History()
    successor.its.adopt(changes[-1].wire(), "me", 0.0)
    assert successor.looks(5, 5) == [] and successor.state() is State.EXPIRED
    assert [one for one, _ in successor.looks(6)] == ["REGISTERED"]
