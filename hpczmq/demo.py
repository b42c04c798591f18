"""The jobs of `hpczmq demo`: those of examples/trabajos.txt, at an eighth of the side."""

from __future__ import annotations

from importlib.resources import files

from hpczmq import batch, jobfile
from hpczmq.model import Job


def jobs() -> list[Job]:
    """The jobs, from the file that is installed with the package."""
    text = files("hpczmq").joinpath("demo.txt").read_text()
    return jobfile.parse(text, "demo.txt", batch.faults)
