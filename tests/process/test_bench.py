"""`shmbus bench`: that it runs and tells everything. How fast it is, is not for tests to say."""

import argparse
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from process.failing_parts import die, fail_at_the_first_step
from shmbus.tools import bench
from shmbus.tools.measure.effort import Effort
from shmbus.tools.measure.figure import BenchError, Figure, Target
from shmbus.tools.measure.matrix import BENCHMARKS
from shmbus.tools.measure.peer import Peer
from shmbus.tools.measure.percentiles import medians, percentiles

TINY = Effort(2, 0.005, 64, 10, 0.05, 20, False, 3)

HELD_TO = {
    "publish(), 256 B, Python",
    "publish, 256 B, C",
    "1→1, 256 B, one call a message",
    "1→1, 256 B, batch calls",
    "1→4, 256 B, one call a message",
    "4→1, 256 B, one call a message",
    "one call a message, ack() each, of that without",
    "one call a message, ack_many(), of that without",
    "batch calls, ack_many(), of that without",
    "process events, of protobuf alone",
    "ping-pong spinning, one way",
    "ping-pong spinning, of the floor",
    "1,000/s to a sleeping reader, of the floor",
    "CPU of both at 1,000/s",
    "call and answer, one after the other",
    "call and answer, one after the other, pinned",
    "call and answer, both asleep",
    "call and answer, both asleep, pinned",
    "calls, 32 at a time",
    "start of a coordinator",
    "CPU of a coordinator of 3 collectors, a heartbeat a second each",
    "death of a collector until its command runs again",
    "CPU of an idle bus",
    "20 subscriptions to one topic",
    "20 subscriptions to patterns of their own",
}


def test_bench_measures_or_explains_every_figure_that_has_a_target(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), record=True, width=200)
    figures = bench.measure(list(BENCHMARKS), TINY, console, tmp_path / "result.json")

    assert {figure.what for figure in figures if figure.target} == HELD_TO
    assert all(figure.rounds or figure.note for figure in figures)
    text = console.export_text()
    assert all(figure.what in text for figure in figures)
    assert "targets met" in text


def test_bench_writes_every_round_into_its_file(tmp_path: Path) -> None:
    figures = bench.measure(["spinning"], TINY, Console(quiet=True), tmp_path / "new" / "result.json")
    found = json.loads((tmp_path / "new" / "result.json").read_text(encoding="utf-8"))

    assert [figure["rounds"] for figure in found["figures"]] == [list(figure.rounds) for figure in figures]
    assert found["machine"]["processors"] >= 1
    assert set(found["figures"][1]["percentiles"]) == {"p50", "p99", "p99.9", "max"}


def test_bench_without_a_compiler_says_that_floors_were_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    figures = bench.measure(["spinning"], TINY, Console(quiet=True))

    floor, measured, ratio = figures
    assert not floor.rounds and "compiler" in floor.note
    assert measured.rounds and measured.floor is None
    assert not ratio.rounds and ratio.met is None


def test_bench_offers_each_benchmark_by_name() -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    args = parser.parse_args(["--only", "idle", "--only", "memory", "--long"])
    assert args.only == ["idle", "memory"]
    assert args.long


def test_a_target_is_met_by_the_median_not_by_the_best_round() -> None:
    assert Figure("rate", "/s", [1.0, 2.0, 9.0], Target(3.0, at_least=True)).met is False
    assert Figure("time", "ns", [1.0, 4.0, 9.0], Target(4.0)).met is True


def test_percentiles_are_samples_that_were_measured() -> None:
    assert percentiles([float(i) for i in range(1, 1001)]) == {"p50": 500, "p99": 990, "p99.9": 999, "max": 1000}
    assert medians([percentiles([value]) for value in (1.0, 2.0, 9.0)])["p99"] == 2.0


def test_a_peer_tells_why_its_part_failed() -> None:
    with Peer("reader") as peer:
        peer.begin(fail_at_the_first_step)
        with pytest.raises(BenchError, match=r"the reader failed:(?s:.*)the reason"):
            peer.step()


def test_a_peer_that_dies_is_told_at_once() -> None:
    with Peer("writer") as peer, pytest.raises(BenchError, match="the writer died"):
        peer.begin(die)
