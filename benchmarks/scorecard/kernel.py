"""`work` as a kernel of hpczmq, for the nodes and the client that are told of it:

HPCZMQ_KERNELS=benchmarks.scorecard.kernel:Chore
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scorecard.work import work
from hpczmq.kernels import CancelFlag
from hpczmq.kernels.diagnostics import OneTaskKernel


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoreParams:
    """The arguments of `work`."""

    book: str
    name: str
    action: str
    seconds: float


class Chore(OneTaskKernel[ChoreParams]):
    """Calls `work`, and looks at no flag: it is to be stopped as any foreign function is."""

    name = "chore"
    params_type = ChoreParams

    def run(self, params: ChoreParams, task: Sequence[Any], cancelled: CancelFlag) -> str:
        """The name of the task."""
        return work(params.book, params.name, params.action, params.seconds)
