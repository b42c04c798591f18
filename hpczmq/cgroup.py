"""What a container may use and has used, by the files of its control groups (version 2, then 1).

`psutil` tells of the host. In a container, or in a service with limits, what counts is the group's:
the least limit of the own group and of those above it, as far as they can be seen from inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: A limit as large as this is version 1's way to say that there is none.
_NO_LIMIT: Final = 1 << 60
#: Groups above the own one that are looked at.
_DEPTH_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the group that is the narrowest."""

    limit_bytes: int
    #: In use, without the files that the system would drop first.
    used_bytes: int


class Cgroup:
    """The groups of this process.

    Args:
        root: where the file system is mounted that has `sys/fs/cgroup` and `proc`.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._mount = root / "sys/fs/cgroup"
        self._paths = _own_paths(root / "proc/self/cgroup")
        self._unified = (self._mount / "cgroup.controllers").exists()

    def cpu_cores(self) -> float | None:
        """Cores' worth of CPU time that the group may use; None: as many as there are."""
        found = [quota for folder in self._folders("cpu") if (quota := self._quota(folder))]
        return min(found, default=None)

    def cpu_used_s(self) -> float | None:
        """CPU seconds of the narrowest group with a quota; None: no group has one."""
        limited = [
            (quota, folder) for folder in self._folders("cpu") if (quota := self._quota(folder))
        ]
        if not limited:
            return None
        folder = min(limited)[1]
        if self._unified:
            used = _fields(folder / "cpu.stat").get("usage_usec")
            return None if used is None else used / 1e6
        for where in ("cpuacct", "cpu,cpuacct", "cpu"):
            inside = folder.relative_to(self._mount).parts[1:]
            used = _number(self._mount.joinpath(where, *inside) / "cpuacct.usage")
            if used is not None:
                return used / 1e9
        return None

    def memory(self) -> Memory | None:
        """The narrowest group with a limit; None: no group has one."""
        names = ("memory.max", "memory.current", "inactive_file")
        if not self._unified:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        found = []
        for folder in self._folders("memory"):
            limit, used = _number(folder / names[0]), _number(folder / names[1])
            if limit is not None and limit < _NO_LIMIT and used is not None:
                spare = _fields(folder / "memory.stat").get(names[2], 0)
                found.append(Memory(limit, max(0, used - spare)))
        return min(found, key=lambda one: one.limit_bytes - one.used_bytes, default=None)

    def swap(self) -> Memory | None:
        """Swap of the narrowest group with a limit of its own (version 2 only)."""
        found = []
        for folder in self._folders("memory") if self._unified else ():
            limit, used = _number(folder / "memory.swap.max"), None
            if limit is not None:
                used = _number(folder / "memory.swap.current")
            if limit is not None and used is not None:
                found.append(Memory(limit, used))
        return min(found, key=lambda one: one.limit_bytes, default=None)

    def _folders(self, controller: str) -> Iterator[Path]:
        """The own group's folder and those above it; in a container the mount is the own one."""
        base = self._mount if self._unified else self._mount / controller
        path = self._paths.get("" if self._unified else controller, "/")
        parts = [part for part in path.split("/") if part not in ("", ".", "..")][:_DEPTH_MAX]
        for depth in range(len(parts), -1, -1):
            folder = base.joinpath(*parts[:depth])
            if folder.is_dir():
                yield folder

    def _quota(self, folder: Path) -> float | None:
        if self._unified:
            words = _text(folder / "cpu.max").split()
        else:
            words = [_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            return None  # "max", or -1
        quota, period = map(int, words)
        return quota / period if quota > 0 and period > 0 else None


def _own_paths(file: Path) -> dict[str, str]:
    """The own group's path by controller; of version 2 by the empty name."""
    paths = {}
    for line in _text(file).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _fields(file: Path) -> dict[str, int]:
    """A file of lines `name number`."""
    pairs = (line.split() for line in _text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
