"""A signal handler raises while a client goes over to the coordinator that took over from a killed one, at each place.

Many clients wait for that; each is interrupted somewhere else, once, and goes over all the same: with its subscription,
its publisher and its session, and nothing more.

The long form, each place (a minute): SHMBUS_LONG=1 pytest --timeout=600
"""

import itertools
import os
import random
import signal
from contextlib import ExitStack

import shmbus
from process.buses import coordinator, eventually
from process.interrupts import Interruption, told
from process.test_interrupted_client import KINDS, held, in_another_thread

LONG = bool(os.environ.get("SHMBUS_LONG"))
CLIENTS = 40  # wait for each new coordinator
NOWHERE = 2**62
SECONDS = 20


class Waiting:
    """A client with what it holds."""

    def __init__(self, bus_name, stack, number):
        self.name = f"client{number}"
        self.bus = stack.enter_context(shmbus.connect(bus_name, name=self.name))
        self.subscription = self.bus.subscribe("read.x", lossless=True)
        self.read = []
        self.publisher = self.bus.publisher("written.x")

    def goes_over(self, run):
        """Interrupted by `run`, it goes on."""
        eventually(lambda: self.bus._control.wait(0))  # it has been told by the kernel that the other one died
        self.bus._control._receive_all()
        run(self.bus.status)

    def is_there(self, observer, reader, writer, text, before=()):
        """With all that it had, and works."""
        eventually(lambda: self.answers(), SECONDS)
        assert held(observer, self.name) == (1, 1, 1)
        in_another_thread(lambda: self.bus.publisher("check.x").close())
        writer.publish(text)
        while (found := self.subscription.receive(timeout=SECONDS).payload) != text:
            self.read.append(found)  # what the others were sent
        assert self.read == list(before)
        self.publisher.publish(text)
        assert reader.receive(timeout=SECONDS).payload == text

    def answers(self):
        """False: it looks for a new coordinator only so often."""
        try:
            self.bus.status()
        except shmbus.ConnectionLost:
            return False
        return True


def test_a_client_goes_over_wherever_a_handler_raises(bus_name):
    places, done = itertools.count(1), False
    running = coordinator(bus_name)
    with ExitStack() as ending:
        first = ending.enter_context(running)
        while not done:
            with ExitStack() as stack:
                early = stack.enter_context(shmbus.connect(bus_name))
                early.publisher("read.x")  # there before, so that nobody finds it new
                clients = [Waiting(bus_name, stack, number) for number in range(CLIENTS)]
                first.end(signal.SIGKILL)
                first = ending.enter_context(coordinator(bus_name))
                observer = stack.enter_context(shmbus.connect(bus_name))
                reader, writer = observer.subscribe("written.x", lossless=True), observer.publisher("read.x")
                whole = Interruption(NOWHERE, KINDS[0])
                clients[0].goes_over(whole)
                clients[0].is_there(observer, reader, writer, b"whole")
                clients[0].bus.close()
                assert whole.count > 500
                if not LONG:
                    places = (random.randint(1, whole.count) for _ in itertools.count())
                sent = [b"whole"]
                for client in clients[1:]:
                    run = Interruption(next(places), random.choice(KINDS))
                    with told(run):
                        client.goes_over(run)
                        assert run.where is None or run.raised or run.swallowed, "it was taken for a fault of the bus"
                        client.is_there(observer, reader, writer, b"%d" % run.at, sent)
                        sent.append(b"%d" % run.at)
                        client.bus.close()
                        eventually(lambda: held(observer, client.name) == (0, 0, 0))  # noqa: B023
                        if LONG:
                            places = itertools.count(max(run.count, run.at) + 1)
                    done = not LONG or run.where is None
