"""`LocalCluster`: a whole cluster on this machine, as separate processes on free ports.

Each node's standard input is a pipe from here. When it closes, because the cluster is taken down
or because this process died in whatever way, the node ends, and its workers with it. Logs go to
files without a name, so that nothing stays behind.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from hpczmq import credentials, limits, spawn
from hpczmq.addresses import address_of
from hpczmq.config import Config
from hpczmq.cores import usable_cores
from hpczmq.errors import JobFailed, NoCluster, ParameterError

_STOP_S = 5.0
_LOG_BYTES = 4_000


@dataclass(slots=True)
class _Node:
    role: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def tail(self) -> str:
        size = os.fstat(self.log.fileno()).st_size
        start = max(0, size - _LOG_BYTES)
        return os.pread(self.log.fileno(), _LOG_BYTES, start).decode(errors="replace").strip()

    def hang_up(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def end(self) -> None:
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def slots_each(slaves: int = 2, slots: int | None = None, memorias: int = 0) -> int:
    """Worker processes of each slave of a `LocalCluster` of these sizes.

    Raises:
        ParameterError: there is no such cluster.
    """
    if not 1 <= slaves <= 1_000:
        raise ParameterError("slaves", slaves, "must be 1..1000")
    if not 0 <= memorias <= 2:
        raise ParameterError("memorias", memorias, "must be 0, 1 or 2")
    if slots is None:
        return max(1, usable_cores() // slaves)
    if not 1 <= slots <= limits.slots_max:
        raise ParameterError("slots", slots, f"must be 1..{limits.slots_max}")
    return slots


class LocalCluster:
    """A master, slaves and memorias on loopback. Use it as a context manager.

    It is this process's own, and has no keys, whatever the user has.

    Args:
        slaves: slave processes, 1 or more.
        slots: worker processes of each; None: this machine's cores, shared out.
        memorias: 0, 1 or 2.
        heartbeat_s: seconds between heartbeats; a slave is lost after four.
        policy: how slaves are chosen.

    Raises:
        ParameterError, ConfigError: there is no such cluster; nothing was started.
        NoCluster: a node did not start; the message has the end of its log.
    """

    def __init__(
        self,
        slaves: int = 2,
        slots: int | None = None,
        memorias: int = 0,
        *,
        heartbeat_s: float = limits.heartbeat_s_default,
        policy: str = "least-loaded",
    ) -> None:
        slots = slots_each(slaves, slots, memorias)
        Config(heartbeat_s=heartbeat_s, policy=policy)  # says what is wrong with them
        self._nodes: list[_Node] = []
        self._closed = False
        try:
            master = self._start(
                "master", "bind=127.0.0.1:0", "control_bind=127.0.0.1:0",
                f"heartbeat_s={heartbeat_s}", f"policy={policy}",
                "spare_saturated=false",  # they share one machine, and its user asked for it
            )  # fmt: skip
            #: Where clients and nodes dial: HOST:PORT.
            self.address = f"127.0.0.1:{self._ready(master)['port']}"
            credentials.own_cluster(address_of(self.address))
            memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            for number in range(1, slaves + 1):
                self._start(
                    "slave", f"master={self.address}", f"name=esclavo{number}", f"slots={slots}",
                    "bind=off", f"memory={memory_bytes // slaves}",
                    # What kernels read is the same here as in the user's own cluster.
                    f"worker_env={os.environ.get('HPCZMQ_WORKER_ENV', '')}",
                    "worker_memory=off",  # the shares are for placement; they are one machine's
                )  # fmt: skip
            for number in range(1, memorias + 1):
                self._start(
                    "memoria", f"master={self.address}", f"number={number}",
                    "bind=127.0.0.1:0", "control_bind=127.0.0.1:0", "history=off",
                )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pids(self) -> dict[str, list[int]]:
        """Process ids by role: "master", "slave", "memoria"."""
        roles: dict[str, list[int]] = {}
        for node in self._nodes:
            roles.setdefault(node.role, []).append(node.process.pid)
        return roles

    def check(self) -> None:
        """Raise JobFailed when the cluster can't finish anything any more, with the log."""
        dead = [node for node in self._nodes if node.process.poll() is not None]
        roles = {node.role for node in self._nodes if node not in dead}
        for role in ("master", "slave"):
            if role not in roles:
                last = [node for node in dead if node.role == role][-1]
                raise JobFailed(f"every {role} of the local cluster has died: {last.tail()}")

    def logs(self) -> Iterator[tuple[str, str]]:
        """Role and end of the log of each node."""
        for node in self._nodes:
            yield node.role, node.tail()

    def close(self) -> None:
        """Take everything down, and wait for it; what does not end in time is killed."""
        if self._closed:
            return
        self._closed = True
        # The master last: it has to be there for the others' goodbyes.
        for group in (self._nodes[1:], self._nodes[:1]):
            for node in group:
                node.hang_up()
            for node in group:
                node.end()

    def _start(self, role: str, *settings: str) -> _Node:
        log = tempfile.TemporaryFile(prefix="hpczmq-")  # noqa: SIM115 — open as long as the node
        process = subprocess.Popen(
            spawn.command(
                "hpczmq.nodes", role, "lifeline=true", "log_level=info", "keys=off", *settings
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for us; we take the others down in order
            env=_clean(spawn.environment()),
        )
        node = _Node(role, process, log)
        self._nodes.append(node)
        return node

    def _ready(self, node: _Node) -> dict[str, Any]:
        """The line that a node prints when it is up."""
        assert node.process.stdout is not None
        readable, _, _ = select.select([node.process.stdout], [], [], limits.worker_start_s)
        line = node.process.stdout.readline() if readable else b""
        with suppress(json.JSONDecodeError):
            facts: dict[str, Any] = json.loads(line)
            return facts
        raise NoCluster(f"the local {node.role} did not start: {node.tail() or 'no word from it'}")


def _clean(environment: dict[str, str]) -> dict[str, str]:
    """Without the settings that are meant for the user's own cluster."""
    ours = ("HPCZMQ_KERNELS", "HPCZMQ_ISA")
    names = ("MAESTRO_IP", "ESCLAVO", "MEMORIA_NODE")
    return {
        key: value
        for key, value in environment.items()
        if key in ours or not (key.startswith("HPCZMQ_") or key in names)
    }
