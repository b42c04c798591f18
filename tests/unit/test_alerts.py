"""When a measurement becomes an alert, and when it stops being one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpczmq import limits
from hpczmq.alerts import Readings, Rule, Watcher, merged
from hpczmq.model import Alert, AlertState, Metrics

RULE = Rule(
    name="full",
    metric="memory_percent",
    raise_at=90.0,
    clear_at=70.0,
    for_s=10.0,
    text="{node} at {value:.0f} of {limit:.0f}",
)


def sampled(watcher: Watcher, *samples: tuple[float, float]) -> list[bool]:
    """Take values in, as (when, value); gives back which of them changed the alert."""
    return [watcher.sample(value, when) for when, value in samples]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher(RULE, "s1")


def test_a_value_must_stay_up_before_the_alert_is_raised(watcher: Watcher) -> None:
    assert sampled(watcher, (0.0, 90.0), (9.9, 95.0)) == [False, False]
    assert watcher.alert(9.9) is None
    assert watcher.told(9.9).state is AlertState.PENDING
    assert sampled(watcher, (10.0, 91.0)) == [True]
    told = watcher.alert(12.5)
    assert told == Alert("full", "s1", "warning", "s1 at 91 of 90", 91.0, 2.5, "full/s1")
    assert told.state is AlertState.ACTIVE


def test_a_value_that_drops_below_the_upper_limit_starts_anew(watcher: Watcher) -> None:
    assert not any(sampled(watcher, (0.0, 95.0), (8.0, 89.9), (9.0, 95.0), (18.9, 95.0)))
    assert sampled(watcher, (19.0, 95.0)) == [True]


def test_between_the_two_limits_an_alert_neither_clears_nor_is_raised(watcher: Watcher) -> None:
    assert sampled(watcher, (0.0, 95.0), (10.0, 95.0)) == [False, True]
    assert not any(sampled(watcher, (11.0, 70.0), (99.0, 89.0)))
    assert watcher.alert(99.0) is not None
    assert sampled(watcher, (100.0, 69.9)) == [True]
    assert watcher.alert(100.0) is None
    assert not any(sampled(watcher, (101.0, 89.0), (200.0, 89.0)))


def test_a_value_must_stay_down_before_the_alert_clears() -> None:
    watcher = Watcher(replace(RULE, for_s=0.0, clear_for_s=5.0), "s1")
    assert sampled(watcher, (0.0, 95.0), (1.0, 0.0), (5.9, 0.0)) == [True, False, False]
    assert sampled(watcher, (5.95, 70.0), (6.0, 0.0), (10.9, 0.0)) == [False, False, False]
    assert watcher.alert(10.9) is not None
    assert sampled(watcher, (11.0, 0.0)) == [True]
    assert watcher.alert(11.0) is None


def test_an_acknowledged_alert_stays_so_until_it_clears(watcher: Watcher) -> None:
    sampled(watcher, (0.0, 95.0), (10.0, 95.0))
    watcher.acknowledged = True
    assert watcher.told(11.0).state is AlertState.ACKNOWLEDGED
    sampled(watcher, (12.0, 0.0), (13.0, 95.0), (23.0, 95.0))
    assert watcher.told(23.0).state is AlertState.ACTIVE


def test_a_text_for_people_is_never_too_long_to_travel() -> None:
    watcher = Watcher(RULE, "n" * limits.text_chars_max)
    sampled(watcher, (0.0, 95.0), (10.0, 95.0))
    alert = watcher.alert(10.0)
    assert alert is not None
    assert len(alert.text) == limits.text_chars_max


def test_of_the_alerts_of_two_memorias_each_is_told_once() -> None:
    older = Alert("a", "s1", "warning", "t", 1.0, 9.0, "a/s1")
    newer = replace(older, age_s=8.0, state=AlertState.ACKNOWLEDGED)
    other = replace(older, node="s2", id="a/s2")
    acknowledged = replace(older, state=AlertState.ACKNOWLEDGED)
    assert merged([(older, other), (newer,)]) == (acknowledged, other)
    assert merged([(newer,), (older, other)]) == (acknowledged, other)


# --- What is made of several measurements -------------------------------------------------------


def test_counters_are_looked_at_by_the_minute() -> None:
    readings = Readings()
    for second in range(0, 200, 2):
        readings.take(Metrics(errors=second, crashes=7), float(second))
    assert 54.0 <= readings.value("errors_per_min") <= 60.0
    assert readings.value("crashes_per_min") == 0.0
    readings.take(Metrics(errors=3), 200.0)  # a new process, which counts anew
    assert readings.value("errors_per_min") == 0.0


def test_a_clock_is_off_by_the_difference_to_the_own_one() -> None:
    readings = Readings()
    readings.take(Metrics(clock_s=1_000.0), 0.0, 1_007.5)
    assert readings.value("clock_off_s") == 7.5
    readings.take(Metrics(), 0.0, 1_007.5)
    assert readings.value("clock_off_s") == 0.0, "it does not say"


def test_memory_grows_when_it_never_became_less_for_half_an_hour() -> None:
    readings = Readings()
    for minute in range(30):
        readings.take(Metrics(own_memory_bytes=1_000 + 20 * minute), 60.0 * minute)
        assert readings.value("memory_growth_percent") == 0.0
    readings.take(Metrics(own_memory_bytes=1_600), 1_800.0)
    assert readings.value("memory_growth_percent") == pytest.approx(60.0)
    readings.take(Metrics(own_memory_bytes=1_500), 1_860.0)
    assert readings.value("memory_growth_percent") == 0.0


def test_load_of_its_own_is_not_foreign() -> None:
    readings = Readings()
    readings.take(Metrics(cpu_percent=99.0, own_cpu_percent=90.0), 0.0)
    assert readings.value("foreign_cpu_percent") == 9.0
    assert readings.value("cpu_percent") == 99.0
