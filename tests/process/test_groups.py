"""Members of one durable subscription share what comes: each message goes to one, whoever joins, leaves or dies."""

import os
import queue
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.rings import small
from process.test_users import BECOME, OTHER
from shmbus.coordinator.settings import Grant, Settings
from shmbus.durable import unlike
from shmbus.errors import BackpressureError, DurableError, LimitError, ReceiveTimeout

MEMBER = """
import sys, time
import shmbus
with shmbus.connect(sys.argv[1], name="member") as bus, bus.subscribe("lab.#", durable="agent") as subscription:
    print("ready", flush=True)
    for message in subscription:
        if isinstance(message, shmbus.Gap):
            print("gap", message.count, flush=True)
            continue
        if message.payload == b"end":
            break
        time.sleep(float(sys.argv[2]))
        acked = subscription.ack(message)
        print(message.payload.decode(), message.deliveries, int(acked), flush=True)
"""


def payloads(messages):
    return [message.payload for message in messages]


def rest(subscription):
    """What is there at once."""
    return list(iter(subscription.try_receive, None))


@pytest.fixture
def bus():
    with shmbus.embedded(small(256)) as bus:
        yield bus


class Members:
    """Threads that read for one durable subscription until they are told to end; what each of them settled."""

    def __init__(self, bus, count, handle, durable="agent"):
        self._bus, self._handle, self._durable = bus, handle, durable
        self.ended = threading.Event()
        self.settled = [[] for _ in range(count)]
        self.gaps = []
        self.subscriptions = [bus.subscribe("lab.#", durable=durable) for _ in range(count)]
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        with self.subscriptions[number] as subscription:
            while not self.ended.is_set():
                try:
                    message = subscription.receive(timeout=0.05)
                except ReceiveTimeout:
                    continue
                if isinstance(message, shmbus.Gap):
                    self.gaps.append(message)
                elif self._handle(subscription, message):
                    self.settled[number].append(message.payload)

    def all(self):
        return [payload for one in self.settled for payload in one]

    def wait_for(self, count, seconds=60):
        deadline = time.monotonic() + seconds
        while len(self.all()) < count:
            assert time.monotonic() < deadline, f"{len(self.all())} of {count} were settled"
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.ended.set()
        for thread in self._threads:
            thread.join(60)


def test_each_message_goes_to_one_member(bus):
    with bus.publisher("lab.x", timeout=30) as publisher:
        with Members(bus, 4, lambda subscription, message: subscription.ack(message)) as members:
            publisher.publish_many([b"%d" % n for n in range(5000)])
            members.wait_for(5000)
        assert Counter(members.all()) == Counter(b"%d" % n for n in range(5000)) and not members.gaps


def test_members_whose_handling_takes_time_share_the_load_evenly(bus):
    def handle(subscription, message):
        time.sleep(0.002)
        return subscription.ack(message)

    with bus.publisher("lab.x", timeout=30) as publisher, Members(bus, 4, handle) as members:
        publisher.publish_many([b"%d" % n for n in range(1000)])
        members.wait_for(1000)
        assert sorted(members.all()) == sorted(b"%d" % n for n in range(1000))
        assert all(150 < len(one) < 350 for one in members.settled), [len(one) for one in members.settled]


def test_what_is_given_back_and_held_too_long_is_settled_once(bus):
    chance = random.Random(7)

    def handle(subscription, message):
        choice = chance.random()
        if choice < 0.2:
            subscription.nack(message)
            return False
        if choice < 0.22:
            return False  # until its deadline
        return subscription.ack(message)

    durable = shmbus.Durable("agent", ack_deadline=0.1, window=64)
    with bus.publisher("lab.x", timeout=30) as publisher, Members(bus, 4, handle, durable) as members:
        publisher.publish_many([b"%d" % n for n in range(3000)])
        members.wait_for(3000)
        assert Counter(members.all()) == Counter(b"%d" % n for n in range(3000)) and not members.gaps


def test_members_come_and_go_under_load(bus):
    done = threading.Event()
    seen = Counter()

    def comes_and_goes(number):
        chance = random.Random(number)
        while not done.is_set():
            with bus.subscribe("lab.#", durable="agent") as subscription:
                for _ in range(chance.randrange(1, 60)):
                    try:
                        message = subscription.receive(timeout=0.05)
                    except ReceiveTimeout:
                        break
                    assert isinstance(message, shmbus.Message)
                    if chance.random() < 0.9 and subscription.ack(message):
                        seen[message.payload] += 1

    with bus.subscribe("lab.#", durable="agent"):  # there is always one
        threads = [threading.Thread(target=comes_and_goes, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        with bus.publisher("lab.x", timeout=30) as publisher:
            for start in range(0, 3000, 100):
                publisher.publish_many([b"%d" % n for n in range(start, start + 100)])
        deadline = time.monotonic() + 60
        while len(seen) < 3000 and time.monotonic() < deadline:
            time.sleep(0.01)
        done.set()
        for thread in threads:
            thread.join(60)
    assert seen == Counter(b"%d" % n for n in range(3000))


def test_a_topic_is_resized_again_and_again_under_load(bus):
    chance = random.Random(11)

    def handle(subscription, message):
        if chance.random() < 0.1:
            subscription.nack(message)
            return False
        return subscription.ack(message)

    with bus.publisher("lab.x", timeout=30) as publisher, Members(bus, 3, handle) as members:
        for lap in range(12):
            publisher.publish_many([b"%d" % n for n in range(lap * 200, lap * 200 + 200)])
            for _ in range(200):
                with suppress(LimitError):  # for as long as the members have not settled what is in the oldest
                    bus.resize("lab.x", slots=256 if lap % 2 else 512)
                    break
                time.sleep(0.05)
        members.wait_for(2400)
        assert Counter(members.all()) == Counter(b"%d" % n for n in range(2400))
        assert not members.gaps


def test_processes_share_and_what_killed_ones_held_is_given_to_others_once():
    with shmbus.embedded(small(64)) as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with (
            python(MEMBER, bus.address, "0.002") as one,
            python(MEMBER, bus.address, "0.002") as two,
            python(MEMBER, bus.address, "0.002") as three,
        ):
            members = [one, two, three]
            for member in members:
                assert member.stdout.readline() == "ready\n"
            lines = [[], [], []]

            def listen(number):
                lines[number] += [line.split() for line in members[number].stdout]

            threads = [threading.Thread(target=listen, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            for number in range(1200):
                publisher.publish(b"%d" % number)
                if number == 400:
                    one.kill()
                if number == 800:
                    two.kill()
            threads[0].join(60), threads[1].join(60)
            publisher.publish(b"end")
            threads[2].join(60)
        said = [line for each in lines for line in each if len(line) == 3]
        assert not [line for line in said if line[0] == "gap"]
        acked = Counter(line[0] for line in said if line[2] == "1")
        # One that is killed after its ack and before its word of it is in the pipe has settled it all the same.
        missing = {str(n) for n in range(1200)} - set(acked)
        assert len(missing) <= 2 and max(acked.values()) == 1
        assert all(int(line[1]) <= 3 for line in said)


LOGS = """
import os, sys
import shmbus
durable = shmbus.Durable("agent", exactly_once=True, window=32)
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def say(*words):
    os.write(log, (" ".join(map(str, words)) + "\\n").encode())
with shmbus.connect(sys.argv[1], name="member") as bus, bus.subscribe("lab.#", durable=durable) as subscription:
    for number, message in enumerate(subscription):
        if isinstance(message, shmbus.Gap):
            say("gap", message)
            continue
        content = f"{message.topic}:{message.payload.decode()}"
        say("given", content)
        if number % 13 == 0:
            subscription.nack(message)
        elif subscription.ack(message):
            say("acked", content)
"""


def test_members_are_killed_again_and_again_while_their_topics_are_resized(tmp_path):
    log, count, chance = tmp_path / "log", 10_000, random.Random(5)
    once = shmbus.Durable("agent", exactly_once=True, window=32)
    wanted = {f"{topic}:{n}" for topic in ("lab.a", "lab.b") for n in range(count)}

    def publish(topic):
        with bus.publisher(topic, timeout=60) as publisher:
            for number in range(count):
                publisher.publish(b"%d" % number, priority=200 if number % 17 == 0 else 0)

    settings = Settings(default=replace(small(64).default, max_stall_ns=0))  # a busy machine demotes nobody here
    with shmbus.embedded(settings) as bus, ExitStack() as stack, bus.subscribe("lab.#", durable=once) as last:
        members = [stack.enter_context(python(LOGS, bus.address, str(log))) for _ in range(3)]
        threads = [threading.Thread(target=publish, args=(topic,)) for topic in ("lab.a", "lab.b")]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            said = log.stat().st_size if log.exists() else 0
            eventually(
                lambda said=said: log.exists() and log.stat().st_size > said + 1000, 30
            )  # some of them got to work
            time.sleep(chance.random() * 0.1)
            place = chance.randrange(3)
            members[place].kill()
            members[place] = stack.enter_context(python(LOGS, bus.address, str(log)))
            if chance.random() < 0.5:
                with suppress(LimitError):  # for as long as nobody settles, which may be until new members are there
                    bus.resize(chance.choice(["lab.a", "lab.b"]), slots=chance.choice([64, 128, 256]))
        for member in members:
            member.kill()
            member.wait(20)
        left = []
        while True:
            try:
                message = last.receive(timeout=1)
            except ReceiveTimeout:
                break
            assert isinstance(message, shmbus.Message) and last.ack(message)
            left.append(f"{message.topic}:{message.payload.decode()}")
        said = [line.split(" ", 1) for line in log.read_text().splitlines()]
        assert not [words for words in said if words[0] == "gap"]
        acked = Counter(content for what, content in said if what == "acked") + Counter(left)
        assert max(acked.values()) == 1
        unheard = wanted - set(acked)  # acked by one that was killed before it could say so
        assert unheard <= {content for what, content in said if what == "given"} and len(unheard) < 20


def test_a_message_that_is_held_by_a_killed_member_wakes_another_that_waits(bus):
    program = (
        MEMBER.replace("time.sleep(float(sys.argv[2]))", "os.kill(os.getpid(), signal.SIGKILL)")
        .replace("import sys, time", "import os, signal, sys")
    )  # fmt: skip
    with bus.publisher("lab.x") as publisher, python(program, bus.address, "0") as member:
        assert member.stdout.readline() == "ready\n"
        publisher.publish(b"x")
        member.wait(20)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert subscription.receive(timeout=20).deliveries == 2


def test_a_member_that_waits_is_woken_by_what_another_gives_back(bus):
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("lab.#", durable="agent") as gives,
        bus.subscribe("lab.#", durable="agent") as waits,
    ):
        publisher.publish_many([b"nack", b"close"])
        first, second = gives.receive(timeout=0), gives.receive(timeout=0)
        for give, message in ((lambda: gives.nack(first), first), (gives.close, second)):
            later = threading.Timer(0.2, give)
            later.start()
            again = waits.receive(timeout=20)
            assert (again.payload, again.deliveries) == (message.payload, 2) and waits.ack(again)
            later.join()


def test_several_in_a_row_that_are_given_back_and_not_wanted_hide_nothing_behind_them(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as holds:
            publisher.publish_many([b"0", b"1", b"2"])
            assert len(rest(holds)) == 3
        only = shmbus.Filter(where="sequence == 3")
        with bus.subscribe("lab.#", durable="agent", filter=only) as picks:
            found = picks.try_receive()
            assert found.payload == b"2" and picks.filtered == 2


def test_groups_of_different_names_each_get_everything(bus):
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("lab.#", durable="one") as one,
        bus.subscribe("lab.#", durable="two") as two,
    ):
        publisher.publish_many([b"0", b"1"])
        assert payloads(rest(one)) == payloads(rest(two)) == [b"0", b"1"]


def test_the_lossy_and_the_members_do_not_hinder_each_other(bus):
    with bus.publisher("lab.x", timeout=30) as publisher, bus.subscribe("lab.#", lossless=True) as lossless:
        with Members(bus, 2, lambda subscription, message: subscription.ack(message)) as members:
            seen = []
            for start in range(0, 2000, 100):
                publisher.publish_many([b"%d" % n for n in range(start, start + 100)])
                seen += payloads(rest(lossless))
            members.wait_for(2000)
        assert seen == [b"%d" % n for n in range(2000)]
        assert Counter(members.all()) == Counter(seen)


def test_urgent_messages_are_shared_too(bus):
    with bus.publisher("lab.x", timeout=30) as publisher:
        with Members(bus, 3, lambda subscription, message: subscription.ack(message)) as members:
            for number in range(600):
                publisher.publish(b"%d" % number, priority=200 if number % 3 == 0 else 0)
            members.wait_for(600)
        assert Counter(members.all()) == Counter(b"%d" % n for n in range(600))


def test_there_are_sixty_four_members_and_a_place_that_was_left_is_taken_again(bus):
    with bus.publisher("lab.x") as publisher:
        members = [bus.subscribe("lab.#", durable="agent") for _ in range(64)]
        with pytest.raises(LimitError, match="members of 'agent'"):
            bus.subscribe("lab.#", durable="agent")
        publisher.publish_many([b"%d" % n for n in range(64)])
        held = [member.receive(timeout=0) for member in members]
        assert len({message.sequence for message in held}) == 64
        members[17].close()
        with bus.subscribe("lab.#", durable="agent") as late:
            again = late.receive(timeout=0)
            assert (again.payload, again.deliveries) == (held[17].payload, 2) and late.ack(again)
        assert sum(member.ack(message) for member, message in zip(members, held, strict=True)) == 63
        for member in members:
            member.close()
        for _ in range(5):
            with bus.subscribe("lab.#", durable="agent") as later:
                assert later.try_receive() is None


def test_the_last_that_leaves_lets_publishers_go_and_the_first_that_comes_holds_them(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        one, two = (bus.subscribe("lab.#", durable="agent") for _ in range(2))
        publisher.publish_many([b"x"] * 255)
        one.close()
        with pytest.raises(BackpressureError):
            publisher.publish(b"no room")
        two.close()
        publisher.publish_many([b"x"] * 300)
        with bus.subscribe("lab.#", durable="agent") as three:
            room = sum(publisher.try_publish(b"x") is not None for _ in range(300))
            assert room < 100, "what was dropped in one go before"
            with pytest.raises(BackpressureError, match="'agent'"):
                publisher.publish(b"no room")
            gap, *found = rest(three)
            assert (gap.first, gap.count + len(found)) == (1, 555 + room)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_reads_for_its_own_name_only():
    program = BECOME + (
        "with shmbus.connect(sys.argv[1]) as bus:\n"
        "    attempt(lambda: bus.subscribe('open.#', durable='agent'))\n"
        "    attempt(lambda: bus.forget('agent'))\n"
        "    attempt(lambda: bus.subscribe('closed.#', durable='own'))\n"
        "    subscription = bus.subscribe('open.#', durable='own', start='earliest')\n"
        "    message = subscription.receive(timeout=20)\n"
        "    print(message.payload.decode(), subscription.ack(message), flush=True)\n"
        "    subscription.close()\n"
        "    bus.forget('own')\n"
    )
    settings = Settings(subscribe=(Grant("open.#", users=frozenset({OTHER})),))
    with shmbus.embedded(settings) as bus, bus.publisher("open.x") as publisher:
        bus.subscribe("open.#", durable="agent").close()
        publisher.publish(b"readable")
        with python(program, bus.address) as child:
            read, forget, closed, message = [line.rstrip("\n") for line in child.stdout]
        assert read.startswith("AccessDenied") and "belongs to another user; choose another name" in read
        assert forget.startswith("AccessDenied") and "Only its owner and root may" in forget
        assert closed.startswith("AccessDenied") and message == "readable True"
        with bus.subscribe("open.#", durable="agent") as subscription:
            assert subscription.receive(timeout=20).payload == b"readable"


def test_a_stopped_member_keeps_the_others_from_nothing():
    durable = 'durable=shmbus.Durable("agent", ack_deadline=0.5)'
    program = MEMBER.replace('durable="agent"', durable)
    with shmbus.embedded(small(64)) as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with python(program, bus.address, "0") as one, python(program, bus.address, "0") as two:
            assert one.stdout.readline() == two.stdout.readline() == "ready\n"
            os.kill(one.pid, signal.SIGSTOP)
            for number in range(300):
                publisher.publish(b"%d" % number)
            publisher.publish(b"end")
            acked = [line.split()[0] for line in two.stdout]
            assert set(acked) >= {str(n) for n in range(300)} - {"0"}


def test_who_comes_before_the_dead_ones_are_buried_is_waited_for(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent"):
        ring = publisher._ring
        for gate, *_ in ring.gates():
            ring.clear_gate(gate)  # as a publisher does that finds all members dead
        publisher.publish_many([b"x"] * 300)
        with bus.subscribe("lab.#", durable="agent") as late:
            with pytest.raises(BackpressureError, match="'agent'"):
                publisher.publish_many([b"y"] * 300)
            assert late.try_receive().reason == "overrun" and late.try_receive() is not None


def test_the_next_coordinator_knows_the_filter_that_a_group_is_read_with(bus_name):
    one, other = shmbus.Filter(where="priority == 5u"), shmbus.Filter(where="priority == 6u")
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        bus.subscribe("lab.#", durable="agent", filter=other).close()
        with bus.subscribe("lab.#", durable="agent", filter=one) as subscription:
            first.end(signal.SIGKILL)
            with coordinator(bus_name), shmbus.connect() as late:
                with pytest.raises(DurableError) as refused:
                    late.subscribe("lab.#", durable="agent", filter=other)
                assert "priority == 5u" in str(refused.value) and "priority == 6u" in str(refused.value)
                with late.subscribe("lab.#", durable="agent", filter=one) as second:
                    for priority in (5, 6, 5):
                        publisher.publish(b"%d" % priority, priority=priority)
                    got = [found for member in (subscription, second) for found in iter(member.try_receive, None)]
                    assert payloads(got) == [b"5", b"5"]


def test_who_says_of_no_filter_is_not_compared(bus):
    present = shmbus.Durable("agent")
    for theirs, its in ((None, "x"), ("x", None), (None, None), ("x", "x")):
        assert unlike(present.wire(theirs), present.wire(its)) is None
    assert unlike(present.wire("x"), present.wire("")) == "it is being read with another filter: x, not none"


def test_settings_of_a_group_are_those_of_its_first_member(bus):
    with bus.subscribe("lab.#", durable=shmbus.Durable("agent", window=8)):
        with pytest.raises(DurableError, match="it is being read with window = 8, not 1024"):
            bus.subscribe("lab.#", durable="agent")
        bus.subscribe("lab.#", durable=shmbus.Durable("agent", window=8)).close()


BLOCKED = """
import sys
from shmbus import _core, connect
from shmbus.publisher import Publisher

overslept, trouble = 0, Publisher._trouble


def count(self, result, length, waited_ns, give_up, *blocked):
    global overslept
    overslept += result == _core.FULL  # a sleep that ended by its bound, for nobody rang
    return trouble(self, result, length, waited_ns, give_up, *blocked)


Publisher._trouble = count
with connect(sys.argv[1], name="collector") as bus, bus.publisher("lab.x", timeout=60) as publisher:
    for number in range(int(sys.argv[2])):
        publisher.publish(b"%d" % number)
print(overslept, flush=True)
"""


def test_a_publisher_that_waits_for_room_is_woken_by_what_is_settled_while_the_receiver_sleeps():
    full, rounds = 23, 20  # less than an eighth of what its ring may hold by number; by size it is full
    limits = {"arena_bytes": 4096, "max_bytes": full * 64, "max_message_bytes": 16}
    received, settled = queue.SimpleQueue(), []

    def settle(subscription):
        for _ in range(rounds):
            held = [received.get(timeout=60) for _ in range(full)]
            time.sleep(0.01)  # by now the receiver sleeps, for nothing comes, and the publisher, for there is no room
            settled.extend(map(subscription.ack, held))

    with shmbus.embedded(small(256, **limits)) as bus, bus.subscribe("lab.x", durable="agent") as subscription:
        settling = threading.Thread(target=settle, args=(subscription,))
        settling.start()
        with python(BLOCKED, bus.address, str(full * rounds)) as publisher:
            for _ in range(full * rounds):
                received.put(subscription.receive(timeout=60))
            assert publisher.stdout is not None
            overslept = int(publisher.stdout.readline())
        settling.join()
    assert all(settled) and len(settled) == full * rounds
    assert overslept < rounds / 2  # all of them, if nobody rings; and some on a machine that has a lot to do
