"""Makes docs/states.md out of the tables of states, so that the diagrams are never out of date.

    python docs/make_states.py

A test fails when the file is not what this makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from hpczmq.model import JobState, SlaveState
from hpczmq.scheduler.states import JOB_MOVES, SLAVE_MOVES, TASK_MOVES, TaskState
from hpczmq.worker import SLOT_MOVES, SlotState

FILE: Final = Path(__file__).parent / "states.md"

Moves = Mapping[tuple[Any, Any], str]
#: Title, what it is about, all states with the first one first, and the table.
DIAGRAMS: Final[tuple[tuple[str, str, type[Enum], Moves], ...]] = (
    (
        "A task, on the master",
        "Where each task of a job is; one byte a task (`hpczmq/scheduler/states.py`).",
        TaskState,
        TASK_MOVES,
    ),
    (
        "A job, on the master",
        "From its submit until it is forgotten (`hpczmq/scheduler/states.py`).",
        JobState,
        JOB_MOVES,
    ),
    (
        "A slave, as the master sees it",
        "Whether it gets work (`hpczmq/scheduler/states.py`).",
        SlaveState,
        SLAVE_MOVES,
    ),
    (
        "A slot, on a slave",
        "A worker process that runs one task at a time (`hpczmq/worker/states.py`).",
        SlotState,
        SLOT_MOVES,
    ),
)
#: The state in which each thing begins.
BEGINNINGS: Final = {
    TaskState: TaskState.WAITING,
    JobState: JobState.QUEUED,
    SlaveState: SlaveState.READY,
    SlotState: SlotState.DOWN,
}
HEAD: Final = """\
# States

Made by `python docs/make_states.py` from the tables in the source; change those. A move that is
not in its table can't happen: it raises, with the story of what moved.
"""


def document() -> str:
    """The whole file."""
    return "\n".join([HEAD, *(section(*diagram) for diagram in DIAGRAMS)])


def section(title: str, about: str, states: type[Enum], moves: Moves) -> str:
    """One diagram, with its heading."""
    named = {state for move in moves for state in move}
    assert named == set(states), f"{title}: {named ^ set(states)} is in one of both only"
    arrows = [
        ("[*]", BEGINNINGS[states].name, ""),
        *((a.name, b.name, moves[a, b]) for a, b in moves),
    ]
    ends = [state for state in states if not any(old is state for old, _ in moves)]
    arrows += [(state.name, "[*]", "") for state in ends]
    lines = [f"    {old} --> {new}" + (f" : {why}" if why else "") for old, new, why in arrows]
    body = "\n".join(["stateDiagram-v2", *lines])
    return f"## {title}\n\n{about}\n\n```mermaid\n{body}\n```\n"


def main() -> None:
    """Write the file anew."""
    FILE.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
