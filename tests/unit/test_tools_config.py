"""`shmbus config`: what it explains, and what it warns of that is valid and would not work."""

import pytest

from shmbus import config
from shmbus.config import Config, parse
from shmbus.errors import ConfigurationError
from shmbus.tools.config import doubts
from shmbus.tools.config_explain import explanation


def test_all_keys_are_explained_once_with_defaults_and_limits():
    lines = explanation(None).splitlines()
    assert lines[0].startswith("[bus]: what is made once")
    assert sum(line.startswith("  slots = 8192  (2 to 16777216)") for line in lines) == 1
    assert '  on_full = "block"  ("block" or "raise" or "shed")' in lines
    assert "  topic (required)  (text)" in lines and "  max_topics = 1024  (from 1 up)" in lines
    assert sum("[[access.administer]]" in line for line in lines) == 1
    keys = {line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("    ")}
    for section in (value for value in vars(config).values() if isinstance(value, type)):
        if issubclass(section, config._Section) and section is not Config:
            assert keys >= set(section.model_fields), section


@pytest.mark.parametrize(
    ("key", "shown", "lines"),
    [
        ("defaults.on_full", "publishers wait", 3),
        ("collectors.netmond.limits.open_files", "[collectors.<name>.limits]", 3),
        ("collectors.nice", "nice = 0  (-20 to 19)", 3),
        ("access.publish[0].users", "[[access.publish]]", 3),
        ("[[access.call]]", "operations = []  (list)", None),
        ("collectors.netmond", "cpu_max_percent  (1 to 100000)", None),
        ("collectors.limits", "open_files", None),
    ],
)
def test_one_key_or_section_is_found_however_an_error_names_it(key, shown, lines):
    found = explanation(key)
    assert shown in found
    assert lines is None or len(found.splitlines()) == lines


@pytest.mark.parametrize(("key", "known"), [("nosuch", "access.publish"), ("bus.nosuch", "max_topics")])
def test_a_key_that_is_none_is_told_with_those_that_there_are(key, known):
    with pytest.raises(ConfigurationError, match=f"there is no key '{key}'; known there are: .*{known}"):
        explanation(key)


def test_what_is_valid_and_would_not_work_here_is_warned_of(monkeypatch, tmp_path):
    monkeypatch.setattr(config.metadata, "entry_points", lambda group: [])
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    fine = {
        "a": {"command": ["/bin/sh"], "working_directory": "/"},
        "b": {"command": ["program"], "environment": {"PATH": str(tmp_path)}},
        "c": {"environment": {"PYTHONPATH": "/opt"}},
    }
    assert list(doubts(parse({"collectors": fine, "access": {"audit_file": "/a.jsonl"}}))) == []
    bad = {
        "a": {},
        "b": {"command": ["program"], "environment": {"PATH": "/no/such"}},
        "c": {"command": ["/bin/sh"], "working_directory": "/no/such"},
    }
    found = list(doubts(parse({"collectors": bad, "access": {"audit_file": "/no/such/a.jsonl"}})))
    begins = ["collectors.a: no", "collectors.b.command:", "collectors.c.working_directory:", "access.audit_file:"]
    assert len(found) == len(begins)
    assert all(doubt.startswith(begin) for doubt, begin in zip(found, begins, strict=True))
