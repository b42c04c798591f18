"""Rules of alerts as people write them: TOML to rules. Pure; the built-in ones are the model.

A file has `[[rule]]` tables. A rule whose name is built in replaces that one; `enabled = false`
takes it out; `builtin = false` at the top of the file takes all of them out.
"""

from __future__ import annotations

import math
import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from hpczmq import limits
from hpczmq.alerts import CLUSTER, DERIVED, SEVERITIES, Rule
from hpczmq.errors import ConfigError, shown
from hpczmq.metrics import METRICS

BUILTIN: Final = """\
# The built-in rules. Those with saturation = true keep new work away from a slave.

[[rule]]
name = "cpu-saturated"
metric = "foreign_cpu_percent"
raise_at = 95.0
clear_at = 80.0
for_s = 10.0
text = "CPU of {node} at {value:.0f} % by others (limit {limit:.0f} %): end them, or add slaves"
saturation = true

[[rule]]
name = "memory-saturated"
metric = "memory_percent"
raise_at = 95.0
clear_at = 88.0
for_s = 10.0
clear_for_s = 5.0
severity = "critical"
text = "memory of {node} at {value:.0f} % (limit {limit:.0f} %): fewer slots, or smaller tasks"
saturation = true

[[rule]]
name = "swap-saturated"
metric = "swap_percent"
raise_at = 80.0
clear_at = 60.0
for_s = 60.0
clear_for_s = 30.0
text = "swap of {node} at {value:.0f} % (limit {limit:.0f} %): fewer slots, or more memory"

[[rule]]
name = "disk-full"
metric = "disk_percent"
raise_at = 95.0
clear_at = 90.0
for_s = 30.0
clear_for_s = 30.0
severity = "critical"
text = "disk of {node} at {value:.0f} % (limit {limit:.0f} %): make room for temporary files"

[[rule]]
name = "latency-high"
metric = "latency_s"
raise_at = 0.5
clear_at = 0.2
for_s = 30.0
clear_for_s = 10.0
text = "round trip of {node} takes {value:.2f} s (limit {limit:.2f} s): look at its network"

[[rule]]
name = "master-silent"
metric = "master_silent_s"
raise_at = 10.0
clear_at = 1.0
severity = "critical"
text = "{node} was not heard for {value:.0f} s: look at its host, or start it again"

[[rule]]
name = "slave-lost"
metric = "slave_lost_s"
raise_at = 1.0
clear_at = 0.5
severity = "critical"
text = "slave {node} was not heard for {value:.0f} s: look at its host; its tasks went elsewhere"

[[rule]]
name = "slave-flapping"
metric = "slave_losses"
raise_at = 3.0
clear_at = 2.0
text = "slave {node} was lost {value:.0f} times in 10 minutes: look at its network, or drain it"

[[rule]]
name = "job-stalled"
metric = "job_idle_s"
raise_at = 900.0
clear_at = 60.0
text = "no task of job {node} has ended for {value:.0f} s: `hpczmq explain {node}` says why"

[[rule]]
name = "stragglers"
metric = "job_stragglers"
raise_at = 4.0
clear_at = 1.0
for_s = 60.0
clear_for_s = 10.0
severity = "info"
text = "{value:.0f} tasks of job {node} were started twice: `hpczmq metrics` shows the slow slave"

[[rule]]
name = "errors"
metric = "errors_per_min"
raise_at = 60.0
clear_at = 10.0
text = "{value:.0f} tasks a minute raise on {node}: `hpczmq jobs` has the cause"

[[rule]]
name = "crashes"
metric = "crashes_per_min"
raise_at = 5.0
clear_at = 1.0
severity = "critical"
text = "{value:.0f} workers a minute die on {node}: `hpczmq explain JOB` has their logs"

[[rule]]
name = "timeouts"
metric = "timeouts_per_min"
raise_at = 10.0
clear_at = 1.0
text = "{value:.0f} tasks a minute time out on {node}: raise timeout_s, or cut them smaller"

[[rule]]
name = "descriptors"
metric = "descriptors_percent"
raise_at = 80.0
clear_at = 70.0
for_s = 5.0
text = "{node} has {value:.0f} % of its descriptors open: ulimit -n, or fewer nodes"

[[rule]]
name = "queue-full"
metric = "queue_percent"
raise_at = 80.0
clear_at = 70.0
text = "queue of the {node} {value:.0f} % full: wait, or cancel jobs; at 100 % all is refused"

[[rule]]
name = "results-full"
metric = "results_percent"
raise_at = 80.0
clear_at = 70.0
severity = "critical"
text = "room for results {value:.0f} % full on the {node}: fetch some, or `hpczmq clear --ended`"

[[rule]]
name = "memory-grows"
metric = "memory_growth_percent"
raise_at = 50.0
clear_at = 10.0
text = "memory of {node} only grew for 30 minutes, by {value:.0f} %: a kernel may keep what it made"

[[rule]]
name = "clock-off"
metric = "clock_off_s"
raise_at = 5.0
clear_at = 2.0
for_s = 10.0
clear_for_s = 10.0
text = "clock of {node} is {value:.1f} s off: synchronise it (chrony, systemd-timesyncd)"

[[rule]]
name = "insecure"
metric = "insecure"
raise_at = 1.0
clear_at = 0.5
text = "the {node} listens beyond loopback without keys: everybody who reaches it can use it"
"""

_KEYS: Final = tuple(field.name for field in fields(Rule))
_NEEDED: Final = ("name", "metric", "raise_at", "clear_at", "text")
_METRICS: Final = (*METRICS, *DERIVED, *CLUSTER)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)
#: How a number may be written in a text: a wider one could fill the memory.
_FORM: Final = re.compile(r",?(\.[0-9])?[fge%]?")


def parse(text: str, place: str) -> tuple[Rule, ...]:
    """The rules of a file, with the built-in ones that it leaves.

    Args:
        text: of the file.
        place: its name, for messages.

    Raises:
        ConfigError: it has faults; a line for each, with what to do.
    """
    known = {} if place == _OURS else {rule.name: rule for rule in RULES}
    faults: list[str] = []
    tables = list(_tables(text, place, faults))
    if faults:
        raise ConfigError("\n".join(faults))
    top = tomllib.loads(text)
    if top.get("builtin") is False:
        known = {}
    seen: set[str] = set()
    for line, table, lines in tables:
        _take(table, lambda key: f"{place}:{lines.get(key, line)}", known, seen, faults)  # noqa: B023
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(known.values())


def _tables(
    text: str, place: str, faults: list[str]
) -> Iterator[tuple[int, dict[str, Any], dict[str, int]]]:
    """Each rule with its line, and the lines of its keys."""
    if len(text) > limits.rules_chars_max:
        faults.append(f"{place}: {len(text)} characters: must be at most {limits.rules_chars_max}")
        return
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        cause, _, where = str(error).rpartition(" (at line ")
        line = where.partition(",")[0] if cause else text.count("\n") + 1
        faults.append(f"{place}:{line}: text: must be TOML: {shown(cause or str(error))}")
        return
    tables = top.pop("rule", [])
    builtin = top.pop("builtin", True)
    if type(builtin) is not bool:
        line = _line_of(text, "builtin")
        faults.append(f"{place}:{line}: builtin = {shown(builtin)}: must be true or false")
    for key, value in top.items():
        told = f"{shown(key)} = {shown(value)}"
        faults.append(f"{place}:{_line_of(text, key)}: {told}: must stand in a [[rule]] table")
    starts = [match.start() for match in _HEADER.finditer(text)]
    if not isinstance(tables, list) or len(starts) != len(tables):
        told = "rule: must be written as [[rule]] tables"
        faults.append(f"{place}:{_line_of(text, 'rule')}: {told}")
        return
    if len(tables) > limits.rules_max:
        faults.append(f"{place}: {len(tables)} rules: must be at most {limits.rules_max}")
        return
    for start, end, table in zip(starts, [*starts, len(text)][1:], tables, strict=True):
        line = text.count("\n", 0, start) + 1
        part = text[start:end]
        yield line, table, {key: line - 1 + _line_of(part, key) for key in table}


def _line_of(text: str, key: str) -> int:
    found = re.search(rf"^[ \t\[\"']*{re.escape(key)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _take(
    table: Mapping[str, Any], at: Any, known: dict[str, Rule], seen: set[str], faults: list[str]
) -> None:
    """Take one rule in, or say what is wrong with it."""
    before = len(faults)
    name, rest = table.get("name"), {k: v for k, v in table.items() if k != "enabled"}
    if type(name) is str and name in seen:
        faults.append(f"{at('name')}: name = {shown(name)}: is given twice; leave one out")
    enabled = table.get("enabled", True)
    if type(enabled) is not bool:
        faults.append(f"{at('enabled')}: enabled = {shown(enabled)}: must be true or false")
    for key, remedy in _wrong(rest, complete=enabled is not False):
        value = f" = {shown(rest[key])}" if key in rest else ""
        faults.append(f"{at(key)}: {shown(key)}{value}: {remedy}")
    if len(faults) > before:
        return
    seen.add(table["name"])
    if not enabled:
        known.pop(table["name"], None)
        return
    numbers = {key: float(value) for key, value in rest.items() if type(value) in (int, float)}
    known[table["name"]] = Rule(**{**rest, **numbers})


def _wrong(rule: Mapping[str, Any], complete: bool) -> Iterator[tuple[str, str]]:
    """Each key that can't be so, and what it must be."""
    for key in rule.keys() - set(_KEYS):
        yield key, f"is no key of a rule: use one of {', '.join((*_KEYS, 'enabled'))}"
    for key in _NEEDED if complete else ("name",):
        if key not in rule:
            yield key, "must be there"
    name = rule.get("name", "a")
    if type(name) is not str or not _NAME.fullmatch(name):
        yield "name", "must be small letters, digits, - and _, at most 64"
    if rule.get("metric", METRICS[0]) not in _METRICS:
        yield "metric", f"must be one of {', '.join(_METRICS)}"
    if rule.get("severity", SEVERITIES[0]) not in SEVERITIES:
        yield "severity", f"must be {', '.join(SEVERITIES)}"
    if type(rule.get("saturation", False)) is not bool:
        yield "saturation", "must be true or false"
    elif rule.get("saturation") and rule.get("metric") in CLUSTER:
        yield "saturation", "must be false: only a node has no room"
    for key, low in (("raise_at", -1e300), ("clear_at", -1e300), ("for_s", 0), ("clear_for_s", 0)):
        value = rule.get(key, 0.0)
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= 1e300:
            yield key, "must be a number" if low else "must be seconds, 0 or more"
            return
    if rule.get("clear_at", 0.0) > rule.get("raise_at", math.inf):
        yield "clear_at", f"must be at most raise_at, which is {rule['raise_at']:g}"
    if "text" in rule:
        fault = _wrong_text(rule["text"])
        if fault:
            yield "text", fault


def _wrong_text(text: Any) -> str:
    if type(text) is not str or not 0 < len(text) <= limits.text_chars_max // 2:
        return f"must be text, at most {limits.text_chars_max // 2} characters"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        return f"must be text with {{node}}, {{value:.0f}}, {{limit:.0f}}: {error}"
    for _, name, form, conversion in parts:
        if name is None:
            continue
        numeric = name in ("value", "limit") and _FORM.fullmatch(form or "")
        if conversion or not (numeric or (name == "node" and not form)):
            return "must have {node}, {value:.0f} and {limit:.0f} only"
    return ""


_OURS: Final = "the built-in rules"
RULES: tuple[Rule, ...] = ()
RULES = parse(BUILTIN, _OURS)
assert RULES[0].raise_at == limits.cpu_saturated_percent, "the simulation counts on it"
assert (RULES[0].clear_at, RULES[0].for_s) == (limits.cpu_clear_percent, limits.cpu_saturated_s)
