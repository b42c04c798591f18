"""The benchmarks still run: tiny images, no figure is looked at."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("cc") is None, reason="the plain loop is C")
def test_the_kernels_benchmark_runs_and_its_exact_variants_agree(tmp_path: Path) -> None:
    data, picture = tmp_path / "run.json", tmp_path / "run.svg"
    command = [sys.executable, "-m", "benchmarks.kernels", "--smaller", "50", "--repeat", "1"]
    done = subprocess.run(
        [*command, "--json", str(data), "--plot", str(picture), "--only", "N", "S", "juliaCython"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr  # WrongCounts, if a count is not the plain loop's
    run = json.loads(data.read_text())
    variants = {figure["variant"] for figure in run["figures"]}
    assert {"plain C loop", "Secuencial", "Numpy", "Numpy, trap"} <= variants
    assert len(run["figures"]) == 4 * len(variants)
    assert all(figure["rate"] > 0 for figure in run["figures"])
    assert "| plain C loop |" in done.stdout
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    again = subprocess.run(
        [*command, "--load", str(data)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert again.stdout == done.stdout


def test_the_partition_benchmark_runs_on_paper_and_for_real(tmp_path: Path) -> None:
    data = tmp_path / "run.json"
    options = ["--smaller", "20", "--repeat", "1", "--run", "--json", str(data)]
    command = [sys.executable, "-m", "benchmarks.partition", *options]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = json.loads(data.read_text())
    assert {case["case"].split()[1].strip(",") for case in run["cases"]} == {
        "Secuencial",
        "Numpy",
        "juliaCython",
    }
    for case in run["cases"]:
        for plan in case["plans"].values():
            assert min(plan["ratios"].values()) > 0.99, "nobody beats the ideal"
    assert all(row["before"] > 0 and row["now"] > 0 for row in run["real"])
    assert "128 workers:" in done.stdout


def test_the_scorecard_plays_a_fault_and_makes_its_page(tmp_path: Path) -> None:
    data, page = tmp_path / "card.json", tmp_path / "card.md"
    command = [sys.executable, "-m", "benchmarks.scorecard", "--json", str(data)]
    done = subprocess.run(
        [*command, "--page", str(page), "--only", "hpczmq", "--faults", "worker-killed"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cell = json.loads(data.read_text())["cells"]["worker-killed"]["hpczmq"]
    assert cell["lost"] == 0, cell
    assert cell["again"] == 1, "only what the worker was running is run again"
    assert "| a worker is killed | 0 · 1 · " in page.read_text()


def test_the_benchmark_of_attacks_runs(tmp_path: Path) -> None:
    data = tmp_path / "run.json"
    options = ["--only", "queries", "halves", "--repeat", "1", "--seconds", "0.2"]
    small = ["--smaller", "20", "--connections", "100", "--json", str(data)]
    command = [sys.executable, "-m", "benchmarks.hostile", *options, *small]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = json.loads(data.read_text())
    assert set(run["attacks"]) == {"queries", "halves"}
    assert all(row["tasks"] > 0 and row["images"] > 0 for row in run["attacks"].values())
    assert "| queries | " in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="it reads the master's memory from /proc")
def test_the_memory_benchmark_runs_and_every_task_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "run.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/memory.py", "--tasks", "2000", "--json", str(data)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(data.read_text())
    assert [(figure["job"], figure["tasks"]) for figure in figures] == [
        ("split", 2000),
        ("map", 2000),
    ]
    assert all(figure["idle_mib"] > 0 and figure["run_s"] > 0 for figure in figures)
    assert "| map | 2,000 |" in done.stdout


def test_the_benchmark_of_placement_runs(tmp_path: Path) -> None:
    data = tmp_path / "run.json"
    options = ["--smaller", "200", "--rounds", "1", "--json", str(data)]
    command = [sys.executable, "-m", "benchmarks.placement", *options]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(data.read_text())["figures"]
    assert {figure["policy"] for figure in figures} == {"round-robin", "least-loaded", "resources"}
    for figure in figures:
        alone = figure["kind"] == "one a lease"
        assert (figure["leases"] == figure["tasks"]) or not alone
        assert figure["whole_us_per_task"] > figure["placed_us_per_task"] > 0
    assert "| 50 | 1 | least-loaded | one a lease |" in done.stdout
