"""The commands that are nodes: arguments → settings → a node, until it is told to stop."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpczmq import config
from hpczmq.errors import ConfigError
from hpczmq.nodes import launch
from hpczmq.options import (
    Bind,
    ControlBind,
    Fingerprint,
    Insecure,
    Key,
    LogLevel,
    Master,
    Name,
    Token,
)


def master(
    bind: Bind = None,
    control_bind: ControlBind = None,
    policy: Annotated[str | None, typer.Option("--policy", "--politica")] = None,
    heartbeat: Annotated[float | None, typer.Option("--heartbeat", metavar="S")] = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", "--reglas", metavar="FILE", help="Rules of alerts, in TOML."),
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", "--claves", metavar="DIR", help="Of the cluster.")
    ] = None,
    insecure: Insecure = False,
    log_level: LogLevel = None,
) -> None:
    """Be the master: owns the queue, places the tasks."""
    launch.master(
        _settings(
            bind=bind,
            control_bind=control_bind,
            policy=policy,
            heartbeat_s=heartbeat,
            rules=rules,
            keys=keys,
            insecure=insecure or None,
            log_level=log_level,
        )
    )


def slave(
    master: Master = None,
    name: Name = None,
    slots: Annotated[int | None, typer.Option("--slots", help="Worker processes.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Of all its tasks.")] = None,
    worker_memory: Annotated[
        str | None,
        typer.Option("--worker-memory", metavar="SIZE", help='Of each worker, or "off".'),
    ] = None,
    task_cpu: Annotated[
        int | None, typer.Option("--task-cpu", metavar="S", help="CPU time of each task.")
    ] = None,
    worker_env: Annotated[
        list[str] | None,
        typer.Option("--worker-env", metavar="NAME", help="A variable that workers get, too."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE")] = None,
    bind: Annotated[
        str | None, typer.Option("--bind", help='HOST:PORT to answer pings on, or "off".')
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="S", help="SIGTERM: seconds to end what runs."),
    ] = None,
    walltime: Annotated[
        str | None,
        typer.Option("--walltime", metavar="[[H:]M:]S", help="End by itself before this time."),
    ] = None,
    key: Key = None,
    token: Token = None,
    fingerprint: Fingerprint = None,
    insecure: Insecure = False,
    log_level: LogLevel = None,
) -> None:
    """Be a slave: runs tasks in its slots."""
    launch.slave(
        _settings(
            master=master,
            name=name,
            slots=slots,
            memory=memory,
            worker_memory=worker_memory,
            task_cpu_s=task_cpu,
            worker_env=",".join(worker_env) if worker_env else None,
            labels=",".join(label) if label else None,
            bind=bind,
            grace_s=grace,
            walltime_s=seconds_of("--walltime", walltime),
            key=key,
            token=token,
            fingerprint=fingerprint,
            insecure=insecure or None,
            log_level=log_level,
        )
    )


def memoria(
    master: Master = None,
    name: Name = None,
    number: Annotated[
        int | None, typer.Option("--number", "--numero", help="1 or 2; chooses the ports.")
    ] = None,
    bind: Bind = None,
    control_bind: ControlBind = None,
    key: Key = None,
    token: Token = None,
    fingerprint: Fingerprint = None,
    history: Annotated[
        str | None,
        typer.Option("--history", "--historial", metavar="FILE", help='Its file, or "off".'),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", "--reglas", metavar="FILE", help="Rules of alerts, in TOML."),
    ] = None,
    on_alert: Annotated[
        str | None,
        typer.Option("--on-alert", "--al-alertar", metavar="COMMAND", help="For each alert."),
    ] = None,
    prometheus_textfile: Annotated[
        str | None,
        typer.Option("--prometheus-textfile", metavar="FILE", help="For its node exporter."),
    ] = None,
    insecure: Insecure = False,
    log_level: LogLevel = None,
) -> None:
    """Be a memoria: watches the cluster and raises alerts."""
    launch.memoria(
        _settings(
            master=master,
            name=name,
            number=number,
            bind=bind,
            control_bind=control_bind,
            key=key,
            token=token,
            fingerprint=fingerprint,
            history=history,
            rules=rules,
            on_alert=on_alert,
            prometheus_textfile=prometheus_textfile,
            insecure=insecure or None,
            log_level=log_level,
        )
    )


def seconds_of(option: str, text: str | None) -> float | None:
    """Seconds, from what resource managers call a time: S, M:S or H:M:S."""
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(":")]
        if len(parts) > 3 or min(parts) < 0:
            raise ValueError
    except ValueError:
        raise ConfigError(f"{option} = {text}: must be seconds, M:S or H:M:S") from None
    return sum(part * 60.0**place for place, part in enumerate(reversed(parts)))


def _settings(**given: Any) -> config.Config:
    """A node's settings: what was given here, and else the environment and the file."""
    return config.load(given)
