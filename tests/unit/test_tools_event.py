"""Events in one line and as JSON: the same facts, and nothing that a terminal would obey."""

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

import shmbus
from shmbus.message import Gap, Producer
from shmbus.tools.event import as_json, gist, line
from shmbus.v1.common_pb2 import FilesystemRecord, NetworkRecord, PerformanceRecord, ProcessRecord
from shmbus.v1.eventbus_pb2 import (
    FilesystemEventData,
    FilesystemEventSubtype,
    NetworkEventData,
    PerformanceEventData,
    ProcessEventData,
    ProcessEventSubtype,
    SecurityContext,
    TriggerEventData,
)

GAP = Gap("events.process.start", "events.#", 17, 3, "overrun")


def process(subtype=ProcessEventSubtype.PROCESS_CREATED, labels=(), **fields):
    given = {"pid": 4711, "ppid": 1, "name": "true", "command_line": ["/bin/true", "--x"], "user_id": "0", **fields}
    return ProcessEventData(
        process=ProcessRecord(**given), subtype=subtype, security_context=SecurityContext(security_labels=labels)
    )


def message(event, **fields):
    producer = Producer("procmond", 4712, 1, 1, 3, 0)
    time = datetime(2026, 5, 1, 12, 0, 1, 250_999, UTC)
    given = {
        "topic": "events.process.start",
        "sequence": 12,
        "producer": producer,
        "time": time,
        "priority": 0,
        "lane": 0,
    }
    return SimpleNamespace(**{**given, "event": event, "envelope": None, "key": None, "payload": b"", **fields})


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (process(), "start pid 4711 (ppid 1) /bin/true --x user root"),
        (
            process(ProcessEventSubtype.PROCESS_TERMINATED, ["cgroup=/", "exit_status=3"]),
            "stop pid 4711 (ppid 1) status 3 /bin/true --x user root",
        ),
        (
            process(ProcessEventSubtype.PROCESS_TERMINATED, ["exit_signal=SIGKILL"]),
            "stop pid 4711 (ppid 1) killed by SIGKILL /bin/true --x user root",
        ),
        (
            process(command_line=["sh", "-c", "a b", ""], executable_path="/usr/bin/sh", user_id="4294967294"),
            "start pid 4711 (ppid 1) /usr/bin/sh -c 'a b' '' user 4294967294",
        ),
        (process(command_line=[], name="kworker/0:1", user_id=None), "start pid 4711 (ppid 1) [kworker/0:1]"),
        (
            NetworkEventData(
                network=NetworkRecord(
                    protocol="tcp", source_address="10.0.0.1:5", destination_address="10.0.0.2:80", state="open", pid=7
                )
            ),
            "connection established tcp 10.0.0.1:5 → 10.0.0.2:80 open pid 7",
        ),
        (
            FilesystemEventData(
                filesystem=FilesystemRecord(path="/etc/passwd"), subtype=FilesystemEventSubtype.FILE_MODIFIED
            ),
            "file modified /etc/passwd",
        ),
        (
            PerformanceEventData(performance=PerformanceRecord(metric_name="load", value=0.5, unit="%")),
            "threshold exceeded load 0.5 %",
        ),
        (TriggerEventData(trigger_id="t1"), 'TriggerEventData trigger_id: "t1"'),
        (b"abc\\\x00\n", "6 bytes abc\\x5c\\x00\\x0a"),
        (b"x" * 65, f"65 bytes {'x' * 64}…"),
        (None, "(no payload)"),
    ],
)
def test_the_gist_of_an_event(event, told):
    assert gist(event) == told


def test_a_command_line_cannot_reach_the_terminal():
    told = gist(process(command_line=["/bin/echo", "\x1b]0;owned\x07\r\n12:00:00 forged line", "\u202eevil"]))
    assert told.isprintable()


def test_a_gist_has_a_bound():
    assert len(gist(process(command_line=["/bin/echo", *["x" * 100] * 100]))) < 300
    assert len(gist(TriggerEventData(trigger_id="x" * 10_000))) == 400


def test_a_line_has_time_topic_sequence_producer_and_gist(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    told = line(message(process()))
    assert told.split(maxsplit=1)[1] == (
        " events.process.start #12  procmond[4712]  start pid 4711 (ppid 1) /bin/true --x user root".lstrip()
    )
    assert told.split(":")[2].startswith("01.250")


def test_a_gap_says_how_many_and_why():
    assert line(GAP).strip() == (
        "events.process.start #17  GAP  3 messages lost, overrun: the ring went round before they were read"
    )
    assert json.loads(as_json(GAP)) == {
        "gap": {"topic": "events.process.start", "first": 17, "count": 3, "reason": "overrun"}
    }


def test_a_demotion_is_told_and_loses_nothing_yet():
    demoted = Gap("events.process.start", "#", 17, 0, "demoted")
    assert "0 messages lost, demoted: this reader held the full topic up for too long" in line(demoted)


def test_what_is_urgent_says_so_beside_its_sequence():
    assert " #12 urgent  procmond[4712]" in line(message(process(), lane=1))
    assert json.loads(as_json(message(process(), lane=1)))["lane"] == 1


def test_colours_only_when_asked_for():
    assert "\x1b" not in line(message(process())) + line(GAP)
    assert line(message(process()), colour=True).count("\x1b[0m") == 3


def test_json_has_the_names_of_the_schema_and_fields_without_a_value():
    told = json.loads(as_json(message(process())))
    assert told["topic"] == "events.process.start"
    assert told["sequence"] == 12
    assert told["time"] == "2026-05-01T12:00:01.250999Z"
    assert told["producer"] == {"name": "procmond", "pid": 4712, "uid": 0}
    assert told["type"] == "shmbus.v1.ProcessEventData"
    assert told["event"]["subtype"] == "PROCESS_CREATED"
    assert told["event"]["process"]["command_line"] == ["/bin/true", "--x"]
    assert told["event"]["process"]["on_disk_mismatch"] is False


def test_json_of_raw_bytes_is_base64():
    assert json.loads(as_json(message(b"\x00\xff")))["payload"] == "AP8="


def test_json_is_one_line_whatever_is_in_it():
    assert "\n" not in as_json(message(process(command_line=["a\nb"])))


def test_a_real_message_is_told_with_its_correlation():
    with shmbus.embedded(name="tester") as bus, bus.publisher("events.process.start") as publisher:
        with bus.subscribe("#") as subscription:
            publisher.publish(process())
            for message in subscription:
                parent = message
                publisher.publish(process(pid=4712))
                break
            child = subscription.receive(5)
            told, child_told = json.loads(as_json(parent)), json.loads(as_json(child))
    assert told["producer"]["pid"] == os.getpid()
    assert child_told["event"]["process"]["pid"] == 4712
    assert "correlation_id" in child_told["correlation"]
