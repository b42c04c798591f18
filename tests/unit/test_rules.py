"""Rules of alerts as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpczmq import limits, rules
from hpczmq.alerts import Rule
from hpczmq.config import Config
from hpczmq.errors import ConfigError
from hpczmq.nodes.rulefile import rules_of

GOOD = """\
[[rule]]
name = "hot"
metric = "temperature_c"
raise_at = 80
clear_at = 70.5
for_s = 3
text = "{node} has {value:.1f} °C (limit {limit:.0f}): open a window"
"""


def faults(text: str) -> list[str]:
    """What is said of a file."""
    with pytest.raises(ConfigError) as raised:
        rules.parse(text, "r.toml")
    return str(raised.value).splitlines()


def test_the_rules_of_a_file_stand_beside_the_built_in_ones() -> None:
    found = rules.parse(GOOD, "r.toml")
    assert found[:-1] == rules.RULES
    assert found[-1] == Rule(
        name="hot", metric="temperature_c", raise_at=80.0, clear_at=70.5, for_s=3.0,
        text="{node} has {value:.1f} °C (limit {limit:.0f}): open a window",
    )  # fmt: skip


def test_a_rule_takes_the_place_of_a_built_in_one_or_takes_it_out() -> None:
    mine = GOOD.replace('"hot"', '"disk-full"')
    found = {rule.name: rule for rule in rules.parse(mine, "r.toml")}
    assert found["disk-full"].metric == "temperature_c"
    assert len(found) == len(rules.RULES)
    gone = rules.parse('[[rule]]\nname = "insecure"\nenabled = false\n', "r.toml")
    assert {rule.name for rule in rules.RULES} - {rule.name for rule in gone} == {"insecure"}
    assert [rule.name for rule in rules.parse("builtin = false\n" + GOOD, "r.toml")] == ["hot"]
    assert rules.parse("", "r.toml") == rules.RULES


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("80", '"x"', "r.toml:4: raise_at = x: must be a number"),
        ("80", "nan", "r.toml:4: raise_at = nan: must be a number"),
        ("70.5", "90", "r.toml:5: clear_at = 90: must be at most raise_at, which is 80"),
        ("for_s = 3", "for_s = -3", "r.toml:6: for_s = -3: must be seconds, 0 or more"),
        ('"temperature_c"', '"temp"', "r.toml:3: metric = temp: must be one of cpu_percent"),
        ('"hot"', '"HOT!"', "r.toml:2: name = HOT!: must be small letters"),
        ("for_s = 3", "force = 3", "r.toml:6: force = 3: is no key of a rule: use one of name"),
        ("for_s = 3", 'severity = "bad"', "r.toml:6: severity = bad: must be info, warning"),
        ("for_s = 3", "saturation = 1", "r.toml:6: saturation = 1: must be true or false"),
        ("for_s = 3", "enabled = 1", "r.toml:6: enabled = 1: must be true or false"),
        ("{value:.1f}", "{value.__class__}", "must have {node}, {value:.0f} and {limit:.0f} only"),
        ("{value:.1f}", "{value:999999999}", "must have {node}, {value:.0f} and {limit:.0f} only"),
        ("{value:.1f}", "{value!r}", "must have {node}, {value:.0f} and {limit:.0f} only"),
        ("{value:.1f}", "{value", "must be text with {node}"),
        ("{node}", "{0}", "must have {node}, {value:.0f} and {limit:.0f} only"),
        ('metric = "temperature_c"\n', "", "r.toml:1: metric: must be there"),
        ("for_s = 3", "for_s = 3 3", "r.toml:6: text: must be TOML"),
        ("[[rule]]", "[rule]", "r.toml:1: rule: must be written as [[rule]] tables"),
        ("[[rule]]", "x = 1\n[[rule]]", "r.toml:1: x = 1: must stand in a [[rule]] table"),
        ("[[rule]]", "builtin = 1\n[[rule]]", "r.toml:1: builtin = 1: must be true or false"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_its_value_and_the_remedy(
    old: str, new: str, told: str
) -> None:
    assert old in GOOD
    (line,) = faults(GOOD.replace(old, new, 1))
    assert told in line


def test_all_faults_of_a_file_are_told() -> None:
    wrong = GOOD.replace("80", '"x"').replace('"hot"', '"HOT"')
    found = faults(wrong + "\n" + GOOD + GOOD)
    assert [line.split(":")[1] for line in found] == ["4", "2", "18"] or len(found) == 3
    assert any("is given twice" in line for line in found)


def test_files_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "rules_max", 1)
    assert "2 rules: must be at most 1" in faults(GOOD + GOOD)[0]
    monkeypatch.setattr(limits, "rules_chars_max", 10)
    assert "must be at most 10" in faults(GOOD)[0]


@pytest.mark.parametrize(
    "text", ["rule = 3", "rule = [1]", "[[rule]]\n[[rule.x]]\n", "\x00", "[" * 9_999]
)
def test_whatever_a_file_is_it_is_refused_in_words(text: str) -> None:
    assert all(line.startswith("r.toml") for line in faults(text))


def test_the_file_is_read_for_a_node(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    with pytest.raises(ConfigError, match="`hpczmq alerts rules` prints one"):
        rules_of(Config(rules=str(file)))
    file.write_text(GOOD)
    assert rules_of(Config(rules=str(file)))[-1].name == "hot"
    assert rules_of(Config()) == rules.RULES


# --- The built-in ones --------------------------------------------------------------------------


def test_every_rule_has_room_between_its_limits_and_a_name_of_its_own() -> None:
    assert all(rule.clear_at < rule.raise_at and rule.for_s >= 0 for rule in rules.RULES)
    assert len({rule.name for rule in rules.RULES}) == len(rules.RULES)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_every_rule_says_where_what_and_what_to_do(rule: Rule) -> None:
    text = rule.text.format(node="s1", value=97.0, limit=rule.raise_at)
    assert "s1" in text
    assert rule.metric == "insecure" or "97" in text
    assert ":" in text, "the remedy stands behind a colon"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_every_rule_stands_in_the_documentation_with_its_limits(rule: Rule) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/alerts.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{rule.name}` |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == f"`{rule.metric}`"
    assert cells[2] == f"{rule.raise_at:g}"
    assert cells[3] == f"{rule.clear_at:g}"
    assert cells[4] == f"{rule.for_s:g} s, {rule.clear_for_s:g} s"
    assert cells[5] == rule.severity + (", no new work" if rule.saturation else "")
