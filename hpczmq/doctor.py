"""What is here: the machine, the software, the kernels, and what is amiss with them.

Each finding names its place, its value and, where it is not well, the remedy. Nothing is started
and nobody is asked but the cluster, if one was named.
"""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from hpczmq import confine, limits
from hpczmq._version import __version__
from hpczmq.cores import usable_cores
from hpczmq.errors import HpczmqError
from hpczmq.kernels import broken, capabilities, compiled

#: What we stand on, by the names of the packages.
_PACKAGES = ("pyzmq", "msgpack", "numpy", "psutil", "rich", "typer")
#: Sockets and files of a master with a thousand slaves.
_DESCRIPTORS_LEAST = 4 * limits.KIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    what: str
    #: As it is, in a few words.
    value: str
    #: What to do about it; empty: it is well.
    remedy: str = ""


def findings(cluster: Callable[[], str] | None = None) -> list[Finding]:
    """All there is to say.

    Args:
        cluster: asks the named cluster who it is; raises HpczmqError when it does not answer.
    """
    return [*_machine(), *_software(), *_kernels(), *(_cluster(cluster) if cluster else ())]


def _machine() -> Iterator[Finding]:
    yield Finding("machine", f"{platform.machine()}, {platform.platform()}")
    yield Finding("cores", f"{usable_cores()} usable")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = hard != resource.RLIM_INFINITY and hard < _DESCRIPTORS_LEAST
    remedy = f"a master of many slaves needs {_DESCRIPTORS_LEAST}: ulimit -Hn" if few else ""
    yield Finding("descriptors", f"{soft}, at most {_limit(hard)}", remedy)

    have = dict(confine.platform_limits())
    lacking = ", ".join(name for name, has in have.items() if not has)
    remedy = f"not on this platform: {lacking}; a container can have them" if lacking else ""
    yield Finding("workers' limits", ", ".join(name for name, has in have.items() if has), remedy)


def _limit(value: int) -> str:
    return "any number" if value == resource.RLIM_INFINITY else str(value)


def _software() -> Iterator[Finding]:
    yield Finding("hpczmq", __version__)
    yield Finding("python", f"{platform.python_version()}, {platform.python_compiler()}")
    yield Finding("packages", ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES))


def _kernels() -> Iterator[Finding]:
    yield Finding("kernels", ", ".join(capabilities()))
    for name, reason in sorted(broken().items()):
        yield Finding("kernel", name, f"{reason}; mend or remove the package that offers it")
    try:
        chosen = compiled.isa()
    except HpczmqError as error:
        yield Finding("instruction set", "none", str(error))
        return
    others = ", ".join(compiled.available())
    yield Finding("instruction set", f"{chosen} (of {others}; {compiled.VARIABLE} forces one)")


def _cluster(ask: Callable[[], str]) -> Iterator[Finding]:
    try:
        yield Finding("cluster", ask())
    except HpczmqError as error:
        yield Finding("cluster", "no answer", str(error))
