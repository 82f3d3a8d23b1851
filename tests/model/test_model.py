"""The protocol's model: every small configuration holds, and every mutation of it is found."""

import faulthandler
import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "run"
MISSING = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
WATCHDOG_SECONDS = 900  # the run takes three minutes of a core


@pytest.mark.timeout(WATCHDOG_SECONDS + 30)
@pytest.mark.skipif("SHMBUS_MODEL_CHECKED" in os.environ, reason="this run has checked the model already")
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (apt-get install {' '.join(MISSING)})")
def test_the_model_holds_and_every_mutation_of_it_is_found() -> None:
    faulthandler.cancel_dump_traceback_later()  # the one of all tests is for native code, and shorter
    ended = subprocess.run([RUN, "--ci"], capture_output=True, text=True, timeout=WATCHDOG_SECONDS, check=False)
    assert ended.returncode == 0, f"\n{ended.stdout}\n{ended.stderr}"
