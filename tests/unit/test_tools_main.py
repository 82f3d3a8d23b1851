"""The command line: every command is listed as it describes itself, and errors are one line and a status."""

import argparse
import importlib
import json
import os
import subprocess
import sys

import pytest

from shmbus.errors import AccessDenied, ConfigurationError, ConnectError, ConnectionLost, PatternError
from shmbus.tools import main as cli
from shmbus.tools.options import positive, seconds
from shmbus.tools.snapshot import Probe
from shmbus.tools.tail import _start
from shmbus.tools.topics import as_json, listing
from unit.tools_readings import cursor, reading, session, topic


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_is_what_its_file_says(name):
    module = importlib.import_module(f"shmbus.tools.{name.replace('-', '_')}")
    assert (module.__doc__ or "").splitlines()[0].startswith(cli.COMMANDS[name].rstrip("."))
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert callable(module.run)


def test_the_list_of_commands_imports_none_of_them():
    code = (
        "import sys; from shmbus.tools.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name in ('rich', 'pydantic', 'shmbus.tools.up')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ConnectionLost("lab", 4711), 1, "the coordinator (pid 4711) of the bus 'lab' is gone: "),
        (PermissionError(13, "Permission denied", "/run/shmbus"), 1, "/run/shmbus: Permission denied"),
        (ConfigurationError("a.toml", "bus.name", "A", "not\nso"), 2, 'a.toml: bus.name = "A": not so'),
        (AccessDenied("read", "x", "'\x1b[2J' (pid 7)", "No."), 1, r"'\x1b[2J' (pid 7) may not read 'x'. No."),
        (PatternError("*", "no"), 2, "topic pattern '*' is not valid: no"),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, told, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setattr("shmbus.tools.topics.run", fail)
    assert cli.main(["topics"]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"shmbus: {told}")


def test_a_mistake_of_ours_shows_its_traceback(monkeypatch):
    def fail(options):
        raise ZeroDivisionError

    monkeypatch.setattr("shmbus.tools.topics.run", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["topics"])


def test_an_interrupt_has_the_usual_status(monkeypatch):
    def fail(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("shmbus.tools.topics.run", fail)
    assert cli.main(["topics"]) == 130


@pytest.mark.parametrize(
    ("kind", "text"),
    [(seconds, "0"), (seconds, "-1"), (seconds, "inf"), (seconds, "nan"), (seconds, "x"), (positive, "0"),
     (positive, "1.5"), (_start, "0"), (_start, "first")],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(kind, text):
    with pytest.raises(argparse.ArgumentTypeError):
        kind(text)


TOPICS = reading(
    10,
    [
        topic(1, "events.process.metadata", retained=1204, fill=0.147),
        topic(2, "events.process.start", generation=3, retained=8144, fill=0.994, publishers=0),
    ],
    [session(2, "tail", 4720, [cursor(2)])],
)

AT_80 = """\
topic                    type            gen   kept at most         full pub sub
events.process.metadata  EventBusMessage   0  1,204 8,192, 4 MiB    14 %   1   0
events.process.start     EventBusMessage   3  8,144 8,192, 4 MiB    99 %   0   1
"""

AT_120 = """\
topic                     type                       gen        kept  at most                        full  pub  sub
events.process.metadata   shmbus.v1.EventBusMessage    0       1,204  8,192, 4 MiB                   14 %    1    0
events.process.start      shmbus.v1.EventBusMessage    3       8,144  8,192, 4 MiB                   99 %    0    1
"""


def test_topics_at_80_columns():
    assert listing(TOPICS.statuses(), 80) == AT_80


def test_topics_at_120_columns():
    assert listing(TOPICS.statuses(), 120) == AT_120


def test_a_type_named_by_anybody_moves_no_cursor():
    (status,) = reading(10, [topic(1, "lab.a")]).statuses()
    assert r" lab.\x1b[2J " in listing([status._replace(type="lab.\x1b[2J")], 120)


def test_topics_as_json_have_all_that_is_known():
    first, second = map(json.loads, as_json(TOPICS.statuses()))
    assert (first["topic"], first["retained"], first["subscribers"]) == ("events.process.metadata", 1204, 0)
    assert (second["generation"], second["subscribers"], second["max_bytes"]) == (3, 1, 4 << 20)


def test_a_bus_of_another_user_is_told_from_one_that_nobody_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(tmp_path))
    owner = os.geteuid()
    (tmp_path / "lab.sock").touch()
    with pytest.raises(ConnectError, match="there is no such bus"):
        Probe("lab")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(AccessDenied, match=f"may not look into the memory of 'bus lab'. It is uid {owner}'s: run this"):
        Probe("lab")
