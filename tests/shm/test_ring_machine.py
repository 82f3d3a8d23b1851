"""The real ring against the plain one, through whatever hypothesis thinks of: writers, readers, gates, limits, expiry,
claims of the dead, repair, seals. Sequences begin near every wrap there is."""

import os
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shm.memory import (
    ABORTED,
    CLAIMED,
    COMMITTED,
    SKIPPED,
    UNIT,
    Raw,
    Shape,
    TestReader,
    TestWriter,
    Trouble,
    gap_of,
    make_bells,
    make_ring,
    make_session,
    units_of,
)
from shm.ring_model import EXPIRED_AT_ONCE, ReaderModel, RingModel, Slot
from shmbus import _core

LONG = bool(os.environ.get("SHMBUS_LONG"))
WRITERS = (1, 2, 3)
DEAD = (5, 6)
GATES = 4
GENERATIONS = 3
SECOND = 10**9


def beginnings(slots):
    """First sequences near the ends of 24, 32, 40 and 64 bits, and of 32 bits of laps."""
    wraps = (1, 2**24, 2**32, 2**39, 2**40, 2**41, slots * 2**31, slots * 2**32, 2**62)
    return st.sampled_from(wraps).flatmap(lambda wrap: st.integers(max(1, wrap - 12), wrap + 1))


positions = st.sampled_from([0, 1, 2**24 - 1, 2**24 - 20, 2**23 - 5, 12345])
payloads = st.binary(max_size=40) | st.integers(41, 1500).map(lambda size: bytes([size % 251]) * size)


class RingMachine(RuleBasedStateMachine):
    """One topic: its generations, writers that follow them, readers of any kind."""

    def __init__(self):
        super().__init__()
        self.bells = make_bells()
        self.sessions = [make_session(number) for number in (11, 12)]
        self.rings, self.models, self.raws, self.descriptors = [], [], [], []
        self.readers, self.joined = {}, 0
        self.free_cursors = [(session, index) for session in self.sessions for index in range(8)]

    @initialize(data=st.data(), slots=st.sampled_from([2, 4, 8, 16]), arena=st.sampled_from([4096, 8192]), at=positions)
    def make(self, data, slots, arena, at):
        shape = Shape(slots, arena, first_sequence=data.draw(beginnings(slots)), first_position=at)
        self._add_generation(shape)
        self.writers = {producer: TestWriter(self.rings[0], producer, self.bells) for producer in WRITERS}
        for writer in self.writers.values():
            writer._set_sessions(self.sessions)

    def _add_generation(self, shape):
        ring, descriptor = make_ring(shape)
        limits = (shape.slots - 1, shape.arena_bytes // UNIT, shape.max_message_bytes)
        self.models.append(RingModel(shape.slots, shape.arena_bytes // UNIT, shape.first_sequence, *limits))
        self.rings.append(ring)
        self.raws.append(Raw(descriptor, shape))
        self.descriptors.append(descriptor)

    @property
    def ring(self):
        return self.rings[-1]

    @property
    def model(self):
        return self.models[-1]

    # ---- writing -----------------------------------------------------------------------------------------------------

    @rule(producer=st.sampled_from(WRITERS), payload=payloads, brief=st.booleans() | st.just(False))
    def publish(self, producer, payload, brief):
        model, units, before = self.model, units_of(payload), self.model.head
        behind = self.rings.index(self.writers[producer]._ring)
        fits = self._fits_after_all(model, units)
        try:
            sequence = self.writers[producer].publish(payload, ttl=0.000_001 if brief else 1000)
        except Trouble as trouble:
            self._check_refusal(trouble, model, payload, units, fits)
        else:
            assert fits and not model.too_large(payload, units)
            assert sequence == model.next
            self._check_retired(model, units, before)
            model.slots[sequence] = Slot(producer, payload, units, COMMITTED, brief)
            model.next, model.unhelped = sequence + 1, False
        if (
            behind < len(self.rings) - 1
        ):  # it made room in a full ring before it met the seal: no harm but a little loss
            head = self.rings[behind].head
            assert self.models[behind].head <= head <= self.models[behind].barrier()
            self.models[behind].head = head

    def _fits_after_all(self, model, units):
        """When everything that may go has gone, is there room?"""
        return model.fits(model.barrier(), units)

    def _check_refusal(self, trouble, model, payload, units, fits):
        if model.too_large(payload, units):
            assert trouble.result == _core.TOO_LARGE
            return
        assert trouble.result == _core.FULL and not fits
        barrier = model.barrier()
        self._take_over_head(model)
        assert model.head == barrier == trouble.sequence  # whatever could be retired has been
        if barrier >= model.gate:
            assert trouble.by == _core.BY_GATE
            holders = [reader for reader in model.gates.values() if reader.position == model.gate]
            assert (trouble.session, trouble.cursor) in [self._cursor_of(reader) for reader in holders]
        else:
            slot = model.slots[barrier]
            assert trouble.by == (_core.BY_SKIPPED if slot.state == SKIPPED else _core.BY_CLAIM)
            assert trouble.producer == slot.producer

    def _cursor_of(self, model):
        for reader, its in self.readers.values():
            if its is model:
                return reader.gated[0].session, reader.gated[1]
        raise KeyError

    def _take_over_head(self, model):
        """Where publishing moved the head to: no further than it may."""
        head = self.rings[self.models.index(model)].head
        assert model.head <= head <= model.barrier()
        model.head = head
        model.unhelped = model.unhelped and self.ring.tail < model.next

    def _check_retired(self, model, units, before):
        """No more than a batch was retired beyond what was needed, and nothing if nothing was needed."""
        needed, batch = before, model.room[0] // 16 + 1
        while not model.fits(needed, units):
            needed += 1
        self._take_over_head(model)
        assert needed <= model.head <= (needed + batch - 1 if needed > before else before)

    # ---- reading -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.readers) < 5)
    @rule(latest=st.booleans(), lossless=st.booleans())
    def join(self, latest, lossless):
        reader, ring, model = TestReader(self.bells), self.ring, self.model
        free = [index for index in range(GATES) if index not in model.gates]
        lossless = lossless and bool(free)
        if lossless:
            session, cursor = reader.gated = self.free_cursors.pop(0)
            session.bind_cursor(cursor, 7, 1)
            assert session.cursor_subscription(cursor) == 1
            ring.set_gate(free[0], session.session, cursor, model.head)
        position = ring.tail if latest else ring.head
        reader.successors = dict(zip(self.rings, self.rings[1:], strict=False))
        reader.read(ring, position)
        its = ReaderModel(model, position, lossless)
        if lossless:
            model.gates[free[0]] = its
        self.joined += 1
        self.readers[self.joined] = reader, its

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def leave(self, data):
        key = data.draw(st.sampled_from(sorted(self.readers)))
        reader, its = self.readers.pop(key)
        for ring, model in zip(self.rings, self.models, strict=True):
            for index in [index for index, held in model.gates.items() if held is its]:
                ring.clear_gate(index)
                del model.gates[index]
        if reader.gated:
            self.free_cursors.append(reader.gated)
        reader._close()

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), count=st.integers(1, 20))
    def read(self, data, count):
        reader, its = self.readers[data.draw(st.sampled_from(sorted(self.readers)))]
        for _ in range(count):
            expected, found = its.step(), reader.try_receive()
            self._compare(expected, found, its)
            if expected is None:
                return

    def _compare(self, expected, found, its):
        if expected is None:
            assert found is None
        elif expected[0] == "gap":
            assert gap_of(found) == expected[1:]
        else:
            slot = its.ring.slots[expected[1]]
            assert not gap_of(found) and found is not None
            assert (found.sequence, found.payload) == (expected[1], slot.payload)

    # ---- what the coordinator does -----------------------------------------------------------------------------------

    @rule(
        messages=st.integers(1, 20),
        space=st.integers(256, 8192),
        size=st.sampled_from([100, 1500]),
        brief=st.booleans(),
    )
    def limit(self, messages, space, size, brief):
        model = self.model
        model.max_messages, model.max_units, model.max_message_bytes = messages, space // UNIT, size
        model.retention = EXPIRED_AT_ONCE if brief else 0
        self.ring.set_limits(messages, space, size, model.retention, SECOND)
        self._let_time_pass()

    @rule(count=st.integers(1, 20), oldest=st.booleans())
    def retire(self, count, oldest):
        at = 0 if oldest else -1
        model = self.models[at]
        expected = min(min(model.barrier(), model.tail) - model.head, count)
        assert self.rings[at].retire(count, self.sessions) == expected
        model.head += expected

    @rule()
    def sweep(self):
        self._let_time_pass()
        for ring, model in zip(self.rings, self.models, strict=True):
            assert ring.retire_expired(time.monotonic_ns(), self.sessions) == model.expire()

    def _let_time_pass(self):
        until = time.monotonic_ns() + 2000
        while time.monotonic_ns() < until:
            pass

    @precondition(lambda self: len(self.rings) < GENERATIONS)
    @rule(slots=st.sampled_from([2, 8, 16]), jump=st.sampled_from([0, 1, 2**32]), at=positions)
    def seal(self, slots, jump, at):
        old, ring = self.model, self.ring
        self._add_generation(
            Shape(slots, 4096, first_sequence=old.next + jump, first_position=at, generation=len(self.rings))
        )
        for index, reader in old.gates.items():
            self.ring.set_gate(index, *self._cursor_of(reader), self.ring.first_sequence)
            self.model.gates[index] = reader
        self.ring.carry_numbers(ring)
        assert ring.seal(len(self.rings) - 1) == old.next
        assert ring.seal(len(self.rings) - 1) == old.next
        for producer in range(1, ring.producer_capacity + 1):
            self.ring.follow_numbers(ring, producer)
        old.sealed, old.unhelped, old.successor = True, False, self.model
        assert ring.sealed and ring.successor == len(self.rings) - 1
        for writer in self.writers.values():
            writer.successor = self.ring
        for reader, _ in self.readers.values():
            reader.successors[ring] = self.ring

    # ---- the dead ----------------------------------------------------------------------------------------------------

    @rule(producer=st.sampled_from(DEAD), units=st.integers(1, 6), helped=st.booleans())
    def die_in_a_claim(self, producer, units, helped):
        model = self.model
        if model.unhelped or not model.fits(model.head, units):
            return
        self.raws[-1].claim(model.next, producer, units, helped=helped)
        model.slots[model.next] = Slot(producer, b"", units, CLAIMED)
        model.next, model.unhelped = model.next + 1, not helped

    @rule(generation=st.integers(0, GENERATIONS - 1))
    def look_at_claims(self, generation):
        at = min(generation, len(self.rings) - 1)
        assert self.rings[at].claims() == self.models[at].claims()
        self.models[at].unhelped = False

    @rule(producer=st.sampled_from(DEAD))
    def repair(self, producer):
        for ring, model in zip(self.rings, self.models, strict=True):
            claims = [at for at, owner, _ in model.claims() if owner == producer]
            before = ring.aborted
            assert ring.repair(producer) == len(claims)
            assert ring.aborted == before + len(claims)
            model.unhelped = False
            for at in claims:
                model.slots[at].state = ABORTED

    @precondition(lambda self: self.model.claims())
    @rule(data=st.data())
    def skip(self, data):
        at, producer, skipped = data.draw(st.sampled_from(self.model.claims()))
        assert self.ring.skip(at, producer) is not skipped
        assert not self.ring.skip(at, producer + 1)
        self.model.slots[at].state = SKIPPED
        self.model.unhelped = False

    @precondition(lambda self: any(skipped for _, _, skipped in self.model.claims()))
    @rule(data=st.data())
    def owner_of_a_skipped_claim_wakes(self, data):
        skipped = [at for at, _, skipped in self.model.claims() if skipped]
        at = data.draw(st.sampled_from(skipped))
        self.raws[-1].set_state(at, ABORTED)
        self.model.slots[at].state = ABORTED

    @rule(data=st.data(), bit=st.sampled_from([1, 128]))
    def scribble(self, data, bit):
        model = self.model
        whole = [
            at
            for at in range(model.head, model.next)
            if model.slots[at].state == COMMITTED and not model.slots[at].corrupt
        ]
        if not whole:
            return
        at = data.draw(st.sampled_from(whole))
        size = len(model.slots[at].payload)
        offset = 36 if size == 0 else 48 + data.draw(st.integers(0, size - 1))  # the checksum, or the payload
        self.raws[-1].flip(at, offset, bit)
        model.slots[at].corrupt = True

    # ---- always ------------------------------------------------------------------------------------------------------

    @invariant()
    def counts_agree(self):
        for ring, model in zip(self.rings, self.models, strict=True):
            assert (ring.head, ring.tail) == (model.head, model.tail)
            assert ring.used_bytes == sum(model.slots[at].units for at in range(model.head, model.tail)) * UNIT
            assert model.tail - model.head < ring.slots and ring.used_bytes <= ring.arena_bytes
            assert len(ring.gates()) == len(model.gates)

    @invariant()
    def readers_agree(self):
        for reader, its in self.readers.values():
            ((ring, position, delivered, lost, expired, corrupt, stepped),) = reader._counters()
            counts = its.counts
            # A seal that has been reached is passed when the reader next looks.
            assert position == its.position
            assert (delivered, lost, expired, corrupt) == tuple(
                counts[n] for n in ("delivered", "lost", "expired", "corrupt")
            )
            assert stepped == counts["stepped"] and ring.generation == self.models.index(its.ring)
            if reader.gated:
                session, cursor = reader.gated
                assert session.cursor(cursor)[0] == its.position

    def teardown(self):
        for reader, _ in self.readers.values():
            reader._close()
        for writer in getattr(self, "writers", {}).values():
            writer._detach()
        for thing in (*self.rings, *self.raws, *self.sessions, self.bells):
            thing.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(
    max_examples=1500 if LONG else 120,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRingMachine.pytestmark = [pytest.mark.timeout(1200)]


class Chosen:
    """What hypothesis would draw."""

    def __init__(self, value):
        self.value = value

    def draw(self, strategy):
        return self.value


@pytest.mark.parametrize("jump", [0, 1])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("writers", [(1, 2, 1), (1, 1, 2), (2, 3, 2), (1, 1, 1), (1, 2, 3)])
def test_what_a_reader_of_a_successor_lost_is_not_more_than_was_published_there(writers, lossless, jump):
    """Rarely found by the machine: what a publisher had published in the ring before was told as lost in its successor,
    if nothing else was known of it there when the reader began."""
    machine = RingMachine()
    machine.make(Chosen(1), slots=8, arena=4096, at=0)
    steps = [
        lambda: machine.publish(writers[0], b"", brief=False),
        lambda: machine.join(latest=True, lossless=lossless),
        lambda: machine.seal(slots=2, jump=jump, at=0),
        lambda: machine.join(latest=True, lossless=False),
        lambda: machine.publish(writers[1], b"", brief=False),
        lambda: machine.leave(Chosen(1)),
        lambda: machine.limit(messages=1, space=8192, size=1500, brief=False),
        lambda: machine.publish(writers[2], b"", brief=True),
        lambda: machine.sweep(),
        lambda: machine.read(Chosen(2), count=20),
    ]
    try:
        for step in steps:
            step()
            machine.counts_agree()
            machine.readers_agree()
    finally:
        machine.teardown()
