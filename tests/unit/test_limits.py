"""Bounds that depend on each other: they hold, and can't be changed alone."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from hpczmq import limits

SOURCE = Path(limits.__file__).read_text(encoding="utf-8")
BOUNDS = {name: value for name, value in vars(limits).items() if name.islower() and name[0] != "_"}
NUMBERS = {name: value for name, value in BOUNDS.items() if isinstance(value, int | float)}


def changed(**values: object) -> None:
    """Run the module as if some of its bounds had other values."""
    source = SOURCE
    for name, value in values.items():
        source, found = re.subn(rf"(?m)^{name}: Final = .*$", f"{name}: Final = {value}", source)
        assert found == 1, f"{name} is not set once"
    exec(compile(source, "limits.py", "exec"), {"__name__": "limits"})


def test_the_bounds_as_they_are_fit_together() -> None:
    changed()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lost_heartbeats", limits.silent_heartbeats),
        ("silent_heartbeats", 0),
        ("resend_heartbeats", limits.lost_heartbeats),
        ("connection_silent_s", limits.connection_silent_s + 1),
        ("turn_s_max", limits.tick_s),
        ("buffers_max", limits.tasks_per_lease_max - 1),
        ("items_per_job_max", limits.tasks_per_job_max + 1),
        ("jobfile_lines_max", 10 * limits.jobs_open_max - 1),
        ("priority_default", limits.priority_max + 1),
        ("priority_min", limits.priority_default + 1),
        ("tile_pixels_max", 4097),
        ("buffer_bytes_max", limits.buffer_bytes_max - 1),
        ("chunk_credit", limits.socket_messages_max),
        ("report_flush_s", limits.lease_work_s * 2),
        # What is held back for company, and then one more value of the largest size.
        ("report_held_bytes_max", limits.body_bytes_max // 2 - limits.value_bytes_max),
        ("cpu_clear_percent", limits.cpu_saturated_percent),
        ("lease_bytes_max", limits.body_bytes_max),
        ("client_backlog_bytes_max", 20 * limits.MIB),
        ("clients_backlog_bytes_max", limits.client_backlog_bytes_max - 1),
        ("jobs_open_bytes_max", limits.body_bytes_max),
        ("slaves_max", limits.nodes_max + 1),
    ],
)
def test_a_bound_can_not_be_changed_without_those_that_depend_on_it(
    name: str, value: float
) -> None:
    with pytest.raises(AssertionError):
        changed(**{name: value})


def test_every_bound_is_a_finite_number_above_zero() -> None:
    assert len(NUMBERS) > 50
    wrong = {name for name, value in NUMBERS.items() if not 0 < value < math.inf}
    assert not wrong


def test_a_default_lies_between_its_ends() -> None:
    assert limits.heartbeat_s_min <= limits.heartbeat_s_default <= limits.heartbeat_s_max
    assert limits.tile_pixels_default <= limits.tile_pixels_max <= limits.side_pixels_max


def test_the_largest_lists_of_names_fit_the_answers_that_carry_them() -> None:
    assert limits.jobs_open_max <= limits.rows_max, "Done names every job that `clear` ended"
    assert limits.nodes_max <= limits.rows_max, "a node has one alert at least"
    assert 2 * limits.slots_max <= limits.rows_max, "Heartbeat names every lease"


def test_a_whole_image_of_the_largest_sides_is_counted_exactly() -> None:
    assert limits.side_pixels_max**2 < 2**53, "floats count its pixels"
    assert limits.iterations_max < 2**32, "uint32 counts its iterations"


def test_a_client_is_not_forgotten_before_a_slave_would_be_lost() -> None:
    assert limits.client_silent_s > limits.lost_heartbeats * limits.heartbeat_s_default


def test_messages_are_prefetched_before_the_work_at_hand_is_over() -> None:
    assert limits.lease_work_s < limits.prefetch_below_s


# --- The page ---------------------------------------------------------------------------------


PAGE = (Path(limits.__file__).parents[1] / "docs" / "limits.md").read_text(encoding="utf-8")
#: What, bound, value, what happens, number of the test.
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and line.count("`") >= 2 and line.count("|") == 6 and "max" in line
]


def shown(name: str) -> str:
    """A bound as the page writes it."""
    number = NUMBERS[name]
    for power, unit in ((50, "PiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if "_bytes_" in name and number >= 1 << power:
            return f"{number / (1 << power):g} {unit}"
    return f"{number:,}"


def test_the_page_of_the_bounds_has_their_values() -> None:
    assert len(ROWS) > 30
    for _, bound, value, *_ in ROWS:
        assert value == shown(bound.strip("`")), bound


def test_each_bound_in_bytes_is_on_the_page() -> None:
    told = {row[1].strip("`") for row in ROWS}
    # What one file, picture or node of a user may be is no store of ours that grows.
    others = {"value_bytes_max", "memory_bytes_max", "jobfile_bytes_max"}
    assert {name for name in NUMBERS if name.endswith("_bytes_max")} - others <= told


def test_each_row_of_the_page_names_a_test_that_exists() -> None:
    numbered = re.findall(r"(?m)^(\d+)\. `(test_\w+)`$", PAGE)
    sources = [path.read_text() for path in Path(__file__).parents[1].glob("*/test_*.py")]
    for _, name in numbered:
        assert any(f"def {name}(" in source for source in sources), name
    assert {row[4] for row in ROWS} <= {number for number, _ in numbered}
