"""Every benchmark runs and prints its ratio. Nothing is timed here: figures come from a quiet machine."""

import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
TOY = ["--faces", "32", "--arch", "small", "--size", "16", "--batch-size", "16", "--repeats", "1", "--device", "cpu"]
pytestmark = pytest.mark.usefixtures("small_rendered")
LINE = re.compile(r"(.+): ([\d.]+) \(aim (<=|>=) [\d.]+; .* in 1 pairs; 32 faces, small, 16 px, batch 16; .+ threads\)")


@pytest.fixture
def benchmark_named(monkeypatch):
    """A function that imports a benchmark by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("name, lines", [("callback_overhead", 1), ("loader_overhead", 2), ("released_speed", 2)])
def test_a_benchmark_prints_its_ratios(benchmark_named, capsys, name, lines):
    benchmark_named(name).main(TOY)
    printed = capsys.readouterr().out.splitlines()
    found = [LINE.fullmatch(line) for line in printed]
    assert len(printed) == lines and all(found), printed
    assert all(float(match[2]) > 0 for match in found)


def test_json_has_the_same_figures(benchmark_named, capsys):
    benchmark_named("callback_overhead").main([*TOY, "--json"])
    values = json.loads(capsys.readouterr().out)
    assert values["name"] == "callback overhead" and values["low"] <= values["ratio"] <= values["high"]
    assert math.isfinite(values["ratio"]) and values["batch_size"] == 16 and values["hardware"]


def test_facelab_prints_milliseconds(benchmark_named, capsys):
    speed = benchmark_named("facelab_speed")
    speed.main([*TOY, "--repeats", "2"])
    lines = capsys.readouterr().out.splitlines()
    pattern = r"(.+): ([\d.]+) ms \(aim <= 60; [\d.]+ to [\d.]+ in 2 updates; 16 px; .+ threads\)"
    assert [re.fullmatch(pattern, line)[1] for line in lines] == ["FaceLab update", "the same with a network"]
    speed.main([*TOY, "--json"])
    values = json.loads(capsys.readouterr().out.splitlines()[0])
    assert values["low"] <= values["ms"] <= values["high"] and values["size"] == 16


def test_methods_cost_prints_a_line_for_each_method(benchmark_named, capsys, monkeypatch):
    cost = benchmark_named("methods_cost")
    monkeypatch.setattr(cost, "in_own_process", cost.memory)  # a process for each takes seconds
    cost.main([*TOY, "--methods", "elr,coteaching:tau=0.1"])
    plain, *lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"plain: [\d.]+ s an epoch, \d+ MiB \(32 faces, small, 16 px, batch 16; .+\)", plain)
    pattern = r"(.+): [\d.]+ of its time \([\d.]+ to [\d.]+\), [\d.]+ of its memory"
    assert [re.fullmatch(pattern, line)[1] for line in lines] == ["elr", "coteaching:tau=0.1"]


@pytest.mark.slow
def test_peak_memory_is_that_of_a_process_of_its_own(benchmark_named):
    cost = benchmark_named("methods_cost")
    options = cost.options_parser("").parse_args(TOY)
    assert 2**18 < cost.in_own_process("plain", options) < 2**31


def test_pairs_are_timed_in_turns_and_the_median_counts(benchmark_named):
    order, times = [], iter([9.0, 9.0, 2.0, 1.0, 3.0, 1.0, 90.0, 1.0])

    def timed(name):
        order.append(name)
        return next(times)

    ratio = benchmark_named("_common").time_pairs(lambda: timed("A"), lambda: timed("B"), 3)
    assert order == list("ABABABAB") and ratio.ratios == [2, 3, 90] and ratio.median == 3


def test_without_a_gpu_host_waits_are_skipped_in_a_sentence():
    command = [sys.executable, "-W", "ignore", str(FOLDER / "host_syncs.py"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "host synchronisations per batch: skipped, for there is no CUDA device to ask.\n"


def test_host_waits_are_counted_per_batch(benchmark_named):
    names = ["cudaLaunchKernel"] * 7 + ["cudaStreamSynchronize"] * 4 + ["cudaMemcpyAsync", "aten::item"]
    events = [SimpleNamespace(name=name) for name in names]
    assert benchmark_named("host_syncs").waits_of(events, 8) == {"cudaStreamSynchronize": 0.5}


@pytest.mark.gpu
def test_scn_makes_no_batch_wait(benchmark_named, capsys):
    benchmark_named("host_syncs").main([*TOY[:-2], "--json"])
    assert json.loads(capsys.readouterr().out)["added"] == 0


def test_make_bench_runs_the_benchmarks_and_nothing_else():
    makefile = (FOLDER.parent / "Makefile").read_text(encoding="utf-8")
    pattern = re.search(r"in (benchmarks/\S+); do", makefile)[1]
    found = {path.stem for path in FOLDER.parent.glob(pattern)}
    measured = {"callback_overhead", "facelab_speed", "loader_overhead", "methods_cost", "released_speed", "host_syncs"}
    assert found == measured
