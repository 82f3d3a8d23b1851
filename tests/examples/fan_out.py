"""Parent and children: one request becomes a task for every host, and each task a result.

What is published while a message is being handled is its child, numbered in order. So the tree of the request shows who
did what for whom, and which task never came to an end: its number is missing, or its result.
"""

import shmbus
from shmbus import correlation
from shmbus.v1.eventbus_pb2 import AlertPayload

HOSTS = ("web-1", "web-2", "db-1")


def main() -> None:
    tracker = shmbus.CorrelationTracker()
    with shmbus.embedded() as bus, bus.subscribe("scan.#") as everything, bus.subscribe("scan.task") as tasks:
        request = correlation.new(stage="request", tags={"case": "7"})
        with bus.publisher("scan.request") as requests, bus.publisher("scan.task") as fan:
            requests.publish(AlertPayload(title="scan all"), correlation=request)
            with correlation.handling(request) as parent:
                for host in HOSTS:
                    fan.publish(AlertPayload(title=host), correlation=parent.child(stage="task", tags={"host": host}))
        with bus.publisher("scan.result") as results:
            for task in tasks:
                if task.event.title != "db-1":  # this one fails, and gives no result
                    results.publish(AlertPayload(title=f"{task.event.title} is clean"))
                if task.event.title == HOSTS[-1]:
                    break
        for message in iter(everything.try_receive, None):
            tracker.observe(message)
    workflow = tracker.workflow(request.correlation_id)
    for depth, entry in workflow.tree():
        print("  " * depth + entry.topic, entry.sequence_number, entry.tags.get("host", ""))
    tasks_done = {entry.parent for entry in workflow.timeline if entry.topic == "scan.result"}
    for task in workflow.children(request.correlation_id):
        if task.correlation_id not in tasks_done:
            print("no result from", task.tags["host"])
    print("complete" if workflow.complete else f"missing {workflow.missing_numbers}")


if __name__ == "__main__":
    main()
