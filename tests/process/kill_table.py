"""Every place at which a process can be killed: who passes it, what is lost there, and who repairs it.

The driver kills a real process at each of them and checks the row: the column `committed` says whether the message that
was being published has got through (None: the dead process was publishing nothing).
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One place. `how` is what brings somebody there, see kill_driver.py; `count` the how-maniest pass is meant."""

    site: str
    who: str
    how: str
    lost: str
    repaired: str
    committed: bool | None = None
    count: int = 1


MESSAGE = "the message being published"
NOTHING = "nothing"
NOBODY = "nobody needs to"
CLAIM = "the coordinator aborts the claim when the pidfd fires"
COUNTED = "whoever looks after the dead one, or retires the message, counts it"
HELPED = "the next publisher helps the tail on; " + CLAIM
GATE = "the coordinator clears its gates when the pidfd fires"
RELEASE = "the client lets go of cursors that it has no use for (a dead one's gate: publishers)"
TAKEN_OVER = "the next coordinator takes over what there is"
AGAIN = "the next coordinator takes over anew"
WAKE = "the sleeper wakes by its own bound (0.1 s)"
LEAVES = "the client is no member any more by its own hand (a dead one's gate: publishers)"
GIVEN_AGAIN = "the coordinator gives what it held to other members when the pidfd fires"
ASKED_AGAIN = "whoever asks again: the process that was not told what to be has ended"
FROM_FILE = "the next coordinator goes by the file"
KEPT = "the next keeper folds again what was not acknowledged"
ANEW = "the collector registers with the next coordinator"
STEP = "readers step over it 0.25 s later; publishers abort it if it is in their way"


def _publisher(site: str, lost: str, repaired: str, committed: bool, count: int = 5) -> Row:
    return Row(site, "publisher", "publish", lost, repaired, committed, count)


def _subscriber(site: str, how: str = "read", count: int = 5) -> Row:
    return Row(site, "subscriber", how, NOTHING, GATE, None, count)


def _coordinator(site: str, how: str, lost: str, repaired: str = TAKEN_OVER, count: int = 1) -> Row:
    return Row(site, "coordinator", how, lost, repaired, None, count)


def _collector(site: str, lost: str, repaired: str) -> Row:
    return Row(site, "collector", "reply", lost, repaired, None, 4)


def _agent(site: str, lost: str, repaired: str) -> Row:
    return Row(site, "agent", "inherit", lost, repaired, None, 4)


def _member(site: str, how: str = "settle", lost: str = NOTHING, count: int = 5) -> Row:
    return Row(site, "member", how, lost, GIVEN_AGAIN, None, count)


ROWS = [
    _publisher("claim.before", MESSAGE, NOBODY, False),
    _publisher("claim.won", MESSAGE, HELPED, False),
    _publisher("help.before", MESSAGE, HELPED, False),
    _publisher("help.done", MESSAGE, CLAIM, False),
    _publisher("claim.helped", MESSAGE, CLAIM, False),
    _publisher("write.before", MESSAGE, CLAIM, False),
    _publisher("write.half", MESSAGE, CLAIM, False),
    _publisher("write.done", MESSAGE, CLAIM, False),
    _publisher("commit.done", NOTHING, COUNTED, True),
    _publisher("leap.counted", MESSAGE, "nobody needs to: its next life writes over it", False),
    _publisher("leap.noted", MESSAGE, "nobody needs to: its next life writes over it", False),
    _publisher("wake.cleared", NOTHING, WAKE, True),
    _publisher("wake.woken", NOTHING, NOBODY, True),
    _publisher("retire.scanned", MESSAGE, NOBODY, False),
    _publisher("retire.advanced", MESSAGE + "; its bytes in the counter of published bytes", NOBODY, False),
    Row("commit.revoked", "publisher", "revoke", "the message that had been revoked", CLAIM, False),
    _subscriber("read.peeked"),
    _subscriber("read.copied"),
    _subscriber("read.taken"),
    _subscriber("read.placed"),
    _subscriber("wait.armed"),
    _subscriber("wait.slept"),
    _subscriber("attach.mapped", "join", 3),
    _subscriber("attach.checked", "join", 3),
    _subscriber("handover.received", "join", 2),
    _coordinator("repair.claimed", "die", "the dead publisher's message", STEP),
    _coordinator("repair.aborted", "die", "the dead publisher's message; one count of aborted claims", NOBODY),
    _coordinator("repair.done", "die", "the dead publisher's message", TAKEN_OVER),
    _coordinator("skip.before", "overdue", NOTHING, "the stopped publisher, when it goes on, commits"),
    _coordinator("skip.done", "overdue", "the stopped publisher's message", "readers have stepped over it"),
    _coordinator("create.opened", "make", "the topic that was being made"),
    _coordinator("create.sized", "make", "the topic that was being made"),
    _coordinator("create.unready", "make", "the topic that was being made"),
    _coordinator("create.ready", "make", "the topic that was being made"),
    _coordinator("create.initialised", "make", "the topic that was being made"),
    _coordinator("create.named", "make", "the topic that was being made"),
    _coordinator("create.done", "make", "the topic that was being made"),
    _coordinator("ring.made", "make", "the topic that was being made"),
    _coordinator("directory.changing", "make", "the topic that was being made", "readers notice the odd generation"),
    _coordinator("directory.changed", "make", "the topic that was being made", "readers notice the odd generation"),
    _coordinator("topic.told", "make", "the topic that was being made"),
    _coordinator("topic.made", "make", "the topic that was being made"),
    _coordinator("producer.set", "make", "the publisher that was being opened"),
    _coordinator("publisher.entered", "make", "the publisher that was being opened"),
    _coordinator("publisher.left", "open", NOTHING),
    _coordinator("session.made", "connect", "the connection that was being made"),
    _coordinator("hello.done", "connect", "the connection that was being made"),
    _coordinator("session.removed", "connect", NOTHING),
    _coordinator("depart.begun", "connect", NOTHING),
    _coordinator("depart.done", "connect", NOTHING),
    _coordinator("gate.told", "subscribe", "the subscription that was being made"),
    _coordinator("gate.set", "subscribe", "the subscription that was being made", RELEASE),
    _coordinator("subscribe.done", "subscribe", "the subscription that was being made", RELEASE),
    _coordinator("gate.cleared", "subscribe", NOTHING),
    _coordinator("demote.told", "demote", NOTHING),
    _coordinator("shutout.told", "shut_out", NOTHING, "the next coordinator measures that publisher anew"),
    _coordinator("unsubscribe.done", "subscribe", NOTHING),
    _coordinator("successor.told", "resize", "the resize", "the old ring goes on, unsealed"),
    _coordinator("seal.announced", "resize", "the resize", "the old ring goes on, unsealed"),
    _coordinator("seal.done", "resize", NOTHING, "publishers and readers move over by themselves"),
    _coordinator("successor.sealed", "resize", NOTHING, "publishers and readers move over by themselves"),
    _coordinator("ring.removed", "prune", NOTHING),
    _coordinator("adopt.ended", "replace", NOTHING, AGAIN),
    _coordinator("adopt.checked", "adopt", NOTHING, AGAIN),
    _coordinator("adopt.directory", "adopt", NOTHING, AGAIN),
    _coordinator("adopt.bells", "adopt", NOTHING, AGAIN),
    _coordinator("adopt.rings", "adopt", NOTHING, AGAIN),
    _coordinator("adopt.buried", "adopt", NOTHING, AGAIN),
    _coordinator("adopt.expected", "adopt", NOTHING, AGAIN),
    _coordinator("handover.opened", "adopt", NOTHING, AGAIN),
    _coordinator("handover.sent", "subscribe", "the subscription that was being made", RELEASE),
    _coordinator("resume.done", "adopt", NOTHING, AGAIN),
    _member("group.claimed"),
    _member("group.judged", "judge"),
    _member("group.settled"),
    _member("group.advanced"),
    _member("group.returned", "nack", count=3),
    _member("group.retaken", "nack", count=3),
    _member("group.booked", "overrun", count=1),
    _member("group.passed"),
    _member("group.dropped", "overrun", count=1),
    _member("group.abandoned", "abandon", "nothing but what the ring had dropped", 1),
    _member("group.bridged", "move", count=1),
    _member("deadletter.published", "bury", "nothing; the dead letter comes twice", 3),
    _coordinator("group.made", "durable", "the subscription that was being made"),
    _coordinator("group.placed", "durable", "the subscription that was being made", LEAVES),
    _coordinator("group.joined", "durable", "the subscription that was being made"),
    _coordinator("group.reaped", "durable", NOTHING, LEAVES),
    _coordinator("group.left", "durable", NOTHING),
    _coordinator("demote.group", "demote_durable", NOTHING),
    _coordinator("spawn.launched", "spawn", "the start", ASKED_AGAIN),
    _coordinator("spawn.noted", "spawn", NOTHING, "the next coordinator starts it: the process has ended"),
    _coordinator("spawn.told", "spawn", NOTHING, "the next coordinator goes on with the process"),
    _coordinator("reload.checked", "reload", NOTHING, FROM_FILE),
    _coordinator("reload.done", "reload", NOTHING, FROM_FILE),
    _coordinator("config.applied", "change", "the change, whose caller is told so", FROM_FILE),
    _coordinator("config.kept", "change", NOTHING, "the next coordinator finds it beside the socket"),
    _coordinator("state.made", "keep", "the topic that was being made"),
    _coordinator("state.appended", "keep", NOTHING, KEPT),
    _coordinator("state.committing", "keep", NOTHING, KEPT),
    _coordinator("state.turned", "keep", NOTHING, KEPT),
    _coordinator("register.noted", "register", "the registration that was being made", ANEW),
    _coordinator("register.told", "register", NOTHING, ANEW),
    _collector("reply.executed", "the answer", "the agent has another collector do the task"),
    _collector("reply.sent", NOTHING, "the agent takes the answer"),
    _agent("task.submitted", "the task", "whoever submits it again"),
    _agent("task.given", NOTHING, "the next agent of the name asks the collector again"),
    _agent("task.published", NOTHING, "the next agent of the name publishes the result once more"),
    _agent("task.ended", NOTHING, NOBODY),
    _coordinator("state.committed", "keep", NOTHING, "the next keeper passes over what comes again"),
]  # fmt: skip
GROUPS = ("publisher", "subscriber", "member", "collector", "agent", "coordinator")
