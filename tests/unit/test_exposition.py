"""Metrics for Prometheus: its format, its units, its escapes; and a file that is whole or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpczmq.exposition import FAMILIES, exposition
from hpczmq.model import Alert, AlertState, Metrics, NodeMetrics
from hpczmq.nodes.textfile import Textfile

LINE = re.compile(
    r'hpczmq_[a-z0-9_]+(?:\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})?'
    r" -?[0-9.e+-]+"
)
ROWS = [
    NodeMetrics("uno", 1.5, Metrics(cpu_percent=50.0, tasks_done=3, latency_s=0.001)),
    NodeMetrics('e"vil\\\n\x1b', 0.0, Metrics()),
]
ALERT = Alert("hot", "uno", "warning", "t", 1.0, 1.0, "hot/uno", AlertState.ACKNOWLEDGED)


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines), lines
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_each_metric_of_each_node_is_a_line_in_base_units() -> None:
    found = samples(exposition(ROWS, [ALERT], 1_800_000_000.25))
    assert found['hpczmq_cpu_usage_ratio{node="uno"}'] == 0.5
    assert found['hpczmq_tasks_total{node="uno"}'] == 3
    assert found['hpczmq_round_trip_seconds{node="uno"}'] == 0.001
    assert found['hpczmq_sample_age_seconds{node="uno"}'] == 1.5
    assert found["hpczmq_memoria_written_timestamp_seconds"] == 1_800_000_000.25
    labels = 'rule="hot",node="uno",severity="warning",acknowledged="true"'
    assert found[f"hpczmq_alert_active{{{labels}}}"] == 1


def test_names_are_escaped_and_bring_no_line_of_their_own() -> None:
    text = exposition(ROWS, [], 0.0)
    assert 'node="e\\"vil\\\\\\n\ufffd"' in text
    samples(text)


def test_each_family_has_its_help_its_type_and_a_name_by_the_conventions() -> None:
    text = exposition(ROWS, [], 0.0)
    for family in FAMILIES:
        assert text.count(f"# TYPE hpczmq_{family.name} {family.kind}\n") == 1
        assert text.count(f"# HELP hpczmq_{family.name} ") == 1
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert "percent" not in family.name


def test_of_two_processes_of_one_name_there_is_one_line() -> None:
    twice = [*ROWS, NodeMetrics("uno", 9.0, Metrics(cpu_percent=90.0))]
    assert samples(exposition(twice, [], 0.0))['hpczmq_cpu_usage_ratio{node="uno"}'] == 0.5


def test_the_file_is_replaced_whole_by_its_thread(tmp_path: Path) -> None:
    path = tmp_path / "hpczmq.prom"
    path.write_text("old")
    writer = Textfile(path)
    writer.write(ROWS, [ALERT], 7.0)
    writer.close()
    assert path.read_text() == exposition(ROWS, [ALERT], 7.0)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told_once_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Textfile(tmp_path / "none" / "hpczmq.prom")
    for _ in range(3):
        writer.write(ROWS, [], 7.0)
    writer.close()
    assert caplog.text.count("can't be written") == 1
