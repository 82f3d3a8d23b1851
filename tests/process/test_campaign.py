"""The short form of the campaign of kills; the long one is `cd tests && python -m campaign --seconds 600`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
WATCHDOG_SECONDS = 165  # a loaded machine takes a minute to begin; before the watchdog of all tests


@pytest.mark.timeout(WATCHDOG_SECONDS + 5)
def test_what_was_promised_is_kept_whatever_happens_to_whomever():
    command = [sys.executable, "-m", "campaign", "--seconds", "8"]
    environment = {**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=WATCHDOG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
