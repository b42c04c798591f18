"""The page, from what was measured: everything in it but the explanations comes from the JSON."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from benchmarks.scorecard.cell import DAEMON_S, STRUCK_AFTER, TASK_S
from benchmarks.scorecard.faults import FAULTS, PASSES_S, RAN_S, STOPPED_S, TIMEOUT_S
from benchmarks.scorecard.systems import SYSTEMS

Data = dict[str, Any]
COLUMNS_MAX = 120
#: The undisturbed run.
PACE = "none"


def terms() -> dict[str, Any]:
    """What a reader of the JSON must know of the run."""
    return {
        "task_s": TASK_S,
        "struck_after_tasks": STRUCK_AFTER,
        "patience_s": {name: fault.patience_s for name, fault in FAULTS.items()},
    }


# --- Figures ------------------------------------------------------------------------------------


def late_s(data: Data, fault: str, system: str) -> float | None:
    """How much later the last result came than the slots that were left needed, in seconds.

    The pace is that of the same system when nothing disturbs it. None: there is no such run.
    """
    found = data["cells"].get(fault, {}).get(system, {})
    calm = data["cells"].get(PACE, {}).get(system, {})
    if "after_s" not in found or not calm.get("left"):
        return None
    a_task_s = calm["after_s"] / calm["left"]  # by two slots
    needed_s = found["left"] * a_task_s * 2 / FAULTS[fault].left
    return float(max(0.0, found["after_s"] - needed_s))


def cell(data: Data, fault: str, system: str) -> str:
    """Lost · run again · seconds."""
    found = data["cells"].get(fault, {}).get(system)
    if found is None or "failed" in found:
        return "not measured"
    lost = f"**{found['lost']}**" if found["lost"] else "0"
    return f"{lost} · {found['again']} · {seconds(data, fault, system)}"


def seconds(data: Data, fault: str, system: str) -> str:
    """The seconds of a cell."""
    found = data["cells"][fault][system]
    if found["silent"]:
        return longer(fault)
    if fault == "node-added":
        return in_seconds(found.get("joined_s"), longer(fault))
    return in_seconds(late_s(data, fault, system), "?")


def longer(fault: str) -> str:
    """What took longer than it was waited for; perhaps for ever."""
    return f"> {FAULTS[fault].patience_s:g} s"


def in_seconds(value: float | None, none: str) -> str:
    """One decimal is all that such a run can say."""
    return none if value is None else f"{value:.1f} s"


# --- The page -----------------------------------------------------------------------------------


def page(data: Data) -> str:
    """The whole of it."""
    parts = [
        "# Scorecard\n",
        paragraph(_INTRODUCTION),
        _where(data),
        "## Faults\n",
        paragraph(_HOW_TO_READ),
        faults_table(data),
        _missing(data),
        "## How it goes on\n",
        paragraph(_STOPPED),
        details_table(data),
        "## What the user is told\n",
        paragraph(_TOLD),
        told(data),
        "## What was done\n",
        *(paragraph(f"**{f.title}**: {_sentence(f.do)}", "- ") for f in FAULTS.values()),
        "\n## How the systems were set up\n",
        paragraph(_SETUP),
        *(paragraph(f"**{each.title}**: {each.note}", "- ") for each in SYSTEMS.values()),
        "\n## How it is measured\n",
        *(paragraph(text) for text in _METHOD),
    ]
    return "\n".join(part.rstrip("\n") + "\n" if part else "" for part in _spaced(parts))


def _spaced(parts: list[str]) -> list[str]:
    """No empty parts, and lists without empty lines in between."""
    kept: list[str] = []
    for part in (part.strip("\n") for part in parts if part.strip()):
        if kept and part.startswith("- ") and kept[-1].startswith("- "):
            kept[-1] += "\n" + part
        else:
            kept.append(part)
    return kept


def paragraph(text: str, begin: str = "") -> str:
    """Text in lines that fit."""
    words = " ".join(text.split())
    return textwrap.fill(
        begin + words, COLUMNS_MAX, subsequent_indent=" " * len(begin),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _sentence(function: Any) -> str:
    return " ".join((function.__doc__ or "").split())


def _where(data: Data) -> str:
    facts = data["facts"]
    versions = ", ".join(
        f"{row['title']} {row['version']}"
        for name, row in ordered(data)
        if "version" in row and name != "parsl-retries"
    )
    return paragraph(
        f"Measured {facts['date']} on {facts['cores']} cores of {facts['processor']}, with a load"
        f" of {facts['load before']} or less before it began: {versions}."
    )


def ordered(data: Data) -> list[tuple[str, dict[str, Any]]]:
    """The systems of the file, in the order of the program."""
    return [(name, data["systems"][name]) for name in SYSTEMS if name in data["systems"]]


def table(head: list[str], rows: list[list[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def faults_table(data: Data) -> str:
    """Faults × systems."""
    names = [name for name, row in ordered(data) if "version" in row]
    rows = [
        [fault.title, *(cell(data, key, name) for name in names)]
        for key, fault in FAULTS.items()
        if key in data["cells"]
    ]
    return table(["", *(SYSTEMS[name].title for name in names)], rows)


def _missing(data: Data) -> str:
    found = [
        f"{row['title']}: {row['not measured']}"
        for _, row in ordered(data)
        if "not measured" in row
    ]
    for key, cells in data["cells"].items():
        for name, each in cells.items():
            if "failed" in each:
                found.append(f"{SYSTEMS[name].title}, {FAULTS[key].title}: {each['failed']}")
    found += [f"{fault.title}: it takes root" for key, fault in FAULTS.items()
              if key not in data["cells"]]  # fmt: skip
    return "\n".join(paragraph(f"Not measured: {shortened(text)}", "- ") for text in found)


def shortened(text: str, columns: int = COLUMNS_MAX - 40) -> str:
    """The first line that says something, without colours, and not too much of it."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
    line = plain.splitlines()[0] if plain else ""
    return line if len(line) <= columns else line[: columns - 1].rstrip() + "…"


def details_table(data: Data) -> str:
    """What the count of tasks does not show."""
    names = [name for name, row in ordered(data) if "version" in row]

    def row(title: str, fault: str, show: Any) -> list[str]:
        cells = data["cells"].get(fault, {})
        return [title, *(show(cells[n]) if "lost" in cells.get(n, {}) else "" for n in names)]

    def stopped(found: dict[str, Any]) -> str:
        return in_seconds(found.get("stopped_s"), "no")

    def gone(found: dict[str, Any]) -> str:
        if found["silent"]:
            return longer("head-killed")
        return in_seconds(found["told_s"], "")

    def begun(found: dict[str, Any]) -> str:
        if found["again"]:
            return in_seconds(found["again_s"], "")
        return longer("node-killed") if found["lost"] else "goes on itself"

    rows = [
        *(
            row(f"{FAULTS[key].title}: its task is begun anew after", key, begun)
            for key in (
                "worker-killed",
                "node-killed",
                "worker-stopped",
                "node-stopped",
                "cut",
                "deaf",
            )
        ),
        row("runs of the task that kills", "poison", lambda found: str(found["special_runs"])),
        row("hung task: its process is gone after", "hang", stopped),
        row("cancelled task: it and its child are gone after", "cancel", stopped),
        row("process left behind by a task that ended: goes", "daemon", lambda x: x["daemon"]),
        row("scheduler killed: the user is told after", "head-killed", gone),
    ]
    return table(["", *(SYSTEMS[name].title for name in names)], rows)


def told(data: Data) -> str:
    """A line for each system and fault in which somebody was told something."""
    lines = []
    for key in ("worker-killed", "poison", "hang", "cancel", "raises", "head-killed"):
        for name, _ in ordered(data):
            found = data["cells"].get(key, {}).get(name, {})
            words = found.get("cancel_refused") or found.get("told")
            if words:
                start = f"- {FAULTS[key].title}, {SYSTEMS[name].title}: "
                said = shortened(last_words(words), COLUMNS_MAX - len(start) - 2).replace("`", "'")
                lines.append(f"{start}`{said}`")
    return "\n".join(lines)


def last_words(text: str) -> str:
    """An error's first line; of a traceback the last one, which is the error."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if any("Traceback" in line or 'File "' in line for line in lines) else lines[0]


_INTRODUCTION = """What happens to a run of tasks when something goes wrong, in hpczmq and in
others, side by side. The same program does the same things to each of them: `make scorecard`
installs the systems in environments of their own, plays all of it, and writes this page and
[scorecard.json](scorecard.json). This is about faults; [systems.py](../benchmarks/systems.py) is
about speed, where others are ahead in places."""

_HOW_TO_READ = """Each cell has three figures. **Lost**: tasks that never gave a result, whether the
user was told so or not; the task that misbehaves on purpose is not counted. **Run again**: tasks
that were begun more than once. What was interrupted has to be; everything above that is waste, and
harm where a task is not idempotent. **Seconds**: how much later the last result came than the slots
that were left needed for it; "> 330 s" when some results had not come, and nobody had said that
they would not, when so much patience had ended. Where a node is added it is the time until that
node runs a task."""

_STOPPED = """How long a fault goes unnoticed does not show above while there is other work to do.
Here it does. Where something is to be stopped its process is watched, not what the system says.
"no": it went on for as long as it was looked at, and held its slot."""

_TOLD = "The first line of the error of the task in question, as far as it fits."

_SETUP = """A scheduler and two nodes of one worker process with one slot each, all on one machine,
started by each system's own commands with its own defaults. What was chosen:"""

_METHOD = (
    f"""The tasks sleep {TASK_S:g} s each; there are 40 of them (160 where a node is added), after
    four to warm up. Each appends a line to a file of its own when it begins and when it ends, with
    the number of its process: what was lost, and what was run again, is counted there and in the
    results that the user's program got, in the same way for all. Faults strike once {STRUCK_AFTER}
    tasks are done, or when the tenth task, which misbehaves then, begins. "A worker" is the process
    that runs a task, "a node" all processes of a node.""",
    f"""A fault that passes lasts {PASSES_S:g} s. The task that hangs may take {TIMEOUT_S:g} s; the
    one that is cancelled has run for {RAN_S:g} s. What was to be stopped is looked at for
    {STOPPED_S:g} s, and what a task left behind for {DAEMON_S:g} s after all tasks are done; then
    the system is told to end in order. A cell is given up when nothing has happened for as long as
    its patience: {min(f.patience_s for f in FAULTS.values()):g} s, and
    {max(f.patience_s for f in FAULTS.values()):g} s where a system has to find out by itself that
    somebody is gone or silent, which is more than the longest of the defaults that are meant for it
    (Dask's `worker-ttl`, 300 s).""",
    """The client is killed while its tasks run; what counts then is whether they are run to their
    end. In hpczmq they belong to the master, and `hpczmq fetch` gets the results. Dask is asked to
    do so (`fire_and_forget`). Parsl's interchange and workers, whose client is gone, finish what
    they have; nobody gets the results. Ray ends the tasks of a driver that is gone, by design.""",
    """When the scheduler is killed, nobody starts it again, since none of them does so by itself.
    hpczmq keeps its jobs in memory so far: what was not done is lost with the master, and a client
    waits for a master that comes back, without a word, for as long as its user lets it.""",
    """Faults of the network are played on hosts made of network namespaces, with a switch between
    them; the client is on the scheduler's host. Packets are thrown away, no connection is closed.
    """,
    """A slave of hpczmq that is silent for four heartbeats, 4 s, is lost, and its task is begun
    anew: so a cut of 5 s costs one run more. The others wait for a minute or more.""",
    """What counts as lost beside a "> 330 s" had not come by then. Runs with more patience, which
    are not in this table, saw five such cells of Dask and Ray lose nothing and recover, in about
    590 to 620 s and 414 to 433 s.""",
    """One run of each cell; those of long patience five at a time, since they wait most of it.
    Seconds of a shared machine are worth what they are: differences below a second say nothing.""",
)
