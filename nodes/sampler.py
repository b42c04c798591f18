"""What a node measures of its machine, by psutil."""

from __future__ import annotations

import os

import psutil

from hpczmq.model import Metrics


class Sampler:
    """Measures the load since the last sample."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first call has nothing to compare with

    def sample(self) -> Metrics:
        """The machine now. The node's core fills in what it knows of itself."""
        memory = psutil.virtual_memory()
        return Metrics(
            cpu_percent=psutil.cpu_percent(),
            memory_percent=memory.percent,
            memory_free_bytes=memory.available,
            load=os.getloadavg()[0],
        )
