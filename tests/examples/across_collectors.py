"""Across collectors by tags: programs that know nothing of each other tag what they see, an agent puts it together.

Each event is the root of a workflow of its own. What they have in common is a tag, here the process and the host. A
subscription can pick by tags, too: `filter=shmbus.Filter(tags={"pid": "4711"})`.
"""

import shmbus
from shmbus import correlation
from shmbus.v1.common_pb2 import FilesystemRecord, NetworkRecord, ProcessRecord
from shmbus.v1.eventbus_pb2 import FilesystemEventData, NetworkEventData, ProcessEventData

SEEN = (
    ("procmond", "events.process.start", ProcessEventData(process=ProcessRecord(pid=4711, name="dropper")), 4711),
    ("procmond", "events.process.start", ProcessEventData(process=ProcessRecord(pid=4712, name="ls")), 4712),
    (
        "netmond",
        "events.network.open",
        NetworkEventData(network=NetworkRecord(destination_address="203.0.113.9")),
        4711,
    ),
    ("fsmond", "events.file.write", FilesystemEventData(filesystem=FilesystemRecord(path="/etc/cron.d/x")), 4711),
)


def main() -> None:
    tracker = shmbus.CorrelationTracker(keep_messages=True)
    with shmbus.embedded() as bus, bus.subscribe("events.#") as everything:
        for collector, topic, event, pid in SEEN:
            with bus.publisher(topic, name=collector) as publisher:
                tags = {"host": "web-1", "pid": str(pid)}
                publisher.publish(event, correlation=correlation.new(stage="collect", tags=tags))
        for message in iter(everything.try_receive, None):
            tracker.observe(message)
    print(len(tracker.by_tag(("host", "web-1"))), "events of web-1")
    for entry in tracker.by_tag(("host", "web-1"), ("pid", "4711")):
        print(entry.source, "saw", type(entry.message.event).__name__, "on", entry.topic)
    print(len(tracker.by_tag(("pid", "4711"), ("pid", "4712"), any=True)), "of either process")


if __name__ == "__main__":
    main()
