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
