"""A signal handler raises while pushes are taken in, at each place in turn: the next look takes them in whole."""

import shmbus
from process.interrupts import each_interruption, told


def test_wherever_a_handler_raises_no_push_is_lost(bus_name):
    """A ring for two subscriptions, a session that gates a publisher, and a successor: all pushed and not taken in."""
    count = 0
    with shmbus.embedded() as bus, shmbus.connect(bus.address) as other:
        lossy, lossless = bus.subscribe("new.#"), bus.subscribe("new.#", lossless=True)
        moving, reader = bus.publisher("old.x", timeout=5), other.subscribe("old.x", lossless=True)
        for run in each_interruption():
            count += 1
            text = b"%d" % count
            its = other.publisher(f"new.t{count}")
            other.resize("old.x", slots=64 << count % 2)
            holder = other.subscribe("old.x", lossless=True)
            its.publish(text)
            bus._control._receive_all()  # what is interrupted is what follows
            with told(run):
                run(bus._attend)
                for one in (lossy, lossless):
                    assert one.receive(timeout=5).payload == text
                moving.publish(text)
                for one in (reader, holder):
                    assert one.receive(timeout=5).payload == text
                assert not bus._control._inbox
            its.close()
            holder.close()
        assert count > 20  # else nothing was interrupted
