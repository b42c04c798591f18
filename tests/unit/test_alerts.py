"""When a measurement becomes an alert, and when it stops being one."""

from __future__ import annotations

import pytest

from hpczmq import limits
from hpczmq.alerts import RULES, Rule, Watcher
from hpczmq.model import Alert, Metrics

RULE = Rule(
    name="full",
    severity="warning",
    value=lambda metrics: metrics.memory_percent,
    raise_at=90.0,
    clear_at=70.0,
    for_s=10.0,
    text="{node} at {value:.0f} of {limit:.0f}",
)


def sampled(watcher: Watcher, *samples: tuple[float, float]) -> list[bool]:
    """Take samples in, as (when, value); gives back which of them changed the alert."""
    return [watcher.sample(Metrics(memory_percent=value), when) for when, value in samples]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher(RULE, "s1")


def test_a_value_must_stay_up_before_the_alert_is_raised(watcher: Watcher) -> None:
    assert sampled(watcher, (0.0, 90.0), (9.9, 95.0)) == [False, False]
    assert watcher.alert(9.9) is None
    assert sampled(watcher, (10.0, 91.0)) == [True]
    assert watcher.alert(12.5) == Alert("full", "s1", "warning", "s1 at 91 of 90", 91.0, 2.5)


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


def test_a_text_for_people_is_never_too_long_to_travel() -> None:
    watcher = Watcher(RULE, "n" * limits.text_chars_max)
    sampled(watcher, (0.0, 95.0), (10.0, 95.0))
    alert = watcher.alert(10.0)
    assert alert is not None
    assert len(alert.text) == limits.text_chars_max


def test_every_rule_has_room_between_its_limits_and_a_name_of_its_own() -> None:
    assert all(rule.clear_at < rule.raise_at and rule.for_s >= 0 for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_where_what_and_what_to_do(rule: Rule) -> None:
    text = rule.text.format(node="s1", value=97.0, limit=rule.raise_at)
    assert "s1" in text
    assert "97" in text
    assert ":" in text, "the remedy stands behind a colon"
