"""Rows as rich tables. Whatever came from elsewhere is made harmless by `hpczmq.plain`, and put in
as `Text`, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from hpczmq import wire
from hpczmq.errors import ProtocolError
from hpczmq.happened import EventInfo
from hpczmq.messages import ExplainAnswer
from hpczmq.model import (
    Alert,
    AlertState,
    AttemptInfo,
    ClusterInfo,
    JobInfo,
    JobState,
    NodeMetrics,
    SlaveInfo,
)
from hpczmq.plain import block, shown

if TYPE_CHECKING:
    from hpczmq.batch import Row
    from hpczmq.doctor import Finding

_STATE_STYLES = {
    "queued": "dim",
    "running": "cyan",
    "done": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "ready": "green",
    "silent": "yellow",
    "lost": "bold red",
    "left": "dim",
    "draining": "yellow",
    "quarantined": "bold red",
}


#: What every view of a cluster says that everybody may use.
INSECURE = "insecure  everybody who reaches the master may use it: see `hpczmq keys --help`"


def table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name starts with `>` is set to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    return made


def state(value: str) -> Text:
    """A state in its colour."""
    return Text(value, _STATE_STYLES.get(value, ""))


def seconds(value: float) -> str:
    """A time span, short: 0.31 s, 12.4 s, 3:05, 2:00:00."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: int, what: str) -> str:
    """So many of something: 1 job, 2 jobs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def size(value: int) -> str:
    """Bytes, short."""
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def params_of(info: JobInfo) -> dict[str, Any]:
    """A job's parameters; empty for a `map`."""
    try:
        values = wire.unpack(info.params) if info.params else {}
    except ProtocolError:
        return {}
    return values if isinstance(values, dict) else {}


def what(kernel: str, params: dict[str, Any]) -> str:
    """A job in a few words: Numpy 640×480, 1000 iterations."""
    if "width" not in params or "height" not in params:
        return kernel
    name = params.get("algorithm", kernel)
    return f"{name} {params['width']}×{params['height']}, {params.get('iterations')} it."


def batch(rows: Sequence[Row]) -> Table:
    """What a batch came to."""
    made = table("Results", "job", "what", ">prio", "state", ">tasks", ">time", "picture")
    for row in rows:
        target = row.picture or row.folder
        target = shown(target, len(target))
        made.add_row(
            Text(shown(row.name or row.id)), Text(shown(row.what)), str(row.priority),
            state(row.state), str(row.tasks), seconds(row.seconds), Text(target),
        )  # fmt: skip
    return made


def jobs(rows: Sequence[JobInfo]) -> Table:
    """Jobs of the master."""
    made = table(
        "Jobs", "id", "name", "what", ">prio", "state", ">done", ">running", ">tasks", ">waited",
        ">ran", "why",
    )  # fmt: skip
    for row in rows:
        made.add_row(
            Text(shown(row.id)), Text(shown(row.name)),
            Text(shown(what(row.kernel, params_of(row)))), str(row.priority),
            state(row.state.name.lower()), str(row.done), str(row.running), str(row.tasks),
            seconds(row.waited_s), seconds(row.ran_s), Text(shown(row.cause)),
        )  # fmt: skip
    return made


def slaves(rows: Sequence[SlaveInfo]) -> Table:
    """Slaves of the master."""
    labels, why = any(row.labels for row in rows), any(row.reason for row in rows)
    mixed = len({row.software for row in rows}) > 1
    made = table(
        "Slaves", "name", "state", ">slots", ">busy", ">held", ">done", ">CPU", ">free memory",
        ">latency", ">heard", *(["software"] if mixed else []),
        *(["labels"] if labels else []), *(["why"] if why else []),
    )  # fmt: skip
    for row in rows:
        made.add_row(
            Text(shown(row.name)), state(row.state.name.lower()), str(row.slots),
            str(0 if row.state.gone else row.metrics.slots_busy), str(row.tasks),
            str(row.metrics.tasks_done), f"{row.metrics.cpu_percent:.0f} %",
            size(row.metrics.memory_free_bytes), f"{row.metrics.latency_s * 1e3:.1f} ms",
            f"{seconds(row.silent_s)} ago",
            *([Text(shown(row.software))] if mixed else []),
            *([Text(shown(" ".join(row.labels)))] if labels else []),
            *([Text(shown(row.reason, 200))] if why else []),
        )  # fmt: skip
    return made


def metrics(rows: Sequence[NodeMetrics]) -> Table:
    """Newest metrics of each node."""
    warm, swaps = any(r.metrics.temperature_c for r in rows), any(r.vitals.swap_bytes for r in rows)
    made = table(
        "Metrics", "node", ">CPU", ">load", ">memory", ">free", *([">swap"] if swaps else []),
        ">disk", *([">°C"] if warm else []), ">net in", ">net out", ">latency", ">jitter", ">busy",
        ">held", ">done", ">failed", ">age",
    )  # fmt: skip
    for row in rows:
        m = row.metrics
        made.add_row(
            Text(shown(row.node)), f"{m.cpu_percent:.0f} %", f"{m.load:.2f}",
            f"{m.memory_percent:.0f} %", size(m.memory_free_bytes),
            *([f"{m.swap_percent:.0f} %"] if swaps else []), f"{m.disk_percent:.0f} %",
            *([f"{m.temperature_c:.0f}" if m.temperature_c else "-"] if warm else []),
            f"{size(int(m.received_bytes_per_s))}/s", f"{size(int(m.sent_bytes_per_s))}/s",
            f"{m.latency_s * 1e3:.1f} ms", f"{m.jitter_s * 1e3:.1f} ms", str(m.slots_busy),
            str(m.tasks_held), str(m.tasks_done), str(m.tasks_failed), seconds(row.age_s),
        )  # fmt: skip
    return made


def vitals(rows: Sequence[NodeMetrics]) -> Text:
    """Of each node the cores and workers, a line each; for one or two nodes that were named."""
    lines = []
    for row in rows:
        v, m, name = row.vitals, row.metrics, shown(row.node)
        cores = " ".join(f"{percent:.0f}" for percent in v.cores_percent)
        limits = ", limits of a container" if v.contained else ""
        lines += [
            f"{name}: cores {cores} %, {v.cores:g} to use{limits}",
            f"{name}: memory {size(v.memory_used_bytes)} of {size(v.memory_bytes)}, own"
            f" {size(m.own_memory_bytes)}; swap {size(v.swap_used_bytes)} of {size(v.swap_bytes)};"
            f" disk {size(v.disk_free_bytes)} free of {size(v.disk_bytes)}, read"
            f" {size(int(m.disk_read_bytes_per_s))}/s, written"
            f" {size(int(m.disk_written_bytes_per_s))}/s",
            f"{name}: {v.descriptors} descriptors of {v.descriptors_max}; tasks: {m.errors} errors,"
            f" {m.crashes} crashes, {m.timeouts} timeouts, {m.tasks_again} run again;"
            f" results {size(m.result_bytes)}",
            *(f"{name}: worker {w.pid} at {w.cpu_percent:.0f} % of a core, {size(w.memory_bytes)}"
              for w in v.workers),
        ]  # fmt: skip
    return Text("\n".join(lines))


_SEVERITY_STYLES = {"info": "cyan", "warning": "yellow", "critical": "bold red"}


def alerts(rows: Sequence[Alert]) -> Table:
    """Alerts, active or not."""
    made = table("Alerts", "severity", "state", "id", "text", ">for")
    for row in rows:
        over = row.state is AlertState.CLEARED
        lasted_s = max(0.0, row.cleared_s - row.raised_s) if over else row.age_s
        made.add_row(
            Text(shown(row.severity), "dim" if over else _SEVERITY_STYLES.get(row.severity, "")),
            row.state.name.lower(), Text(shown(row.id or f"{row.rule}/{row.node}", 200)),
            Text(shown(row.text, 200)), seconds(lasted_s),
        )  # fmt: skip
    return made


def cluster(row: ClusterInfo) -> Text:
    """The cluster in a few lines."""
    running = f"{row.tasks_running:,} running, {row.tasks_waiting:,} waiting"
    lines = (
        f"cluster   {shown(row.cluster)}, {shown(row.software)}, epoch {row.epoch},"
        f" up {seconds(row.up_s)}",
        f"slaves    {row.slaves} with {count(row.slots, 'slot')}, policy {shown(row.policy)}",
        f"jobs      {row.jobs_running} running, {row.jobs_queued} queued, {row.jobs_ended} ended",
        f"tasks     {running}, {row.tasks_done:,} done",
        f"clients   {row.clients}, {row.frames_dropped} broken messages dropped,"
        f" {count(row.connections, 'connection')}",
        f"refused   {', '.join(f'{shown(r.code)} {r.times:,}' for r in row.refused) or 'nothing'}",
        f"memorias  {', '.join(shown(bare(one)) for one in row.memorias) or 'none'}",
    )
    told = Text("\n".join(lines))
    if row.insecure:
        told.append(f"\n{INSECURE}", "bold red")
    return told


def bare(address: str) -> str:
    """An address without the key that is expected there, which is long."""
    return address.partition("#")[0]


def events(rows: Sequence[EventInfo]) -> Table:
    """What happened, oldest first."""
    made = table("Events", ">ago", "kind", "node", "job", "text")
    for row in rows:
        made.add_row(
            seconds(row.age_s), Text(shown(row.kind)), Text(shown(row.node)), Text(shown(row.job)),
            Text(shown(row.text, 300)),
        )  # fmt: skip
    return made


def findings(rows: Sequence[Finding]) -> Text:
    """A line each, and below one that is amiss what to do about it."""
    told = Text()
    width = max(len(row.what) for row in rows)
    for row in rows:
        told.append(f"{shown(row.what):{width}}  {block(row.value)}\n")
        if row.remedy:
            told.append(f"{'':{width}}  {block(row.remedy)}\n", "bold red")
    return told[:-1]


def job(row: JobInfo) -> Text:
    """One job, everything that is known."""
    given = (f"{shown(str(key))}={shown(str(v))}" for key, v in params_of(row).items())
    params = ", ".join(given) or "a map"
    lines = (
        f"id        {shown(row.id)}",
        f"name      {shown(row.name) or '-'}",
        f"kernel    {shown(row.kernel)}: {params}",
        f"state     {row.state.name.lower()}, priority {row.priority}",
        f"tasks     {row.done} done, {row.running} running, {row.failed} failed, of {row.tasks}",
        f"time      waited {seconds(row.waited_s)}, ran {seconds(row.ran_s)}",
        *([f"why       {block(row.cause, ' ' * 10)}"] if row.cause else []),
    )
    return Text("\n".join(lines), "red" if row.state is JobState.FAILED else "")


def explanation(answer: ExplainAnswer) -> Text:
    """Why a job or a task is where it is, and what is remembered of its attempts."""
    lines = [block(reason) for reason in answer.reasons]
    if answer.attempts and "/" not in answer.id:
        lines.append("attempts, oldest first:")
    for row in answer.attempts:
        if "/" not in answer.id:
            lines.append(f"  {_attempt(row)}")
        lines += [f"    | {block(line)}" for line in row.usage.log]
    return Text("\n".join(lines))


def _attempt(row: AttemptInfo) -> str:
    usage, who = row.usage, f"task {row.task}"
    if row.tasks > 1:
        who += f" and {row.tasks - 1} more in one worker"
    how = usage.exit or row.status.name.lower()
    told = f"{who} on {shown(row.slave)}, {seconds(row.age_s)} ago: {shown(how, 200)}"
    if not usage.pid:
        return f"{told} ({shown(row.text, 200)})" if row.text else told
    return (
        f"{told} after {seconds(row.seconds)} (worker {usage.pid}, user {seconds(usage.user_s)},"
        f" system {seconds(usage.system_s)}, at most {size(usage.peak_bytes)})"
    )
