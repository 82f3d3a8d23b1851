"""A signal handler raises while a push is being taken in, at each line in turn: the next look takes it in whole."""

import itertools
import sys

import shmbus
from shmbus import bus as bus_module
from shmbus import control, pages, segment, subscription

TRACED = {one.__file__ for one in (bus_module, pages, segment, subscription)} - {None}
DRAIN = control.ControlConnection.drain.__code__


class Interrupted(BaseException):
    """What the handler raises."""


def interrupted_at(count, what):
    """Call it, and raise at the count-th line of it; whether it got so far."""
    left = count

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename not in TRACED and frame.f_code is not DRAIN:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        what()
    except Interrupted:
        return True
    finally:
        sys.settrace(None)
    return False


def test_whatever_line_is_interrupted_no_push_is_lost(bus_name):
    """A ring for two subscriptions, a session that gates a publisher, and a successor: all pushed and not taken in."""
    with shmbus.embedded() as bus, shmbus.connect(bus.address) as other:
        lossy, lossless = bus.subscribe("new.#"), bus.subscribe("new.#", lossless=True)
        moving, reader = bus.publisher("old.x", timeout=5), other.subscribe("old.x", lossless=True)
        for count in itertools.count(1):
            its = other.publisher(f"new.t{count}")
            other.resize("old.x", slots=64 << count % 2)
            holder = other.subscribe("old.x", lossless=True)
            its.publish(b"%d" % count)
            bus._control._receive_all()  # what is interrupted is what follows
            done = not interrupted_at(count, bus._attend)
            for one in (lossy, lossless):
                assert one.receive(timeout=5).payload == b"%d" % count
            moving.publish(b"%d" % count)
            for one in (reader, holder):
                assert one.receive(timeout=5).payload == b"%d" % count
            assert not bus._control._inbox
            its.close()
            holder.close()
            if done:
                break
        assert count > 20  # else nothing was interrupted
