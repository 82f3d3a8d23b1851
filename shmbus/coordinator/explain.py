"""Who may do what to a topic, and which rule says so: for an operator who asks, about anybody."""

from typing import NamedTuple

from shmbus.coordinator.access import Access, Decision, Subject, operation_name, service_of
from shmbus.coordinator.settings import Budget
from shmbus.topic import check_pattern, check_topic, is_pattern
from shmbus.v1.control_pb2 import AccessExplained, PublishBudget
from shmbus.v1.rpc_pb2 import CollectorOperation

# Whose name a collector has is decided by who may serve its calls.
_OTHERS = (
    CollectorOperation.COLLECTOR_OPERATION_UNSPECIFIED,
    CollectorOperation.COLLECTOR_OPERATION_REGISTER,
    CollectorOperation.COLLECTOR_OPERATION_DEREGISTER,
)


class Verdict(NamedTuple):
    """Of one thing that could be done."""

    action: str
    decision: Decision


def explain(access: Access, subject: Subject, topic: str) -> list[Verdict]:
    """All that could be done to the topic, or to all topics of a pattern; and what its collector can be called for.

    Raises TopicNameError, PatternError.
    """
    checked = check_pattern(topic) if is_pattern(topic) or "*" in topic else check_topic(topic)
    found = [
        Verdict("connect", access.connect(subject)),
        Verdict("publish", access.publish(subject, checked)),
        Verdict("subscribe", access.subscribe(subject, checked)),
        Verdict("administer", access.administer(subject, checked)),
    ]
    if service := service_of(checked):
        found.append(Verdict("serve", access.serve(subject, service)))
        found += [
            Verdict(f"call {operation_name(number)}", access.call(subject, service, number))
            for number in sorted(CollectorOperation.values())
            if number not in _OTHERS
        ]
    return found


def told(verdicts: list[Verdict]) -> AccessExplained:
    """For whoever asked over the control socket."""
    answer = AccessExplained()
    for action, (allowed, rule, budget) in verdicts:
        entry = answer.verdicts.add(action=action, allowed=allowed, rule=rule)
        if budget is not None:
            entry.budget.CopyFrom(as_wire(budget))
    return answer


def as_wire(budget: Budget) -> PublishBudget:
    """For a client."""
    return PublishBudget(messages_per_second=budget.messages_per_second, bytes_per_second=budget.bytes_per_second)
