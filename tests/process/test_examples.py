"""The example programs in tests/examples do what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAID = {
    "linear_workflow": """
0 detect by detector on case.detected {'host': 'web-1'}
1 triage by triage agent on case.triaged {'host': 'web-1'}
2 respond by respond agent on case.closed {'host': 'web-1'}
""",
    "fan_out": """
scan.request 0
  scan.task 1 web-1
    scan.result 2 web-1
  scan.task 2 web-2
    scan.result 3 web-2
  scan.task 3 db-1
no result from db-1
complete
""",
    "across_collectors": """
4 events of web-1
procmond saw ProcessEventData on events.process.start
netmond saw NetworkEventData on events.network.open
fsmond saw FilesystemEventData on events.file.write
4 of either process
""",
}


def said_by(name):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=90
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.rstrip() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", SAID)
def test_an_example_prints_what_happened(name):
    assert said_by(name) == SAID[name].strip().splitlines()


def test_the_example_of_tracing_makes_one_trace_of_three_processes():
    detect, triage, respond = (line.split() for line in said_by("distributed_tracing"))
    assert [detect[0], triage[0], respond[0]] == ["detect", "triage", "respond"]
    assert detect[1] == triage[1] == respond[1] and len(detect[1]) == 32
    assert (detect[3], triage[3], respond[3]) == ("-", detect[2], triage[2])


def test_every_example_is_tried_and_explains_itself():
    programs = {path.stem: path.read_text() for path in EXAMPLES.glob("*.py")}
    assert set(programs) == {*SAID, "distributed_tracing"}
    assert all(text.startswith('"""') for text in programs.values())
