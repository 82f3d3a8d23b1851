"""The short form of the campaign of kills; the long one is `cd tests && python -m campaign --seconds 600`."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
WATCHDOG_SECONDS = 100


def test_what_was_promised_is_kept_whatever_happens_to_whomever():
    command = [sys.executable, "-m", "campaign", "--seconds", "10"]
    environment = {**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=WATCHDOG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
