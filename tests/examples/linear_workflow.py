"""A linear workflow: detect, triage, respond, each in an agent of its own, one after the other.

An agent says which stage its work is; parent, root, number and tags follow from the message that it is handling. The
tracker listens to all of them and tells the story of the case.
"""

import threading

import shmbus
from shmbus import correlation
from shmbus.v1.eventbus_pb2 import AlertPayload


def agent(bus: shmbus.Bus, stage: str, work: shmbus.Subscription, topic: str) -> None:
    with bus.publisher(topic, name=f"{stage} agent") as publisher:
        for message in work:
            publisher.publish(
                AlertPayload(title=f"{stage} done"), correlation=correlation.child_of(message, stage=stage)
            )
            break  # one case is enough here


def main() -> None:
    tracker = shmbus.CorrelationTracker()
    with shmbus.embedded() as bus, bus.subscribe("case.#") as everything:
        threads = [
            threading.Thread(target=agent, args=(bus, "triage", bus.subscribe("case.detected"), "case.triaged")),
            threading.Thread(target=agent, args=(bus, "respond", bus.subscribe("case.triaged"), "case.closed")),
        ]
        for thread in threads:
            thread.start()
        with bus.publisher("case.detected", name="detector") as publisher:
            case = correlation.new(stage="detect", tags={"host": "web-1"})
            publisher.publish(AlertPayload(title="odd process"), correlation=case)
        for message in filter(tracker.observe, everything):  # topics come in no order among each other
            workflow = tracker.workflow(message)
            if workflow.timeline[-1].stage == "respond" and workflow.complete:
                break
        for entry in workflow.timeline:
            print(entry.sequence_number, entry.stage, "by", entry.source, "on", entry.topic, dict(entry.tags))
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
