"""What a collector's process does before it is one."""

import pytest

from shmbus.coordinator import launch


@pytest.mark.parametrize(("inherited", "its"), [("-500\n", "0"), ("0\n", "0\n"), ("300\n", "300\n")])
def test_a_collector_is_not_spared_with_its_coordinator_when_memory_runs_out(tmp_path, monkeypatch, inherited, its):
    score = tmp_path / "oom_score_adj"
    score.write_text(inherited)
    monkeypatch.setattr(launch, "OOM_SCORE", str(score))
    launch._give_up_protection()
    assert score.read_text() == its
