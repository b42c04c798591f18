"""Which kernels there are: the shipped ones, those of other packages, and those of tests.

A shipped kernel is found without looking anywhere. The rest is looked up once, when a name is not
a shipped one or somebody asks for the whole list, since reading the metadata of every installed
package takes longer than most tasks:

- classes (or instances) of `Kernel` in the entry-point group ``hpczmq.kernels``;
- those named in the variable ``HPCZMQ_KERNELS``, a comma list of ``module:attribute``. It is how
  a kernel is tried out before it is packaged, and how tests load ones that crash on purpose.

One that can't be loaded breaks nothing but itself: `broken` lists it with the reason.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hpczmq import limits
from hpczmq.errors import ParameterError
from hpczmq.kernels.base import Kernel
from hpczmq.kernels.diagnostics import EchoKernel, PayloadKernel, SleepKernel
from hpczmq.kernels.julia import JuliaKernel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

AnyKernel = Kernel[Any, Any]

#: The entry-point group in which packages offer their kernels.
GROUP = "hpczmq.kernels"
#: The environment variable that names more, as ``module:attribute,module:attribute``.
VARIABLE = "HPCZMQ_KERNELS"

_SHIPPED: Mapping[str, AnyKernel] = {
    kernel.name: kernel for kernel in (JuliaKernel(), EchoKernel(), SleepKernel(), PayloadKernel())
}


class _Others(NamedTuple):
    """The outcome of looking for kernels that do not ship with hpczmq."""

    kernels: dict[str, AnyKernel]
    #: Why one was left out, by the name of its entry.
    broken: dict[str, str]


def get(name: str) -> AnyKernel:
    """The kernel of that name.

    Raises:
        ParameterError: there is none, or the one that offers itself under this name is broken.
    """
    if name in _SHIPPED:
        return _SHIPPED[name]
    others = _others()
    if name in others.kernels:
        return others.kernels[name]
    if name in others.broken:
        remedy = f"is installed here but can't be used: {others.broken[name]}"
    else:
        remedy = f"must be a kernel installed here: {', '.join(names())}"
    raise ParameterError("kernel", name, remedy)


def names() -> tuple[str, ...]:
    """The names of all kernels that can be used here, sorted."""
    return tuple(sorted(_SHIPPED.keys() | _others().kernels.keys()))


def capabilities() -> tuple[str, ...]:
    """What this installation can run, sorted: "echo", "julia:Numpy", …"""
    return tuple(sorted(c for name in names() for c in get(name).capabilities()))


def broken() -> dict[str, str]:
    """Kernels that are installed but can't be used: the entry's name, and why not."""
    return dict(_others().broken)


def refresh() -> None:
    """Forget what was looked up; the next question looks again."""
    _others.cache_clear()


@functools.cache
def _others() -> _Others:
    found = _Others({}, {})
    for entry in _entries():
        try:
            kernel = _loaded(entry)
            if kernel.name in _SHIPPED or kernel.name in found.kernels:
                raise ValueError(f"there is a kernel {kernel.name!r} already")
        # What somebody else's module raises when it is imported can be anything, sys.exit too.
        except (Exception, SystemExit) as error:
            found.broken[entry.name] = f"{entry.value}: {type(error).__name__}: {error}"
        else:
            found.kernels[kernel.name] = kernel
    return found


def _entries() -> Iterator[EntryPoint]:
    import importlib.metadata  # here, for most processes need none of this and it takes 40 ms

    yield from importlib.metadata.entry_points(group=GROUP)
    for value in os.environ.get(VARIABLE, "").split(","):
        if value.strip():
            name = value.rpartition(":")[2].strip()
            yield importlib.metadata.EntryPoint(name, value.strip(), VARIABLE)


def _loaded(entry: EntryPoint) -> AnyKernel:
    """Import one entry and hold it against the interface, as far as that can be seen."""
    loaded = entry.load()
    kernel = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(kernel, Kernel):
        raise TypeError("must be a Kernel class, or an instance of one")
    name: object = kernel.name
    if not isinstance(name, str) or not 0 < len(name) <= limits.name_chars_max:
        raise ValueError(f"its name must be text of 1..{limits.name_chars_max} characters")
    if not all(isinstance(c, str) for c in kernel.capabilities()):
        raise TypeError("its capabilities must be texts")
    return kernel
