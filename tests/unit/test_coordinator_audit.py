"""The audit trail: what a line says, where it goes, and that it says when it cannot go there."""

import json
import logging
import os

import pytest

from shmbus.bearer import KnownToken, make_token
from shmbus.coordinator.access import Decision, Person
from shmbus.coordinator.audit import Audit, open_trail

SECRET, HASHED = make_token("ci")
WHO = Person(1001, 100, pid=77, name='a"gent\n', collector="netmond", token=KnownToken("ci", HASHED))


@pytest.fixture
def log():
    return []


def test_a_line_says_who_what_on_what_and_which_rule_and_no_secret(tmp_path, log):
    path = tmp_path / "audit.jsonl"
    audit = Audit(log.append)
    audit.write_to(str(path), open_trail(str(path)))
    audit.decided(WHO, "publish to", "a.b", Decision(True, "access.publish[0]"))
    audit.decided(WHO, "subscribe to", "#", Decision(False, "no rule"))
    audit.done(WHO, "reload", "the configuration", "SIGHUP; 2 changes")
    audit.close()
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    times = [line.pop("time") for line in lines]
    assert times == sorted(times) and times[0] > 1e9
    who = {"uid": 1001, "pid": 77, "client": 'a"gent\n', "collector": "netmond", "token": "ci"}
    assert lines == [
        {"outcome": "granted", "action": "publish to", "object": "a.b", "rule": "access.publish[0]", **who},
        {"outcome": "denied", "action": "subscribe to", "object": "#", "rule": "no rule", **who},
        {"outcome": "done", "action": "reload", "object": "the configuration", "rule": "SIGHUP; 2 changes", **who},
    ]
    assert SECRET not in text and HASHED.digest.hex() not in text
    assert log == ["denied: pid 77 (uid 1001) may not subscribe to '#' (no rule)"]


def test_the_logger_has_grants_as_information_and_denials_as_warnings(log, caplog):
    audit = Audit(log.append)
    with caplog.at_level(logging.INFO, "shmbus.audit"):
        audit.decided(WHO, "publish to", "a.b", Decision(True, "root"))
        audit.decided(WHO, "publish to", "a.b", Decision(False, "no rule"))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert caplog.records[0].audit["rule"] == "root"


def test_where_nobody_listens_nothing_is_printed(log, capfd):
    Audit(log.append).decided(WHO, "publish to", "a.b", Decision(False, "no rule"))
    assert capfd.readouterr() == ("", "")


def test_a_trail_is_its_owners_alone_and_no_link_is_followed(tmp_path):
    path, link = tmp_path / "audit.jsonl", tmp_path / "link"
    os.close(open_trail(str(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    link.symlink_to(path)
    with pytest.raises(OSError):
        open_trail(str(link))
    assert open_trail("") == -1


def test_a_trail_that_cannot_be_written_is_told_once(log):
    audit = Audit(log.append)
    audit.write_to("/dev/full", os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC))
    for _ in range(3):
        audit.done(WHO, "stop", "the bus", "SIGTERM")
    audit.close()
    assert log == ["/dev/full: No space left on device: the audit trail has gaps from now on"]
