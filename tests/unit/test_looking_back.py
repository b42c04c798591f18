"""The past as a user sees it: moments, curves, CSV."""

from __future__ import annotations

import csv
import time

import pytest
from rich.console import Console

from hpczmq import looking_back, plots
from hpczmq.errors import ParameterError
from hpczmq.metrics import METRICS

NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [("90s", 90), ("15m", 900), ("2h", 7_200), ("1.5h", 5_400), ("3d", 259_200), ("1w", 604_800)],
)
def test_a_moment_is_so_long_ago(text: str, ago_s: float) -> None:
    assert looking_back.moment("since", text, NOW_S) == NOW_S - ago_s


def test_a_moment_is_a_date() -> None:
    at_s = looking_back.moment("since", "2026-11-25T10:30", NOW_S)
    assert time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s)) == "2026-11-25 10:30"
    assert looking_back.moment("since", "2026-11-25", NOW_S) == at_s - 10.5 * 3600


@pytest.mark.parametrize(
    "text", ["", "yesterday", "5", "-3h", "2026-13-01", "1e999s", "9" * 99 + "s"]
)
def test_any_other_moment_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ParameterError, match="must be like 90s"):
        looking_back.moment("since", text, NOW_S)


def test_only_what_is_measured_can_be_drawn() -> None:
    looking_back.check_metrics(["load", "cpu_percent"])
    with pytest.raises(ParameterError, match="metric = lod: must be one of cpu_percent"):
        looking_back.check_metrics(["lod"])


def test_points_are_spread_over_the_time_that_was_asked_for() -> None:
    points = [(0.0, 1.0), (0.5, 3.0), (9.0, 5.0), (10.0, 7.0)]
    assert plots.resampled(points, 0.0, 10.0, 5) == [2.0, None, None, None, 6.0]
    assert plots.resampled(points, 0.0, 10.0, 5, 5.0) == [2.0, 2.0, 2.0, None, 6.0]


def test_a_curve_has_dots_up_to_its_value() -> None:
    assert plots.curve([0.0, 100.0, None, 50.0], 100.0) == ["⢸⢠"]
    assert plots.curve([100.0, 100.0], 100.0, rows=2) == ["⣿", "⣿"]
    assert plots.curve([0.1], 100.0) == ["⡀"], "a little is not nothing"
    assert plots.curve([0.0], 0.0) == ["⠀"]


def told() -> dict[str, list[dict[str, float]]]:
    zero = dict.fromkeys(METRICS, 0.0)
    return {
        "uno": [{"at_s": NOW_S - 10 + n, **zero, "cpu_percent": 10.0 * n} for n in range(10)],
        "=evil\x1b[31m": [{"at_s": NOW_S, **zero}],
    }


@pytest.mark.parametrize("width", [80, 200])
def test_each_node_has_a_curve_that_fits_the_terminal(width: int) -> None:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(looking_back.drawn(told(), ("cpu_percent",), NOW_S - 3600, NOW_S, width))
    lines = captured.get().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("uno")
    assert "0 %" in lines[0]
    assert "90 %" in lines[0]
    assert max(map(len, lines)) <= width


def test_without_rows_it_says_so() -> None:
    shown = looking_back.drawn({}, ("load",), 0.0, 1.0, 80)
    assert "No history" in str(shown)


def test_csv_has_a_line_a_row_and_no_formulas() -> None:
    rows = list(csv.DictReader(looking_back.as_csv(told()).splitlines()))
    assert [row["node"] for row in rows] == ["uno"] * 10 + ["'=evil\\x1b[31m"]
    assert rows[3]["cpu_percent"] == "30"
    assert float(rows[3]["at_s"]) == NOW_S - 7
