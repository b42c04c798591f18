"""The numeric work: what a slave can run, each kernel held bit for bit to a plain reference.

To write one, fill in `Kernel` (see `base`), take `diagnostics` as the smallest model and `julia`
as the whole one, and name the class in the entry-point group ``hpczmq.kernels``.
"""

if __name__ != "hpczmq.kernels":
    raise ImportError("import hpczmq.kernels: the bare name 'kernels' is another package's")

from hpczmq.kernels.base import CancelFlag, Cancelled, Kernel
from hpczmq.kernels.registry import broken, capabilities, get, names

__all__ = ["CancelFlag", "Cancelled", "Kernel", "broken", "capabilities", "get", "names"]
