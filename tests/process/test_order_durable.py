"""Order across topics of what is durable: members together, what comes again, windows, resizes, deaths."""

import asyncio
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmbus
from process.buses import coordinator, python
from process.ordering import SLOTS, Scene, goes_on, play, publishes, raw_of, resizes, stops
from process.rings import small
from shm.memory import CLAIMED, COMMITTED
from shmbus import Durable, Filter, Gap
from shmbus.aio import AsyncSubscription
from shmbus.errors import ReceiveTimeout
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, ProcessEventData

EVENT = ProcessEventData(process=ProcessRecord(pid=7))
WINDOW = 1024
PATIENT = {"ack_deadline": None}


# ---- by producer: exact schedules ------------------------------------------------------------------------------------


class Members(Scene):
    """Several members of one durable subscription, each of which may hold messages, give them back, and leave."""

    def __init__(self, stack, members, window=WINDOW, exactly_once=False):
        self.durable = Durable("agent", window=window, exactly_once=exactly_once, **PATIENT)
        super().__init__(stack, durable=self.durable)
        self.members = [self.subscription] + [self.join() for _ in range(members - 1)]
        self.held = []  # (member, message, sent)

    def join(self):
        return self.bus.subscribe("s.#", durable=self.durable, order="producer")

    def take(self, which, count):
        for _ in range(count):
            member = which % len(self.members)
            self.subscription = self.members[member]
            before = list(self.left)
            message = self.try_one(member)
            if message is None:
                return
            (sent,) = set(before) - set(self.left)
            self.held.append((member, message, sent))

    def try_one(self, member):
        message = self.subscription.try_receive()
        if message is None:
            late = [sent for sent in self.left if self.may_come(sent)]
            assert self.moved or self.durable.window < WINDOW or not late, f"{late} is late"
            return None
        (sent,) = (one for one in self.left if one.number == int(message.payload))
        assert self.may_come(sent), f"{sent} came before its turn"
        self.left.remove(sent)
        return message

    def ack(self, which):
        if self.held:
            member, message, _ = self.held.pop(which % len(self.held))
            assert self.members[member].ack(message)

    def nack(self, which):
        if self.held:
            member, message, sent = self.held.pop(which % len(self.held))
            assert self.members[member].nack(message)
            self.left.append(sent)

    def leave(self, which):
        """What it holds is given back, and another comes in its place."""
        member = which % len(self.members)
        self.members[member].close()
        self.left += [sent for whose, _, sent in self.held if whose == member]
        self.held = [one for one in self.held if one[0] != member]
        self.members[member] = self.join()

    def ack_all(self):
        while self.held:
            self.ack(0)

    def finish(self):
        while self.stopped:
            self.go_on(COMMITTED)
        for _ in range(4 * self.number + 8):  # a window or a seal lets a few through at a time
            self.take(0, self.number + 1)
            self.ack_all()
        assert not self.left and self.members[0].try_receive() is None


which = st.integers(0, 15)
takes = st.tuples(st.just("take"), which, st.integers(1, 6))
settles = st.tuples(st.sampled_from(["ack", "ack", "nack", "leave"]), which)
steps_of = st.one_of(publishes, publishes, publishes, takes, takes, settles)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(steps_of, stops, goes_on), max_size=50), st.integers(1, 3), st.booleans())
def test_members_take_in_order_whatever_is_given_back_and_left_open(steps, members, exactly_once):
    play(steps, Members, members=members, exactly_once=exactly_once)


@settings(max_examples=80, deadline=None)
@given(st.lists(steps_of, max_size=50), st.integers(1, 2))
def test_a_full_window_holds_up_what_comes_after_it(steps, members):
    play(steps, Members, members=members, window=2)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(steps_of, resizes, st.just(("ack_all",))), max_size=50), st.integers(1, 2))
def test_topics_that_move_are_in_order_too(steps, members):
    play(steps, Members, members=members)
