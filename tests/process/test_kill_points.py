"""A real process is killed at every named place while others publish and read: see kill_driver.py and kill_table.py.

The table that it prints is kept with the test's output; `pytest -rP` shows it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from process.kill_table import GROUPS, ROWS

TESTS = Path(__file__).resolve().parents[1]
SEVERAL = 12  # rows a process, so that they are shared among workers


def parts():
    for who in GROUPS:
        sites = [row.site for row in ROWS if row.who == who]
        yield from (sites[start : start + SEVERAL] for start in range(0, len(sites), SEVERAL))


def drive(*sites):
    command = [sys.executable, "-m", "process.kill_driver", *sites]
    environment = {**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(TESTS)}
    return subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sites", list(parts()), ids=lambda sites: sites[0])
def test_the_rest_goes_on_whoever_is_killed_wherever(sites):
    done = drive(*sites)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert all(site in done.stdout for site in sites)


def test_a_place_that_does_not_exist_is_refused():
    done = drive("no.such.place")
    assert done.returncode == 1 and "no such place: no.such.place" in done.stdout


def test_every_row_names_one_place_and_no_place_has_two():
    assert len({row.site for row in ROWS}) == len(ROWS)
    assert {row.who for row in ROWS} == set(GROUPS)
