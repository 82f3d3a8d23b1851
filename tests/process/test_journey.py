"""What the README shows of an operator's day is what happens: see journey.py."""

import os
import shutil
from pathlib import Path

import pytest

from process.journey import normalised, transcript

README = Path(__file__).resolve().parents[2] / "README.md"


def shown():
    text = README.read_text(encoding="utf-8")
    return text.partition("## An operator's day")[2].partition("```console\n")[2].partition("```")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd to check the unit")
@pytest.mark.timeout(300)
def test_the_readme_shows_what_an_operator_sees(bus_name):
    assert normalised(transcript()).splitlines() == normalised(shown()).splitlines()


def test_what_differs_each_time_is_not_compared_and_all_else_is():
    assert normalised("since 3 min 20 s, last beat 15 ms, pid 4711") == normalised(
        "since  2.5 s, last beat 1 s, pid 12"
    )
    assert normalised("told\n    more") == normalised("told more") != normalised("told less")
    assert normalised("restarts 1") != normalised("restarts 2")
